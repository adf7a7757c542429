"""The page of a map: what its file holds, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
import warnings
from html import unescape

import numpy as np
import pandas as pd
import pytest
from browser import Browser, find_browser
from numpy.testing import assert_allclose, assert_array_equal

from sktsne import EmbeddingDisplay, plotting
from sktsne.plotting.embedding import draw_page
from sktsne.plotting.interactive import BEYOND, CHOOSE, FADED, INK, NUMBER
from sktsne.plotting.labels import PALETTES, UNKNOWN, UNSCORED, color_scale, limits_of_scores

bokeh = pytest.importorskip("bokeh")
from bokeh.document import Document  # noqa: E402

EVIL = "<script>window.evil = 1</script>\"'@x $index &amp; $$x$$"


@pytest.fixture
def page(tmp_path):
    return tmp_path / "map.html"


def content(page):
    """Return the page's models, by what it is that Bokeh read from the file."""
    text = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL).group(1)
    (document,) = json.loads(unescape(text)).values()
    return Document.from_json(document)


def rgb(color):
    return np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])


# The file


def test_points_classes_and_columns_are_in_the_file(rng, page):
    Y, y = rng.normal(size=(50, 2)), np.array(["b", "a"])[np.arange(50) % 2]
    features = pd.DataFrame({"size": rng.normal(size=50), "count": np.arange(50), "kind": pd.Categorical(y)})
    EmbeddingDisplay(Y, y, label_name="letter").to_html(page, names=[f"r{k}" for k in range(50)], features=features)
    document = content(page)
    data = document.select_one({"name": "points"}).data
    assert_allclose(np.column_stack([data["x"], data["y"]]), Y, rtol=1e-6)
    assert_array_equal(data["label"], y == "b")
    assert_allclose(data["feature_0"], features["size"], rtol=1e-6)
    assert_array_equal(data["feature_1"], np.arange(50))
    formatters = document.select_one({"type": bokeh.models.HoverTool}).formatters
    assert formatters["@label"].args["names"] == formatters["@feature_2"].args["names"] == ["a", "b"]
    assert formatters["@row"].args["names"][data["row"][3]] == "r3"
    legend = document.select_one({"type": bokeh.models.Legend})
    assert [item.label.value for item in legend.items] == ["a", "b"]
    assert legend.title == "letter"
    # The legend does not depend on the points, whose marks grow and change their colors.
    (marks,) = {renderer for item in legend.items for renderer in item.renderers}
    assert_array_equal(marks.data_source.data["label"], [0, 1])
    assert np.isnan(marks.data_source.data["x"]).all()
    mapper = document.select_one({"type": bokeh.models.LinearColorMapper})
    assert tuple(mapper.palette) == PALETTES[0][:2]
    assert sorted(box.title for box in document.select({"type": bokeh.models.TextInput})) == ["Find letter", "Find row"]


def test_values_are_a_scale(rng, page):
    values = pd.Series(rng.normal(size=50), name="cost")
    values[3] = np.nan
    EmbeddingDisplay(rng.normal(size=(50, 2)), values).to_html(page)
    document = content(page)
    bar = document.select_one({"type": bokeh.models.ColorBar})
    assert bar.title == "cost"
    assert (bar.color_mapper.low, bar.color_mapper.high) == (values.min(), values.max())
    assert len(list(document.select({"type": bokeh.models.TextInput}))) == 1
    assert document.select_one({"type": bokeh.models.Legend}) is None


def shown(page):
    """Return what tooltips show of each column: its numbers, which JavaScript formats, or the names of its values."""
    document = content(page)
    data = document.select_one({"name": "points"}).data
    formatters = document.select_one({"type": bokeh.models.HoverTool}).formatters
    columns = {}
    for key, values in data.items():
        names = formatters[f"@{key}"].args.get("names") if f"@{key}" in formatters else None
        columns[key] = list(values) if names is None else [names[code] for code in values]
    return columns


def test_integers_and_small_numbers_are_kept_exactly(rng, page):
    days, large, tiny = 20240101 + np.arange(30), 2**60 + np.arange(30), 1e-50 * np.arange(1, 31)
    features = {
        "day": days,
        "float": days.astype(float),
        "large": large,
        "tiny": tiny,
        "nullable": pd.Series([*days[1:], None], dtype="Int64"),
        "unsigned": np.array([2**64 - 1] * 30, dtype=np.uint64),
        "wide": rng.normal(size=30) * 1e7,
    }
    EmbeddingDisplay(rng.normal(size=(30, 2)), days).to_html(page, features=features)
    columns = shown(page)
    for key in ("label", "feature_0", "feature_1"):
        assert_array_equal(columns[key], days)
    assert columns["feature_2"] == list(map(str, large))
    assert_array_equal(columns["feature_3"], tiny)
    assert_array_equal(columns["feature_4"], [*days[1:], np.nan])
    assert columns["feature_5"] == [str(2**64 - 1)] * 30
    assert_array_equal(columns["feature_6"], features["wide"])


def test_columns_of_any_type_have_names(rng, page):
    features = {
        "flag": pd.Series([True, None, False], dtype="boolean"),
        "date": np.array(["2024-01-02", "NaT", "2024-01-01"], dtype="M8[ns]"),
        "text": ["a", None, ""],
        "mixed": [1, "1", float("nan")],
        "bytes": [b"a", b"b", b"a"],
        "lists": pd.Series([[1], [1, 2], None]),
        "lot": pd.Categorical(["c", "b", None], categories=["c", "b"]),
    }
    EmbeddingDisplay(rng.normal(size=(3, 2))).to_html(page, features=features)
    assert list(shown(page).values())[3:] == [
        ["True", "(missing)", "False"],
        ["2024-01-02", "(missing)", "2024-01-01"],
        ["a", "(missing)", "(empty)"],
        ["1", "'1'", "(missing)"],
        ["a", "b", "a"],
        ["[1]", "[1, 2]", "(missing)"],
        ["c", "b", "(missing)"],
    ]


def test_dates_are_a_scale_and_have_names(rng, page):
    days = pd.Series(np.append(np.arange("2024-01-01", "2024-02-01", dtype="M8[D]"), np.datetime64("NaT")), name="day")
    EmbeddingDisplay(rng.normal(size=(32, 2)), days).to_html(page)
    document, columns = content(page), shown(page)
    assert columns["label"] == [*(f"2024-01-{k:02d}" for k in range(1, 32)), "(missing)"]
    bar = document.select_one({"type": bokeh.models.ColorBar})
    milliseconds = days[:31].to_numpy().astype("M8[ms]").astype(float)
    assert_array_equal(columns["value"], [*milliseconds, np.nan])
    assert (bar.color_mapper.low, bar.color_mapper.high) == (milliseconds[0], milliseconds[-1])
    assert isinstance(bar.formatter, bokeh.models.DatetimeTickFormatter)
    fill = document.select_one({"type": bokeh.models.GlyphRenderer}).glyph.fill_color
    assert (fill.field, fill.transform) == ("value", bar.color_mapper)


def test_dates_beyond_the_calendar_are_a_scale_of_years_and_have_names(rng, page):
    days = np.append(np.arange("2024-01-01", "2024-02-01", dtype="M8[D]"), np.datetime64("-5000-03-01"))
    EmbeddingDisplay(rng.normal(size=(32, 2)), days).to_html(page)
    columns, bar = shown(page), content(page).select_one({"type": bokeh.models.ColorBar})
    assert columns["label"][-1] == "-5000-03-01"
    assert_array_equal(columns["value"], [*[2024] * 31, -5000])
    assert (bar.color_mapper.low, bar.color_mapper.high) == (-5000, 2024)
    assert bar.formatter.code == "return `${tick} year`"


def test_missing_labels_are_gray_and_last(rng, page):
    EmbeddingDisplay(rng.normal(size=(4, 2)), ["a", None, "b", float("nan")]).to_html(page)
    document = content(page)
    assert [item.label.value for item in document.select_one({"type": bokeh.models.Legend}).items] == [
        "a",
        "b",
        "(missing)",
    ]
    mapper = document.select_one({"type": bokeh.models.LinearColorMapper})
    assert tuple(mapper.palette) == (*PALETTES[0][:2], UNKNOWN)
    assert shown(page)["label"] == ["a", "(missing)", "b", "(missing)"]


def test_an_infinite_value_does_not_stretch_the_scale(rng, page):
    EmbeddingDisplay(rng.normal(size=(52, 2)), np.append(np.arange(51.0), np.inf)).to_html(page)
    mapper = content(page).select_one({"type": bokeh.models.ColorBar}).color_mapper
    assert (mapper.low, mapper.high) == (0.0, 50.0)


def test_features_may_be_a_table_of_pyarrow_or_polars(rng, page):
    display = EmbeddingDisplay(rng.normal(size=(3, 2)))
    for package, make in (("pyarrow", "table"), ("polars", "DataFrame")):
        table = getattr(pytest.importorskip(package), make)({"a": [2**60, None, 1], "b": ["x", "y", None]})
        display.to_html(page, features=table)
        columns = shown(page)
        assert columns["feature_0"] == [str(2**60), "(missing)", "1"]
        assert columns["feature_1"] == ["x", "y", "(missing)"]
        assert re.findall("<div>([ab]): ", str(content(page).select_one({"type": bokeh.models.HoverTool}).tooltips))


def test_columns_of_one_name_are_all_shown(rng, page):
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    EmbeddingDisplay(rng.normal(size=(2, 2))).to_html(page, features=frame)
    columns = shown(page)
    assert_array_equal([columns["feature_0"], columns["feature_1"]], frame.T)


def test_names_that_are_too_many_for_colors_can_be_searched(rng, page):
    with pytest.warns(UserWarning, match="60 classes are too many to color"):
        EmbeddingDisplay(rng.normal(size=(90, 2)), [f"c{k % 60}" for k in range(90)]).to_html(page)
    boxes = content(page).select({"type": bokeh.models.TextInput})
    assert sorted(box.title for box in boxes) == ["Find label", "Find row"]


@pytest.mark.parametrize(("n_classes", "columns"), [(20, 1), (30, 2), (50, 2)])
def test_many_classes_have_colors_and_names_in_the_map(rng, page, n_classes, columns):
    Y, classes = rng.normal(size=(100, 2)), [f"c{k} of a long name {k}" for k in range(n_classes)]
    EmbeddingDisplay(Y, [classes[k % n_classes] for k in range(100)]).to_html(page)
    document = content(page)
    palette = next(palette for palette in PALETTES if len(palette) >= n_classes)
    assert tuple(document.select_one({"type": bokeh.models.LinearColorMapper}).palette) == palette[:n_classes]
    legend = document.select_one({"type": bokeh.models.Legend})
    assert (len(legend.items), legend.ncols) == (n_classes, columns)
    texts = [r for r in document.select({"type": bokeh.models.GlyphRenderer}) if type(r.glyph) is bokeh.models.Text]
    if n_classes == 20:
        assert texts == []
        return
    data = texts[0].data_source.data
    assert [name.partition(" ")[0] for name in data["name"]] == [f"c{k}" for k in range(n_classes)]
    assert all(name.endswith(f" {k}") and len(name) == 16 for k, name in enumerate(data["name"]))
    for k in range(n_classes):
        assert [data["x"][k], data["y"][k]] in Y[k::n_classes].tolist()


def test_highlighted_scores_come_last_and_have_their_colors(rng, page):
    Y, scores = rng.normal(size=(50, 2)), rng.permutation(np.r_[np.arange(40.0), np.full(10, 1000.0)])
    scores[3], scores[4] = np.inf, np.nan
    names, features = [f"r{k}" for k in range(50)], {"first": Y[:, 0]}
    EmbeddingDisplay(Y, scores, label_name="score", highlight=True).to_html(page, names=names, features=features)
    document, columns = content(page), shown(page)
    low, high = limits_of_scores(scores)
    values = np.array(columns["label"])
    known = values[~np.isnan(values)]
    assert (np.diff(known[:-1]) >= 0).all()
    assert known[-1] == np.inf
    (missing,) = np.flatnonzero(np.isnan(values))
    assert values[missing - 1] <= low < values[missing + 1]
    rows = np.array([int(name[1:]) for name in columns["row"]])  # all columns are in one order
    assert_array_equal(values, scores[rows])
    assert_allclose(np.column_stack([columns["x"], columns["y"]]), Y[rows], rtol=1e-6)
    assert_allclose(columns["feature_0"], Y[rows, 0], rtol=1e-6)
    bar = document.select_one({"type": bokeh.models.ColorBar})
    mapper = bar.color_mapper
    assert (mapper.low, mapper.high, mapper.nan_color) == (low, high, UNSCORED)
    assert list(mapper.palette) == color_scale()
    assert bar.formatter.args == {"low": low, "high": high, "below": True, "above": True}
    assert_allclose(bar.ticker.ticks, np.linspace(low, high, 5))
    points = document.select_one({"type": bokeh.models.GlyphRenderer})
    assert (points.glyph.fill_color.field, points.glyph.fill_color.transform) == ("label", mapper)
    assert points.glyph.fill_alpha == 1.0
    assert points.selection_glyph.line_color.value == INK
    assert document.select_one({"type": bokeh.models.Select}) is None


def test_scores_of_a_page_may_be_a_sample(rng, page, monkeypatch):
    monkeypatch.setattr(plotting.embedding, "MAX_MARKS", 30)
    scores = rng.permutation(100)
    with pytest.warns(UserWarning, match="the plot shows a random sample of 30 of the 100 points"):
        EmbeddingDisplay(np.c_[scores, scores], scores, highlight=True).to_html(page)
    columns = shown(page)
    assert_array_equal(columns["label"], columns["x"])
    assert_array_equal(columns["label"], scores[columns["row"]])
    assert (np.diff(columns["label"]) > 0).all()


def test_only_numbers_are_highlighted(rng, page):
    with pytest.raises(TypeError, match="y holds 'a', must hold numbers to highlight the high ones, not str"):
        EmbeddingDisplay(rng.normal(size=(2, 2)), ["a", "b"], highlight=True).to_html(page)
    with pytest.raises(ValueError, match="highlight == True, must be False without y"):
        EmbeddingDisplay(rng.normal(size=(2, 2)), highlight=True).to_html(page)
    assert not page.exists()


SCORES = {"a score": np.array([0.0, 5.0, 1.0, np.nan, 0.0, np.inf]), "significance": np.linspace(1.0, 0.0, 6)}


def test_readers_choose_what_colors_the_points(rng, page):
    Y = rng.normal(size=(6, 2))
    draw_page(page, Y, np.array(list("ababab")), "letter", {"id": [f"r{k}" for k in range(6)]}, SCORES)
    document, columns = content(page), shown(page)
    select = document.select_one({"type": bokeh.models.Select})
    assert select.options == [["label", "letter"], ["score_0", "a score"], ["score_1", "significance"]]
    assert (select.title, select.value) == ("Color by", "label")
    assert columns["row"] == [f"r{k}" for k in range(6)]
    assert_array_equal(columns["score_0"], SCORES["a score"])
    assert_array_equal(columns["place"], np.arange(6))
    headings = re.findall("<div>([^:]*): ", str(document.select_one({"type": bokeh.models.HoverTool}).tooltips))
    assert headings == ["row", "letter", "a score", "significance"]
    (choose,) = select.js_property_callbacks["change:value"]
    choices = choose.args["choices"]
    legend = document.select_one({"type": bokeh.models.Legend})
    bars = {bar.title: bar for bar in document.select({"type": bokeh.models.ColorBar})}
    assert list(choices) == ["label", "score_0", "score_1"]
    assert [choice["beside"] for choice in choices.values()] == [[legend], [bars["a score"]], [bars["significance"]]]
    assert [choice["score"] for choice in choices.values()] == [None, "score_0", "score_1"]
    assert [choice["color"]["field"] for choice in choices.values()] == list(choices)
    assert [choice["beside"][0].visible for choice in choices.values()] == [True, False, False]
    assert (bars["significance"].color_mapper.low, bars["significance"].color_mapper.high) == (0.05, 1.0)
    assert sorted(box.title for box in document.select({"type": bokeh.models.TextInput})) == ["Find letter", "Find row"]


@pytest.mark.parametrize("labels", [None, [f"c{k}" for k in range(60)]])
def test_scores_color_a_page_without_colors_of_labels(rng, page, labels):
    scores = {name: np.tile(values, 10) for name, values in SCORES.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draw_page(page, rng.normal(size=(60, 2)), None if labels is None else np.array(labels), "label", {}, scores)
    document, columns = content(page), shown(page)
    select = document.select_one({"type": bokeh.models.Select})
    assert select.options == [["score_0", "a score"], ["score_1", "significance"]]
    assert select.value == "score_0"
    assert_array_equal(columns["place"], columns["row"])
    assert_array_equal(columns["score_0"], scores["a score"][columns["row"]])
    assert columns["score_0"][-1] == np.inf
    assert [bar.visible for bar in document.select({"type": bokeh.models.ColorBar}) if bar.title == "a score"] == [True]
    assert document.select_one({"type": bokeh.models.GlyphRenderer}).glyph.fill_color.field == "score_0"


def test_names_in_the_map_belong_to_the_labels(rng, page):
    draw_page(page, rng.normal(size=(30, 2)), np.array([f"c{k}" for k in range(30)]), "c", {}, {"a": np.arange(30.0)})
    document = content(page)
    (texts,) = [r for r in document.select({"type": bokeh.models.GlyphRenderer}) if type(r.glyph) is bokeh.models.Text]
    (callback,) = [code for code in document.select({"type": bokeh.models.CustomJS}) if code.code == CHOOSE]
    assert texts in callback.args["choices"]["label"]["beside"]


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js, which runs the page's code")


def run_by_node(code):
    """Return the value of ``result``, which the code sets."""
    script = f"let result\n{code}\nconsole.log(JSON.stringify(result))"
    return json.loads(subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout)


@needs_node
def test_a_choice_sorts_the_points_and_changes_their_colors():
    code = f"""
const place = Int32Array.of(2, 0, 1, 4, 3)
const data = {{place, s: Float32Array.of(1, NaN, Infinity, 0, 3), x: [20, 0, 10, 40, 30]}}
const source = {{data, selected: {{indices: [2, 3]}}}}  // the points in the places 1 and 4
const points = {{glyph: {{}}, selection_glyph: {{}}}}
const models = [{{}}, {{}}]
const choices = {{
    label: {{score: null, low: 0, color: "c", alpha: 0.5, outline: "o", beside: [models[0]]}},
    s: {{score: "s", low: 2, color: "d", alpha: 1, outline: "p", beside: [models[1]]}},
}}
const choose = (value) => {{
    const select = {{value}}
    {CHOOSE}
    const columns = Object.values(source.data).map((column) => [...column].map(String))
    const parts = [columns, points.glyph, points.selection_glyph, models, source.selected.indices]
    return parts.map((part) => JSON.stringify(part))
}}
result = [choose("s"), choose("label")]
"""
    scores, labels = ([json.loads(part) for part in parts] for parts in run_by_node(code))
    assert scores[0] == [["4", "2", "0", "3", "1"], ["0", "1", "NaN", "3", "Infinity"], ["40", "20", "0", "30", "10"]]
    assert scores[1:] == [
        {"fill_color": "d", "fill_alpha": 1},
        {"fill_color": "d", "fill_alpha": 1, "line_color": "p"},
        [{"visible": False}, {"visible": True}],
        [0, 4],
    ]
    assert labels[0] == [["0", "1", "2", "3", "4"], ["NaN", "Infinity", "1", "3", "0"], ["0", "10", "20", "30", "40"]]
    assert labels[1]["fill_color"] == "c"
    assert labels[3:] == [[{"visible": True}, {"visible": False}], [1, 4]]


@needs_node
@pytest.mark.parametrize("beyond", ["true", "false"])
def test_the_color_bar_says_that_scores_lie_beyond_it(beyond):
    code = f"""
const format = new Function("tick", "low", "high", "below", "above", {json.dumps(BEYOND)})
result = [0.5, 1 / 3, 12345.678].map((tick) => format(tick, 0.5, 12345.678, {beyond}, {beyond}))
"""
    expected = ["≤ 0.5", "0.333", "≥ 12300"] if beyond == "true" else ["0.5", "0.333", "12300"]
    assert run_by_node(code) == expected


def test_more_points_than_can_be_shown_are_a_sample(rng, page):
    Y = np.arange(200_010)[:, None] * np.ones(2)
    with pytest.warns(UserWarning, match="the plot shows a random sample of 200000 of the 200010 points"):
        EmbeddingDisplay(Y).to_html(page)
    data = content(page).select_one({"name": "points"}).data
    assert len(data["x"]) == 200_000
    assert_array_equal(data["row"], data["x"])


@pytest.mark.parametrize("d", [1, 3])
def test_other_numbers_of_components_are_refused(rng, page, d):
    with pytest.raises(ValueError, match=rf"embedding has {d} components?, must have 2"):
        EmbeddingDisplay(rng.normal(size=(5, d))).to_html(page)


def test_columns_that_do_not_fit_are_refused(rng, page):
    display = EmbeddingDisplay(rng.normal(size=(5, 2)))
    with pytest.raises(ValueError, match=r"names has the shape \(4,\), must have \(5,\)"):
        display.to_html(page, names=list("abcd"))
    with pytest.raises(ValueError, match=r"features\['a'\] has the shape \(3,\)"):
        display.to_html(page, features={"a": [1, 2, 3]})
    with pytest.raises(TypeError, match="features is a ndarray, must be a DataFrame or a dict"):
        display.to_html(page, features=np.ones((5, 2)))


def test_the_error_without_bokeh_says_how_to_get_it(rng, page, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bokeh.embed", None)
    with pytest.raises(ImportError, match=r'pip install "sktsne\[interactive\]"'):
        EmbeddingDisplay(rng.normal(size=(5, 2))).to_html(page)


def test_a_title_may_be_a_number(rng, page):
    EmbeddingDisplay(rng.normal(size=(5, 2))).to_html(page, title=2024)
    assert "<title>2024</title>" in re.sub(r"\s", "", page.read_text())


def test_text_of_the_user_is_text(rng, page):
    display = EmbeddingDisplay(rng.normal(size=(5, 2)), [EVIL] * 5, label_name=EVIL)
    display.to_html(page, names=[EVIL] * 5, features={EVIL: [EVIL] * 5}, title=EVIL)
    assert "<script>window.evil" not in page.read_text()


# The browser

# All text on the page; Bokeh's widgets are in trees of their own.
TEXT = """(() => {
    const within = (root) => [...root.querySelectorAll("*")].flatMap((e) => e.shadowRoot ? within(e.shadowRoot) : [e])
    return within(document).map((e) => e.tagName === "DIV" ? e.textContent : "").join("|")
})()"""

needs_browser = pytest.mark.skipif(find_browser() is None, reason="there is no Chromium; CHROMIUM may name one")


def is_near(picture, color):
    """Return which pixels have a color, but for smooth edges."""
    return np.abs(picture - rgb(color)).max(axis=2) < 15


def shares(picture, color):
    return float(is_near(picture, color).mean())


@needs_browser
def test_seventy_thousand_points_in_a_browser(rng, page):
    """Classes are where they should be, a search fades the others, tooltips tell of points, and nothing is fetched."""
    sides = ["east", "north", "south", "west"]
    places = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, -3.0], [-3.0, 0.0]])
    y = rng.integers(4, size=70_000)
    Y = places[y] + rng.uniform(-1.0, 1.0, size=(70_000, 2))
    names = np.array([f"{sides[code][0]}{row}" for row, code in enumerate(y)])
    features = {EVIL: Y[:, 0], "kind": [EVIL] * len(y)}
    EmbeddingDisplay(Y, np.array(sides)[y], label_name="side").to_html(page, names=names, features=features, title=EVIL)
    colors = PALETTES[0][:4]
    with Browser(page, 1000, 800) as browser:
        picture = browser.screenshot()
        frame = picture[120:, :880]
        found = [np.argwhere(is_near(frame, color)) for color in colors]
        assert min(map(len, found)) > 10_000
        centers = np.array([pixels.mean(axis=0)[::-1] for pixels in found]) * [
            1.0,
            -1.0,
        ]  # the first row is the highest
        centers -= centers.mean(axis=0)
        assert_allclose(centers / np.linalg.norm(centers, axis=1).mean(), places / 3.0, atol=0.02)
        assert shares(picture, FADED) < 0.005

        row, column = (int(place) for place in np.add(found[0].mean(axis=0), [120, 0]))
        browser.move(column, row)
        browser.move(column + 5, row)
        change = (browser.screenshot() != picture).any(axis=2)
        assert change[row - 50 : row + 50, column - 200 : column + 200].mean() > 0.2
        browser.move(5, 5)

        browser.type_into(0, "OUT")
        picture = browser.screenshot()
        east, north, south, west, faded = (shares(picture, color) for color in (*colors, FADED))
        assert south > 0.02
        assert max(east, north, west) < 0.001
        assert faded > 0.08
        browser.type_into(0, "")
        browser.type_into(1, names[0].upper())
        one = browser.screenshot()[120:, :880]
        assert 20 < is_near(one, colors[y[0]]).sum() < 100
        assert shares(one, FADED) > 0.12
        browser.type_into(1, "nothing of the kind")
        none = browser.screenshot()[120:, :880]
        assert max(shares(none, color) for color in colors) == 0.0
        browser.type_into(1, "")
        for alone in (True, False):  # a click on "east" in the legend searches for it, a second one ends that
            browser.click(910, 141)
            picture = browser.screenshot()[120:, :880]
            assert shares(picture, colors[0]) > 0.02
            assert (shares(picture, colors[1]) < 0.001) == alone
        browser.wheel(column, row, 3)
        assert np.ptp(np.argwhere(is_near(browser.screenshot(after=800)[120:, :880], colors[0]))[:, 1]) > 250

        assert browser.evaluate("window.evil") is None
        assert browser.requests == [page.resolve().as_uri()]
        assert browser.errors == []


@needs_browser
@pytest.mark.parametrize("labels", [np.repeat(["cat", "dog"], 15), np.linspace(0, 1, 30)])
def test_what_is_beside_the_frame_does_not_touch_it(rng, page, labels):
    EmbeddingDisplay(rng.normal(size=(30, 2)), labels, label_name="a name").to_html(page)
    with Browser(page, 1000, 800) as browser:
        picture = browser.screenshot()
    is_frame = is_near(picture, "#cccccc")
    right = is_frame[600, :950].nonzero()[0].max()
    assert right > 500
    top, bottom = is_frame[:, right].nonzero()[0][[0, -1]]
    assert bottom - top > 600
    assert is_frame[top:bottom, right].all()
    assert is_near(picture[top:bottom, right + 2 : right + 8], "#ffffff").all()


@needs_browser
def test_rows_are_found_by_the_numbers_that_tooltips_show(rng, page):
    """Names that are floating-point numbers, beside one another so closely that 32 bits or six digits merge them."""
    names = np.array([0.1, 0.12345678, 0.12345679, 1e-50, 20240101.0, 2.5])
    EmbeddingDisplay(rng.normal(size=(6, 2))).to_html(page, names=names)
    with Browser(page, 600, 500) as browser:
        for text in ("0.1", "0.12345678", "0.12345679", "1e-50", "20240101", "2.5"):
            browser.type_into(0, text)
            browser.screenshot()
            assert "1 of 6 points" in browser.evaluate(TEXT)
        code = json.dumps(NUMBER)
        texts = {"20240101": "20240101", "1e-50": "1e-50", "1/3": "0.333333", "20240101.25": "20240101.25"}
        for value, text in (texts | {"NaN": "NaN", "-Infinity": "-Infinity"}).items():
            assert browser.evaluate(f"new Function('value', {code})({value})") == text
        assert browser.errors == []


@needs_browser
def test_tooltips_show_dates_and_missing_values(rng, page):
    """The tooltips over one point hold what its columns hold."""
    columns = {"day": np.array(["2024-01-02"], dtype="M8[D]"), "empty": [None], "id": [20240101], "small": [1e-50]}
    EmbeddingDisplay([[0.0, 0.0]]).to_html(page, features=columns)
    with Browser(page, 600, 500) as browser:
        picture = browser.screenshot()
        row, column = np.argwhere(is_near(picture, PALETTES[0][0])).mean(axis=0)
        browser.move(float(column) + 3.0, float(row))
        browser.move(float(column), float(row))
        browser.screenshot()
        text = browser.evaluate(TEXT)
        assert "day: 2024-01-02" in text
        assert "empty: (missing)" in text
        assert "id: 20240101" in text
        assert "small: 1e-50" in text
