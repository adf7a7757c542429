"""Labels of points, read as classes or as values, and the colors of classes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 20
UNKNOWN = "#cccccc"  # values that are NaN
# The first two palettes stay apart in the common forms of color blindness: that of M. Okabe and K. Ito (2008), the
# palest color last, and that of M. A. Petroff ("Accessible color sequences for data visualization", arXiv:2107.02270,
# 2021). No twenty colors do; the third palette is matplotlib's tab20, strong colors before pale ones.
PALETTES = (
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"),
    (
        "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
    ),
    (
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
        "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#c7c7c7", "#dbdb8d", "#9edae5",
    ),
)  # fmt: skip


class Labels(NamedTuple):
    """Labels that give the colors: classes, as codes and names, or values, or neither."""

    name: str | None
    codes: NDArray[np.intp] | None = None
    classes: list[str] | None = None
    values: NDArray[np.float64] | None = None

    def of(self, rows: NDArray[np.intp]) -> Labels:
        """Return the labels of some rows."""
        return self._replace(
            codes=None if self.codes is None else self.codes[rows],
            values=None if self.values is None else self.values[rows],
        )

    @property
    def palette(self) -> tuple[str, ...]:
        """The colors of the classes."""
        n_classes = len(self.classes or ())
        return next(palette[:n_classes] for palette in PALETTES if len(palette) >= n_classes)

    @property
    def colors(self) -> NDArray[np.float64]:
        """The colors of the classes, RGBA."""
        from matplotlib.colors import to_rgba_array

        return np.array(to_rgba_array(self.palette))


def read_labels(y: NDArray[Any], name: str) -> Labels:
    """Return labels as classes or as values."""
    numbers = _as_numbers(y)
    if numbers is None and y.dtype == object:
        y = y.astype(str)  # so that None and NaN among names are classes, too
    classes, examples, codes = np.unique(y if numbers is None else numbers, return_index=True, return_inverse=True)
    if len(classes) <= MAX_CLASSES:
        names = [f"{label:g}" if isinstance(label, float) else str(label) for label in y[examples].tolist()]
        return Labels(name, codes.ravel(), names)
    if numbers is not None:
        return Labels(name, values=numbers)
    message = f"{len(classes)} classes are too many to color; the plot can show {MAX_CLASSES} classes, or numbers"
    warnings.warn(message, UserWarning, stacklevel=4)
    return Labels(None)


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64] | None:
    try:
        numbers = np.asarray(labels, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return None if np.isinf(numbers).any() else numbers
