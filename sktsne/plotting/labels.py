"""Labels of points, read as classes or as values, and the colors of classes."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import column_or_1d

from .._checks import check_counted, check_number
from .columns import MISSING, Distinct, as_array, as_numbers, categories_of, column_of, names_of, read_column

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

# The colors of highlighted scores, from unremarkable to high, at equal distances. Their lightness in CIELAB falls from
# 90 to 8: by 2 from the gray to the first hue, then by 10 to 15 from each color to the next. As readers with color
# blindness see the colors (G. Machado et al., 2009), the lightness falls likewise, so that the order of the colors
# never depends on their hues. A missing score has a darker gray than an unremarkable one, because a missing score says
# nothing, not that all is well. This gray differs from all colors of the scale by at least 26 in CIELAB, also as
# readers with color blindness see them.
HIGHLIGHTS = ("#e2e2e2", "#f4d8a6", "#f9b35e", "#ef8136", "#d64c33", "#a82344", "#6a1046", "#2d0726")
UNSCORED = "#999999"


def color_scale(n: int = 256) -> list[str]:
    """Return n colors from the first to the last of `HIGHLIGHTS`."""
    anchors = np.array([[int(color[k : k + 2], 16) for k in (1, 3, 5)] for color in HIGHLIGHTS])
    places = np.linspace(0.0, len(anchors) - 1.0, n)
    channels = [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T]
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in np.transpose(np.rint(channels).astype(int)).tolist()]


class Labels(NamedTuple):
    """Labels that give points their colors: classes, as codes and names, or values on a scale, or neither.

    Missing labels form the last class, which is named `MISSING`; missing values are NaN. ``unit`` is the unit of the
    values: "date" for days since 1970, "year" for years of dates, a unit of time for durations, or "". ``highlight``
    says whether the values are scores of which the high ones are highlighted, or holds the limits of their colors.
    """

    name: str | None
    codes: NDArray[np.intp] | None = None
    classes: list[str] | None = None
    values: NDArray[np.float64] | None = None
    unit: str = ""
    n_known: int = 0
    column: Any = None  # the labels as they were given, a Distinct
    highlight: bool | tuple[float, float] = False

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
        """The values that have the first and the last color."""
        if isinstance(self.highlight, tuple):
            return self.highlight
        return limits_of_scores(np.asarray(self.values)) if self.highlight else self._range

    @property
    def _range(self) -> tuple[float, float]:
        """The least and the largest finite value."""
        values = np.asarray(self.values)
        finite = values[np.isfinite(values)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)

    @property
    def finite_values(self) -> NDArray[np.float64]:
        """The values, of which infinite ones become finite ones that have the first or the last color."""
        (low, high), (least, largest) = self.limits, self._range
        return np.asarray(np.clip(np.asarray(self.values), min(low, least), max(high, largest)))

    def beyond(self, low: float, high: float) -> tuple[bool, bool]:
        """Return whether highlighted scores lie below a low limit, and whether some lie above a high one."""
        values = np.asarray(self.values if self.highlight else [])
        return bool((values < low).any()), bool((values > high).any())

    @property
    def order(self) -> NDArray[np.intp]:
        """The order in which highlighted points are drawn: the highest last, so that it lies on top.

        Missing scores come after the unremarkable ones, and before the others.
        """
        values = np.asarray(self.values)
        return np.argsort(np.where(np.isnan(values), self.limits[0], values), kind="stable")


def read_labels(y: Any, name: str | None, highlight: bool | tuple[float, float] = False) -> Labels:
    """Return labels as classes or as values.

    Parameters
    ----------
    y : array-like of shape (n,)
        The labels, in any container.
    name : str or None
        The name of the labels; by default the name of the column.
    highlight : bool or tuple of two floats, default=False
        Whether the labels are scores of which the high ones are highlighted, or the limits of their colors.
    """
    check_counted("y", y)
    y = column_of(y)
    if name is None:
        name = getattr(y, "name", None)
    name = "" if name is None else str(name)
    if highlight:
        column, values = read_scores("y", y)
        return Labels(name, values=values, column=column, highlight=highlight)
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


def read_scores(name: str, scores: Any) -> tuple[Distinct, NDArray[np.float64]]:
    """Return scores as a column and as numbers, in which missing scores are NaN.

    Parameters
    ----------
    name : str
        The name of the parameter in errors.
    scores : array-like of shape (n,)
        The scores.

    Raises
    ------
    TypeError
        If a score is not a number, such as a text, a boolean or a date.
    """
    column = read_column(scores, column_or_1d(as_array(scores)))
    numbers = as_numbers(column.values)
    if numbers is None or numbers[1]:
        value = next((value for value in column.values if not isinstance(value, Real)), column.values[0])
        raise TypeError(
            f"{name} holds {value!r}, must hold numbers to highlight the high ones, not {type(value).__name__}."
        )
    return column, column.rows(numbers[0], np.nan)


def limits_of_scores(scores: NDArray[np.float64]) -> tuple[float, float]:
    r"""Return the score up to which points are unremarkable, and the score from which they have the darkest color.

    Let :math:`s` be the distance from the lower quartile of the finite scores to their median. The unremarkable level
    is the median plus :math:`s`. In a symmetric distribution, this level is the upper quartile; unlike the upper
    quartile, the level stays among the usual scores even if nearly half of the rows get arbitrarily high scores. The
    high limit is the level plus :math:`6s`, or the quantile 0.99 if this is larger, but at most the largest finite
    score. In a symmetric distribution, :math:`6s` is three times the interquartile range, so that the level plus
    :math:`6s` is the outer fence of J. W. Tukey ("Exploratory Data Analysis", 1977), beyond which hardly a value of a
    normal distribution lies. If fewer than one percent of the scores are huge, they move neither limit.

    Where these limits leave no score between them, the median is the unremarkable level. The high limit is then the
    median of the scores above the median if :math:`s = 0`, and otherwise the largest finite score.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        The scores; NaN and infinite ones are left out.

    Returns
    -------
    low, high : float
        The limits, ``low < high``. If all finite scores are equal, this score is ``low``.
    """
    finite = scores[np.isfinite(scores)]
    if len(finite) == 0:
        return 0.0, 1.0
    quartile, median, top = (float(value) for value in np.quantile(finite, (0.25, 0.5, 0.99)))
    largest, spread = float(finite.max()), median - quartile
    low = median + spread
    high = min(max(low + 6.0 * spread, top), largest)
    if low < high:
        return low, high
    higher = finite[finite > median]
    if len(higher) == 0:
        return median, median + (abs(median) or 1.0)
    # Either half of the scores are equal, and hardly one is higher, or the scores crowd at their upper end.
    return median, float(np.median(higher)) if spread == 0.0 else largest


def check_highlight(highlight: Any, *, has_scores: bool) -> bool | tuple[float, float]:
    """Return ``highlight`` as a bool or as two limits; raise a TypeError or ValueError unless it is one of both."""
    if isinstance(highlight, bool | np.bool_):
        checked: bool | tuple[float, float] = bool(highlight)
    else:
        if not isinstance(highlight, tuple | list | np.ndarray) or len(highlight) != 2:
            raise TypeError(f"highlight == {highlight!r}, must be a bool or two numbers: (low, high).")
        low, high = highlight
        check_number("highlight[0]", low, Real, -np.inf)
        check_number("highlight[1]", high, Real, -np.inf)
        if not low < high:
            raise ValueError(f"highlight == {highlight!r}, must be a bool or two numbers: (low, high) with low < high.")
        checked = (float(low), float(high))
    if checked and not has_scores:
        raise ValueError(f"highlight == {highlight!r}, must be False without y, which holds the scores.")
    return checked


def shorten(text: str, room: int) -> str:
    """Return a text of at most ``room`` characters; a longer text loses a part of its middle.

    The end is kept, because names that begin alike often differ at their end.
    """
    if len(text) <= room:
        return text
    tail = room // 3
    return f"{text[: room - 1 - tail]}…{text[len(text) - tail :]}"
