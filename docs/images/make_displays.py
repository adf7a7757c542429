"""Draw the pictures of the user guide's section on looking at a map.

    python docs/images/make_displays.py [--mnist FILE]

needs matplotlib, which brings Pillow. FILE is an NPZ file with the 70,000 images ``X`` of MNIST and their digits ``y``;
without it, clusters that are drawn at random stand for them.
"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA

from sktsne import SNE, TSNE, EmbeddingDisplay
from sktsne.metrics import point_costs
from sktsne.plotting import RNXDisplay, plot_perplexities

Matrix = NDArray[Any]
LARGE = 250_000  # bytes


def save(name: str) -> None:
    """Write the current figure beside this file; a large picture in 256 colors, which make it a third as large."""
    picture = BytesIO()
    plt.savefig(picture, dpi=100)
    plt.close()
    image = Image.open(picture).convert("RGB")
    if len(picture.getvalue()) > LARGE:
        image = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    image.save(Path(__file__).with_name(f"display_{name}.png"), optimize=True)


def pair(**shape: Any) -> Any:
    """Return two axes side by side."""
    return plt.figure(figsize=(11, 4.6), layout="constrained").subplots(1, 2, **shape)


def draw_digits(X: Matrix, digits: Matrix) -> None:
    """Draw scikit-learn's digits: classes, costs, perplexities, and curves of three maps."""
    tsne = TSNE(random_state=0).fit(X)
    left, right = pair()
    EmbeddingDisplay.from_estimator(tsne, y=digits, label_name="digit", ax=left)
    EmbeddingDisplay.from_estimator(tsne, y=point_costs(tsne), label_name="cost of the point", ax=right)
    save("digits")
    plot_perplexities(TSNE(random_state=0), X, (3, 30, 300), digits, label_name="digit")
    save("perplexities")
    display = RNXDisplay.from_estimator(tsne, X)
    RNXDisplay.from_estimator(SNE(random_state=0).fit(X), X, ax=display.ax_)
    RNXDisplay.from_embedding(X, PCA(2, random_state=0).fit_transform(X), name="PCA", ax=display.ax_)
    save("rnx")
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    grid = figure.add_gridspec(3, 2)
    strip, space = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[:, 1], projection="3d")
    EmbeddingDisplay.from_estimator(TSNE(1, random_state=0).fit(X), y=digits, ax=strip, legend=False)
    EmbeddingDisplay.from_estimator(TSNE(3, random_state=0).fit(X), y=digits, ax=space, label_name="digit")
    save("components")


def load_large(mnist: Path | None) -> tuple[Matrix, Matrix]:
    """Return the principal components of MNIST's images and their digits, or else clusters drawn at random."""
    if mnist is None:
        return make_blobs(70_000, 50, centers=10, random_state=0)[:2]
    with np.load(mnist) as file:
        return PCA(50, random_state=0).fit_transform(file["X"].astype(np.float32)), file["y"]


def draw_large(X: Matrix, classes: Matrix) -> None:
    """Draw 70,000 rows as points, and a million that are scattered around those as densities."""
    Y = TSNE(random_state=0).fit_transform(X)
    EmbeddingDisplay.from_embedding(Y, classes, label_name="digit")
    save("70000")
    rng = np.random.default_rng(0)
    rows = rng.integers(len(Y), size=1_000_000)
    million = Y[rows] + rng.normal(scale=0.006 * np.ptp(Y), size=(len(rows), 2))
    left, right = pair()
    EmbeddingDisplay.from_embedding(million, classes[rows], label_name="digit", ax=left)
    EmbeddingDisplay.from_embedding(million, ax=right)
    save("1000000")


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, metavar="FILE", help="the 70,000 images of MNIST")
    mnist = parser.parse_args().mnist
    plt.switch_backend("Agg")
    draw_digits(*load_digits(return_X_y=True))
    draw_large(*load_large(mnist))


if __name__ == "__main__":
    main()
