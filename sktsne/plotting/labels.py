"""Labels of points, read as classes or as values, and the colors of classes."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from .._checks import check_counted
from .columns import MISSING, as_array, as_numbers, categories_of, column_of, names_of, read_column

# More than FEW_CLASSES different numbers are values on a color scale. The names of more than FEW_CLASSES classes are
# also written into the map, because readers cannot find a color among so many in a legend. More than MAX_CLASSES colors
# could not be told apart.
FEW_CLASSES, MAX_CLASSES = 20, 50
LONGEST = 30  # the most characters of a name in a line of the legend or above a search field
LONGEST_IN_MAP = 16  # the most characters of a name in the map
UNKNOWN = "#cccccc"  # the color of missing labels and values
# Readers with the common forms of color blindness can tell the colors of the first two palettes apart. The first one is
# that of M. Okabe and K. Ito (2008), with the palest color last. The second one is the scheme "muted" of P. Tol
# ("Colour Schemes", SRON/EPS/TN/09-002, issue 3.2, 2021), with black as the tenth color, because Tol keeps gray for
# missing data. No twenty colors can be told apart in this way. The third palette is matplotlib's tab20, strong colors
# before pale ones, and with black and a green of tab20b in place of its grays. The fourth palette begins with the
# first. Each further color is the farthest one by CIEDE2000 from all colors before it, from white and from the color of
# missing labels, among the colors with a chroma above 18 and a lightness from 22 to 80 in CIELAB.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
PALETTES = (
    OKABE_ITO,
    (
        "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
    ),
    (
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#000000", "#bcbd22", "#17becf",
        "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#637939", "#dbdb8d", "#9edae5",
    ),
    (
        *OKABE_ITO,
        "#6900a5", "#5a5a00", "#87001e", "#004b4b", "#00e10f", "#ffa596", "#879600", "#ff0f4b", "#9669ff", "#783c00",
        "#784b69", "#2d3c5a", "#c3b4f0", "#00d2d2", "#a5c396", "#00692d", "#96784b", "#c31eb4", "#008796", "#a55a4b",
        "#ff4bff", "#2d4be1", "#696996", "#00e1a5", "#c3005a", "#009600", "#c3a587", "#1e3c0f", "#f0b4d2", "#4b3c1e",
        "#7896ff", "#690f3c", "#78875a", "#e10000", "#4b7869", "#ff964b", "#b48787", "#ff694b", "#ff0f87", "#9600ff",
        "#c3b469", "#9687b4",
    ),
)  # fmt: skip


class Labels(NamedTuple):
    """Labels that give points their colors: classes, as codes and names, or values on a scale, or neither.

    Missing labels form the last class, which is named `MISSING`; missing values are NaN. ``unit`` is the unit of the
    values: "date" for days since 1970, "year" for years of dates, a unit of time for durations, or "".
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

    def names_in_map(self, Y: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the names that are written into the map with points ``Y``, and their positions.

        Few classes have no names in the map, because their colors tell them apart. The position of a name is the point
        of its class that is nearest to the median of the class, because the median itself may lie in another class.
        """
        places: dict[str, NDArray[Any]] = {}
        if self.n_known > FEW_CLASSES and Y.shape[1] > 1:  # a strip has no room for names
            for k, name in enumerate((self.classes or [])[: self.n_known]):
                points = Y[self.codes == k]
                if len(points):  # a sample may have no points of the class
                    distances = np.abs(points - np.median(points, axis=0)).sum(axis=1)
                    places[name] = points[distances.argmin()]
        return places

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
        The name of the labels; by default the name of the column.
    """
    check_counted("y", y)
    y = column_of(y)
    if name is None:
        name = getattr(y, "name", None)
    name = "" if name is None else str(name)
    column = read_column(y, column_or_1d(as_array(y)))
    n_classes = len(column.values)
    scale = as_numbers(column.values) if n_classes > (MAX_CLASSES if categories_of(y) else FEW_CLASSES) else None
    if scale is not None:
        return Labels(name, values=column.rows(scale[0], np.nan), unit=scale[1], column=column)
    if n_classes <= MAX_CLASSES:
        missing = [] if column.is_complete else [MISSING]
        codes = column.rows(np.arange(n_classes), n_classes)
        return Labels(name, codes, names_of(column.values) + missing, n_known=n_classes, column=column)
    message = f"{n_classes} classes are too many to color; the plot can show {MAX_CLASSES} classes, or numbers"
    warnings.warn(message, UserWarning, stacklevel=4)
    return Labels(name, column=column)


def shorten(text: str, room: int) -> str:
    """Return a text of at most ``room`` characters; a longer text loses a part of its middle.

    The end is kept, because names that begin alike often differ at their end.
    """
    if len(text) <= room:
        return text
    tail = room // 3
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"
