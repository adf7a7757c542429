"""A map as a page for a browser, to hover over, zoom and search: one file, which needs no network.

Bokeh is an optional extra, imported when a page is made: ``pip install "sktsne[interactive]"``.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .labels import PALETTES, UNKNOWN, Labels

INK, FADED = "#222222", "#e8e8e8"
LONGEST = 30  # characters of a name in the legend or above a search field
MOVING = 20_000  # points drawn while the map is dragged or zoomed

# A name matches a text that equals it or, if no name equals the text, a text that it contains. Rows without names are
# found by their numbers.
SEARCH = """
function matcher(key) {
    const text = key in boxes ? boxes[key].value_input.trim().toLowerCase() : ""
    const values = source.data[key]
    const names = tooltips.formatters[`@${key}`]?.args.names  // stored there only
    if (text === "")
        return () => true
    if (names === undefined)
        return (i) => String(values[i]) === text
    const lower = names.map((name) => name.trim().toLowerCase())
    const exact = lower.includes(text)
    const hits = lower.map((name) => exact ? name === text : name.includes(text))
    return (i) => hits[values[i]]
}
const row_matches = matcher("row")
const label_matches = matcher("label")
const n = source.data.row.length
const indices = []
for (let i = 0; i < n; i++)
    if (row_matches(i) && label_matches(i))
        indices.push(i)
const all = indices.length === n
source.selected.indices = all ? [] : indices
const size = points.glyph.size.value
points.selection_glyph.size = Math.max(size, Math.min(9, size * (n / indices.length) ** 0.25))  // few stay visible
points.muted = indices.length === 0  // Bokeh takes an empty selection for no selection
const format = (count) => count.toLocaleString("en-US")
counter.text = all ? `${format(n)} points` : `${format(indices.length)} of ${format(n)} points`
"""
# A click on a class searches for the class, a second click ends the search.
CLICK = """
const name = names[legend.items.indexOf(cb_obj.item)]
box.value = box.value_input = box.value_input === name ? "" : name
"""
# A unit stays equally long along both axes when the window changes its shape.
FIT = """
const {x_range, y_range, inner_width, inner_height} = figure
const area = (x_range.end - x_range.start) * (y_range.end - y_range.start)
const unit = Math.sqrt(area / (inner_width * inner_height))
for (const [range, pixels] of [[x_range, inner_width], [y_range, inner_height]]) {
    const middle = (range.start + range.end) / 2
    range.setv({start: middle - unit * pixels / 2, end: middle + unit * pixels / 2})
}
"""
# Marks grow with the square root of the zoom, so that points come apart and are easier to hit.
GROW = """
const {start, end} = figure.x_range
const zoom = Math.sqrt(span / (end - start))
points.glyph.size = Math.round(size * Math.min(4, Math.max(1, zoom)))  // rounded, because each change takes time
"""
NUMBER = "return String(Number(value.toPrecision(6)))"
NAME = "return names[value]"


class Column(NamedTuple):
    """What a point's tooltip shows under one heading: numbers, or indices into a list of names."""

    heading: str
    values: NDArray[Any]
    names: list[str] | None = None

    @classmethod
    def of(cls, heading: str, values: NDArray[Any]) -> Column:
        """Return a column that takes little memory, 32 bits for a number."""
        if values.dtype.kind == "f":
            return cls(heading, values.astype(np.float32))
        if values.dtype.kind in "iu" and np.array_equal(values, values.astype(np.int32)):
            return cls(heading, values.astype(np.int32))
        names, codes = np.unique(values.astype(str), return_inverse=True)
        return cls(heading, codes.ravel().astype(np.min_scalar_type(len(names))), names.tolist())


def make_page(Y: NDArray[Any], labels: Labels, columns: dict[str, Column], title: str | None) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    Y : ndarray of shape (n, 2)
        The positions.
    labels : Labels
        The colors.
    columns : dict of str to Column
        What the tooltips show: "row", "label" if there are labels, and others.
    title : str or None
        The heading.
    """
    try:
        from bokeh.embed import file_html
        from bokeh.layouts import column, row
        from bokeh.models import ColumnDataSource, CustomJS, Div, TextInput
        from bokeh.resources import INLINE
    except ImportError as error:
        message = f'Interactive maps need Bokeh, pip install "sktsne[interactive]" gets it ({error}).'
        raise ImportError(message) from error
    data = {key: column.values for key, column in columns.items()}
    source = ColumnDataSource({"x": Y[:, 0].astype(np.float32), "y": Y[:, 1].astype(np.float32), **data})
    figure, points = _draw(source, labels)
    tooltips = _tooltips(points, columns)
    figure.add_tools(tooltips)
    searched = ["row"] if "label" not in columns or labels.values is not None else ["label", "row"]
    boxes = {key: TextInput(title=f"Find {_short(columns[key].heading)}", width=200) for key in searched}
    counter = Div(text=f"{len(Y):,} points", styles={"align-self": "end", "padding-bottom": "8px"})
    arguments = {"source": source, "points": points, "tooltips": tooltips, "boxes": boxes, "counter": counter}
    for box in boxes.values():
        box.js_on_change("value_input", CustomJS(args=arguments, code=SEARCH))
    if labels.classes is not None:
        legend = _legend(points, labels)
        legend.js_on_event(
            "legend_item_click",
            CustomJS(args={"legend": legend, "box": boxes["label"], "names": labels.classes}, code=CLICK),
        )
        figure.add_layout(legend, "right")
    heading = [] if title is None else [Div(text=escape(title), disable_math=True, styles={"font-size": "150%"})]
    page = column(*heading, row(*boxes.values(), counter), figure, sizing_mode="stretch_both")
    return str(file_html(page, INLINE, title="Map" if title is None else title))


def _draw(source: Any, labels: Labels) -> tuple[Any, Any]:
    """Return the figure and the renderer of its points, which fades the points that a search does not match."""
    from bokeh.models import BoxZoomTool, ColorBar, CustomJS, LinearColorMapper, WheelZoomTool
    from bokeh.plotting import figure as new_figure

    n = len(source.data["x"])
    area = 500_000  # square pixels of a usual window
    size = float(np.clip(np.sqrt(0.3 * area / n), 2.5, 9.0))
    alpha = float(np.clip(0.8 * area / (n * size**2), 0.3, 1.0))
    # A canvas, because WebGL is too slow without a graphics processor.
    figure = new_figure(
        sizing_mode="stretch_both",
        match_aspect=True,
        tools="pan,reset,save",
        lod_threshold=MOVING,
        lod_factor=math.ceil(n / MOVING),
        lod_interval=1000,
        outline_line_color="#cccccc",
    )
    wheel = WheelZoomTool()
    figure.add_tools(wheel, BoxZoomTool(match_aspect=True))
    figure.toolbar.active_scroll = wheel
    figure.toolbar.logo = None
    figure.axis.visible = figure.grid.visible = False
    figure.x_range.range_padding = figure.y_range.range_padding = 0.05
    color: Any = PALETTES[0][0]
    if labels.classes is not None:
        palette = labels.palette
        color = {"field": "label", "transform": LinearColorMapper(palette, low=-0.5, high=len(palette) - 0.5)}
    elif labels.values is not None:
        low, high = np.nanmin(labels.values), np.nanmax(labels.values)
        mapper = LinearColorMapper("Viridis256", low=low, high=high, nan_color=UNKNOWN)
        color = {"field": "label", "transform": mapper}
        figure.add_layout(
            ColorBar(color_mapper=mapper, title=_short(labels.name or "") or None, title_text_color=INK), "right"
        )
    points = figure.scatter(
        "x",
        "y",
        source=source,
        size=size,
        alpha=alpha,
        fill_color=color,
        line_color=None,
        hit_dilation=2.0,
        selection_alpha=1.0,
        selection_fill_color=color,
        selection_line_color=None,
        nonselection_alpha=1.0,
        nonselection_fill_color=FADED,
        nonselection_line_color=None,
        muted_alpha=1.0,
        muted_fill_color=FADED,
        muted_line_color=None,
    )
    span = float(max(np.ptp(source.data["x"]), np.ptp(source.data["y"])))
    figure.x_range.js_on_change(
        "end", CustomJS(args={"figure": figure, "points": points, "size": size, "span": span}, code=GROW)
    )
    fit = CustomJS(args={"figure": figure}, code=FIT)
    figure.js_on_change("inner_width", fit)
    figure.js_on_change("inner_height", fit)
    return figure, points


def _tooltips(points: Any, columns: dict[str, Column]) -> Any:
    """Return the tool that shows what the columns hold for the points below the pointer."""
    from bokeh.models import CustomJSHover, HoverTool

    lines, formatters = [], {}
    for key, (heading, values, names) in columns.items():
        safe = escape(heading).replace("@", "&#64;").replace("$", "&#36;")  # Bokeh would replace @ and $
        if names is None and values.dtype.kind != "f":
            lines.append(f"<div>{safe}: <b>@{key}</b></div>")
            continue
        formatters[f"@{key}"] = CustomJSHover(
            args={} if names is None else {"names": names}, code=NUMBER if names is None else NAME
        )
        lines.append(f"<div>{safe}: <b>@{key}{{custom}}</b></div>")
    style = f"color: {INK}; max-width: 400px; padding: 2px"
    text = f'<div style="{style}">{"".join(lines)}</div>'
    return HoverTool(renderers=[points], tooltips=text, formatters=formatters, limit=3, visible=False)


def _legend(points: Any, labels: Labels) -> Any:
    """Name the classes; each has the color of one of its points."""
    from bokeh.models import Legend, LegendItem

    classes, codes = labels.classes or [], labels.codes
    items = []
    for k, name in enumerate(classes):
        example = int(np.argmax(codes == k))
        items.append(LegendItem(label={"value": _short(name) or "(empty)"}, renderers=[points], index=example))
    return Legend(
        items=items,
        title=_short(labels.name or "") or None,
        title_text_color=INK,
        label_text_color=INK,
        border_line_color=None,
        glyph_height=24,
        glyph_width=24,
        spacing=0,
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
