"""Pages that show a map in a browser, on which readers hover, zoom and search: each is one file and needs no network.

Bokeh makes the pages: ``pip install "sktsne[interactive]"``. It is optional, and imported when a page is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import MISSING, Distinct, as_numbers, names_of
from .labels import LONGEST, LONGEST_IN_MAP, PALETTES, UNKNOWN, UNSCORED, Labels, color_scale, shorten

INK, FADED = "#222222", "#e8e8e8"
DATES = {  # the formats of dates at the ticks of a color bar
    "days": "%Y-%m-%d",
    "months": "%Y-%m",
    "hours": "%m-%d %H:%M",
    "hourmin": "%H:%M",
    "minutes": "%H:%M",
}
TALLEST = 26  # the most entries in a column of the legend; a window with a height of 800 pixels has room for them
AREA = 500_000  # the area of the map in a usual window, in square pixels
MOVING = 20_000  # the most points that are drawn while the map is dragged or zoomed

# Tooltips show an integer with all digits, and any other number with six digits, or two decimals if it is larger.
NUMBER = """
if (Number.isInteger(value))
    return String(value)
const digits = Math.floor(Math.log10(Math.abs(value))) + 3  // of two decimals
return String(Number(value.toPrecision(Math.min(17, Math.max(6, digits)))))
"""
# A search finds the names that equal the text or, if there is no such name, the names that contain it. Rows without
# names are found by their numbers.
SEARCH = (
    f"const shown = (value) => {{{NUMBER}}}"
    + """
function matcher(key) {
    const text = key in boxes ? boxes[key].value_input.trim().toLowerCase() : ""
    const values = source.data[key]
    const names = tooltips.formatters[`@${key}`]?.args.names  // stored there only
    if (text === "")
        return () => true
    if (names === undefined)
        return (i) => shown(values[i]).toLowerCase() === text
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
)
# A click on a class searches for the class, and a second click ends the search.
CLICK = """
const name = names[legend.items.indexOf(cb_obj.item)]
box.value = box.value_input = box.value_input === name ? "" : name
"""
# A unit has the same length along both axes, also after the window has changed its shape.
FIT = """
const {x_range, y_range, inner_width, inner_height} = figure
const area = (x_range.end - x_range.start) * (y_range.end - y_range.start)
const unit = Math.sqrt(area / (inner_width * inner_height))
for (const [range, pixels] of [[x_range, inner_width], [y_range, inner_height]]) {
    const middle = (range.start + range.end) / 2
    range.setv({start: middle - unit * pixels / 2, end: middle + unit * pixels / 2})
}
"""
# Marks grow with the square root of the zoom, so that points separate and are easier to hit.
GROW = """
const {start, end} = figure.x_range
const zoom = Math.sqrt(span / (end - start))
points.glyph.size = Math.round(size * Math.min(4, Math.max(1, zoom)))  // rounded, because each change takes time
"""
NAME = "return names[value]"
# The ends of the color bar of highlighted scores say that scores lie beyond them.
BEYOND = """
const text = String(Number(tick.toPrecision(3)))
return below && tick === low ? `≤ ${text}` : above && tick === high ? `≥ ${text}` : text
"""
# A choice colors the points, shows its legend or color bar, and sorts the points: high scores come last, so that they
# lie on top, and missing scores between unremarkable and other ones; labels keep the order of the rows. The points that
# a search has found stay selected.
CHOOSE = """
const choice = choices[select.value]
const {data} = source
const {place} = data
const score = Array.from(choice.score === null ? place : data[choice.score], (x) => Number.isNaN(x) ? choice.low : x)
const order = Array.from(score.keys())
order.sort((i, j) => score[i] < score[j] ? -1 : score[i] > score[j] ? 1 : place[i] - place[j])
const found = new Set(source.selected.indices)
const entries = Object.entries(data)
source.data = Object.fromEntries(entries.map(([key, values]) => [key, Float64Array.from(order, (i) => values[i])]))
source.selected.indices = Array.from(order.keys()).filter((k) => found.has(order[k]))
for (const glyph of [points.glyph, points.selection_glyph]) {
    glyph.fill_color = choice.color
    glyph.fill_alpha = choice.alpha
}
points.selection_glyph.line_color = choice.outline
for (const [name, {beside}] of Object.entries(choices))
    for (const model of beside)
        model.visible = name === select.value
"""


class Column(NamedTuple):
    """A column of the tooltips: its heading, and for each point a number or an index into a list of names."""

    heading: str
    values: NDArray[Any]
    names: list[str] | None = None

    @classmethod
    def of(cls, heading: str, column: Distinct, *, exact: bool = False) -> Column:
        """Return a column that takes little memory: numbers if they show the values completely, otherwise names.

        With ``exact``, numbers that tooltips would round become names, too.
        """
        numbers = _numbers(column.values)
        if numbers is not None and not (exact and (numbers != np.round(numbers)).any()):
            return cls(heading, _narrowed(column.rows(numbers, np.nan)))
        names = names_of(column.values) + ([] if column.is_complete else [MISSING])
        codes = column.rows(np.arange(len(column.values)), len(column.values))
        return cls(heading, codes.astype(np.min_scalar_type(len(names))), names)


def _numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return integers and floating-point numbers as float64, which JavaScript has, or None if one would be rounded."""
    scale = as_numbers(values)
    if scale is None or scale[1] or len(values) == 0:
        return None
    plain = values.dtype != object or all(isinstance(value, int | float | np.number) for value in values)
    exact = values.dtype.kind == "f" or np.abs(scale[0]).max(initial=0.0) <= 2**53
    return scale[0] if plain and exact else None


def _narrowed(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """Return numbers in 32 bits, if these hold all digits that tooltips show."""
    sizes = np.abs(numbers[np.isfinite(numbers) & (numbers != 0.0)])
    if np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and sizes.max(initial=0.0) < 2**31:
        return numbers.astype(np.int32)
    few_digits = sizes.min(initial=1.0) > 1e-30 and sizes.max(initial=0.0) < 1e4
    return numbers.astype(np.float32) if few_digits else numbers


class Choice(NamedTuple):
    """What may color the points: labels, properties of Bokeh's marks, and the models that explain the colors.

    Points that a search finds have an ``outline`` if the colors are those of highlighted scores, because the gray of
    unremarkable points is as pale as that of points that the search does not find.
    """

    labels: Labels
    color: dict[str, Any]
    alpha: float
    beside: list[Any]

    @property
    def outline(self) -> str | None:
        """The color of the outlines of points that a search finds."""
        return INK if self.labels.highlight else None


def make_page(
    Y: NDArray[Any],
    labels: Labels,
    columns: dict[str, Column],
    title: str | None,
    scores: Mapping[str, Labels] = MappingProxyType({}),
) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    Y : ndarray of shape (n, 2)
        The positions of the points.
    labels : Labels
        The labels, which give the colors.
    columns : dict of str to Column
        The columns of the tooltips: "row", "label" if there are labels, and others.
    title : str or None
        The heading of the page.
    scores : mapping of str to Labels, default={}
        Highlighted scores, by the keys of their columns. If there are any, a field above the map chooses whether the
        labels or one of the scores color the points. Without labels that have colors, the first score does at first.
    """
    try:
        from bokeh.embed import file_html
        from bokeh.layouts import column, row
        from bokeh.models import ColumnDataSource, CustomJS, Div, TextInput
        from bokeh.resources import INLINE
    except ImportError as error:
        message = f'Interactive maps need Bokeh: install it by pip install "sktsne[interactive]" ({error}).'
        raise ImportError(message) from error
    has_colors = labels.classes is not None or labels.values is not None
    colorings = {**({"label": labels} if has_colors or not scores else {}), **scores}
    first = next(iter(colorings))
    data = {key: column.values for key, column in columns.items()}
    if labels.values is not None and columns["label"].names is not None:
        data["value"] = labels.values * _factor(labels)
    if scores:
        data["place"] = np.arange(len(Y), dtype=np.int32)
    data = {"x": Y[:, 0].astype(np.float32), "y": Y[:, 1].astype(np.float32), **data}
    if colorings[first].highlight:
        order = colorings[first].order
        data = {key: values[order] for key, values in data.items()}
    source = ColumnDataSource(data, name="points")
    figure = _figure(len(Y))
    choices = {key: _choice(source, key, coloring) for key, coloring in colorings.items()}
    points = _draw(figure, source, choices[first])
    tooltips = _tooltips(points, columns)
    figure.add_tools(tooltips)
    searched = ["row"] if "label" not in columns or columns["label"].names is None else ["label", "row"]
    boxes = {key: TextInput(title=f"Find {shorten(columns[key].heading, LONGEST)}", width=200) for key in searched}
    counter = Div(text=f"{len(Y):,} points", styles={"align-self": "end", "padding-bottom": "8px"})
    arguments = {"source": source, "points": points, "tooltips": tooltips, "boxes": boxes, "counter": counter}
    for box in boxes.values():
        box.js_on_change("value_input", CustomJS(args=arguments, code=SEARCH))
    for bar in (bar for choice in choices.values() for bar in choice.beside):
        figure.add_layout(bar, "right")
    if labels.classes is not None:
        legend = _legend(figure, choices["label"], boxes["label"])
        figure.add_layout(legend, "right")
        choices["label"].beside.extend([legend, *_write_names(figure, Y, labels)])
    for key, choice in choices.items():
        for model in choice.beside:
            model.visible = key == first
    fields = [*boxes.values(), counter]
    if scores:
        fields.insert(0, _select(choices, columns, source, points))
    title = None if title is None else str(title)
    heading = [] if title is None else [Div(text=escape(title), disable_math=True, styles={"font-size": "150%"})]
    page = column(*heading, row(*fields), figure, sizing_mode="stretch_both")
    return str(file_html(page, INLINE, title="Map" if title is None else title))


def _choice(source: Any, key: str, labels: Labels) -> Choice:
    """Return what colors the points by labels: the column ``key`` of the source, or its column of values if any."""
    from bokeh.models import LinearColorMapper

    n = len(source.data["x"])
    alpha = float(np.clip(0.8 * AREA / (n * _size(n) ** 2), 0.3, 1.0))
    if labels.classes is not None:
        palette = labels.palette
        mapper = LinearColorMapper(palette, low=-0.5, high=len(palette) - 0.5)
        return Choice(labels, {"field": key, "transform": mapper}, alpha, [])
    if labels.values is None:
        return Choice(labels, {"value": PALETTES[0][0]}, alpha, [])
    low, high = (limit * _factor(labels) for limit in labels.limits)
    if not labels.highlight:
        mapper = LinearColorMapper("Viridis256", low=low, high=high, nan_color=UNKNOWN)
    else:
        mapper = LinearColorMapper(color_scale(), low=low, high=high, nan_color=UNSCORED)
        alpha = 1.0  # unremarkable points below a high one must not lighten its color
    field = "value" if key == "label" and "value" in source.data else key
    return Choice(labels, {"field": field, "transform": mapper}, alpha, [_color_bar(mapper, labels)])


def _select(choices: dict[str, Choice], columns: dict[str, Column], source: Any, points: Any) -> Any:
    """Return the field that chooses what colors the points."""
    from bokeh.models import CustomJS, Select

    options = [(key, shorten(columns[key].heading, LONGEST)) for key in choices]
    select = Select(title="Color by", value=options[0][0], options=options, width=200)
    arguments = {}
    for key, choice in choices.items():
        is_score = bool(choice.labels.highlight)
        arguments[key] = {
            "score": choice.color["field"] if is_score else None,
            "low": choice.labels.limits[0] if is_score else 0.0,
            "color": choice.color,
            "alpha": choice.alpha,
            "outline": {"value": choice.outline},
            "beside": choice.beside,
        }
    choose = CustomJS(args={"select": select, "choices": arguments, "source": source, "points": points}, code=CHOOSE)
    select.js_on_change("value", choose)
    return select


def _size(n: int) -> float:
    """Return the size of the marks of n points, in pixels."""
    return float(np.clip(np.sqrt(0.3 * AREA / n), 2.5, 9.0))


def _draw(figure: Any, source: Any, choice: Choice) -> Any:
    """Return the renderer of the points, which fades the points that a search does not match."""
    from bokeh.models import CustomJS

    size = _size(len(source.data["x"]))
    points = _scatter(figure, source, choice.color, size=size, alpha=choice.alpha)
    points.selection_glyph.line_color = choice.outline
    span = float(max(np.ptp(source.data["x"]), np.ptp(source.data["y"])))
    figure.x_range.js_on_change(
        "end", CustomJS(args={"figure": figure, "points": points, "size": size, "span": span}, code=GROW)
    )
    fit = CustomJS(args={"figure": figure}, code=FIT)
    figure.js_on_change("inner_width", fit)
    figure.js_on_change("inner_height", fit)
    return points


def _figure(n: int) -> Any:
    """Return a figure without visible axes, in which readers move and zoom n points."""
    from bokeh.models import BoxZoomTool, WheelZoomTool
    from bokeh.plotting import figure as new_figure

    # The figure draws on a canvas, because WebGL is too slow without a graphics processor.
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
    return figure


def _factor(labels: Labels) -> float:
    """Return the factor on the values for Bokeh, which counts dates in milliseconds."""
    return 86.4e6 if labels.unit == "date" else 1.0


def _color_bar(mapper: Any, labels: Labels) -> Any:
    """Return the color bar of the values."""
    from bokeh.models import ColorBar, CustomJSTickFormatter, DatetimeTicker, DatetimeTickFormatter, FixedTicker

    style: dict[str, Any] = {"title": shorten(labels.name or "", LONGEST) or None, "title_text_color": INK}
    style["background_fill_color"] = None  # which would hide a part of the frame of the map
    if labels.unit == "date":
        style |= {"ticker": DatetimeTicker(), "formatter": DatetimeTickFormatter(**DATES)}
    elif labels.highlight:
        low, high = labels.limits
        below, above = labels.beyond(low, high)
        style["ticker"] = FixedTicker(ticks=np.linspace(low, high, 5).tolist())
        arguments = {"low": low, "high": high, "below": below, "above": above}
        style["formatter"] = CustomJSTickFormatter(args=arguments, code=BEYOND)
    elif labels.unit:
        style["formatter"] = CustomJSTickFormatter(code=f"return `${{tick}} {labels.unit}`")
    return ColorBar(color_mapper=mapper, **style)


def _scatter(figure: Any, source: Any, color: Any, **style: Any) -> Any:
    """Draw the points in their colors, and in a pale gray when a search does not find them."""
    for state, fill in (("", color), ("selection_", color), ("nonselection_", FADED), ("muted_", FADED)):
        style |= {f"{state}fill_color": fill, f"{state}line_color": None}
        style.setdefault(f"{state}alpha", 1.0)
    return figure.scatter("x", "y", source=source, hit_dilation=2.0, **style)


def _tooltips(points: Any, columns: dict[str, Column]) -> Any:
    """Return the tool that shows the columns of the points below the pointer."""
    from bokeh.models import CustomJSHover, HoverTool

    lines, formatters = [], {}
    for key, column in columns.items():
        names = column.names
        safe = escape(column.heading).replace("@", "&#64;").replace("$", "&#36;")  # Bokeh would replace @ and $
        formatters[f"@{key}"] = CustomJSHover(
            args={} if names is None else {"names": names}, code=NUMBER if names is None else NAME
        )
        lines.append(f"<div>{safe}: <b>@{key}{{custom}}</b></div>")
    style = f"color: {INK}; max-width: 400px; padding: 2px"
    text = f'<div style="{style}">{"".join(lines)}</div>'
    return HoverTool(renderers=[points], tooltips=text, formatters=formatters, limit=3, visible=False)


def _write_names(figure: Any, Y: NDArray[Any], labels: Labels) -> list[Any]:
    """Write the names of the classes into the map if there are many classes, and return the renderers of the texts."""
    from bokeh.models import ColumnDataSource

    names = labels.names_in_map(Y)
    if names:
        x, y = np.transpose(list(names.values()))
        source = ColumnDataSource({"x": x, "y": y, "name": [shorten(name, LONGEST_IN_MAP) for name in names]})
        style: dict[str, Any] = {
            "text_align": "center",
            "text_baseline": "middle",
            "text_font_size": "11px",
            "text_color": INK,
        }
        style |= {"background_fill_color": "white", "background_fill_alpha": 0.6}
        figure.x_range.range_padding = 0.12  # room for the names of classes at the sides
        return [figure.text("x", "y", "name", source=source, **style)]
    return []


def _legend(figure: Any, choice: Choice, box: Any) -> Any:
    """Return the legend of the classes; a click on a class writes its name into the search field."""
    from bokeh.models import ColumnDataSource, CustomJS, Legend, LegendItem

    labels, classes = choice.labels, choice.labels.classes or []
    columns = math.ceil(len(classes) / TALLEST)
    # The legend has marks of its own, without places in the map, because Bokeh 3.9 no longer draws the marks of points
    # in a legend when the points have changed their size.
    nowhere, codes = np.full(len(classes), np.nan, np.float32), np.arange(len(classes), dtype=np.uint8)
    source = ColumnDataSource({"x": nowhere, "y": nowhere, choice.color["field"]: codes})
    marks = _scatter(figure, source, choice.color, size=9.0, alpha=choice.alpha)
    items = []
    for k, name in enumerate(classes):
        text = shorten(name, LONGEST if columns == 1 else LONGEST_IN_MAP)
        items.append(LegendItem(label={"value": text}, renderers=[marks], index=k))
    legend = Legend(
        items=items,
        ncols=columns,
        title=shorten(labels.name or "", LONGEST) or None,
        title_text_color=INK,
        label_text_color=INK,
        # The border is transparent, because Bokeh draws a legend without a border also without the padding that keeps
        # its title away from the frame of the map. A background would hide a part of the frame.
        border_line_color="#ffffff00",
        background_fill_color=None,
        glyph_height=24,
        glyph_width=24,
        spacing=0,
    )
    arguments = {"legend": legend, "box": box, "names": classes}
    legend.js_on_event("legend_item_click", CustomJS(args=arguments, code=CLICK))
    return legend
