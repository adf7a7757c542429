"""Displays: what is drawn where, in which colors, and how many points it takes."""

import datetime
import re
import sys
import types
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE, EmbeddingDisplay, plotting
from sktsne.metrics import point_costs, rnx_auc, rnx_curve, trustworthiness_scorer
from sktsne.plotting import FrameRecorder, RNXDisplay, plot_perplexities, plot_reliability
from sktsne.plotting.labels import HIGHLIGHTS, UNSCORED, color_scale, limits_of_scores

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
FAST = {"perplexity": 5.0, "max_iter": 60, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4)) + 8.0 * (np.arange(60) < 30)[:, None]


@pytest.fixture(autouse=True)
def figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def million():
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=1_000_000)
    return rng.normal(scale=10.0, size=(10, 2))[classes] + rng.normal(size=(1_000_000, 2)), classes


def rgb(color):
    return matplotlib.colors.to_rgb(color)


# Displays


@pytest.mark.parametrize("n_classes", [1, 2, 8, 9, 10, 11, 20, 21, 30, 50])
def test_points_lie_at_the_embedding_in_the_colors_of_their_classes(rng, n_classes):
    Y, y = rng.normal(size=(100, 2)), np.arange(100) % n_classes
    display = EmbeddingDisplay.from_embedding(Y, y.astype(str), label_name="kind")
    assert_array_equal(display.points_.get_offsets(), Y)
    colors = display.points_.get_facecolors()
    assert len(np.unique(colors, axis=0)) == n_classes
    marks = display.legend_.get_lines()
    assert_allclose(colors[:n_classes, :3], [rgb(mark.get_color()) for mark in marks])
    assert_array_equal(colors, colors[y])
    assert [text.get_text() for text in display.legend_.get_texts()] == [str(k) for k in range(n_classes)]
    assert display.legend_.get_title().get_text() == "kind"
    assert display.colorbar_ is None


@pytest.mark.parametrize("n_classes", [12, 50])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("own_axes", [False, True])
def test_the_legend_covers_nothing_of_the_map(rng, own_axes, d, n_classes):
    projection = "3d" if d == 3 else None
    ax = plt.figure(layout="constrained").add_subplot(2, 2, 1, projection=projection) if own_axes else None
    y = [f"class {k % n_classes}" for k in range(100)]
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(100, d)), y, ax=ax)
    display.figure_.canvas.draw()
    if own_axes and n_classes == 50:
        assert display.legend_ is None  # the names in the map must do
        return
    legend, box = display.legend_.get_window_extent(), display.ax_.get_window_extent()
    assert legend.x0 >= box.x1
    assert own_axes or legend.x1 <= display.figure_.bbox.x1
    assert display.ax_ is ax or not own_axes


def test_axes_have_one_scale_and_no_ticks(rng):
    ax = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 2)) * [1.0, 5.0]).ax_
    ax.figure.canvas.draw()
    assert ax.get_aspect() == 1.0
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_numbers_are_a_scale_and_nan_is_gray(rng):
    values = rng.normal(size=100)
    values[3] = np.nan
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 2)), values, label_name="a $ value")
    assert display.legend_ is None
    assert display.colorbar_.ax.get_ylabel() == "a $ value"
    display.figure_.canvas.draw()
    assert_allclose(display.points_.get_facecolors()[3, :3], rgb("0.8"))
    assert_allclose(display.points_.get_clim(), [np.nanmin(values), np.nanmax(values)])


# Labels of any type


class Color(Enum):
    RED = 2
    BLUE = 1


DAYS = np.arange("2024-01-01", "2024-02-20", dtype="M8[D]")
DATES = [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=k) for k in range(50)]


def read(y):
    """Return the names of the classes in the legend, and that of each row by its color."""
    Y = np.random.default_rng(0).normal(size=(len(y), 2))
    display = EmbeddingDisplay.from_embedding(Y, y)
    classes = [text.get_text() for text in display.legend_.get_texts()]
    colors = [rgb(mark.get_color()) for mark in display.legend_.get_lines()]
    return classes, [classes[colors.index(rgb(color))] for color in display.points_.get_facecolors()]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["3.1", "3.10", "3.9"], ["3.1", "3.9", "3.10"]),
        (["3.11", "3.9", "3.10"], ["3.9", "3.10", "3.11"]),
        (["1", "1.0", "01"], ["01", "1", "1.0"]),
        (["0.5", "0.25", "1.0", "-1"], ["-1", "0.25", "0.5", "1.0"]),
        (["c10", "c9", "c1"], ["c1", "c9", "c10"]),
        (["1_1", "11"], ["1_1", "11"]),
        (np.array(["10", "9", "nan"]), ["9", "10", "nan"]),
        ([1, "1", True, 1.0], ["1", "'1'", "True"]),
        ([b"a", b"b"], ["a", "b"]),
        (np.array([b"a", b"b"]), ["a", "b"]),
        ([b"a", "a"], ["'a'", "b'a'"]),
        ([("a", 10), ("a", 2)], ["('a', 2)", "('a', 10)"]),
        ([Color.BLUE, Color.RED], ["Color.RED", "Color.BLUE"]),
        ([Decimal("2.50"), Decimal("2.5"), Decimal("1")], ["1", "2.50"]),
        ([2**70 + 1, 2**70], [str(2**70), str(2**70 + 1)]),
        ([2**53 + 1, 2**53, 0.5], ["0.5", str(2**53), str(2**53 + 1)]),
        (np.array([1234567.0, 1234568.0]), ["1234567", "1234568"]),
        ([0.1234567, 0.1234568], ["0.1234567", "0.1234568"]),
        (np.array([0.1, 1 / 3], dtype=np.float32), ["0.1", "0.333333"]),
        (np.array([True, False]), ["False", "True"]),
        (["", "a"], ["(empty)", "a"]),
        (DAYS[1::-1], ["2024-01-01", "2024-01-02"]),
        (np.array(["2024-03", "2024-02"], dtype="M8[M]"), ["2024-02", "2024-03"]),
        (DATES[:2], ["2024-01-01", "2024-01-02"]),
        ([datetime.datetime(2024, 1, 1, 12), datetime.datetime(2024, 1, 2)], ["2024-01-01 12:00", "2024-01-02 00:00"]),
        (np.array([36, 1], dtype="m8[h]"), ["1 h", "36 h"]),
        ([datetime.timedelta(days=2)], ["2 d"]),
        ([0.0, np.inf], ["0", "inf"]),
        ([["x", "y"], ["x"]], ["['x']", "['x', 'y']"]),
    ],
    ids=str,
)
def test_classes_are_what_was_given(y, classes):
    found, of_rows = read(y)
    assert found == classes
    assert len(set(of_rows)) == len(classes)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), np.ma.masked])
@pytest.mark.parametrize(
    "values", [["b", "a"], [0, 1], [0.5, 1.5], [True, False], DATES[:2], [("a",), ("b",)]], ids=str
)
def test_missing_labels_are_one_gray_class_at_the_end(rng, values, missing):
    y = [values[0], missing, values[1], None]
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(4, 2)), y)
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert len(names) == 3
    assert names[-1] == "(missing)"
    colors = display.points_.get_facecolors()
    assert_allclose(colors[[1, 3], :3], [rgb(plotting.labels.UNKNOWN)] * 2)
    assert not np.isclose(colors[[0, 2], :3], rgb(plotting.labels.UNKNOWN)).all(axis=1).any()


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([0.0, np.nan, 1.0]), ["0", "1"]),
        (np.ma.array([5, 6, 7], mask=[False, True, False]), ["5", "7"]),
        (np.ma.array(DAYS[:3].astype("M8[ns]"), mask=[False, True, False]), ["2024-01-01", "2024-01-03"]),
        (np.array(["2024-01-01", "NaT"], dtype="M8[ns]"), ["2024-01-01"]),
        ([Decimal("NaN"), Decimal("sNaN"), Decimal(1)], ["1"]),
        ([np.nan] * 3, []),
    ],
    ids=str,
)
def test_missing_labels_of_arrays(y, classes):
    assert read(y)[0] == [*classes, "(missing)"]


def test_labels_of_pandas():
    pd = pytest.importorskip("pandas")
    missing = "(missing)"
    ordered = pd.CategoricalDtype(["low", "mid", "high", "unused"], ordered=True)
    examples = [
        (pd.Series([1234568, 1234567, None], dtype="Int64"), ["1234567", "1234568", missing]),
        (pd.Series([True, None, False], dtype="boolean"), ["False", "True", missing]),
        (pd.Series(["a", None, "b"], dtype="string"), ["a", "b", missing]),
        (np.array([pd.NA, None, np.nan, pd.NaT, "a"], dtype=object), ["a", missing]),
        (pd.Series(["high", None, "low", "mid"], dtype=ordered), ["low", "mid", "high", missing]),
        (pd.Categorical(["high", "low"], dtype=ordered), ["low", "high"]),
        (pd.Series(pd.Categorical([1, 2, 3], categories=[3, 1, 2], ordered=True)), ["3", "1", "2"]),
        (pd.Categorical(DATES[:2], categories=DATES[1::-1], ordered=True), ["2024-01-02", "2024-01-01"]),
        (
            pd.cut(pd.Series([11, 1, None, 5]), [0.0, 2.0, 4.0, 6.0, 10.0, 12.0]),
            ["(0.0, 2.0]", "(4.0, 6.0]", "(10.0, 12.0]", missing],
        ),
        (pd.IntervalIndex.from_breaks([0, 2, 10, 12])[[2, 0, 1]], ["(0, 2]", "(2, 10]", "(10, 12]"]),
        (pd.period_range("2020-01", periods=2, freq="Q"), ["2020Q1", "2020Q2"]),
        (pd.Series(DATES[:2]).dt.tz_localize("UTC"), ["2024-01-01", "2024-01-02"]),
        (pd.Series([pd.Timedelta("1D"), pd.NaT]), ["1 d", missing]),
        (pd.MultiIndex.from_tuples([("b", 1), ("a", 2)]), ["('a', 2)", "('b', 1)"]),
        (pd.DataFrame({"kind": ["a", "b"]}), ["a", "b"]),
    ]
    for y, classes in examples:
        assert read(y)[0] == classes


def test_labels_of_polars():
    pl = pytest.importorskip("polars")
    assert read(pl.Series(["a10", None, "a9"]))[0] == ["a9", "a10", "(missing)"]
    assert read(pl.Series([2**60 + 1, 2**60, None]))[0] == [str(2**60), str(2**60 + 1), "(missing)"]
    assert read(pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a", "c"])))[0] == ["b", "a", "(missing)"]
    assert read(pl.Series([True, None]))[0] == ["True", "(missing)"]
    assert read(pl.Series([1.5, None, np.nan]))[1] == ["1.5", "(missing)", "(missing)"]
    nanoseconds = pl.Series(np.array([1, 2], dtype="M8[ns]"))
    assert read(nanoseconds)[0] == [f"1970-01-01 00:00:00.00000000{k}" for k in (1, 2)]
    assert plotting.labels.read_labels(pl.Series([*DATES, None]), None).unit == "date"


def test_labels_of_pyarrow():
    pa = pytest.importorskip("pyarrow")
    assert read(pa.array(["b", None, "a"]))[0] == ["a", "b", "(missing)"]
    assert read(pa.array([2**60 + 1, 2**60, None]))[0] == [str(2**60), str(2**60 + 1), "(missing)"]
    ordered = pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), pa.array(["z", "a"]), ordered=True)
    assert read(ordered)[0] == ["z", "a", "(missing)"]
    assert read(pa.chunked_array([ordered, ordered]))[1] == ["a", "z", "(missing)"] * 2
    assert plotting.labels.read_labels(pa.array([*DATES, None]), None).unit == "date"


def dates_of_pandas(kind):
    pd = pytest.importorskip("pandas")
    dates = pd.Series([*DATES, pd.NaT])
    return {
        "timestamps": lambda: dates,
        "zone": lambda: dates.dt.tz_localize("America/New_York"),
        "periods": lambda: dates.dt.to_period("D"),
    }[kind]()


@pytest.mark.parametrize("kind", ["numpy", "python", "days", "timestamps", "zone", "periods"])
def test_dates_are_a_scale_with_a_bar_that_can_be_read(rng, kind):
    if kind in ("numpy", "python", "days"):
        lists = {"python": [*DATES, None], "days": [*(day.date() for day in DATES), None]}
        y = lists.get(kind, np.append(DAYS, np.datetime64("NaT")).astype("M8[ns]"))
    else:
        y = dates_of_pandas(kind)
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(51, 2)), y)
    display.figure_.canvas.draw()
    days = matplotlib.dates.date2num(DAYS)
    assert_allclose(display.points_.get_array()[:50], days)
    assert_allclose(display.points_.get_clim(), days[[0, -1]])
    assert_allclose(display.points_.get_facecolors()[50, :3], rgb(plotting.labels.UNKNOWN))
    ticks = [text.get_text() for text in display.colorbar_.ax.get_yticklabels()]
    assert len(ticks) >= 3
    assert all(re.fullmatch(r"2024-0[12](-\d\d)?", tick) for tick in ticks)


@pytest.mark.parametrize(
    ("far", "tick"), [("0000-12-31", "500 year"), ("-5000-01-01", "-5000 year"), ("30000-01-01", "30000 year")]
)
def test_dates_beyond_the_calendar_are_a_scale_of_years(rng, far, tick):
    y = np.append(DAYS, np.array([far, "NaT"], dtype="M8[D]"))
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(len(y), 2)), y)
    display.figure_.canvas.draw()
    assert_array_equal(display.points_.get_array(), [*[2024] * len(DAYS), int(far[:-6]), np.nan])
    ticks = [text.get_text() for text in display.colorbar_.ax.get_yticklabels()]
    assert tick in [text.replace("\N{MINUS SIGN}", "-") for text in ticks]  # as newer versions of matplotlib write it


@pytest.mark.parametrize("end", ["0001-01-01", "9999-12-31"])
def test_dates_at_the_ends_of_the_calendar_are_dates(rng, end):
    y = np.append(DAYS, np.array(end, dtype="M8[D]"))
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(len(y), 2)), y)
    display.figure_.canvas.draw()
    assert display.points_.get_array()[-1] == matplotlib.dates.date2num(y[-1])
    assert len(display.colorbar_.ax.get_yticklabels()) >= 3


def test_the_bar_of_durations_has_their_unit(rng):
    y = np.append(np.arange(30), np.datetime64("NaT").astype(int)).astype("m8[m]")
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(31, 2)), y)
    display.figure_.canvas.draw()
    assert_allclose(display.points_.get_array()[:30], np.arange(30))
    ticks = [text.get_text() for text in display.colorbar_.ax.get_yticklabels()]
    assert {"10 min", "20 min"} <= set(ticks)


@pytest.mark.parametrize("density", [False, True])
def test_an_infinite_value_is_at_the_end_of_the_scale(rng, density):
    values = np.append(np.arange(51.0), np.inf)
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(52, 2)), values, density=density)
    assert display.legend_ is None
    assert_allclose(display.points_.get_clim(), (0.0, 50.0))
    if not density:
        display.figure_.canvas.draw()
        colors = display.points_.get_facecolors()
        assert_array_equal(colors[51], colors[50])


def test_texts_that_are_numbers_are_no_scale(rng):
    with pytest.warns(UserWarning, match="60 classes are too many to color"):
        EmbeddingDisplay.from_embedding(rng.normal(size=(60, 2)), [f"{k // 5}_{k % 5}" for k in range(60)])
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(30, 2)), [str(k) for k in range(30)])
    assert [text.get_text() for text in display.legend_.get_texts()] == [str(k) for k in range(30)]


def test_texts_of_a_file_may_be_a_scale(rng, tmp_path):
    Y = rng.normal(size=(30, 2))
    plotting.embedding.draw(tmp_path / "map.png", Y, np.array([f"{k / 7:.3f}" for k in range(30)]))  # does not warn
    with pytest.warns(UserWarning, match="60 classes are too many to color"):
        plotting.embedding.draw(tmp_path / "map.png", np.tile(Y, (2, 1)), np.array([f"{k}_0" for k in range(60)]))


def test_values_of_nullable_columns_and_decimals_are_a_scale(rng):
    for y in ([*range(30), None], [*map(Decimal, range(30)), None]):
        labels = plotting.labels.read_labels(y, None)
        assert_array_equal(labels.values, [*range(30), np.nan])


# Marks, colors and legends


def test_palettes_can_be_told_apart_by_the_color_blind():
    """Distances are CIEDE2000, seen through the matrices of Machado, Oliveira and Fernandes (2009)."""
    color = pytest.importorskip("skimage.color")
    views = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    for palette in plotting.labels.PALETTES[:2]:
        colors = np.array([rgb(name) for name in (*palette, plotting.labels.UNKNOWN)])
        linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
        for view in (np.eye(3), *map(np.array, views.values())):
            seen = np.clip(linear @ view.T, 0.0, 1.0)
            lab = color.xyz2lab((seen @ np.array(color.colorconv.xyz_from_rgb).T)[None])[0]
            distances = color.deltaE_ciede2000(lab[:, None], lab[None])
            assert distances[np.triu_indices(len(lab), 1)].min() > 10.0


def test_palettes_can_be_told_apart():
    """Distances are CIEDE2000, also from white; those of neighbors in matplotlib's tab20 are 12."""
    color = pytest.importorskip("skimage.color")
    for palette, least in zip(plotting.labels.PALETTES, (20.0, 15.0, 12.0, 13.5), strict=True):
        lab = color.rgb2lab(np.array([rgb(name) for name in (*palette, plotting.labels.UNKNOWN, "w")])[None])[0]
        distances = color.deltaE_ciede2000(lab[:-1, None], lab[None])
        distances[-1, -1] = least  # the color of missing labels is near white
        assert distances[np.triu_indices(len(lab) - 1, 1, len(lab))].min() >= least


def test_no_palette_has_a_gray():
    for palette in plotting.labels.PALETTES:
        assert len(set(palette)) == len(palette)
        for color in map(rgb, palette):
            assert max(color) - min(color) > 0.1 or max(color) == 0.0


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("marker", ["x", "+", "1", "_", 2])
def test_unfilled_markers_are_drawn(rng, marker, d):
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(60, d)), np.arange(60) % 2, marker=marker, alpha=0.7)
    assert display.points_.get_linewidths()[0] > 0.3
    assert [mark.get_marker() for mark in display.legend_.get_lines()] == [marker] * 2
    assert [mark.get_alpha() for mark in display.legend_.get_lines()] == [0.7] * 2
    display.legend_.remove()
    display.figure_.canvas.draw()
    red, _, blue = np.moveaxis(np.asarray(display.figure_.canvas.buffer_rgba())[..., :3].astype(int), -1, 0)
    assert (blue - red > 50).sum() > 50  # the first class is blue, all that is no point is gray


def test_the_legend_has_the_marker_and_edges_of_the_points(rng):
    Y, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    display = EmbeddingDisplay.from_embedding(Y, y, marker="^", edgecolors="k", linewidths=1.5)
    for mark in display.legend_.get_lines():
        assert mark.get_marker() == "^"
        assert rgb(mark.get_markeredgecolor()) == (0.0, 0.0, 0.0)
        assert mark.get_markeredgewidth() == 1.5
    assert EmbeddingDisplay.from_embedding(Y, y, edgecolors="k").points_.get_linewidths()[0] > 0.0


def test_faces_without_color_leave_the_colors_to_the_edges(rng):
    Y, y = rng.normal(size=(60, 2)), np.arange(60) % 2
    display = EmbeddingDisplay.from_embedding(Y, y, facecolors="none")
    expected = [rgb(color) for color in plotting.labels.PALETTES[0][:2]]
    assert len(display.points_.get_facecolors()) == 0
    assert_allclose(display.points_.get_edgecolors()[:2, :3], expected)
    assert_allclose([rgb(mark.get_markeredgecolor()) for mark in display.legend_.get_lines()], expected)
    assert {mark.get_fillstyle() for mark in display.legend_.get_lines()} == {"none"}
    display = EmbeddingDisplay.from_embedding(Y, y, facecolors="none", edgecolors="red")
    assert_allclose(display.points_.get_edgecolors()[:, :3], [rgb("red")])
    assert [rgb(mark.get_markeredgecolor()) for mark in display.legend_.get_lines()] == [rgb("red")] * 2


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("given", ["color", "c", "colors", "numbers"])
def test_the_legend_has_the_colors_that_were_given(rng, given, d):
    y = np.arange(60) % 3
    colors = [np.array(["pink", "k", "c"])[k] for k in y]
    kwargs = {
        "color": {"color": "pink"},
        "c": {"c": "pink"},
        "colors": {"c": colors},
        "numbers": {"c": y * 1.0, "cmap": "plasma"},
    }[given]
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(60, d)), y, **kwargs)
    shown = [rgb(mark.get_color()) for mark in display.legend_.get_lines()]
    plasma = matplotlib.colormaps["plasma"]
    expected = {"colors": ["pink", "k", "c"], "numbers": [plasma(0.0), plasma(0.5), plasma(1.0)]}
    assert_allclose(shown, [rgb(color) for color in expected.get(given, ["pink"] * 3)], atol=0.01)


def test_colors_that_differ_within_a_class_have_no_legend(rng):
    Y, y = rng.normal(size=(60, 2)), np.arange(60) % 3
    display = EmbeddingDisplay.from_embedding(Y, y, c=Y[:, 0], label_name="first")
    assert display.legend_ is None
    assert display.colorbar_.ax.get_ylabel() == "first"
    assert_allclose(display.points_.get_array(), Y[:, 0])


@pytest.mark.parametrize("density", [False, True])
def test_a_color_map_colors_classes(rng, density):
    Y, y = rng.normal(size=(60, 2)), [["a", "b", "c", None][k % 4] for k in range(60)]
    for name, places in (("viridis", [0.0, 0.5, 1.0]), ("tab10", [0, 1, 2])):
        display = EmbeddingDisplay.from_embedding(Y, y, cmap=name, density=density)
        expected = [rgb(matplotlib.colormaps[name](place)) for place in places]
        assert_allclose([rgb(mark.get_color()) for mark in display.legend_.get_lines()], [*expected, rgb("0.8")])
        if not density:
            assert_allclose(display.points_.get_facecolors()[:3, :3], expected)


@pytest.mark.parametrize("name", ["a name of several words, " * 20, "x" * 500])
@pytest.mark.parametrize("kind", ["own", "given", "bar", "title"])
def test_long_names_leave_the_map_its_room(rng, name, kind):
    def size(text):
        y = Y[:, 0] if kind == "bar" else ["a", "b", text] * 20 if kind != "title" else ["a", "b", "c"] * 20
        ax = plt.figure(layout="constrained").add_subplot() if kind == "given" else None
        display = EmbeddingDisplay.from_embedding(Y, y, label_name=text if kind in ("bar", "title") else None, ax=ax)
        display.figure_.canvas.draw()
        box = display.ax_.get_window_extent()
        return np.array([box.width, box.height])

    Y = rng.normal(size=(60, 2))
    assert (size(name) > (0.6 if kind == "given" else 0.95) * size("c")).all()


def test_long_names_leave_a_panel_its_room():
    def width(name):
        displays = plot_perplexities(TSNE(**FAST), X, [2, 5], [name, "b"] * 30)
        displays[0].figure_.canvas.draw()
        return displays[0].ax_.get_window_extent().width

    assert width("a name of several words, " * 5) > 0.95 * width("a")


def test_long_names_stay_different(rng):
    y = [f"{'regulation of the response to ' * 5}{end}" for end in ("heat", "cold")]
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(2, 2)), y)
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert [name[-4:] for name in names] == ["cold", "heat"]


def test_a_legend_of_many_classes_leaves_a_strip_its_height(rng):
    strip = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 1)), np.arange(100) % 20)
    strip.figure_.canvas.draw()
    legend, box = strip.legend_.get_window_extent(), strip.ax_.get_window_extent()
    assert legend.y0 >= strip.figure_.bbox.y0
    assert box.height > 0.85 * strip.figure_.bbox.height


def test_a_pixel_of_missing_values_is_gray_and_missing_labels_lose_to_others():
    Y = np.repeat([[0.0, 0.0], [1.0, 0.5]], [50, 30], axis=0)
    values = np.append(np.full(50, np.nan), np.arange(30.0))
    points = EmbeddingDisplay.from_embedding(Y, values, density=True).points_
    shown = points.to_rgba(points.get_array())[points.get_alpha() > 0.0]
    assert_allclose(sorted(shown[:, :3].tolist())[1], rgb("0.8"))
    labels = [None] * 40 + ["a"] * 10 + [None] * 30
    image = EmbeddingDisplay.from_embedding(Y, labels, density=True).points_.get_array()
    rows, columns = np.nonzero(image[..., 3])
    expected = [rgb(plotting.labels.PALETTES[0][0]), rgb("0.8")]
    assert_allclose(image[rows, columns, :3][np.argsort(columns)], expected)


def test_too_many_classes_are_not_colored(rng):
    with pytest.warns(UserWarning, match="51 classes are too many to color; the plot can show 50"):
        display = EmbeddingDisplay.from_embedding(rng.normal(size=(102, 2)), [f"c{i % 51}" for i in range(102)])
    assert display.legend_ is display.colorbar_ is None
    assert display.names_ == []
    assert len(display.points_.get_facecolors()) == 1


@pytest.mark.parametrize("density", [False, True])
def test_names_of_many_classes_stand_at_a_point_in_the_middle_of_each(density):
    corners = np.array([[0.0, 0.4], [0.4, 1.0], [1.0, 0.0], [0.6, 0.5]])  # the median is (0.5, 0.45)
    y = np.repeat(np.arange(21), 4)
    Y = np.tile(corners, (21, 1)) + 3.0 * np.c_[y, y]
    names = np.array([f"{k}_{'x' * 20}${k}" for k in range(21)])
    display = EmbeddingDisplay.from_embedding(np.r_[Y, [[9.0, 0.0]]], [*names[y], None], density=density)
    assert_allclose([text.get_position() for text in display.names_], Y[3::4])
    assert [len(text.get_text()) for text in display.names_] == [16] * 21
    assert [text.get_text()[0] for text in display.names_][:10] == list("0123456789")
    assert all(text.get_text().endswith(f"${k}") for k, text in enumerate(display.names_))
    display.figure_.canvas.draw()
    assert EmbeddingDisplay.from_embedding(Y, names[y], legend=False).names_ == []
    assert EmbeddingDisplay.from_embedding(Y[:80], names[y[:80]]).names_ == []


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("n_classes", [8, 10, 20, 30])
def test_no_class_is_black_on_a_dark_map(rng, density, n_classes):
    y = [f"c{k % n_classes}" for k in range(60)]
    with plt.style.context("dark_background"):
        display = EmbeddingDisplay.from_embedding(rng.normal(size=(60, 2)), y, density=density)
        colors = np.array([rgb(mark.get_color()) for mark in display.legend_.get_lines()])
    assert len(np.unique(colors, axis=0)) == n_classes
    assert colors.max(axis=1).min() > 0.2
    with matplotlib.rc_context({"axes.facecolor": "none"}):  # which is no dark background
        display = EmbeddingDisplay.from_embedding(rng.normal(size=(60, 2)), y, density=density)
        assert ([rgb(mark.get_color()) for mark in display.legend_.get_lines()] == np.array(rgb("k"))).all(axis=1).any()


def test_names_in_the_map_stand_out_from_a_dark_map(rng):
    with plt.style.context("dark_background"):
        text = EmbeddingDisplay.from_embedding(rng.normal(size=(30, 2)), [f"c{k}" for k in range(30)]).names_[0]
        (halo,) = text.get_path_effects()
        assert rgb(text.get_color()) == rgb("w")
        assert rgb(halo._gc["foreground"]) == rgb("k")


def test_names_in_space_and_none_where_they_have_no_room(rng):
    y = [f"c{k % 30}" for k in range(60)]
    Y = rng.normal(size=(60, 3))
    texts = EmbeddingDisplay.from_embedding(Y, y).names_
    places = {text.get_text(): text.get_position_3d() for text in texts}
    assert len(places) == 30
    assert all((Y[int(name[1:]) :: 30] == place).all(axis=1).any() for name, place in places.items())
    assert EmbeddingDisplay.from_embedding(Y[:, :1], y).names_ == []
    displays = plot_perplexities(TSNE(**FAST), X, [2, 5], y)
    assert [len(display.ax_.texts) for display in displays] == [0, 0]
    assert len(displays[1].legend_.get_texts()) == 30
    recorder = FrameRecorder()
    recorder(1, 1.0, Y[:, :2])
    axes = plt.figure().add_subplot()
    recorder.animation(y, ax=axes)._draw_was_started = True  # matplotlib warns of an animation that nobody shows
    assert len(axes.texts) == 0


def test_categories_are_classes_though_they_are_numbers(rng):
    pd = pytest.importorskip("pandas")
    stores = 100 + np.arange(60) % 30
    Y = rng.normal(size=(60, 2))
    display = EmbeddingDisplay.from_embedding(Y, pd.Series(stores).astype("category"))
    assert [text.get_text() for text in display.legend_.get_texts()] == [str(store) for store in range(100, 130)]
    assert EmbeddingDisplay.from_embedding(Y, stores).legend_ is None
    assert EmbeddingDisplay.from_embedding(Y, pd.Categorical(np.arange(60))).colorbar_ is not None


def test_marks_are_fewer_pixels_the_more_points_there_are(rng):
    sizes, opacities = [], []
    for n in (50, 1000, 20_000, 200_000):
        points = EmbeddingDisplay.from_embedding(rng.normal(size=(n, 2))).points_
        sizes.append(points.get_sizes()[0])
        opacities.append(points.get_alpha())
    assert sizes == sorted(sizes, reverse=True)
    assert opacities == sorted(opacities, reverse=True)
    assert opacities[0] == 1.0
    assert min(opacities) >= 0.3


def test_arguments_of_matplotlib_win(rng):
    Y, values = rng.normal(size=(100, 2)), np.arange(100.0)
    points = EmbeddingDisplay.from_embedding(Y, values, s=7.0, alpha=0.5, cmap="magma", vmax=50.0, legend=False).points_
    assert points.get_sizes() == [7.0]
    assert points.get_alpha() == 0.5
    assert points.get_cmap().name == "magma"
    assert points.get_clim()[1] == 50.0
    image = EmbeddingDisplay.from_embedding(Y, density=True, cmap="magma", vmax=3).points_
    assert image.get_clim() == (1, 3)
    assert image.get_cmap().name == "magma"


def test_one_component_is_a_strip_and_three_a_space(rng):
    strip = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 1)), np.arange(100) % 3)
    assert_array_equal(strip.points_.get_offsets()[:, 0], np.ravel(strip.embedding))
    Y = rng.normal(size=(100, 3))
    space = EmbeddingDisplay.from_embedding(Y, np.arange(100) % 3)
    assert_array_equal(np.transpose(space.points_._offsets3d), Y)
    assert space.ax_.name == "3d"
    assert space.ax_.get_xlim()[0] <= Y[:, 0].min() < Y[:, 0].max() <= space.ax_.get_xlim()[1]
    with pytest.warns(UserWarning, match="the plot shows only the first two of 5 components"):
        first = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 5)))
    assert_array_equal(first.points_.get_offsets(), first.embedding[:, :2])


# Density


@pytest.mark.parametrize("colors", ["none", "classes", "values"])
def test_a_million_points_are_a_density(million, colors):
    Y, classes = million
    y = {"none": None, "classes": classes, "values": Y[:, 0]}[colors]
    display = EmbeddingDisplay.from_embedding(Y, y, label_name="label")
    display.figure_.canvas.draw()
    assert isinstance(display.points_, matplotlib.image.AxesImage)  # no marks, whose number would be that of the points
    image = display.points_.get_array()
    assert max(image.shape[:2]) == pytest.approx(500, abs=20)
    left, right, bottom, top = display.points_.get_extent()
    assert left < Y[:, 0].min() < Y[:, 0].max() < right
    assert bottom < Y[:, 1].min() < Y[:, 1].max() < top
    assert (right - left) / image.shape[1] == pytest.approx((top - bottom) / image.shape[0])
    if colors == "none":
        assert image.sum() == len(Y)
        assert isinstance(display.points_.norm, matplotlib.colors.LogNorm)
        assert display.colorbar_.ax.get_ylabel() == "points per pixel"
    elif colors == "classes":
        assert len(display.legend_.get_texts()) == 10
    else:
        assert display.colorbar_.ax.get_ylabel() == "label"
        centers = left + (np.arange(image.shape[1]) + 0.5) * (right - left) / image.shape[1]
        assert np.abs(image - centers).max() < (right - left) / image.shape[1]


def test_a_pixel_has_the_color_of_the_majority():
    Y = np.repeat([[0.0, 0.0], [1.0, 0.5]], [5, 3], axis=0)
    display = EmbeddingDisplay.from_embedding(Y, ["b", "b", "b", "a", "a", "b", "a", "a"], density=True)
    image = display.points_.get_array()
    rows, columns = np.nonzero(image[..., 3])
    assert_array_equal(np.argsort(columns), np.argsort(rows))
    palette = plotting.labels.PALETTES[0]
    assert_allclose(image[rows, columns, :3], [rgb(palette[1]), rgb(palette[0])])
    assert image[rows[0], columns[0], 3] == 1.0 > image[rows[1], columns[1], 3]


def test_density_of_a_strip_and_of_points_that_coincide(rng):
    strip = EmbeddingDisplay.from_embedding(rng.normal(size=(1000, 1)), density=True)
    assert strip.points_.get_array().shape[0] == 1
    assert strip.points_.get_array().sum() == 1000
    assert EmbeddingDisplay.from_embedding(np.zeros((10, 2)), density=True).points_.get_array().max() == 10


def test_a_space_of_many_points_shows_a_sample(rng, monkeypatch):
    monkeypatch.setattr(plotting.embedding, "MAX_MARKS", 50)
    Y, y = rng.normal(size=(100, 3)), np.arange(100) % 2
    with pytest.warns(UserWarning, match="the plot shows a random sample of 50 of the 100 points"):
        display = EmbeddingDisplay.from_embedding(Y, y)
    shown = np.transpose(display.points_._offsets3d)
    assert len(shown) == 50
    assert (shown[:, None] == Y).all(axis=2).any(axis=1).all()
    assert len(EmbeddingDisplay.from_embedding(Y, y, density=False).points_._offsets3d[0]) == 100


# Highlighted scores


def highlighted(scores, **kwargs):
    """Return the display of a map in which point k lies at (k, 0)."""
    Y = np.column_stack([np.arange(len(scores)), np.zeros(len(scores))])
    return EmbeddingDisplay.from_embedding(Y, scores, **{"highlight": True, **kwargs})


def colors_of_rows(display):
    """Return the color of each row of a map in which point k lies at (k, 0)."""
    display.figure_.canvas.draw()
    colors = display.points_.get_facecolors()[:, :3]
    return colors[np.argsort(display.points_.get_offsets()[:, 0])]


def lightness(colors):
    """Return the lightness of sRGB colors in CIELAB."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return 116.0 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16.0


def test_highlights_get_darker_and_are_not_the_gray_of_missing_scores():
    colors = np.array([rgb(color) for color in color_scale()])
    assert [color_scale()[0], color_scale()[-1]] == [HIGHLIGHTS[0], HIGHLIGHTS[-1]]
    assert (np.diff(lightness(colors)) < 0.1).all()  # rounding to 256 values of a channel
    assert 85.0 < lightness(colors[0]) < 95.0
    assert lightness(colors[-1]) < 10.0
    steps = -np.diff(lightness(np.array([rgb(color) for color in HIGHLIGHTS])[1:]))
    assert steps.min() > 0.6 * steps.max()
    assert np.ptp(colors[0]) == 0.0  # a gray
    warm = colors[32:224]
    assert (warm[:, 0] > warm[:, 2]).all()
    assert np.linalg.norm(colors - rgb(UNSCORED), axis=1).min() > 0.25


def test_high_scores_are_dark_and_lie_on_top(rng):
    scores = rng.permutation(np.r_[rng.normal(size=180), np.linspace(5.0, 50.0, 20)])
    scores[7] = np.nan
    display = highlighted(scores, label_name="score")
    low, high = limits_of_scores(scores)
    assert display.points_.get_clim() == (low, high)
    drawn = scores[display.points_.get_offsets()[:, 0].astype(int)]
    assert (np.diff(drawn[~np.isnan(drawn)]) >= 0).all()
    (missing,) = np.flatnonzero(np.isnan(drawn))
    assert drawn[missing - 1] <= low < drawn[missing + 1]
    colors = colors_of_rows(display)
    assert_allclose(colors[7], rgb(UNSCORED))
    assert_allclose(colors[scores <= low], np.broadcast_to(rgb(HIGHLIGHTS[0]), (np.sum(scores <= low), 3)))
    assert_allclose(colors[np.nanargmax(scores)], rgb(HIGHLIGHTS[-1]))
    assert np.sum(scores <= low) > 120
    assert display.points_.get_alpha() == 1.0
    assert display.legend_ is None
    assert display.colorbar_.ax.get_ylabel() == "score"
    assert display.colorbar_.extend == "both"


def test_limits_are_those_of_the_formula():
    assert limits_of_scores(np.arange(101.0)) == (75.0, 100.0)  # no higher than the largest score
    scores = np.r_[np.arange(101.0), 1e4, 1e5]  # quartile 25.5, median 51; the outer fence is 76.5 + 6 * 25.5
    assert limits_of_scores(scores)[0] == 76.5
    assert limits_of_scores(scores)[1] == pytest.approx(max(76.5 + 6 * 25.5, np.quantile(scores, 0.99)))
    assert limits_of_scores(np.r_[scores, np.inf, -np.inf, np.nan]) == limits_of_scores(scores)


def test_half_of_the_rows_may_be_remarkable_and_few_huge_scores_move_no_limit(rng):
    usual = rng.normal(size=1000)
    low, high = limits_of_scores(np.r_[usual, np.full(800, 10.0)])
    assert low < 3.0
    assert high == 10.0
    huge = limits_of_scores(np.r_[usual, 1e3, 1e6, 1e9])
    assert_allclose(huge, limits_of_scores(np.r_[usual, 10.0, 10.0, 10.0]), rtol=1e-6)
    assert huge[1] < 6.0
    zeros = limits_of_scores(np.r_[np.zeros(997), 1.0, 2.0, 1e9])  # fewer than 1 % differ from zero
    assert zeros == (0.0, 2.0)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_equal_scores_are_unremarkable(value):
    display = highlighted(np.full(30, value))
    assert_allclose(colors_of_rows(display), np.broadcast_to(rgb(HIGHLIGHTS[0]), (30, 3)))
    assert display.points_.get_clim()[0] == value
    assert display.colorbar_.extend == "neither"


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("others", [np.zeros(8), np.arange(8.0), np.full(8, np.nan), np.full(8, np.inf)])
def test_infinite_scores_have_the_last_color(others, density):
    display = highlighted(np.r_[others, np.inf, -np.inf], density=density)
    if density:
        points = display.points_
        shown = points.to_rgba(points.get_array())[points.get_alpha() > 0.0][:, :3]
    else:
        shown = colors_of_rows(display)
    assert_allclose(shown[-2:], [rgb(HIGHLIGHTS[-1]), rgb(HIGHLIGHTS[0])])
    expected = {0.0: HIGHLIGHTS[0], np.inf: HIGHLIGHTS[-1]}.get(others[1], UNSCORED if np.isnan(others[1]) else None)
    if expected is not None:
        assert_allclose(shown[:8], np.broadcast_to(rgb(expected), (8, 3)))
    assert display.colorbar_.extend == "both"


def test_limits_may_be_given(rng):
    scores = rng.uniform(size=50)
    display = highlighted(scores, highlight=(0.05, 1))
    assert display.points_.get_clim() == (0.05, 1.0)
    assert display.colorbar_.extend == "min"
    assert_allclose(colors_of_rows(highlighted([0.9, 1.0, 1.0], highlight=(0.05, 1)))[1:], [rgb(HIGHLIGHTS[-1])] * 2)


def test_arguments_of_matplotlib_win_over_highlights(rng):
    scores = rng.permutation(40)
    display = highlighted(scores, cmap="magma", vmin=-5.0, vmax=100.0, alpha=0.4, s=np.arange(40.0))
    assert display.points_.get_cmap().name == "magma"
    assert display.points_.get_clim() == (-5.0, 100.0)
    assert display.colorbar_.extend == "neither"
    assert display.points_.get_alpha() == 0.4
    rows = display.points_.get_offsets()[:, 0].astype(int)
    assert_array_equal(rows, np.argsort(scores))
    assert_array_equal(display.points_.get_sizes(), rows)  # each point has its own size
    norm = matplotlib.colors.LogNorm(1.0, 10.0)
    assert highlighted(scores + 1, norm=norm).points_.norm is norm
    assert highlighted(scores, c=np.arange(40.0)).colorbar_.extend == "neither"


@pytest.mark.parametrize("kind", [list, np.array])
@pytest.mark.parametrize("name", ["c", "color", "facecolors", "edgecolors"])
def test_arguments_for_each_point_stay_with_their_points(name, kind):
    colors = kind(["red", "lime", "blue"])
    points = highlighted([3.0, 1.0, 2.0], **{name: colors}).points_
    assert_array_equal(points.get_offsets()[:, 0], [1, 2, 0])
    shown = points.get_edgecolors() if name == "edgecolors" else points.get_facecolors()
    assert_allclose(shown[:, :3], [rgb("lime"), rgb("blue"), rgb("red")])


def test_one_color_for_three_points_is_one_color():
    points = highlighted([3.0, 1.0, 2.0], edgecolors=(1.0, 0.5, 0.0)).points_
    assert_allclose(points.get_edgecolors()[:, :3], [(1.0, 0.5, 0.0)])


def test_few_different_numbers_are_scores():
    display = highlighted([0, 0, 0, 1])
    assert display.legend_ is None
    assert_allclose(colors_of_rows(display), [rgb(HIGHLIGHTS[0])] * 3 + [rgb(HIGHLIGHTS[-1])])
    assert highlighted([0, None, 0, Decimal(1)]).colorbar_ is not None


@pytest.mark.parametrize("d", [1, 3])
def test_highlights_in_other_numbers_of_components(rng, d):
    Y, scores = rng.normal(size=(50, d)), rng.permutation(50)
    display = EmbeddingDisplay.from_embedding(Y, scores, highlight=True)
    points = display.points_
    first = points._offsets3d[0] if d == 3 else points.get_offsets()[:, 0]
    assert_array_equal(first, Y[np.argsort(scores), 0])
    assert_array_equal(points.get_array(), np.arange(50))
    heights = plotting.drawing.coordinates(Y[:, :1])[1]  # a strip scatters rows as without highlights
    assert d == 3 or (points.get_offsets()[:, 1] == heights[np.argsort(scores)]).all()
    display.figure_.canvas.draw()


def test_a_pixel_shows_its_highest_score():
    Y = np.repeat([[0.0, 0.0], [1.0, 0.5], [0.5, 0.0], [0.7, 0.0]], [50, 30, 2, 1], axis=0)
    scores = np.r_[np.zeros(49), 9.0, np.full(30, 1.0), 2.0, np.nan, np.nan]
    order = np.random.default_rng(0).permutation(len(scores))
    points = EmbeddingDisplay.from_embedding(Y[order], scores[order], density=True, highlight=True).points_
    rows, columns = np.nonzero(points.get_alpha())
    places = rows[np.argsort(columns)], np.sort(columns)
    assert_array_equal(points.get_array().filled(np.nan)[places], [9.0, 2.0, np.nan, 1.0])
    assert_allclose(points.to_rgba(points.get_array())[places][2, :3], rgb(UNSCORED))
    assert points.get_interpolation() == "nearest"


def test_one_high_score_of_many_points_is_seen(million):
    Y = million[0][:250_000]
    scores = np.random.default_rng(0).uniform(size=len(Y))
    scores[1234] = 50.0
    display = EmbeddingDisplay.from_embedding(Y, scores, highlight=True)
    assert isinstance(display.points_, matplotlib.image.AxesImage)
    image = display.points_.get_array()
    assert max(image.shape) <= 260
    assert image.max() == 50.0
    display.figure_.canvas.draw()
    picture = np.asarray(display.figure_.canvas.buffer_rgba())[:, :, :3] / 255.0
    box = display.ax_.get_window_extent()
    dark = np.abs(picture[:, : int(box.x1)] - rgb(HIGHLIGHTS[-1])).max(axis=2) < 0.02
    assert dark.any()


@pytest.mark.parametrize("y", [["a", "b"], [True, False], [1, "b"], DAYS[:2], [datetime.timedelta(days=2)] * 2])
def test_only_numbers_are_highlighted(y):
    with pytest.raises(TypeError, match=r"^y holds .*, must hold numbers to highlight the high ones, not "):
        EmbeddingDisplay.from_embedding(X[:2, :2], y, highlight=True)


def test_mistakes_of_highlights_are_named():
    with pytest.raises(ValueError, match="highlight == True, must be False without y"):
        EmbeddingDisplay.from_embedding(X[:, :2], highlight=True)
    for wrong in ("high", 1, (1.0,), None):
        with pytest.raises(TypeError, match=re.escape(f"highlight == {wrong!r}, must be a bool or two numbers")):
            EmbeddingDisplay.from_embedding(X[:, :2], X[:, 0], highlight=wrong)
    with pytest.raises(TypeError, match=re.escape("highlight[1] == 'x', must be a number")):
        EmbeddingDisplay.from_embedding(X[:, :2], X[:, 0], highlight=(0, "x"))
    with pytest.raises(ValueError, match=re.escape("highlight[1] == inf, must be a number")):
        EmbeddingDisplay.from_embedding(X[:, :2], X[:, 0], highlight=(0.0, np.inf))
    with pytest.raises(ValueError, match=re.escape("highlight == (1.0, 1.0), must be") + ".*low < high"):
        EmbeddingDisplay.from_embedding(X[:, :2], X[:, 0], highlight=(1.0, 1.0))


def test_scores_are_not_changed(rng):
    scores = np.r_[rng.normal(size=20), np.inf, np.nan]
    given = scores.copy()
    Y = rng.normal(size=(22, 2))
    before = Y.copy()
    EmbeddingDisplay.from_embedding(Y, scores, highlight=True)
    assert_array_equal(scores, given)
    assert_array_equal(Y, before)


# Estimators


def test_from_estimator():
    model = TSNE(**FAST).fit(X)
    assert_allclose(EmbeddingDisplay.from_estimator(model).points_.get_offsets(), model.embedding_)
    placed = EmbeddingDisplay.from_estimator(model, X[::3], np.arange(20) % 2)
    assert_allclose(placed.points_.get_offsets(), model.embedding_[::3])
    pipeline = make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)
    for rows in (None, X):
        points = EmbeddingDisplay.from_estimator(pipeline, rows).points_
        assert_allclose(points.get_offsets(), pipeline[-1].embedding_)


def test_the_estimator_may_be_a_search():
    search = GridSearchCV(TSNE(**FAST), {"perplexity": [3, 5]}, scoring=trustworthiness_scorer, cv=[(range(60),) * 2])
    in_pipeline = make_pipeline(StandardScaler(), TSNE(**FAST))
    for estimator in (search, clone(search).set_params(estimator=in_pipeline, param_grid={"tsne__perplexity": [5]})):
        best = estimator.fit(X).best_estimator_
        expected = best[-1].embedding_ if estimator is not search else best.embedding_
        for rows in (None, X):
            assert_array_equal(EmbeddingDisplay.from_estimator(estimator, rows).points_.get_offsets(), expected)
        assert_array_equal(RNXDisplay.from_estimator(estimator, X).curve, rnx_curve(X, expected))
        assert len(point_costs(estimator)) == 60


def test_the_curve_of_a_pipeline_compares_with_what_enters_it():
    pipeline = make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)
    display = RNXDisplay.from_estimator(pipeline, X)
    assert_array_equal(display.curve, rnx_curve(X, pipeline[-1].embedding_))
    assert display.name == "TSNE"


def test_mistakes_are_named():
    model = TSNE(**FAST).fit(X)
    for labels in (["a", "b"] * 30, np.arange(60)):
        with pytest.raises(ValueError, match="X has one dimension, must be rows to place; pass labels as y"):
            EmbeddingDisplay.from_estimator(model, labels)
    with pytest.raises(ValueError, match="features"):  # of rows with too few columns
        EmbeddingDisplay.from_estimator(model, X[:, :2])
    with pytest.raises(TypeError, match=re.escape("PCA(n_components=2), must have the attribute embedding_")):
        EmbeddingDisplay.from_estimator(PCA(n_components=2).fit(X))
    with pytest.raises(TypeError, match="ax is a ndarray, must be matplotlib Axes, as"):
        EmbeddingDisplay.from_embedding(X[:, :2], ax=plt.figure().subplots(1, 2))
    with pytest.raises(ValueError, match="n_columns == 0, must be an integer at least 1"):
        plot_perplexities(model, X, [5], n_columns=0)


def test_a_panel_without_legend():
    assert plot_perplexities(TSNE(**FAST), X, [5], ["a", "b"] * 30, legend=False)[0].legend_ is None


def test_names_with_tabs_are_drawn(rng):
    y = [f"{k}\ta" for k in range(21)]
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(21, 2)), y)
    display.figure_.canvas.draw()  # without a warning of a missing glyph
    for texts in (display.names_, display.legend_.get_texts()):
        assert [text.get_text() for text in texts] == [f"{k} a" for k in range(21)]


def test_labels_bring_their_name():
    pandas = pytest.importorskip("pandas")
    y = pandas.Series(["x", "y"] * 30, name="kind")
    assert EmbeddingDisplay.from_embedding(X[:, :2], y).legend_.get_title().get_text() == "kind"


def test_errors():
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(TSNE())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EmbeddingDisplay.from_embedding(X[:, :2], [1, 2])
    with pytest.raises(ValueError, match="density == 'x', must be"):
        EmbeddingDisplay.from_embedding(X[:, :2], density="x")
    with pytest.raises(ValueError, match="must be False or 'auto' for a map with 3 components"):
        EmbeddingDisplay.from_embedding(X[:, :3], density=True)
    with pytest.raises(ValueError, match=re.escape("projection 'rectilinear', must have '3d'")):
        EmbeddingDisplay.from_embedding(X[:, :3], ax=plt.figure().add_subplot())


@pytest.mark.parametrize("pipeline", [False, True])
def test_panel_of_perplexities(pipeline):
    model = TSNE(**FAST)
    estimator = make_pipeline(StandardScaler(), model) if pipeline else model
    displays = plot_perplexities(estimator, X, [2, 5, 10.5, 15], np.arange(60) < 30, label_name="first")
    assert [display.ax_.get_title() for display in displays] == [f"perplexity {p}" for p in ("2", "5", "10.5", "15")]
    assert len({display.figure_ for display in displays}) == 1
    assert [display.legend_ is not None for display in displays] == [False, False, True, False]
    expected = clone(estimator).fit_transform(X)
    assert_allclose(displays[1].points_.get_offsets(), expected)
    assert not hasattr(model, "embedding_")
    with pytest.raises(ValueError, match="must have the parameter perplexity"):
        plot_perplexities(StandardScaler(), X, [5])


@pytest.fixture(scope="module")
def fitted():
    return make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)


SCORES = {"first $ score": np.arange(60.0), "significance": np.linspace(0.0, 1.0, 60), "third": np.arange(60) % 2}


def test_panel_of_reliability(fitted):
    displays = plot_reliability(fitted, X, ["a", "b"] * 30, scores=SCORES, n_columns=2, label_name="letter")
    assert [display.ax_.get_title() for display in displays] == ["letter", *SCORES]
    assert len({display.figure_ for display in displays}) == 1
    assert [display.legend_ is not None for display in displays] == [True, False, False, False]
    assert [display.colorbar_ is not None for display in displays] == [False, True, True, True]
    for display, scores in zip(displays[1:], SCORES.values(), strict=True):
        expected = fitted[-1].embedding_[np.argsort(scores, kind="stable")]
        assert_array_equal(display.points_.get_offsets(), expected)
        assert display.points_.get_cmap()(0)[:3] == rgb(HIGHLIGHTS[0])
    assert displays[2].points_.get_clim() == (0.05, 1.0)  # limits of p-values
    figure = displays[0].figure_
    figure.canvas.draw()
    assert len({(round(d.ax_.bbox.x0), round(d.ax_.bbox.width)) for d in displays}) == 2  # two columns of equal maps
    for display in displays[1:]:
        bar, box = display.colorbar_.ax.get_window_extent(), display.ax_.get_window_extent()
        assert box.x1 < bar.x0 < box.x1 + 0.1 * box.width
        assert bar.x1 < figure.bbox.x1


def test_panel_of_reliability_without_labels(fitted):
    pandas = pytest.importorskip("pandas")
    displays = plot_reliability(fitted, X, scores=SCORES, legend=False, s=3.0)
    assert displays[0].ax_.get_title() == "map"
    assert all(display.colorbar_ is display.legend_ is None for display in displays)
    assert all(display.points_.get_sizes() == [3.0] for display in displays)
    named = plot_reliability(fitted, X, pandas.Series(X[:, 0], name="a"), scores={"b": pandas.Series(X[:, 1])})
    assert [display.ax_.get_title() for display in named] == ["a", "b"]
    assert named[0].colorbar_ is not None
    assert len(plot_reliability(fitted, X, scores={"b": X[:, 1]}, density=True)) == 2


@pytest.mark.parametrize("d", [1, 3])
def test_panel_of_reliability_in_other_numbers_of_components(d):
    model = TSNE(d, method="exact", **FAST).fit(X)
    displays = plot_reliability(model, X, X[:, 0], scores={"a": X[:, 1]})
    assert {display.ax_.name for display in displays} == {"3d" if d == 3 else "rectilinear"}
    displays[0].figure_.canvas.draw()


def test_reliability_computes_the_scores_of_the_fit(fitted, monkeypatch):
    given = []
    module = types.ModuleType("sktsne.reliability")
    module.reliability_scores = lambda *arguments: given.append(arguments) or SCORES
    monkeypatch.setitem(sys.modules, "sktsne.reliability", module)
    displays = plot_reliability(fitted, X)
    assert [display.ax_.get_title() for display in displays] == ["map", *SCORES]
    ((estimator, rows),) = given
    assert estimator is fitted
    assert rows is X


def test_mistakes_in_scores_are_named(fitted):
    for scores, error, message in (
        ([1.0] * 60, TypeError, "scores is a list, must be a mapping of names to scores"),
        ({}, ValueError, "scores == {}, must hold at least one score"),
        ({"a": [1.0]}, ValueError, "scores['a'] has the shape (1,), must have (60,), a score for each point"),
        ({"a": ["x"] * 60}, TypeError, "scores['a'] holds 'x', must hold numbers to highlight the high ones"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            plot_reliability(fitted, X, scores=scores)
    with pytest.raises(ValueError, match="n_columns == 0, must be an integer at least 1"):
        plot_reliability(fitted, X, scores=SCORES, n_columns=0)
    with pytest.raises(NotFittedError):
        plot_reliability(TSNE(), X, scores=SCORES)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plot_reliability(fitted, X, ["a", "b"])  # before the scores, which take long


def test_rnx_display():
    models = TSNE(**FAST).fit(X), SNE(**FAST).fit(X)
    first = RNXDisplay.from_estimator(models[0], X)
    second = RNXDisplay.from_embedding(X, models[1].embedding_, name="of SNE", ax=first.ax_, color="k")
    assert first.ax_ is second.ax_
    assert first.ax_.get_xscale() == "log"
    assert_allclose(second.line_.get_ydata(), rnx_curve(X, models[1].embedding_))
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    areas = [rnx_auc(X, model.embedding_) for model in models]
    assert labels == [f"{name} (area {area:.2f})" for name, area in zip(("TSNE", "of SNE"), areas, strict=True)]


# Costs of the points


def naive_costs(P, Y, dof, joint):
    """Return the parts of the cost by a double loop."""

    def weight(i, j):
        r2 = ((Y[i] - Y[j]) ** 2).sum()
        return np.exp(-r2) if np.isinf(dof) else (1.0 + r2 / dof) ** -dof

    n = len(Y)
    W = np.array([[weight(i, j) if i != j else 0.0 for j in range(n)] for i in range(n)])
    Q = W / (W.sum() if joint else W.sum(axis=1, keepdims=True))
    return [sum(P[i, j] * np.log(P[i, j] / Q[i, j]) for j in range(n) if P[i, j] > 0.0) for i in range(n)]


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize(("estimator", "dof"), [(TSNE, 1.0), (SNE, np.inf), (TSNE, 0.5), (SNE, 3.0)])
def test_point_costs_are_those_of_a_double_loop(estimator, dof, method):
    model = estimator(method=method, dof=dof, **FAST).fit(X)
    affinities = model.affinities_
    before = affinities.copy()
    costs = point_costs(model)
    P = before if isinstance(before, np.ndarray) else before.toarray()
    expected = naive_costs(P, model.embedding_, dof, estimator is TSNE)
    error = 0.02 if method in APPROXIMATE else 1e-10  # of the logarithm of Z
    assert_allclose(costs, expected, rtol=1e-9, atol=error * P.sum(axis=1).max())
    assert costs.sum() == pytest.approx(model.kl_divergence_, rel=1e-3 if method in APPROXIMATE else 1e-9)
    assert_array_equal(P, affinities if isinstance(affinities, np.ndarray) else affinities.toarray())


def test_point_costs_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)
    assert_array_equal(point_costs(pipeline), point_costs(pipeline[-1]))
    with pytest.raises(NotFittedError):
        point_costs(TSNE())


# Frames


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_frames_of_a_fit(n_components, tmp_path, caplog):
    recorder = FrameRecorder()
    model = TSNE(n_components, callback=recorder, callback_every=20, **FAST)
    for _ in range(2):  # the second fit begins anew
        model.fit(X)
    assert recorder.iterations == [20, 40, 60]
    assert len(recorder.costs) == len(recorder.maps) == 3
    assert_allclose(recorder.maps[-1], model.embedding_, rtol=1e-5, atol=1e-5 * np.abs(model.embedding_).max())
    path = tmp_path / "fit.gif"
    recorder.animation(np.arange(60) < 30).save(path, writer="pillow", dpi=40)
    with pytest.importorskip("PIL.Image").open(path) as image:
        assert image.n_frames == 3
    assert caplog.text == ""


def test_frames_of_a_fit_that_goes_on():
    recorder = FrameRecorder()
    model = TSNE(callback=recorder, callback_every=20, warm_start=True, **FAST).fit(X)
    assert model.set_params(max_iter=90).fit(X).n_iter_ == 89
    assert recorder.iterations == [20, 40, 60, 80, 90]
    assert_allclose(recorder.maps[-1], model.embedding_, rtol=1e-5, atol=1e-5 * np.abs(model.embedding_).max())
    model.set_params(warm_start=False, callback_every=100).fit(X)
    assert recorder.iterations == [90]


def test_frames_are_turned_to_the_last_one_and_scaled(rng):
    Y = rng.normal(size=(50, 2))
    recorder = FrameRecorder()
    for iteration, turned in enumerate((1e-3 * Y[:, ::-1] + 7.0, Y * [1.0, -1.0], Y)):
        recorder(iteration, 0.0, turned)
    frames = plotting.frames._aligned(recorder.maps)
    assert_allclose(frames[0], frames[2], atol=1e-3)
    assert_allclose(frames[1], frames[2], atol=1e-6)
    assert np.abs(frames[2]).max() == pytest.approx(1.0)


def test_no_frames():
    with pytest.raises(ValueError, match="There are no frames"):
        FrameRecorder().animation()
