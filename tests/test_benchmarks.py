"""The committed measurements, and what is made from them: the documentation's page and the README's table."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def page(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("libraries", "report", "page"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("page")


def test_the_lines_and_facts_of_a_fit_are_read(page, capsys):
    libraries = importlib.import_module("libraries")
    X = np.random.default_rng(0).normal(size=(40, 3))
    parameters = {"perplexity": 5.0, "early_exaggeration_iter": 60, "max_iter": 160, "tol": 0.0}
    _, facts = libraries.fit_sktsne(X, 0, 1, **parameters)
    lines = [(float(place), line) for place, line in enumerate(capsys.readouterr().out.splitlines())]
    stages, trajectory = libraries.read_sktsne(lines, facts)
    assert facts["iterations"] == 160
    assert {"neighbors", "optimization"} < set(stages)
    costs = [re.search("Iteration 1[05]0: cost = ([0-9.]+)", line) for _, line in lines]
    assert [cost for _, cost in trajectory] == [float(cost[1]) for cost in costs if cost]
    assert len(trajectory) == 2


def test_costs_of_many_rows_are_estimated_from_some(monkeypatch, digits):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    evaluate = importlib.import_module("evaluate")
    X = digits[0][:900]
    maps = [X[:, [20, 43]], 0.1 * X[:, [20, 43]]]
    exact = evaluate.affinities_of(X)
    monkeypatch.setattr(evaluate, "MAX_ROWS", 800)
    monkeypatch.setattr(evaluate, "SAMPLED_ROWS", 600)
    estimated = evaluate.affinities_of(X)
    assert len(estimated.rows) == 600
    for cost in evaluate.tsne_cost, evaluate.sne_cost:
        errors = [cost(estimated, Y) - cost(exact, Y) for Y in maps]
        # Four standard errors of 600 rows. Most of the error is in a term that all maps have.
        assert np.abs(errors).max() < 0.2
        assert abs(errors[0] - errors[1]) < 0.06
    # The joint probabilities of all rows, by a plain sum.
    P = exact.conditional.toarray()
    P = (P + P.T) / (2 * len(X))
    assert exact.joint_log == pytest.approx(np.sum(P[P > 0.0] * np.log(P[P > 0.0])), rel=1e-12)


def test_the_readmes_table_is_made_from_the_results(page):
    (table,) = page.README_TABLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert table == page.readme_table()


@pytest.mark.parametrize("file", ["README.md", "docs/index.rst"])
def test_the_first_numbers_that_a_reader_sees_are_in_the_readmes_table(page, file):
    opening = (ROOT / file).read_text(encoding="utf-8").partition("pip install sktsne")[0]
    numbers = re.findall(r"\d+\.\d+|\d+(?=\s+seconds)", opening)
    assert len(numbers) == 7
    for number in numbers:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", page.readme_table()), number


def test_the_page_has_every_measurement_and_plot(page, tmp_path):
    page.write_page(tmp_path)
    text = (tmp_path / "benchmarks.rst").read_text(encoding="utf-8")
    for content in page.results().values():
        assert content["circumstances"]["command"] in text
        for fit in content.get("fits", ()):
            assert f"\n   {fit['library']}," in text
    plots = {file.stem for file in (tmp_path / page.PLOTS).iterdir()}
    assert {f"mnist-{name}" for name in page.CAPTIONS} <= plots
    assert all(f"{page.PLOTS.as_posix()}/{plot}.svg" in text for plot in plots)


def test_measurements_say_how_they_were_made_and_nothing_of_whose_machine(page):
    assert page.results()
    for file in page.RESULTS.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert "/" not in text.replace("benchmarks/", "")
    for content in page.results().values():
        assert set(content["circumstances"]) == {"command", "date", "commit", "machine", "versions"}
        assert "+" not in content["circumstances"]["commit"]
