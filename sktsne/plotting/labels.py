"""Labels of points, read as classes or as values, and the colors of classes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from .._checks import check_counted
from .columns import MISSING, as_array, as_numbers, column_of, names_of, read_column

MAX_CLASSES = 20
LONGEST = 30  # characters of a name in a line of the legend or above a search field
UNKNOWN = "#cccccc"  # missing labels and values
# The first two palettes stay apart in the common forms of color blindness: that of M. Okabe and K. Ito (2008), the
# palest color last, and the scheme "muted" of P. Tol ("Colour Schemes", SRON/EPS/TN/09-002, issue 3.2, 2021), with
# black as the tenth color, because he leaves gray to missing data. No twenty colors stay apart; the third palette is
# matplotlib's tab20, strong colors before pale ones, with black and a green of tab20b in place of its grays.
PALETTES = (
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"),
    (
        "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
    ),
    (
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#000000", "#bcbd22", "#17becf",
        "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#637939", "#dbdb8d", "#9edae5",
    ),
)  # fmt: skip


class Labels(NamedTuple):
    """Labels that give the colors: classes, as codes and names, or values, or neither.

    Missing labels are the last class, named `MISSING`; missing values are NaN. ``unit`` is that of the values: "date"
    for days since 1970, "year" for dates far from today, a unit of time, or "".
    """

    name: str | None
    codes: NDArray[np.intp] | None = None
    classes: list[str] | None = None
    values: NDArray[np.float64] | None = None
    unit: str = ""
    n_known: int = 0
    column: Any = None  # the labels as they were given, a Distinct

    def of(self, rows: NDArray[np.intp]) -> Labels:
        """Return the labels of some rows."""
        return self._replace(
            codes=None if self.codes is None else self.codes[rows],
            values=None if self.values is None else self.values[rows],
        )

    @property
    def palette(self) -> tuple[str, ...]:
        """The colors of the classes."""
        colors = next(palette for palette in PALETTES if len(palette) >= self.n_known)
        return (*colors[: self.n_known], UNKNOWN)[: len(self.classes or ())]

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest finite value."""
        values = np.asarray(self.values)
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def read_labels(y: Any, name: str | None) -> Labels:
    """Return labels as classes or as values.

    Parameters
    ----------
    y : array-like of shape (n,)
        The labels, in any container.
    name : str or None
        Their name; by default that of the column.
    """
    check_counted("y", y)
    y = column_of(y)
    if name is None:
        name = getattr(y, "name", None)
    name = "" if name is None else str(name)
    column = read_column(y, column_or_1d(as_array(y)))
    n_classes = len(column.values)
    if n_classes <= MAX_CLASSES:
        missing = [] if column.is_complete else [MISSING]
        codes = column.rows(np.arange(n_classes), n_classes)
        return Labels(name, codes, names_of(column.values) + missing, n_known=n_classes, column=column)
    scale = as_numbers(column.values)
    if scale is not None:
        return Labels(name, values=column.rows(scale[0], np.nan), unit=scale[1], column=column)
    message = f"{n_classes} classes are too many to color; the plot can show {MAX_CLASSES} classes, or numbers"
    warnings.warn(message, UserWarning, stacklevel=4)
    return Labels(name, column=column)


def shorten(text: str, room: int) -> str:
    """Return a text that fits into a number of characters, without some of its middle if need be.

    Names that begin alike often differ at their end.
    """
    if len(text) <= room:
        return text
    tail = room // 3
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"
