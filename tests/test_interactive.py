"""The page of a map: what its file holds, and what a browser makes of it."""

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from browser import Browser, find_browser
from numpy.testing import assert_allclose, assert_array_equal

from sktsne import EmbeddingDisplay
from sktsne.plotting.interactive import FADED
from sktsne.plotting.labels import PALETTES

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
    data = document.select_one({"type": bokeh.models.ColumnDataSource}).data
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


def test_names_that_are_too_many_for_colors_can_be_searched(rng, page):
    with pytest.warns(UserWarning, match="30 classes are too many to color"):
        EmbeddingDisplay(rng.normal(size=(90, 2)), [f"c{k % 30}" for k in range(90)]).to_html(page)
    boxes = content(page).select({"type": bokeh.models.TextInput})
    assert sorted(box.title for box in boxes) == ["Find label", "Find row"]


def test_more_points_than_can_be_shown_are_a_sample(rng, page):
    Y = np.arange(200_010)[:, None] * np.ones(2)
    with pytest.warns(UserWarning, match="of 200010 points, the plot shows a random sample of 200000"):
        EmbeddingDisplay(Y).to_html(page)
    data = content(page).select_one({"type": bokeh.models.ColumnDataSource}).data
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


def test_text_of_the_user_is_text(rng, page):
    display = EmbeddingDisplay(rng.normal(size=(5, 2)), [EVIL] * 5, label_name=EVIL)
    display.to_html(page, names=[EVIL] * 5, features={EVIL: [EVIL] * 5}, title=EVIL)
    assert "<script>window.evil" not in page.read_text()


# The browser

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
