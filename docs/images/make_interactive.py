"""Take the pictures of the user guide's section on maps in a browser.

    python docs/images/make_interactive.py [--mnist FILE]

needs Bokeh, Chromium, and what make_displays.py needs; FILE is as there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from make_displays import Matrix, load_large
from PIL import Image

from sktsne import TSNE, EmbeddingDisplay

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from browser import Browser


def save(picture: Matrix, name: str) -> None:
    """Write a picture beside this file, in 256 colors."""
    image = Image.fromarray(picture).quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    image.save(Path(__file__).with_name(f"interactive_{name}.png"), optimize=True)


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, metavar="FILE", help="the 70,000 images of MNIST")
    X, digits = load_large(parser.parse_args().mnist)
    display = EmbeddingDisplay(TSNE(random_state=0).fit_transform(X), digits, label_name="digit")
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "map.html"
        names = [f"image {row}" for row in range(len(X))]
        features = {"first component": X[:, 0], "second component": X[:, 1]}
        display.to_html(page, names=names, features=features, title="70,000 handwritten digits")
        with Browser(page, 900, 700) as browser:
            browser.move(430, 500)
            browser.move(432, 500)
            save(browser.screenshot(), "hover")
            browser.move(5, 5)
            browser.type_into(0, "4")
            browser.wheel(360, 620, 2)
            save(browser.screenshot(), "search")


if __name__ == "__main__":
    main()
