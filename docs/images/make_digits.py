"""Draw ``digits.png``: scikit-learn's digits, embedded by TSNE and by SNE with their defaults.

    python docs/images/make_digits.py

needs matplotlib, which brings Pillow.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from sktsne import SNE, TSNE

# Ten colors that stay apart in the common forms of color blindness (M. A. Petroff, "Accessible color sequences for
# data visualization", arXiv:2107.02270, 2021), in an order that keeps the like of them apart on the maps.
COLORS = np.array(
    [
        "#717581", "#ffa90e", "#bd1f01", "#b9ac70", "#832db6", "#a96b59", "#e76300", "#94a4a2", "#3f90da", "#92dadd",
    ]
)  # fmt: skip
INCHES = 7.0
PIXELS_PER_INCH = 100


def draw_map(axes: Any, Y: NDArray[np.float64], digits: NDArray[np.int64], title: str) -> None:
    """Draw the points in the order of the rows, and every digit at the median of its points."""
    axes.scatter(*Y.T, c=COLORS[digits], s=11, linewidths=0)
    halo = [withStroke(linewidth=4, foreground="white")]
    for digit in np.unique(digits):
        x, y = np.median(Y[digits == digit], axis=0)
        axes.text(x, y, str(digit), size=20, weight="bold", ha="center", va="center", color="black", path_effects=halo)
    # A square around the map's middle, so that both panels have the same size.
    low, high = Y.min(axis=0), Y.max(axis=0)
    middle, half = (low + high) / 2, 0.53 * (high - low).max()
    axes.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
        xticks=[],
        yticks=[],
        aspect="equal",
    )
    axes.set_title(title, size=18, pad=8)
    axes.spines[:].set_visible(False)


def main() -> None:
    """Fit both estimators and write the picture beside this file."""
    X, digits = load_digits(return_X_y=True)
    figure = Figure(figsize=(2 * INCHES, INCHES), dpi=PIXELS_PER_INCH, layout="constrained", facecolor="white")
    for axes, estimator in zip(figure.subplots(1, 2), (TSNE, SNE), strict=True):
        Y = estimator(random_state=0).fit_transform(X)
        draw_map(axes, Y, digits, estimator.__name__)
    picture = BytesIO()
    figure.savefig(picture, format="png")
    # 128 colors make the file a quarter as large, and look the same.
    indexed = Image.open(picture).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    indexed.save(Path(__file__).with_name("digits.png"), optimize=True)


if __name__ == "__main__":
    main()
