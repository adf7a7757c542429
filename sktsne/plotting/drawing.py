"""Functions that draw a map on axes of matplotlib: points as marks or as a density, legends, names and color bars."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .labels import (
    FEW_CLASSES,
    LONGEST,
    LONGEST_IN_MAP,
    PALETTES,
    UNKNOWN,
    UNSCORED,
    Labels,
    color_scale,
    shorten,
)

FEW_COLORS = 32  # a color map with at most FEW_COLORS colors is a list of colors for classes
SCALE = ("cmap", "norm", "vmin", "vmax")  # the arguments by which matplotlib turns values into colors
COLORS = ("c", "color", "facecolors", "facecolor", "fc")
EDGE_COLORS = ("edgecolors", "edgecolor", "ec")
EDGES = {*EDGE_COLORS, "linewidths", "linewidth", "lw"}  # the arguments by which matplotlib draws edges
# The pixels of highlighted scores are so large that a single one is seen in a figure of the usual size.
MOST_PIXELS, MOST_HIGHLIGHTED_PIXELS = 500, 250


def import_pyplot() -> Any:
    """Return the module ``matplotlib.pyplot``; raise an ImportError that says how to install it."""
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(f'Pictures need matplotlib: install it by pip install "sktsne[plot]" ({error}).') from error
    return matplotlib.pyplot


def new_figure(size: tuple[float, float]) -> Any:
    """Return a new figure of pyplot, with its width and height in inches."""
    return import_pyplot().figure(figsize=size, layout="constrained")


def axes_for(d: int) -> Any:
    """Return the axes of a new figure for a map with d components."""
    return new_figure((6.4, 1.6) if d == 1 else (6.4, 5.4)).add_subplot(projection="3d" if d == 3 else None)


def prepare(ax: Any, d: int) -> None:
    """Prepare axes for a map with d components: remove ticks, lighten the frame, and make units equally long."""
    for axis in "xyz"[: max(2, d)]:
        ax.set(**{f"{axis}ticks": []})
    if d > 1:
        ax.set_aspect("equal", adjustable="box" if d == 3 else "datalim")
    for spine in ax.spines.values():
        spine.set_color("0.8")
    if d == 3:
        # A layout reserves room for a legend at the right edge of the axes, but a cube fills only their middle.
        ax.set_anchor("E")
        ax.set_autoscale_on(True)  # equal units turn it off in matplotlib 3.6, where only a unit cube was drawn then
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.line.set_color("0.8")


def coordinates(Y: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the coordinates along each axis of the picture; points with one component get random heights."""
    if Y.shape[1] == 1:
        return [Y[:, 0], np.random.default_rng(0).uniform(size=len(Y))]
    return list(Y.T)


def draw_marks(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Scatter the points in the order of the rows, so that no class hides the others; or by highlighted scores."""
    n, kwargs = len(Y), hollow(kwargs)
    places = coordinates(Y)
    box = ax.get_window_extent()
    area = box.width * box.height * (72.0 / ax.figure.dpi) ** 2  # in square points, the unit of mark sizes
    size = float(np.clip(0.2 * area / n, 1.0, 30.0))
    style: dict[str, Any] = {"s": size, "alpha": float(np.clip(0.5 * area / (n * size), 0.3, 1.0))}
    if labels.highlight:
        style["alpha"] = 1.0  # unremarkable points below a high one must not lighten its color
        order = labels.order
        places, labels = [axis[order] for axis in places], labels.of(order)
        kwargs = {name: _in_order(name, value, order) for name, value in kwargs.items()}
    style["rasterized"] = n > 10_000  # a vector file with one mark for each point of a large map is slow to show
    if not kwargs.keys() & set(COLORS):
        style.update(_colors(labels, kwargs))
        kwargs = {name: value for name, value in kwargs.items() if name not in SCALE}
    if not kwargs.keys() & EDGES:
        style["linewidths"] = 0.0 if _marker(kwargs).is_filled() else 0.15 * np.sqrt(size)
    return ax.scatter(*places, **{**style, **kwargs})


def _in_order(name: str, value: Any, order: NDArray[np.intp]) -> Any:
    """Return an argument of ``scatter`` in the order of the points if it holds an item for each point."""
    from matplotlib.colors import is_color_like

    if name not in {"s", "alpha", *COLORS, *EDGES} or isinstance(value, str) or np.ndim(value) == 0:
        return value
    is_color = name in {*COLORS[1:], *EDGE_COLORS} and is_color_like(value)  # the channels of one color
    if len(value) != len(order) or is_color:
        return value
    return [value[k] for k in order] if isinstance(value, list | tuple) else np.asarray(value)[order]


def _marker(kwargs: dict[str, Any]) -> Any:
    """Return the marker of the points."""
    from matplotlib import rcParams
    from matplotlib.markers import MarkerStyle

    marker = kwargs.get("marker")
    marker = rcParams["scatter.marker"] if marker is None else marker
    return marker if isinstance(marker, MarkerStyle) else MarkerStyle(marker)


def hollow(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``scatter`` with an unfilled marker in place of faces of the color "none".

    The edges of an unfilled marker have the colors of the points.
    """
    faces = [name for name in COLORS[2:] if isinstance(kwargs.get(name), str) and kwargs[name] == "none"]
    if not faces or kwargs.keys() & {"c", "color", *EDGE_COLORS}:
        return kwargs
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(_marker(kwargs).get_marker(), fillstyle="none")
    return {name: value for name, value in kwargs.items() if name not in faces} | {"marker": marker}


def _colors(labels: Labels, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``scatter`` that color the points by their labels."""
    if labels.codes is not None:
        return {"c": class_colors(labels, kwargs.get("cmap"))[labels.codes]}
    if labels.values is None:
        return {"c": PALETTES[0][0]}
    return {"c": labels.finite_values + epoch(labels), "plotnonfinite": True, **_scale_of_values(labels, kwargs)}


def _scale_of_values(labels: Labels, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by which matplotlib colors values, with those of the display where none were given."""
    scale = {name: kwargs.get(name) for name in SCALE}
    if labels.highlight and scale["norm"] is None:
        for name, limit in zip(("vmin", "vmax"), labels.limits, strict=True):
            scale[name] = limit if scale[name] is None else scale[name]
    return scale | {"cmap": _with_unknown(scale["cmap"], labels)}


def epoch(labels: Labels) -> float:
    """Return the number by which matplotlib counts the first day of 1970 if the values are dates, otherwise 0."""
    if labels.unit != "date":
        return 0.0
    return float(_dates().date2num(np.datetime64("1970-01-01")))


def _dates() -> Any:
    """Return the module ``matplotlib.dates``, which has no types."""
    import matplotlib.dates

    return matplotlib.dates


def class_colors(labels: Labels, scale: Any = None) -> NDArray[np.float64]:
    """Return the RGBA colors of the classes: those of a color map if one is given, otherwise those of the display.

    A color map with few colors, such as "tab10", gives its first colors, and begins again if there are more classes.
    Any other color map gives colors at equal distances. Missing labels are gray. Black becomes white in a style with a
    dark background.
    """
    from matplotlib import colormaps, rcParams
    from matplotlib.colors import to_rgba, to_rgba_array

    colors = np.array(to_rgba_array(labels.palette))
    *background, opacity = to_rgba(rcParams["axes.facecolor"])
    if opacity > 0.0 and np.mean(background) < 0.5:
        colors[(colors[:, :3] == 0.0).all(axis=1)] = 1.0
    if scale is not None:
        scale, n = colormaps[scale] if isinstance(scale, str) else scale, labels.n_known
        few = scale.N <= FEW_COLORS
        colors[:n] = scale(np.arange(n) % scale.N if few else np.linspace(0.0, 1.0, n))
    return colors


def _with_unknown(scale: Any, labels: Labels) -> Any:
    """Return a color map in which NaN is gray."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    if labels.highlight:
        scale = ListedColormap(color_scale(), "highlight") if scale is None else scale
    scale = "viridis" if scale is None else scale
    scale = colormaps[scale] if isinstance(scale, str) else scale
    return scale.with_extremes(bad=UNSCORED if labels.highlight else UNKNOWN)


def draw_image(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Draw the density of a map as an image; the image of a map with one component has one row of pixels."""
    pixels = Pixels(Y, MOST_HIGHLIGHTED_PIXELS if labels.highlight else MOST_PIXELS)
    style: dict[str, Any] = {
        "extent": pixels.extent,
        "origin": "lower",
        "aspect": "auto" if Y.shape[1] == 1 else "equal",
    }
    if labels.codes is not None:
        image = _image_of_classes(pixels, labels, kwargs.get("cmap"))
        kwargs = {name: value for name, value in kwargs.items() if name not in SCALE}
    elif labels.values is not None:
        if not labels.highlight:
            image = pixels.mean(labels.values) + epoch(labels)
        else:
            # The limits are those of the pixels, because the highest of many scores is usually a high one.
            labels = labels._replace(values=pixels.last(labels.values, labels.order))
            image = labels.finite_values
            style["interpolation"] = "nearest"  # others mix the color of a single pixel with those around it
        shown = np.where(pixels.counts == 0, 0.0, 1.0 if kwargs.get("alpha") is None else kwargs["alpha"])
        kwargs = {**kwargs, "alpha": shown, **_scale_of_values(labels, kwargs)}
    else:
        image = np.ma.array(pixels.counts, mask=pixels.counts == 0)
        kwargs = _scale_of_counts(pixels, kwargs)
    points = ax.imshow(image, **{**style, **kwargs})
    if Y.shape[1] > 1:
        ax.set_aspect("equal", adjustable="datalim")
    return points


def _image_of_classes(pixels: Pixels, labels: Labels, scale: Any) -> NDArray[np.float64]:
    """Return the color of each pixel's most frequent class, more opaque for more points, transparent for no points."""
    known = np.arange(len(labels.classes or ())) < labels.n_known
    image = class_colors(labels, scale)[pixels.majority(np.asarray(labels.codes), known)]
    depth = np.log1p(pixels.counts) / np.log1p(pixels.counts.max())
    image[..., 3] = np.where(pixels.counts == 0, 0.0, 0.5 + 0.5 * depth)
    return image


def _scale_of_counts(pixels: Pixels, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``imshow`` with a logarithmic scale of colors, unless they already have a scale."""
    from matplotlib.colors import LogNorm

    kwargs = {"cmap": "viridis_r", **kwargs}  # fewer points are nearer to white
    if "norm" not in kwargs:
        limits = kwargs.pop("vmin", 1), kwargs.pop("vmax", max(2, pixels.counts.max()))
        kwargs["norm"] = LogNorm(*limits)
    return kwargs


class Pixels:
    """Square pixels with counts of the points in them; a map with more points has more and smaller pixels.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The points; with d = 1 the pixels form one row.
    most : int, default=MOST_PIXELS
        The largest number of pixels along the longer side of the map.

    Attributes
    ----------
    counts : ndarray of shape (n_rows, n_columns)
        The number of points in each pixel.
    extent : tuple of float
        The edges of the image: left, right, bottom, top.
    """

    def __init__(self, Y: NDArray[Any], most: int = MOST_PIXELS) -> None:
        low, high = Y.min(axis=0), Y.max(axis=0)
        side = float((high - low).max()) / float(np.clip(np.sqrt(len(Y)) / 2.0, 50.0, most)) or 1.0
        low = low - 5.0 * side  # a margin
        shape = np.ceil((high - low) / side).astype(np.intp) + 5
        self.extent = (low[0], low[0] + shape[0] * side, 0.0, 1.0)
        places = ((Y - low) / side).astype(np.intp)
        self._place = places[:, 0]
        self._shape = (1, int(shape[0]))
        if Y.shape[1] > 1:
            self._place = self._place + shape[0] * places[:, 1]
            self._shape = (int(shape[1]), int(shape[0]))
            self.extent = (*self.extent[:2], low[1], low[1] + shape[1] * side)
        self.counts = self._sum()

    def _sum(self, weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
        sums = np.bincount(self._place, weights, minlength=self._shape[0] * self._shape[1])
        return np.asarray(sums).reshape(self._shape)

    def majority(self, codes: NDArray[np.intp], known: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the most frequent class in each pixel; known classes go before the class of missing labels."""
        n_classes = len(known)
        counts = np.bincount(self._place * n_classes + codes, minlength=self.counts.size * n_classes)
        counts = counts.reshape(*self._shape, n_classes)
        counts[..., ~known] = counts[..., ~known] > 0  # argmax takes the first of equals, and this class is the last
        return np.asarray(counts.argmax(axis=-1))

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the finite values in each pixel, or NaN for a pixel without finite values."""
        known = np.isfinite(values)
        counts = self._sum(known.astype(np.float64))
        return np.asarray(self._sum(np.where(known, values, 0.0)) / np.where(counts > 0, counts, np.nan))

    def last(self, values: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the value of the last point in each pixel, as ``order`` sorts the points, or NaN for no points."""
        image = np.full(self.counts.size, np.nan)
        image[self._place[order]] = values[order]  # of several values for one pixel, NumPy keeps the last
        return image.reshape(self._shape)


def legend_marks(points: Any, labels: Labels, kwargs: dict[str, Any]) -> list[Any] | None:
    """Return a mark for each class that looks like its points, or None if points of one class differ in color."""
    from matplotlib.lines import Line2D

    kwargs = hollow(kwargs)
    colors = _shown_colors(points, labels, kwargs)
    if colors is None:
        return None
    style: dict[str, Any] = {"linestyle": "", "marker": "o", "alpha": kwargs.get("alpha")}
    if hasattr(points, "get_offsets"):
        style["marker"] = _marker(kwargs)
        edge = next((kwargs[name] for name in EDGE_COLORS if name in kwargs), None)
        if isinstance(edge, str) and edge != "face":
            style["markeredgecolor"] = edge
        if style["marker"].is_filled():
            style["markeredgewidth"] = float(points.get_linewidths()[0])
    if not np.isscalar(style["alpha"]):
        style["alpha"] = None
    return [Line2D([], [], **{"color": color, **style}) for color in colors]


def _shown_colors(points: Any, labels: Labels, kwargs: dict[str, Any]) -> NDArray[np.float64] | None:
    """Return the color of each class: the color of its points if the user has chosen it, otherwise the display's."""
    from matplotlib.colors import to_rgba_array

    given = next((kwargs[name] for name in COLORS if kwargs.get(name) is not None), None)
    if given is None or labels.codes is None or not hasattr(points, "get_offsets"):
        return class_colors(labels, kwargs.get("cmap"))
    values = points.get_array()
    is_none = isinstance(given, str) and given == "none"
    colors = points.to_rgba(values) if values is not None else [[0.0] * 4] if is_none else to_rgba_array(given)
    colors = np.broadcast_to(colors, (len(labels.codes), 4))
    present, first = np.unique(labels.codes, return_index=True)
    of_classes = class_colors(labels)
    of_classes[present] = colors[first]
    return of_classes if (of_classes[labels.codes] == colors).all() else None


def draw_legend(ax: Any, labels: Labels, marks: list[Any], wide: bool) -> Any:
    """Draw the legend of the classes at the right of the map, and return it.

    Long names are broken into lines and shortened, so that the map keeps its room. A line has at most `LONGEST`
    characters and, unless the legend may be ``wide``, at most as many as fit into a third of the map. No legend is
    drawn, and None returned, if it would take more room than the map, and the map shows the names of the classes.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    letter = FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points() * ax.figure.dpi / 72.0
    box = ax.get_window_extent()
    n_lines = max(1, int(box.height / (1.4 * letter)))  # a lower bound, because a layout makes the axes larger later
    room = LONGEST if wide else int(np.clip(0.33 * box.width / (0.6 * letter), 16, LONGEST))
    names = [fit(name, room, max(1, n_lines // len(marks))) for name in labels.classes or ()]
    columns = math.ceil((sum(name.count("\n") for name in names) + len(names)) / n_lines)
    if not wide and labels.n_known > FEW_CLASSES and 0.6 * letter * room * columns > box.width:
        return None
    style = {
        "loc": "upper left",
        "bbox_to_anchor": (1.0, 1.0),
        "frameon": False,
        "handletextpad": 0.2,
        "alignment": "left",
    }
    title = fit(labels.name or "", room * columns, 2)
    # matplotlib leaves out names that begin with an underscore.
    names = [f" {name}" if name.startswith("_") else name for name in names]
    legend = ax.legend(marks, names, title=title or None, ncols=columns, **style)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a dollar sign in a label begins no formula
    return legend


def draw_names(ax: Any, Y: NDArray[Any], labels: Labels) -> list[Any]:
    """Write the names of the classes into the map if there are many classes, and return the texts."""
    from matplotlib.patheffects import withStroke

    style = {"ha": "center", "va": "center", "fontsize": "x-small", "clip_on": True, "parse_math": False}
    style["path_effects"] = [withStroke(linewidth=2.0, foreground=ax.get_facecolor())]
    return [ax.text(*place, fit(name, LONGEST_IN_MAP, 1), **style) for name, place in labels.names_in_map(Y).items()]


def draw_colorbar(ax: Any, points: Any, labels: Labels, name: str | None, inset: bool) -> Any:
    """Draw the scale of colors, at the right of the map, with arrows if highlighted scores lie beyond the scale.

    An ``inset`` is next to the map also if the legend of another map in the same column is wider.
    """
    below, above = labels.beyond(*points.get_clim())
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    place = {"cax": ax.inset_axes((1.03, 0.15, 0.05, 0.7))} if inset else {"ax": ax, "shrink": 0.7}
    bar = ax.figure.colorbar(points, extend=extend, **place)
    set_ticks(bar, labels)
    bar.solids.set_alpha(1.0)
    bar.set_label(fit(name or "", 40, 2), parse_math=False)  # a label may hold a dollar sign
    return bar


def set_ticks(bar: Any, labels: Labels) -> None:
    """Choose the ticks of a color bar; to be called again when the limits of a logarithmic scale have changed."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    if labels.values is None and isinstance(bar.norm, LogNorm):
        bar.set_ticks(LogLocator(subs=(1, 2, 5)), minor=False)
        bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    elif labels.unit == "date":
        bar.locator = _dates().AutoDateLocator(minticks=3, maxticks=8)
        bar.formatter = _dates().AutoDateFormatter(bar.locator)
        bar.formatter.scaled[1 / 24] = "%m-%d %H:%M"
        bar.update_ticks()
    elif labels.unit:
        bar.formatter = f"{{x:g}} {labels.unit}"
        bar.update_ticks()


def fit(text: str, room: int, n_lines: int) -> str:
    """Return a text in lines of at most ``room`` characters, shortened if it needs more than ``n_lines`` lines."""
    if len(text) <= room and text.isprintable():
        return text
    text = " ".join(text.split())
    lines, kept = textwrap.wrap(text, room), room * n_lines
    while len(lines) > n_lines:
        lines, kept = textwrap.wrap(shorten(text, kept), room), kept - 1
    return "\n".join(lines)


def make_room(figure: Any, legend: Any, expected: float = 0.5) -> None:
    """Widen a figure by the width of a legend beyond the ``expected`` inches, so that the map keeps its size."""
    wider = legend.get_window_extent().width / figure.dpi - expected
    if wider > 0.0:
        figure.set_figwidth(figure.get_figwidth() + wider)
