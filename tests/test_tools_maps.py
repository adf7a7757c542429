"""Maps in other tools: the snippets of the page "Take your map elsewhere" run, and hand over the right positions."""

import shlex

import matplotlib as mpl
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tools import run, snippets

# What the tools warn about is their own affair: deprecations, and fonts that cannot be fetched without a network.
pytestmark = pytest.mark.filterwarnings("ignore")

(TITLE, MAP), *OF_TOOLS = snippets("elsewhere.rst").items()


@pytest.fixture(scope="module")
def map_of_digits():
    mpl.use("Agg")
    names = {}
    run(MAP, names)
    return names


@pytest.fixture
def names(map_of_digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return map_of_digits | {"frame": map_of_digits["frame"].copy()}


def check_seaborn(names, positions):
    (points,) = names["grid"].ax.collections
    assert_allclose(points.get_offsets(), positions)
    assert names["grid"].ax.get_aspect() == 1.0


def check_plotly(names, positions):
    traces = names["figure"].data
    assert [trace.name for trace in traces] == list("0123456789")
    for trace in traces:
        rows = names["digit"] == int(trace.name)
        assert_array_equal(np.column_stack([trace.x, trace.y]), positions[rows])


def check_bokeh(names, positions):
    data = names["plot"].renderers[0].data_source.data
    assert_array_equal(np.column_stack([data["tsne0"], data["tsne1"]]), positions)


def check_datamapplot(names, positions):
    assert {text.get_text() for text in names["axes"].texts} >= set("0123456789")
    points = max(names["axes"].collections, key=lambda collection: len(collection.get_offsets()))
    # datamapplot may draw the points in another order.
    assert_allclose(np.sort(points.get_offsets(), axis=0), np.sort(positions, axis=0), rtol=1e-6)


def check_atlas(names, positions):
    shown = names["widget"].selection()
    assert_array_equal(shown[["tsne0", "tsne1"]].to_numpy(), positions)
    assert_array_equal(shown["digit"], names["frame"]["digit"])


CHECKS = {
    "seaborn": (check_seaborn, "seaborn.png"),
    "plotly": (check_plotly, "plotly.html"),
    "Bokeh": (check_bokeh, "bokeh.html"),
    "datamapplot": (check_datamapplot, "datamapplot.png"),
    "Embedding Atlas": (check_atlas, None),
}


@pytest.mark.parametrize(("tool", "code"), OF_TOOLS, ids=dict(OF_TOOLS))
def test_tool_gets_the_map(tool, code, names, tmp_path):
    run(code, names)
    check, written = CHECKS[tool]
    check(names, names["frame"][["tsne0", "tsne1"]].to_numpy())
    assert written is None or (tmp_path / written).stat().st_size > 10_000


def test_command_of_embedding_atlas_exports_the_map(names, tmp_path):
    cli = pytest.importorskip("embedding_atlas.cli")
    pandas = pytest.importorskip("pandas")
    from click.testing import CliRunner

    names["frame"].to_parquet("map.parquet")
    command = snippets("elsewhere.rst", "bash")["Embedding Atlas"].splitlines()[-1]
    result = CliRunner().invoke(cli.main, shlex.split(command)[1:], catch_exceptions=False)
    assert result.exit_code == 0
    exported = pandas.read_parquet(tmp_path / "map" / "data" / "dataset.parquet")
    assert_array_equal(exported[["tsne0", "tsne1"]], names["frame"][["tsne0", "tsne1"]])
    assert (tmp_path / "map" / "index.html").is_file()
