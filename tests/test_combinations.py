"""Every option with every kernel and number of components: fitted and checked, or refused with the error that says why.

As a program, ``python tests/test_combinations.py``, this file writes docs/combinations.rst from what happens. A test
compares the page with what happens.
"""

import functools
import itertools
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from registries import APPROXIMATE, KERNELS, takes_angle, takes_components
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer, kneighbors_graph

from sktsne import SNE, TSNE
from sktsne._parameters import choose_method
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.kernels import ExactKernel
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

PAGE = Path(__file__).parents[1] / "docs" / "combinations.rst"
N = 68
COMPONENTS = (1, 2, 3, 4)
ESTIMATORS = (TSNE, SNE)
QUICK = {"perplexity": 6.0, "max_iter": 30, "random_state": 0, "n_jobs": 1}


class PlainKernel:
    """A user's own kernel: the contract's two sums, as they are written there."""

    dtype = np.float64

    def __init__(self, similarity, workers):
        self.similarity = similarity

    def set_points(self, Y):
        self.Y = Y

    def potential(self, charges=None, at=None):
        places = self.Y if at is None else at
        r2 = cdist(places, self.Y, "sqeuclidean")
        cw = self.similarity.weight(r2) * (1.0 if charges is None else charges)
        if at is None:
            np.fill_diagonal(cw, 0.0)
        caw = cw * self.similarity.decay(r2)
        return cw.sum(axis=1), -2.0 * (caw.sum(axis=1)[:, None] * places - caw @ self.Y)


class Laplace(BaseEstimator):
    """A user's own affinities: exponential in the distance, over eight neighbors."""

    uses_scale = True

    def count_neighbors(self, n_samples):
        return min(n_samples - 1, 8)

    def probabilities(self, distances, workers):
        weights = np.exp(-distances)
        return weights / weights.sum(axis=1, keepdims=True)


def manhattan(x, y):
    return np.abs(x - y).sum()


def make_data():
    rng = np.random.default_rng(0)
    rows = np.maximum(0.6 * rng.normal(size=(N, 6)) + np.repeat(rng.integers(0, 4, size=(4, 6)), N // 4, axis=0), 0.0)
    distances = pairwise_distances(rows)
    affinities = np.exp(-(distances**2))
    neighbors = kneighbors_graph(rows, 10)
    one_way = neighbors.copy().tolil()
    one_way[3] = 0.0
    one_way[4, 3] = 1.0
    return {
        "rows": rows,
        "sparse rows": csr_array(rows),
        "float32 rows": rows.astype(np.float32),
        "dense distances": distances,
        "sparse graph": KNeighborsTransformer(n_neighbors=20).fit_transform(rows),
        "graph of 5 neighbors": KNeighborsTransformer(n_neighbors=5).fit_transform(rows),
        "dense matrix": affinities,
        "sparse matrix": csr_array(neighbors),
        "sparse matrix, a row empty": csr_array(one_way),
    }


DATA = make_data()
METHODS = {"auto": "auto", **{name: name for name in KERNELS}, "a callable": PlainKernel}

# What a refusal says, by the reason for it.
REFUSALS = {
    "components": (
        ValueError,
        r"method == '\w+' takes at most \d components, and n_components == \d: method must be 'auto'"
        r"( or '\w+')+\.",
    ),
    "pca": (
        ValueError,
        r"init == 'pca' needs the rows, and (metric|affinities) == 'precomputed' does not have them; init must be "
        r"'spectral', 'random' or an array of shape \(n_samples, n_components\)\.",
    ),
    "pairs of a graph": (
        TypeError,
        r"method == 'exact' needs the distances of all pairs of rows, and a sparse precomputed X has only some of "
        r"them: set method='auto', or pass a dense X\.",
    ),
    "few neighbors": (
        ValueError,
        r"A precomputed sparse X must have at least 19 neighbors in every row, .* row 0 has 5\. Build the graph with ",
    ),
    "all pairs": (
        ValueError,
        r"neighbors == .* finds only some of the neighbors, and method == 'exact' uses all pairs of rows: neighbors ",
    ),
    "transformer's metric": (ValueError, r"neighbors == KNeighborsTransformer\(\) has a metric of its own, and metric"),
    "no rows by name": (ValueError, r"neighbors == 'clustered' needs rows and a metric by name, and metric == "),
    "nothing left": (
        ValueError,
        r"affinities == 'precomputed' does not use metric, metric_params and neighbors, which must keep their ",
    ),
    "exaggeration": (ValueError, r"exaggeration == 0\.5, must be a number at least 1 and finite\."),
    "no affinity": (ValueError, r"With affinities='precomputed' every row of X must have an affinity .* row 3 has no"),
}


class Row(NamedTuple):
    """A row of the table: parameters, X, and for which kernels (or all of them) and estimators what refuses it."""

    params: dict[str, Any]
    data: str = "rows"
    refused: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    refusing: tuple[type, ...] = ESTIMATORS

    def __str__(self):
        options = ", ".join(f"{name}={shown(value)}" for name, value in self.params.items())
        words = [f"``{options}``"] if options else [] if self.data != "rows" else ["defaults"]
        return ", ".join(words + [self.data] * (self.data != "rows"))

    def reasons(self, estimator, kernel, d):
        """Return what rules a cell out, nothing where it must fit."""
        reasons = [
            name for name in ("all", kernel) for name in self.refused.get(name, ()) if estimator in self.refusing
        ]
        return reasons + ["components"] * (kernel in KERNELS and not takes_components(KERNELS[kernel], d))


def shown(value):
    if value is ARRAY:
        return "array"
    text = f"{value:g}" if isinstance(value, float) else getattr(value, "__name__", repr(value))
    return text.replace("'", '"').replace("inf", "np.inf")


ARRAY = object()  # stands for one of shape (n_samples, n_components)
TRANSFORMER = KNeighborsTransformer()
MIXTURE = [3.0, 12.0]
GIVEN = {"affinities": "precomputed", "init": "spectral"}
DISTANCES = {"metric": "precomputed", "init": "spectral"}
OBJECTS = {"Uniform": Uniform(10), "FixedBandwidth": FixedBandwidth(2.0, 15), "own": Laplace()}
NO_PCA, NO_PAIRS = {"all": ("pca",)}, {"exact": ("pairs of a graph",)}

TABLE = {
    "The similarity": [
        Row({}),
        *(Row({"dof": dof}) for dof in (0.05, 0.5, 1.0, 2.0, 10.0, 1e6, 1e15, math.inf)),
        Row({"dof": 0.5, "perplexity": MIXTURE}),
        Row({"dof": 10.0, "exaggeration": 4.0}),
    ],
    "The affinities": [
        Row({"perplexity": MIXTURE}),
        Row({"n_neighbors": 10, "perplexity": 30.0}),
        *(Row({"affinities": own}) for own in OBJECTS.values()),
        Row({"affinities": OBJECTS["Uniform"], **DISTANCES}, "dense distances"),
        Row({"affinities": OBJECTS["FixedBandwidth"], **DISTANCES}, "sparse graph"),
        Row({"affinities": OBJECTS["own"]}, "sparse rows"),
        Row(GIVEN, "dense matrix"),
        Row({**GIVEN, "init": "random", "max_iter": 60}, "dense matrix"),
        Row({**GIVEN, "dof": 0.5}, "dense matrix"),
        Row(GIVEN, "sparse matrix"),
        Row({**GIVEN, "init": ARRAY}, "sparse matrix"),
        Row({**GIVEN, "dof": 10.0, "exaggeration": 4.0}, "sparse matrix"),
        Row({"affinities": "precomputed"}, "dense matrix", NO_PCA),
        Row({"affinities": "precomputed"}, "sparse matrix", NO_PCA),
        Row(GIVEN, "sparse matrix, a row empty", {"all": ("no affinity",)}, (SNE,)),
        Row({**GIVEN, "metric": "cosine"}, "dense matrix", {"all": ("nothing left",)}),
        Row({**GIVEN, "metric": "precomputed"}, "dense matrix", {"all": ("nothing left",)}),
        Row({**GIVEN, "neighbors": TRANSFORMER}, "dense matrix", {"all": ("nothing left",), "exact": ("all pairs",)}),
    ],
    "The rows, their distances and their neighbors": [
        Row({}, "float32 rows"),
        Row({}, "sparse rows"),
        Row({"perplexity": MIXTURE}, "sparse rows"),
        Row({"metric": "cosine"}),
        Row({"metric": "cosine"}, "sparse rows"),
        Row({"metric": manhattan}),
        Row(DISTANCES, "dense distances"),
        Row({**DISTANCES, "init": ARRAY}, "dense distances"),
        Row(DISTANCES, "sparse graph", NO_PAIRS),
        Row({**DISTANCES, "init": "random", "perplexity": [3.0, 6.0]}, "sparse graph", NO_PAIRS),
        Row({"metric": "precomputed"}, "dense distances", NO_PCA),
        Row({"metric": "precomputed"}, "sparse graph", {**NO_PCA, **NO_PAIRS}),
        Row(DISTANCES, "graph of 5 neighbors", {"all": ("few neighbors",), **NO_PAIRS}),
        Row({"neighbors": TRANSFORMER}, "rows", {"exact": ("all pairs",)}),
        Row({"neighbors": TRANSFORMER}, "sparse rows", {"exact": ("all pairs",)}),
        Row({"neighbors": TRANSFORMER, "affinities": OBJECTS["Uniform"]}),
        Row({"neighbors": TRANSFORMER, "metric": "cosine"}, refused={"all": ("transformer's metric", "all pairs")}),
        Row(
            {"neighbors": TRANSFORMER, **DISTANCES},
            "dense distances",
            {"all": ("transformer's metric",), "exact": ("all pairs",)},
        ),
        Row({"neighbors": "clustered"}, refused={"exact": ("all pairs",)}),
        Row({"neighbors": "clustered", "metric": manhattan.__name__}, refused={"exact": ("all pairs",)}),
        Row({"neighbors": "clustered"}, "sparse rows", {"exact": ("all pairs",)}),
        Row(
            {"neighbors": "clustered", **DISTANCES},
            "dense distances",
            {"all": ("no rows by name",), "exact": ("all pairs",)},
        ),
        Row({"neighbors": "clustered", "metric": manhattan}, refused={"all": ("no rows by name", "all pairs")}),
    ],
    "The start and the schedule": [
        *(Row({"init": init}) for init in ("spectral", "random", ARRAY)),
        Row({"exaggeration": 4.0}),
        Row({"exaggeration": 0.5}, refused={"all": ("exaggeration",)}),
        Row({"max_step_norm": 0.5}),
        Row({"early_exaggeration_iter": 0}),
        Row({"early_exaggeration_iter": 0, "momentum": 0.5}),
        Row({"early_exaggeration_iter": 0, "exaggeration": 4.0}),
        Row({"learning_rate": 1.0}),
        Row({"momentum": 0.0, "max_iter": 80}),
        Row({"angle": 0.0}),
        Row({"angle": 1.0}),
    ],
}
ROWS = {f"{row}": row for row in itertools.chain(*TABLE.values())}

# A kernel's gradient may differ from finite differences of the exact cost by this part of the repulsive force. Exact
# sums are float64, as the differences are; their error is 2e-8 for 1e6 degrees of freedom, whose power loses digits.
# "fft" has what its documentation says, and twice that where the peak is sharper than t-SNE's. Other approximate
# kernels have 3 %, as "barnes_hut" in the tests of its sums. With an angle of 0 the sums are exact, and the attraction
# is rounded to float32.
EXACT, ROUNDED, ROUGH, MESH, MESH_HEAVY = 1e-7, 3e-6, 0.03, 0.01, 0.02


def make_estimator(estimator, row, kernel, d):
    params = {**QUICK, **row.params, "method": METHODS[kernel]}
    if params.get("init") is ARRAY:
        params["init"] = np.random.default_rng(1).normal(size=(N, d))
    return estimator(d, **params)


def objective_of(model, factory):
    similarity = similarity_of(model.dof)
    return model._objective(model.affinities_, similarity, factory(similarity, Workers()), Workers())


def slope(cost, Y, direction, step=2e-3):
    """Return the derivative of a cost in a direction, by central differences of sixth order."""
    differences = ((45.0, 1.0), (-9.0, 2.0), (1.0, 3.0))
    return sum(
        weight * (cost(Y + times * step * direction) - cost(Y - times * step * direction)) / (60.0 * step)
        for weight, times in differences
    )


def gradient_error(model, factory):
    """Return how far a kernel's gradient is from finite differences of the exact cost, in parts of the repulsion.

    In three directions: the one in which it is furthest from the gradient of exact sums, which makes that difference
    count in full, its own, and a random one.
    """
    rng = np.random.default_rng(2)
    # Four groups, as far apart as makes the tree take one for a point and leaves none without force.
    Y = rng.normal(size=(N, model.n_components)) + 3.0 * np.repeat(np.arange(4), N // 4)[:, None]
    exact = objective_of(model, ExactKernel)
    gradient = objective_of(model, factory)(Y).gradient.copy()
    repulsion = np.linalg.norm(exact(Y, 0.0).gradient)
    error = 0.0
    for direction in gradient - exact(Y).gradient, gradient, rng.normal(size=Y.shape):
        length = np.linalg.norm(direction)
        if length > 0.0:
            unit = direction / length
            expected = slope(lambda Z: exact(Z, with_cost=True).cost, Y, unit)
            error = max(error, abs(np.sum(gradient * unit) - expected))
    return error / repulsion


def check(model, row, kernel):
    """Assert that a fitted model is what it should be."""
    n_components, dtype = model.n_components, DATA[row.data].dtype
    assert model.embedding_.shape == (N, n_components)
    assert model.embedding_.dtype == dtype
    assert np.isfinite(model.embedding_).all()
    # A start other than an array is as good as one point, in which all q are equal. It costs at least 3 % more.
    start = model.init if isinstance(model.init, np.ndarray) else 1e-4 * np.ones((N, n_components))
    exact = objective_of(model, ExactKernel)
    assert model.kl_divergence_ < exact(np.ascontiguousarray(start), with_cost=True).cost
    cost = exact(model.embedding_.astype(np.float64), with_cost=True).cost
    # Of log Z, one for all pairs or one for each row; float32 costs digits of the attraction's part.
    total = 1.0 if isinstance(model, TSNE) else N
    assert model.kl_divergence_ == pytest.approx(cost, abs=(0.02 if kernel in APPROXIMATE else 1e-6) * total)
    factory = choose_method(model, N)[1]
    has_angle = kernel in KERNELS and takes_angle(KERNELS[kernel])
    if kernel == "fft":
        tolerance = MESH if model.dof >= 1.0 else MESH_HEAVY
    elif kernel in APPROXIMATE:
        tolerance = ROUNDED if has_angle and model.angle == 0.0 else ROUGH
    else:
        tolerance = EXACT
    assert gradient_error(model, factory) < tolerance
    if has_angle:
        assert gradient_error(model, choose_method(clone(model).set_params(angle=0.0), N)[1]) < ROUNDED


@functools.cache
def outcome(estimator, label, kernel, d):
    """Return what happens in a cell: "" for a fit that passed the checks, and the error for a refusal."""
    row = ROWS[label]
    try:
        with warnings.catch_warnings(action="error"):
            model = make_estimator(estimator, row, kernel, d).fit(DATA[row.data])
    except (ValueError, TypeError) as error:
        return type(error), str(error)
    check(model, row, kernel)
    return ""


@pytest.mark.parametrize("kernel", METHODS)
@pytest.mark.parametrize("label", ROWS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_combination_is_fitted_and_checked_or_refused_with_a_reason(estimator, label, kernel):
    for d in COMPONENTS:
        reasons, result = ROWS[label].reasons(estimator, kernel, d), outcome(estimator, label, kernel, d)
        if not reasons:
            assert result == ""
            continue
        assert result != ""
        assert any(result[0] is error and re.match(message, result[1]) for error, message in map(REFUSALS.get, reasons))


def test_the_page_shows_what_happens():
    assert PAGE.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_a_perplexity_too_large_among_several_is_named(estimator, method):
    with pytest.warns(
        UserWarning, match=rf"perplexity == 200 needs .* X has {N}: using perplexity={N - 1.5}\."
    ) as caught:
        model = estimator(**{**QUICK, "perplexity": [5.0, 200.0], "max_iter": 1, "method": method}).fit(DATA["rows"])
    assert len(caught) == 1
    expected = estimator(**{**QUICK, "perplexity": [5.0, N - 1.5], "max_iter": 1, "method": method}).fit(DATA["rows"])
    assert abs(model.affinities_ - expected.affinities_).max() == 0.0


@pytest.mark.parametrize("distance", [3.0, 5.0, 8.0, 30.0, 300.0])
@pytest.mark.parametrize("method", APPROXIMATE)
@pytest.mark.parametrize("d", [1, 2])
def test_isolated_points_leave_the_gradient_of_sne_accurate(d, method, distance):
    # Their inverse potentials, the charges of SNE's second pass, go up to 1e307.
    model = SNE(d, **{**QUICK, "max_iter": 1, "method": method}).fit(DATA["rows"])
    Y = 0.5 * np.random.default_rng(0).normal(size=(N, d))
    directions = np.random.default_rng(1).normal(size=(12, d))
    Y[:12] = distance * np.linspace(1.0, 1.5, 12)[:, None] * directions / np.linalg.norm(directions, axis=1)[:, None]
    exact, gradient = (
        objective_of(model, factory)(Y).gradient.copy() for factory in (ExactKernel, choose_method(model, N)[1])
    )
    for points in slice(0, 12), slice(12, N):
        error = np.linalg.norm(gradient[points] - exact[points])
        assert error < MESH * np.linalg.norm(exact[points])


@pytest.mark.parametrize("method", [*(name for name in KERNELS if takes_components(KERNELS[name], 3)), PlainKernel])
@pytest.mark.parametrize("dof", [3.0, 100.0, 1e6, 1e12])
@pytest.mark.filterwarnings("ignore:The map spans")
def test_no_distance_is_so_large_that_a_weight_vanishes(dof, method):
    model = SNE(3, dof=dof, **{**QUICK, "max_iter": 1, "method": method}).fit(DATA["rows"])
    Y = 1e4 * np.random.default_rng(0).normal(size=(N, 3))
    gradient, _, cost, _ = objective_of(model, choose_method(model, N)[1])(Y, with_cost=True)
    assert math.isfinite(cost)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("d", [2, 3, 4])
@pytest.mark.parametrize("dof", [1.5, 2.0, 4.0, 10.0])
def test_points_with_light_tails_do_not_fly_off(dof, d, estimator):
    model = estimator(d, dof=dof, perplexity=6.0, n_jobs=1).fit(DATA["rows"])
    assert np.ptp(model.embedding_) < 150.0  # 14 to 63; changes of 1e-9 of the rows move none of the widths by 0.1


def test_without_early_exaggeration_auto_is_safe():
    model = SNE(4, **QUICK, early_exaggeration_iter=0).fit(DATA["rows"])
    assert np.ptp(model.embedding_) < 150.0


INTRODUCTION = """\
Combinations
============

.. Written by ``python tests/test_combinations.py``; a test fails if the page differs from what happens.

This page shows, for each option that changes the map, with which kernels and numbers of components it works. Nearly all
options work with all kernels. A combination that does not work raises an error before any computation starts.

Each row of the tables is a set of options, and each column is a ``method``. A cell has four signs, for 1, 2, 3 and 4
components in this order:

✓
    The map was computed and checked. It is finite, and its cost is below the cost of the start and agrees with exact
    sums. The gradient agrees with finite differences of the exact cost: in double precision for "exact", for a callable
    and for "auto", which is exact for so few rows; within 1 % of the repulsive force for "fft", or 2 % below one degree
    of freedom; within 3 % for "barnes_hut", and in single precision with ``angle=0``.
a number
    The combination raised the error with this number in the list at the end of the page.

The data have {n} rows. Parameters that a row does not name have their defaults, except that the perplexity is 6 and
``max_iter`` is {max_iter}. A set of options has two rows where the results of ``TSNE`` and ``SNE`` differ.
"""


def render():
    """Return the page, from the outcome of every cell."""
    errors = {}

    def sign(result):
        if result == "":
            return "✓"
        error = next(name for name, (kind, text) in REFUSALS.items() if kind is result[0] and re.match(text, result[1]))
        return str(errors.setdefault(error, (len(errors) + 1, *result))[0])

    lines = [INTRODUCTION.format(n=N, max_iter=QUICK["max_iter"])]
    for title, rows in TABLE.items():
        lines += [
            title,
            "-" * len(title),
            "",
            ".. list-table::",
            "   :header-rows: 1",
            f"   :widths: 40{' 12' * len(METHODS)}",
            "",
        ]
        lines += ["   * - Options", *(f"     - {kernel}" for kernel in METHODS)]
        for label in map(str, rows):
            tsne, sne = (
                [" ".join(sign(outcome(estimator, label, kernel, d)) for d in COMPONENTS) for kernel in METHODS]
                for estimator in ESTIMATORS
            )
            for name, cells in [("", tsne)] if tsne == sne else [("TSNE: ", tsne), ("SNE: ", sne)]:
                lines += [f"   * - {name}{label}", *(f"     - {cell}" for cell in cells)]
        lines.append("")
    lines += ["Errors", "------", "", "Each message has the values of the first cell with its number.", ""]
    lines += [f"{number}. ``{kind.__name__}``: ``{message}``" for number, kind, message in errors.values()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
