"""No crash from Python, whatever is passed: a good result or an ordinary error, from every part that is public.

Each case calls one name of ``docs/api.rst`` or ``docs/api_parts.rst`` with good arguments. The tests spoil the
arguments in the ways of ``spoiled.py``, one at a time, and several at a time as hypothesis chooses. The call must raise
an error that users may get, with a message, or return what the documentation says, finite where the arguments are of
moderate size; and no argument may be changed. A kernel that is new in `KERNELS` gets its cases by itself. A name that
is new in the documentation needs a case, or an entry in `WITHOUT_CASE`.

A short run tries some of the ways, always the same. A long one tries all of them, and other combinations each time. It
should be made with sanitizers (``docs/promises.rst``), too::

    SKTSNE_EXAMPLES=2000 pytest tests/test_boundary.py --hypothesis-seed=1

Where a call ends the process, ``pytest -s`` shows the last argument that was tried.
"""

import faulthandler
import inspect
import os
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import spoiled as odd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer
from spoiled import SAME, Spoiled, contents, spoiled

import sktsne.parallel as threads
from sktsne import SNE, TSNE, metrics, reliability
from sktsne._checks import as_affinities, is_constant
from sktsne._native import COMPILED
from sktsne._sparse import freeze
from sktsne.affinities import (
    FixedBandwidth,
    Perplexity,
    Uniform,
    conditional_affinities,
    given_affinities,
    joint_affinities,
)
from sktsne.anchors import Anchored, Arrangement, Places, interpolated
from sktsne.growth import extend
from sktsne.initialization import pca_arrangement, pca_start, random_start, rescale, separate, spectral_start
from sktsne.kernels import KERNELS, ExactKernel, FFTKernel, fft
from sktsne.kernels.attraction import Attraction
from sktsne.known_rows import KnownRows
from sktsne.large import embed_large, sample_rows, transform_blocks
from sktsne.neighbors import (
    AllPairs,
    ClusteredSearch,
    ExactSearch,
    GivenDistances,
    NeighborGraph,
    TransformerSearch,
    nearest_neighbors,
)
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.optimizer import Evaluation, Phase, State, minimize
from sktsne.parallel import Workers
from sktsne.perplexity import conditional_probabilities
from sktsne.placement import FrozenMap
from sktsne.sequences import fit_sequence
from sktsne.similarities import Gaussian, StudentT, similarity_of

EXAMPLES = int(os.environ.get("SKTSNE_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 2,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
# What users may get, and nothing else: no IndexError, KeyError, AssertionError, ZeroDivisionError, OverflowError.
ERRORS = (ValueError, TypeError, FloatingPointError, MemoryError)
# Words of messages that tell what went wrong inside, not what is wrong with the argument.
INTERNAL = re.compile(r"buffer|broadcast|unpack|ambiguous|subscript|not supported between|math domain|concatenation")
# A short run tries every so many-th way to spoil an argument, the fewer the longer the calls of a module take.
STEPS = {
    "TSNE": 24, "SNE": 24, "reliability": 24, "metrics": 16, "large": 12, "growth": 12, "placement": 6, "known_rows": 6,
    "neighbors": 4, "objectives": 3, "kernels": 3, "initialization": 3, "affinities": 2, "optimizer": 2,
    "sequences": 12,
}  # fmt: skip
LONGEST = 300  # seconds of one call, even with sanitizers
QUICK = {"perplexity": 3.0, "max_iter": 3, "early_exaggeration_iter": 1, "random_state": 0, "n_jobs": 1}
WORKERS = Workers(2)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    # Few rows would be one block of work for the calling thread, and a map that is wide would take a mesh of 420 MB.
    monkeypatch.setattr(threads, "BLOCK_COST", 2_000 if COMPILED else 100_000)
    monkeypatch.setattr(threads, "THREADED_COST", 0)
    monkeypatch.setattr(fft, "MAX_NODES", {1: 2**12, 2: 80, 3: 40})
    with WORKERS:
        yield


class Case(NamedTuple):
    """A call of a public name: its good arguments, the call, and what holds of any result."""

    arguments: Callable[..., dict[str, Any]]
    call: Callable[..., Any]
    check: Callable[[Any, dict[str, Any]], None]


CASES: dict[str, Case] = {}


def case(name, arguments, check):
    def enter(call):
        CASES[name] = Case(arguments, call, check)
        return call

    return enter


def shape(value):
    return value.shape if hasattr(value, "shape") else np.shape(value)


def is_shaped_like(name):
    def check(result, arguments):
        assert shape(result) == shape(arguments[name])

    return check


def points(rng, n, d):
    return rng.normal(size=(n, d))


def joint(rng, n):
    P = np.triu(rng.uniform(0.1, 1.0, size=(n, n)), 1)
    return (P + P.T) / (2.0 * P.sum())


def sparse(P):
    """Return a symmetric sparse matrix of some of the entries, at least one in every row."""
    n = len(P)
    gap = np.abs(np.arange(n)[:, None] - np.arange(n))
    return csr_array(np.where((gap <= 3) | (gap >= n - 3), P, 0.0))


def rows_like(P):
    return P / P.sum(axis=1, keepdims=True)


def some(value, *names):
    """Return a number that is spoiled in all ways but some."""
    return Spoiled(value, {key: way for key, way in odd.NUMBERS.items() if key not in names})


# Kernels


def options_of(factory):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(factory).parameters.items()
        if isinstance(parameter.default, float)
    }


def kernel_arguments(factory, similarity, dimensions, rng, n=40, d=2):
    d = dimensions or min(d, getattr(factory, "max_components", None) or d)
    return {
        "similarity": similarity,
        "workers": WORKERS,
        "Y": points(rng, n, d),
        "charges": rng.uniform(0.5, 2.0, size=n),
        "at": points(rng, 6, d),
        **options_of(factory),
    }


def call_kernel(factory, similarity, workers, Y, charges, at, **options):
    kernel = factory(similarity, workers, **options)
    kernel.set_points(Y)
    return [kernel.potential(), kernel.potential(charges), kernel.potential(at=at), kernel.potential(charges, at)]


def check_kernel(result, arguments):
    Y, at = shape(arguments["Y"]), shape(arguments["at"])
    at = Y if arguments["at"] is None else at
    for (phi, grad_phi), wanted in zip(result, (Y, Y, at, at), strict=True):
        assert (phi.shape, grad_phi.shape) == (wanted[:1], wanted)
        assert phi.dtype == grad_phi.dtype == np.float64


for factory in KERNELS.values():
    for label, similarity, dimensions in (
        ("", StudentT(), None),
        (" on a line", Gaussian(), 1),
        (" dof 2", StudentT(2.0), None),
    ):
        arguments = partial(kernel_arguments, factory, similarity, dimensions)
        case(f"sktsne.kernels.{factory.__name__}{label}", arguments, check_kernel)(partial(call_kernel, factory))


def attraction_arguments(matrix, rng, n=20, d=2):
    P = joint(rng, n)
    fixed = points(rng, n, d) if matrix == "fixed" else Spoiled(None, {})
    return {
        "affinities": P if matrix == "dense" else sparse(P),
        "similarity": StudentT(0.5),
        "workers": WORKERS,
        "dtype": Spoiled(np.float32, {**odd.OTHERS, **{t: lambda _, t=t: t for t in ("f4", "f8", ">f4", "f2", "i4")}}),
        "fixed": fixed,
        "Y": points(rng, n, d),
    }


def check_attraction(result, arguments):
    force, stiffness, cross, costs = result
    assert shape(force) == shape(arguments["Y"])
    assert shape(stiffness) == shape(costs) == shape(force)[:1]
    assert isinstance(cross, float)


def call_attraction(affinities, similarity, workers, dtype, fixed, Y):
    attraction = Attraction(affinities, similarity, workers, dtype, fixed)
    attraction(Y)
    return (*attraction(Y, with_cost=True), attraction.costs)


for kind in "dense", "sparse", "fixed":
    case(f"sktsne.kernels.attraction.Attraction {kind}", partial(attraction_arguments, kind), check_attraction)(
        call_attraction
    )

# Similarities, objectives

case("sktsne.similarities.StudentT", lambda rng, **_: {"dof": 1.5}, lambda result, _: shape(result) == (4,))(
    lambda dof: StudentT(dof).weight(np.arange(4.0))
)
case("sktsne.similarities.similarity_of", lambda rng, **_: {"dof": 1.5}, lambda result, _: shape(result) == (4,))(
    lambda dof: similarity_of(dof).weight(np.arange(4.0))
)


def masses(rng, *shape):
    return rng.integers(1, 4, size=shape).astype(float)


def objective_arguments(objective, matrix, rng, n=20, d=2):
    P = joint(rng, n)
    P = P if objective is JointKL else rows_like(P)
    return {
        "affinities": P if matrix == "dense" else sparse(P),
        "similarity": StudentT(),
        "kernel": Spoiled(ExactKernel(StudentT(), WORKERS), odd.KERNELS),
        "workers": WORKERS,
        "weights": masses(rng, n),
        "Y": points(rng, n, d),
        "exaggeration": 4.0,
    }


def check_objective(result, arguments):
    gradient, curvature, cost, exaggerated = result
    assert shape(gradient) == shape(arguments["Y"])
    assert shape(curvature) == shape(gradient)[:1]
    assert all(isinstance(value, (float, np.floating)) for value in (cost, exaggerated))


def call_objective(objective, affinities, similarity, kernel, workers, weights, Y, exaggeration):
    made = objective(affinities, similarity, kernel, workers, weights)
    made(Y)
    return made(Y, exaggeration, with_cost=True)


for objective in JointKL, ConditionalKL:
    for kind in "dense", "sparse":
        name = f"sktsne.objectives.{objective.__name__} {kind}"
        case(name, partial(objective_arguments, objective, kind), check_objective)(partial(call_objective, objective))

# Anchors


class Flat:
    """An objective of the user's, with the gradient 0."""

    gradient_scale = 1.0

    def __call__(self, Y, exaggeration=1.0, with_cost=False):
        return Evaluation(np.zeros_like(Y), np.ones(len(Y)), 0.0, 0.0)


def check_term(result, arguments):
    gradient, curvature, cost = result
    assert shape(gradient) == shape(arguments["Y"])
    assert shape(curvature) == shape(gradient)[:1]
    assert isinstance(cost, float)


case(
    "sktsne.anchors.Places",
    lambda rng, n=20, d=2: {
        "targets": np.where(np.arange(n)[:, None] % 3 == 0, np.nan, points(rng, n, d)),
        "strengths": np.where(np.arange(n) % 4 == 0, np.inf, 2.0),
        "n_distributions": 1.0,
        "weights": masses(rng, n),
        "Y": points(rng, n, d),
    },
    check_term,
)(lambda targets, strengths, n_distributions, weights, Y: Places(targets, strengths, n_distributions, weights)(Y))
case(
    "sktsne.anchors.Arrangement",
    lambda rng, n=20, d=2: {
        "targets": points(rng, n, d),
        "strength": 2.0,
        "n_distributions": 1.0,
        "weights": masses(rng, n),
        "Y": points(rng, n, d),
    },
    check_term,
)(lambda targets, strength, n_distributions, weights, Y: Arrangement(targets, strength, n_distributions, weights)(Y))
case(
    "sktsne.anchors.Anchored",
    lambda rng, n=20, d=2: {"targets": points(rng, n, d), "Y": points(rng, n, d)},
    check_objective,
)(lambda targets, Y: Anchored(Flat(), [Arrangement(targets, 2.0, 1)])(Y, with_cost=True))
for kind in "dense", "sparse":
    case(
        f"sktsne.anchors.interpolated {kind}",
        lambda rng, n=20, d=2, kind=kind: {
            "affinities": joint(rng, n) if kind == "dense" else sparse(joint(rng, n)),
            "targets": np.where(np.arange(n)[:, None] % 3 == 0, np.nan, points(rng, n, d)),
            "workers": WORKERS,
        },
        is_shaped_like("targets"),
    )(interpolated)

# Affinities


def near(rng, n=20, d=6):
    return np.sort(rng.uniform(0.1, 5.0, size=(n, d)), axis=1)


def check_rows(result, arguments):
    distances = np.asarray(arguments["distances"], dtype=float)
    assert result.shape == distances.shape
    assert np.allclose(result.sum(axis=1), 1.0)


case(
    "sktsne.perplexity.conditional_probabilities",
    lambda rng, n=20, d=6: {"distances": near(rng, n, d), "perplexity": 2.0, "workers": WORKERS},
    check_rows,
)(conditional_probabilities)
case(
    "sktsne.affinities.Perplexity",
    lambda rng, n=20, d=6: {"distances": near(rng, n, d), "perplexity": 2.0, "workers": WORKERS},
    check_rows,
)(lambda distances, perplexity, workers: Perplexity([perplexity, 3.0]).probabilities(distances, workers))
case(
    "sktsne.affinities.Uniform",
    lambda rng, n=20, d=6: {"distances": near(rng, n, d), "n_neighbors": 5, "workers": Spoiled(WORKERS, {})},
    check_rows,
)(lambda distances, n_neighbors, workers: Uniform(n_neighbors).probabilities(distances, workers))
case(
    "sktsne.affinities.FixedBandwidth",
    lambda rng, n=20, d=6: {"distances": near(rng, n, d), "bandwidth": 2.0, "workers": Spoiled(WORKERS, {})},
    check_rows,
)(lambda distances, bandwidth, workers: FixedBandwidth(bandwidth).probabilities(distances, workers))


for rule in Perplexity([2.0]), Uniform(5), FixedBandwidth(2.0):
    case(
        f"sktsne.affinities.{type(rule).__name__} with weights",
        lambda rng, n=20, d=6: {
            "distances": near(rng, n, d),
            "workers": Spoiled(WORKERS, {}),
            "weights": masses(rng, n, d),
        },
        check_rows,
    )(rule.probabilities)
case(
    "sktsne.perplexity.conditional_probabilities with weights",
    lambda rng, n=20, d=6: {
        "distances": near(rng, n, d),
        "perplexity": 2.0,
        "workers": WORKERS,
        "weights": masses(rng, n, d),
    },
    check_rows,
)(conditional_probabilities)


class OddRule:
    """Affinities that return what a function makes of good ones."""

    uses_scale = False

    def __init__(self, change):
        self.change = change

    def count_neighbors(self, n_samples):
        return min(n_samples - 1, 5)

    def probabilities(self, distances, workers):
        return self.change(np.full(distances.shape, 1.0 / distances.shape[1]))


RULES = {
    **odd.OTHERS,
    **{
        f"probabilities: {name}": lambda _, change=change: OddRule(change)
        for name, change in {**odd.STORAGES, **odd.SHAPES, **odd.DTYPES, **odd.VALUES, **odd.OTHERS}.items()
    },
}


def is_square_like(name):
    def check(result, arguments):
        n = shape(arguments[name])[0]
        assert shape(result) == (n, n)

    return check


@case(
    "sktsne.affinities.conditional_affinities",
    lambda rng, n=20, d=5: {
        "indices": np.argsort(rng.uniform(size=(n, n)), axis=1)[:, : min(d, n - 1)],
        "distances": near(rng, n, min(d, n - 1)),
        "rule": Spoiled(Perplexity([2.0]), RULES),
        "workers": WORKERS,
    },
    is_square_like("distances"),
)
def _(indices, distances, rule, workers):
    return conditional_affinities(NeighborGraph(indices, distances), rule, workers)


@case(
    "sktsne.affinities.conditional_affinities with weights",
    lambda rng, n=20, d=5: {
        "indices": np.argsort(rng.uniform(size=(n, n)), axis=1)[:, : min(d, n - 1)],
        "distances": near(rng, n, min(d, n - 1)),
        "rule": Spoiled(Perplexity([2.0]), RULES),
        "workers": WORKERS,
        "weights": masses(rng, n),
        "count": 4.0,
    },
    is_square_like("distances"),
)
def _(indices, distances, rule, workers, weights, count):
    return conditional_affinities(NeighborGraph(indices, distances), rule, workers, np.float64, weights, count)


case(
    "sktsne.affinities.conditional_affinities of all pairs with weights",
    lambda rng, n=20, d=5: {
        "graph": pairwise_distances(points(rng, n, d)),
        "rule": Spoiled(Perplexity([2.0]), RULES),
        "workers": WORKERS,
        "weights": masses(rng, n),
    },
    is_square_like("graph"),
)(conditional_affinities)

case(
    "sktsne.affinities.conditional_affinities of all pairs",
    lambda rng, n=20, d=5: {
        "graph": pairwise_distances(points(rng, n, d)),
        "rule": Spoiled(Perplexity([2.0]), RULES),
        "workers": WORKERS,
    },
    is_square_like("graph"),
)(conditional_affinities)
for kind, storage in (("dense", np.asarray), ("sparse", csr_array)):
    case(
        f"sktsne.affinities.joint_affinities {kind}",
        lambda rng, n=12, d=0, storage=storage: {
            "conditional": storage(rows_like(joint(rng, n))),
            "workers": WORKERS,
            "weights": masses(rng, n),
        },
        is_square_like("conditional"),
    )(joint_affinities)
    for weighted in "", " with weights":
        case(
            f"sktsne.affinities.given_affinities {kind}{weighted}",
            lambda rng, n=12, d=0, storage=storage, weighted=weighted: {
                "X": storage(joint(rng, n)),
                "weights": masses(rng, n) if weighted else Spoiled(None, {}),
            },
            is_square_like("X"),
        )(given_affinities)

# Neighbors and searches

METRICS = {name: lambda _, name=name: name for name in ("cosine", "l1", "jaccard", "precomputed", "haversine", "none")}


def check_graph(result, arguments):
    assert shape(result.indices) == shape(result.distances)
    assert shape(result.distances) == (shape(arguments["X"])[0], arguments["n_neighbors"])


def check_new(result, arguments):
    n_rows, n = shape(arguments["rows"])
    k = arguments["n_neighbors"]
    assert shape(result.indices) == shape(result.distances) == (n_rows, n if k is None else k)


def fitted_search(search, X, workers):
    search.fit(X, workers)
    return search


def search_new(make, X, n_neighbors, metric, metric_params, rows, workers):
    return fitted_search(make(n_neighbors, metric, metric_params), X, workers).neighbors_of(rows, workers)


for kind, storage in (("dense", np.asarray), ("sparse", csr_array)):
    case(
        f"sktsne.neighbors.nearest_neighbors {kind}",
        lambda rng, n=20, d=5, storage=storage: {
            "X": storage(points(rng, n, d)),
            "n_neighbors": 3,
            "metric": Spoiled("euclidean", {**odd.OTHERS, **METRICS}),
            "metric_params": Spoiled(None, {**odd.OTHERS, "p": lambda _: {"p": -1}, "q": lambda _: {"q": 1}}),
            "n_threads": 1,
        },
        check_graph,
    )(nearest_neighbors)
    case(
        f"sktsne.neighbors.nearest_neighbors precomputed, {kind}",
        lambda rng, n=20, d=5, storage=storage: {
            "X": storage(pairwise_distances(points(rng, n, d))),
            "n_neighbors": 3,
        },
        check_graph,
    )(partial(nearest_neighbors, metric="precomputed"))
    for name, rows_first in (("ExactSearch", ExactSearch), ("ClusteredSearch", ClusteredSearch)):
        case(
            f"sktsne.neighbors.{name} {kind}",
            lambda rng, n=20, d=5, storage=storage: {
                "X": storage(points(rng, n, d)),
                "n_neighbors": 3,
                "metric": Spoiled("euclidean", {**odd.OTHERS, **METRICS}),
                "metric_params": Spoiled(None, {**odd.OTHERS, "p": lambda _: {"p": -1}, "q": lambda _: {"q": 1}}),
                "rows": storage(points(rng, 4, d)),
                "workers": WORKERS,
            },
            check_new,
        )(partial(search_new, rows_first))
    case(
        f"sktsne.neighbors.AllPairs {kind}",
        lambda rng, n=20, d=5, storage=storage: {
            "X": storage(points(rng, n, d)),
            "metric": Spoiled("cosine", {**odd.OTHERS, **METRICS}),
            "rows": storage(points(rng, 4, d)),
            "workers": WORKERS,
        },
        lambda result, arguments: shape(result.indices) == (shape(arguments["rows"])[0], shape(arguments["X"])[0]),
    )(lambda X, metric, rows, workers: fitted_search(AllPairs(metric), X, workers).neighbors_of(rows, workers))
    case(
        f"sktsne.neighbors.GivenDistances {kind}",
        lambda rng, n=20, d=5, storage=storage: {
            "X": storage(pairwise_distances(points(rng, n, d))),
            "n_neighbors": 3,
            "rows": storage(near(rng, 4, n)),
            "workers": Spoiled(WORKERS, {}),
        },
        check_new,
    )(
        lambda X, n_neighbors, rows, workers: fitted_search(GivenDistances(n_neighbors), X, workers).neighbors_of(
            rows, workers
        )
    )
    case(
        f"sktsne.known_rows.KnownRows {kind}",
        lambda rng, n=20, d=5, storage=storage: {"X": storage(points(rng, n, d)), "new": storage(points(rng, 4, d))},
        lambda result, arguments: shape(result[1]) == shape(arguments["new"])[:1],
    )(lambda X, new: (KnownRows(X).match(new), KnownRows(X).find(new)[0]))


class OddTransformer(BaseEstimator):
    """A transformer whose graph is what a function makes of a good one."""

    def __init__(self, change=None):
        self.change = change

    def fit_transform(self, rows):
        return csr_array(pairwise_distances(rows))

    def transform(self, rows):
        return self.change(csr_array(pairwise_distances(np.asarray(rows), np.eye(20, np.shape(rows)[1])) + 1.0))


@case(
    "sktsne.neighbors.TransformerSearch",
    lambda rng, n=20, d=5: {
        "transformer": Spoiled(
            KNeighborsTransformer(n_neighbors=4),
            {
                **odd.OTHERS,
                **{
                    f"graph: {name}": lambda _, change=change: OddTransformer(change)
                    for name, change in {**odd.SPARSE_SAME, **odd.SPARSE, **odd.OTHERS}.items()
                },
            },
        ),
        "n_neighbors": 3,
        "X": points(rng, n, d),
        "rows": points(rng, 4, d),
    },
    check_new,
)
def _(transformer, n_neighbors, X, rows):
    return fitted_search(TransformerSearch(transformer, n_neighbors), X, WORKERS).neighbors_of(rows, WORKERS)


# Starts

SEEDS = {**odd.OTHERS, "a generator": lambda _: np.random.default_rng(0), "negative": lambda _: -1}


def check_start(result, arguments):
    X = arguments.get("X", arguments.get("affinities"))
    assert shape(result) == (shape(X)[0], arguments["n_components"])


def state(_=None):
    return Spoiled(0, SEEDS)


for kind, storage in (("dense", np.asarray), ("sparse", csr_array)):
    for components in pca_start, pca_arrangement:
        case(
            f"sktsne.initialization.{components.__name__} {kind}",
            lambda rng, n=20, d=5, storage=storage: {
                "X": storage(points(rng, n, d)),
                "n_components": some(2, "1000000"),
                "random_state": state(),
                "weights": masses(rng, n),
            },
            check_start,
        )(components)
    case(
        f"sktsne.initialization.spectral_start {kind}",
        lambda rng, n=20, d=5, storage=storage: {
            "affinities": storage(joint(rng, n)),
            "n_components": some(2, "1000000"),
            "random_state": state(),
            "weights": masses(rng, n),
        },
        check_start,
    )(spectral_start)
case(
    "sktsne.initialization.random_start",
    lambda rng, n=20, d=2: {
        "n_samples": some(n, "1000000"), "n_components": some(d, "1000000"), "random_state": state()
    },
    lambda result, arguments: shape(result) == (arguments["n_samples"], arguments["n_components"]),
)(random_start)  # fmt: skip
case(
    "sktsne.initialization.rescale",
    lambda rng, n=20, d=2: {"Y": points(rng, n, d), "scale": 1e-4},
    is_shaped_like("Y"),
)(rescale)
case(
    "sktsne.initialization.separate",
    lambda rng, n=20, d=2: {"Y": np.repeat(points(rng, -(-n // 2), d), 2, axis=0)[:n], "random_state": state()},
    is_shaped_like("Y"),
)(separate)

# New points, optimizer, threads


def frozen_arguments(factory, rng, n=20, d=2):
    d = min(d, getattr(factory, "max_components", None) or d)
    k = min(4, n)
    return {
        "embedding": points(rng, n, d),
        "dof": 1.0,
        "factory": Spoiled(factory, odd.FACTORIES),
        "exaggeration": 1.0,
        "weights": masses(rng, n),
        "probabilities": np.full((5, k), 1.0 / k),
        "indices": np.argsort(rng.uniform(size=(5, n)), axis=1)[:, :k],
    }


def check_frozen(result, arguments):
    assert shape(result) == (shape(arguments["probabilities"])[0], shape(arguments["embedding"])[1])


def call_frozen(embedding, dof, factory, exaggeration, weights, probabilities, indices):
    return FrozenMap(embedding, dof, factory, exaggeration, weights).place(probabilities, indices)


for factory in KERNELS.values():
    name = f"sktsne.placement.FrozenMap by {factory.__name__}"
    case(name, partial(frozen_arguments, factory), check_frozen)(call_frozen)


def short(value):
    return some(value, "1000000", "10000000000")


@case(
    "sktsne.optimizer.minimize",
    lambda rng, n=20, d=2: {
        "objective": Spoiled(odd._objective(lambda result: result), odd.OBJECTIVES),
        "start": points(rng, n, d),
        "n_iter": short(3),
        "exaggeration": 1.0,
        "momentum": 0.5,
        "learning_rate": 0.1,
        "relative": Spoiled(True, {}),
        "largest_gain": 2.0,
        "n_iter_without_progress": 50,
        "tol": 1e-6,
        "min_grad_norm": 0.0,
        "max_step_norm": 1.0,
        "report_every": 1,
        "until": short(3),
        "workers": WORKERS,
    },
    lambda result, arguments: shape(result.Y) == shape(arguments["start"]),
)
def _(objective, start, n_iter, exaggeration, momentum, learning_rate, relative, largest_gain, **options):
    phases = [
        Phase(1, 1.0, 0.0, 0.1),
        Phase(n_iter, exaggeration, momentum, learning_rate, relative, largest_gain),
    ]
    return minimize(objective, start, phases, report=lambda progress: None, **options)


@case(
    "sktsne.optimizer.minimize from a state",
    lambda rng, n=20, d=2: {
        "Y": points(rng, n, d),
        "velocity": np.zeros((n, d)),
        "gain": np.ones((n, d)),
        "shift": np.zeros(d),
        "iteration": 1,
        "best_cost": 2.0,
        "best_iteration": 0,
    },
    lambda result, arguments: shape(result.Y) == shape(arguments["Y"]),
)
def _(**fields):
    copies = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in fields.items()}
    return minimize(odd._objective(lambda result: result), State(**copies), [Phase(3, 1.0, 0.5, 0.1)], workers=WORKERS)


@case(
    "sktsne.parallel.Workers",
    lambda rng, n=20, d=2: {"n_threads": some(2, "1000000")},
    lambda result, arguments: result == 20,
)
def _(n_threads):
    with Workers(n_threads) as workers:
        return sum(workers.run(lambda start, stop: stop - start, n_rows=20, row_cost=1000))


# Metrics

MEASURES = {
    "trustworthiness": metrics.trustworthiness,
    "continuity": metrics.continuity,
    "neighborhood_preservation": metrics.neighborhood_preservation,
    "rnx_auc": metrics.rnx_auc,
    "rnx_curve": metrics.rnx_curve,
}


def check_measure(result, arguments):
    assert shape(result) in ((), (shape(arguments["embedding"])[0] - 2,))


for name, measure in MEASURES.items():
    for kind, storage in (("dense", np.asarray), ("sparse", csr_array)):
        case(
            f"sktsne.metrics.{name} {kind}",
            lambda rng, n=20, d=3, storage=storage, measure=measure: {
                "X": storage(points(rng, n, d)),
                "embedding": points(rng, n, 2),
                "metric": Spoiled("euclidean", {**odd.OTHERS, **METRICS}),
                "sample_size": 10,
                "random_state": state(),
                "n_jobs": short(1),
                **({"n_neighbors": 3} if "n_neighbors" in inspect.signature(measure).parameters else {}),
            },
            check_measure,
        )(measure)
for kind, storage in (("dense", np.asarray), ("sparse", csr_array)):
    for is_joint in (True, False):
        case(
            f"sktsne.metrics.kl_divergence {kind}, {'joint' if is_joint else 'conditional'}",
            lambda rng, n=20, d=2, storage=storage: {
                "affinities": storage(joint(rng, n)),
                "embedding": points(rng, n, d),
                "dof": 1.0,
                "n_jobs": short(1),
            },
            lambda result, arguments: shape(result) == (),
        )(partial(metrics.kl_divergence, joint=is_joint))


@case(
    "sktsne.metrics.point_costs",
    lambda rng, n=14, d=2: {
        "affinities_": sparse(joint(rng, n)),
        "embedding_": Spoiled(points(rng, n, d), spoiled(points(rng, n, d))),
        "dof": 1.0,
    },
    lambda result, arguments: shape(result) == shape(arguments["embedding_"])[:1],
)
def _(affinities_, embedding_, dof):
    model = TSNE(**QUICK).fit(np.random.default_rng(0).normal(size=(14, 3)))
    model.affinities_, model.embedding_, model.dof = affinities_, embedding_, dof
    return metrics.point_costs(model)


# Reliability


def fit_to_judge(**attributes):
    model = TSNE(**QUICK).fit(np.random.default_rng(0).normal(size=(24, 3)))
    vars(model).update(attributes)
    return model


def arguments_to_judge(used, parameters, rng, n=None, d=None):  # the fit is always the same, whatever n and d
    model = fit_to_judge()
    fitted = {
        "X": np.random.default_rng(0).normal(size=(24, 3)),
        "affinities_": model.affinities_,
        "embedding_": Spoiled(model.embedding_, spoiled(model.embedding_)),
        "dof": 1.0,
    }
    return {**{name: fitted[name] for name in used}, **parameters}


def call_score(function, X=None, **arguments):
    attributes = {name: arguments.pop(name) for name in ("affinities_", "embedding_", "dof") if name in arguments}
    model = fit_to_judge(**attributes)
    return function(model, **arguments) if X is None else function(model, X, **arguments)


def check_scores(result, arguments):
    if isinstance(result, float):
        return
    for part in parts(result if not isinstance(result, dict) else list(result.values())):
        assert part.shape == (24,)


REFIT = {"random_state": state(), "n_jobs": short(1)}
FITTED = ("affinities_", "embedding_", "dof")
INSTABILITY = {"n_fits": short(1), "n_neighbors": 3, **REFIT}
for name, used, parameters in (
    ("perturbation", ("X", *FITTED), {"n_directions": short(2), "step": 0.5}),
    ("singularity", FITTED, {}),
    ("singularity_scorer", FITTED, {}),
    ("significance", ("X", *FITTED), {"n_nulls": short(1), "corrected": True, **REFIT}),
    ("instability", FITTED, {"resample": "starts", **INSTABILITY}),
    ("instability rows", ("X", *FITTED), {"resample": Spoiled("rows", {}), **INSTABILITY}),
    ("outliers", ("X", "embedding_"), {"n_neighbors": 3}),
    ("reliability_scores", ("X", *FITTED), {"names": ["outliers", "instability"], **REFIT}),
):
    case(f"sktsne.reliability.{name}", partial(arguments_to_judge, used, parameters), check_scores)(
        partial(call_score, getattr(reliability, name.split()[0]))
    )


# Estimators


def call_estimator(estimator, X, new, **params):
    model = estimator(**{**QUICK, **params}).fit(X)
    return model.embedding_, model.transform(new)


def check_estimator(result, arguments):
    embedding, placed = result
    assert shape(embedding)[0] == shape(arguments["X"])[0]
    assert shape(placed) == (shape(arguments["new"])[0], shape(embedding)[1])


KINDS = {"rows": {}, "sparse rows": {}, "distances": {"metric": "precomputed", "init": "random"}}
KINDS["sparse distances"] = KINDS["distances"]
KINDS["affinities"] = KINDS["sparse affinities"] = {"affinities": "precomputed", "init": "spectral"}


def estimator_arguments(kind, rng, n=14, d=3):
    X, new = points(rng, n, d), points(rng, 3, d)
    if "distances" in kind:
        X, new = pairwise_distances(X), pairwise_distances(new, X)
    elif "affinities" in kind:
        X, new = joint(rng, n), rng.uniform(0.1, 1.0, size=(3, n))
    X, new = (csr_array(part) if "sparse" in kind else part for part in (X, new))
    return {"X": X, "new": new}


for estimator in TSNE, SNE:
    for kind, params in KINDS.items():
        case(f"sktsne.{estimator.__name__} of {kind}", partial(estimator_arguments, kind), check_estimator)(
            partial(call_estimator, estimator, **params)
        )

    @case(
        f"sktsne.{estimator.__name__} with all parameters",
        lambda rng, n=14, d=3: {
            "X": Spoiled(points(rng, n, d), {}),
            "new": Spoiled(points(rng, 3, d), {}),
            "init": points(rng, n, 2),
            "method": Spoiled(ExactKernel, odd.FACTORIES),
            "affinities": Spoiled(Uniform(3), RULES),
            "n_components": some(2, "1000000"),
            "dof": 1.0,
            "perplexity": 3.0,
            "angle": 0.5,
            "early_exaggeration": 4.0,
            "exaggeration": 1.0,
            "momentum": 0.5,
            "learning_rate": 1.0,
            "max_step_norm": 1.0,
            "random_state": state(),
            "n_jobs": short(1),
        },
        check_estimator,
    )
    def _(estimator=estimator, **arguments):
        return call_estimator(estimator, **arguments)


@case(
    "sktsne.large.embed_large",
    lambda rng, n=14, d=3: {"X": points(rng, n, d), "n_landmarks": 10, "random_state": state(), "merge": True},
    lambda result, arguments: shape(result) == (shape(arguments["X"])[0], 2),
)
def _(X, n_landmarks, random_state, merge):
    return embed_large(TSNE(**QUICK), X, n_landmarks, random_state, merge)


@case(
    "sktsne.large.transform_blocks",
    lambda rng, n=14, d=3: {"X": points(rng, n, 3)},
    lambda result, arguments: shape(result) == (shape(arguments["X"])[0], 2),
)
def _(X):
    return transform_blocks(TSNE(**QUICK).fit(np.random.default_rng(1).normal(size=(14, 3))), X)


case(
    "sktsne.large.sample_rows",
    lambda rng, n=14, d=3: {"X": points(rng, n, d), "n_rows": 5, "random_state": state()},
    lambda result, arguments: None,
)(sample_rows)


def grown_arguments(rng, n=14, d=3):
    old = points(rng, n, d)
    return {"old": Spoiled(old, {}), "X": np.vstack([old[::2], points(rng, 5, d)]), "strength": 1.0}


@case(
    "sktsne.growth.extend",
    grown_arguments,
    lambda result, arguments: shape(result) == (shape(arguments["X"])[0], 2),
)
def _(old, X, strength):
    return extend(TSNE(**QUICK).fit(old), X, strength=strength).embedding_


@case(
    "sktsne.sequences.fit_sequence",
    lambda rng, n=14, d=3: {
        "first": points(rng, n, d),
        "second": points(rng, n + 2, d),
        "keys": np.arange(n + 2)[::-1],
        "strength": 1.0,
    },
    lambda result, arguments: (
        list(map(shape, result)) == [(shape(arguments[name])[0], 2) for name in ("first", "second")]
    ),
)
def _(first, second, keys, strength):
    known = np.arange(shape(first)[0] if shape(first) else 0)
    maps = fit_sequence(TSNE(**QUICK), [first, second], keys=[known, keys], strength=strength)
    return [fitted.embedding_ for fitted in maps]


# Public names that hand arrays to no compiled loop but by way of those above: contracts, records, scorers, pictures.
WITHOUT_CASE = {
    "sktsne.EmbeddingDisplay",
    "sktsne.affinities.Affinities",
    "sktsne.affinities.counted_weights",
    "sktsne.anchors.Anchors",
    "sktsne.dask.SNE",
    "sktsne.dask.TSNE",
    "sktsne.kernels.GradientKernel",
    "sktsne.kernels.fastest_kernel",
    "sktsne.metrics.EmbeddingScorer",
    "sktsne.metrics.Estimate",
    "sktsne.metrics.continuity_scorer",
    "sktsne.metrics.knn_accuracy",
    "sktsne.metrics.make_embedding_scorer",
    "sktsne.metrics.neighborhood_preservation_scorer",
    "sktsne.metrics.pbic",
    "sktsne.metrics.rnx_scorer",
    "sktsne.metrics.trustworthiness_scorer",
    "sktsne.neighbors.NeighborGraph",
    "sktsne.neighbors.NeighborSearch",
    "sktsne.optimizer.Frame",
    "sktsne.optimizer.Objective",
    "sktsne.optimizer.Phase",
    "sktsne.optimizer.Progress",
    "sktsne.optimizer.Result",
    "sktsne.plotting.FrameRecorder",
    "sktsne.plotting.RNXDisplay",
    "sktsne.plotting.plot_perplexities",
    "sktsne.plotting.plot_reliability",
    "sktsne.plotting.plot_sequence",
    "sktsne.progress.Callback",
    "sktsne.progress.ProgressBar",
    "sktsne.reliability.Instability",
    "sktsne.similarities.Gaussian",
    "sktsne.similarities.Similarity",
}


def test_every_public_name_has_a_case_or_reaches_no_compiled_loop_by_itself():
    docs = Path(__file__).parents[1] / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("api.rst", "api_parts.rst"))
    public = set(re.findall(r"^   ~(sktsne\.\S+)$", text, flags=re.MULTILINE))
    # The attraction is the objectives' own, and no name of the documentation.
    cases = {name.split()[0] for name in CASES} - {"sktsne.kernels.attraction.Attraction"}
    assert cases | WITHOUT_CASE == public
    assert not cases & WITHOUT_CASE


def good_of(value):
    return value.value if isinstance(value, Spoiled) else value


def good(arguments):
    return {name: good_of(value) for name, value in arguments.items()}


def parts(result):
    """Yield the arrays and numbers of a result."""
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from parts(part)
    elif hasattr(result, "to_numpy"):
        yield result.to_numpy()
    elif issparse(result):
        yield result.toarray()
    elif isinstance(result, (np.ndarray, float)):
        yield np.asarray(result)


def is_moderate(value):
    """Return whether numbers are neither so large nor so small that a result may overflow."""
    if isinstance(value, (odd.OddKernel, odd.OddSimilarity, OddRule)) or callable(value):
        return inspect.isclass(value)
    if hasattr(value, "dof"):
        value = value.dof
    if issparse(value):
        value = list(value.values()) if value.format == "dok" else value.data
    if not isinstance(value, (int, float, np.ndarray, list)):
        return value is None or isinstance(value, (str, Workers))
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        return False
    size = np.abs(array.astype(float))
    return bool(np.all((size == 0.0) | ((size > 1e-3) & (size < 1e3))))


def judge(name, arguments, expected=None, duck=False):
    """Call with these arguments, and return what is wrong with the outcome, or None."""
    call, before = CASES[name], contents(arguments)
    errors = (*ERRORS, AttributeError) if duck else ERRORS
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=sys.__stderr__)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = call.call(**arguments)
    except errors as error:
        result, message = None, str(error)
        if len(message) < 10 or (INTERNAL.search(message) and not duck):
            return f"unhelpful {type(error).__name__}: {message}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    if contents(arguments) != before:
        return "changed its argument"
    if result is None:
        return None
    try:
        assert call.check(result, arguments) is not False
        if expected is not None:
            for part, wanted in zip(parts(result), parts(expected), strict=True):
                assert np.array_equal(part, wanted, equal_nan=part.dtype.kind == "f")
        if all(is_moderate(value) for value in arguments.values()):
            numbers = [part for part in parts(result) if part.dtype.kind in "fiub"]
            assert all(np.isfinite(part).all() for part in numbers), "not finite"
    except Exception as error:
        return f"returned something else: {error!r:.300}"
    return None


def is_duck(value):
    """Return whether an argument is an object of which methods are called."""
    return isinstance(value, Spoiled) or not (isinstance(value, (np.ndarray, int, float)) or issparse(value))


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, each in CASES.items() for argument in each.arguments(np.random.default_rng(0))],
)
def test_one_argument_that_is_spoiled_is_an_error_or_does_no_harm(name, argument):
    arguments, wrong = CASES[name].arguments(np.random.default_rng(0)), []
    before = good(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CASES[name].call(**good(CASES[name].arguments(np.random.default_rng(0))))
    ways = list(spoiled(arguments[argument]).items())
    step = 1 if EXAMPLES else STEPS.get(name.split(" ")[0].split(".")[1], 1)
    for label, spoil in ways[zlib.crc32(f"{name} {argument}".encode()) % step :: step]:
        print(f"{name}: {argument} {label}", flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = {**before, argument: spoil(before[argument])}
        complaint = judge(name, changed, expected if label in SAME else None, is_duck(arguments[argument]))
        if complaint:
            wrong.append(f"{argument} {label}: {complaint}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CASES)
@SETTINGS
@given(st.data())
def test_several_arguments_that_are_spoiled_are_an_error_or_do_no_harm(name, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, d = data.draw(st.sampled_from([8, 20, 33, 100])), data.draw(st.integers(1, 6))
    arguments = CASES[name].arguments(rng, n=n, d=d)
    changed, duck = good(arguments), False
    for argument in data.draw(st.lists(st.sampled_from(list(arguments)), min_size=0, max_size=3, unique=True)):
        ways = spoiled(arguments[argument])
        if ways:
            way = ways[data.draw(st.sampled_from(list(ways)))]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                changed[argument] = way(changed[argument])
            duck |= is_duck(arguments[argument])
    assert judge(name, changed, duck=duck) is None


# Sequences of calls, and what has ended a process

every_kernel = pytest.mark.parametrize("factory", KERNELS.values(), ids=list(KERNELS))


def dimensions_of(factory):
    limit = getattr(factory, "max_components", None)
    return range(1, 1 + (6 if limit is None else limit))


@every_kernel
@pytest.mark.parametrize("d", range(7))
def test_kernels_say_how_many_components_they_serve(factory, d, rng):
    kernel = factory(StudentT(), WORKERS)
    if d in dimensions_of(factory):
        kernel.set_points(rng.normal(size=(40, d)))
        assert kernel.potential()[1].shape == (40, d)
    else:
        with pytest.raises(ValueError, match=r"column|empty"):
            kernel.set_points(rng.normal(size=(40, d)))


@every_kernel
@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("d", range(1, 6))
def test_an_estimator_with_too_many_components_for_its_kernel_says_so(factory, estimator, d, rng):
    # BarnesHutKernel with four ended the process, and FFTKernel with three raised a KeyError.
    X, model = rng.normal(size=(40, 5)), estimator(d, method=factory, init="random", **QUICK)
    if d in dimensions_of(factory):
        assert model.fit_transform(X).shape == (40, d)
    else:
        with pytest.raises(ValueError, match="component"):
            model.fit(X)


@every_kernel
def test_a_potential_before_there_are_points_is_an_error(factory):
    with pytest.raises(RuntimeError, match="set_points"):
        factory(StudentT(), WORKERS).potential()


@every_kernel
@SETTINGS
@given(st.data())
def test_any_sequence_of_calls_is_an_error_or_does_no_harm(factory, data):
    rng, kernel, Y = np.random.default_rng(0), factory(StudentT(), WORKERS), None
    for _ in range(data.draw(st.integers(1, 8))):
        n, d = data.draw(st.sampled_from([1, 5, 40, 100])), data.draw(st.sampled_from(list(dimensions_of(factory))[:3]))
        value = (1.0 + 1e3 * data.draw(st.booleans())) * rng.normal(size=(n, d))
        ways = {**odd.STORAGES, **odd.SHAPES, **odd.DTYPES, **odd.VALUES, **odd.OTHERS, "good": lambda a: a}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ways[data.draw(st.sampled_from(list(ways)))](value)
            # One in two is an error, as in the tests: what set_points has begun then must not be half done.
            warnings.simplefilter(data.draw(st.sampled_from(["ignore", "error"])), UserWarning)
            try:
                if data.draw(st.booleans()):
                    kernel.set_points(value)
                    Y = np.asarray(value, dtype=float)
                    continue
                charges = None if data.draw(st.booleans()) else rng.uniform(size=n)
                phi, grad_phi = kernel.potential(charges, None if data.draw(st.booleans()) else value)
            except (*ERRORS, UserWarning) as error:
                assert not INTERNAL.search(str(error)), error  # noqa: PT017
            except RuntimeError as error:
                assert "set_points" in str(error)  # noqa: PT017
                Y = None
            else:
                assert Y is not None
                assert grad_phi.shape in (Y.shape, np.shape(value))
                assert phi.shape == grad_phi.shape[:1]


def test_points_that_were_not_placed_leave_no_others_half_there(rng):
    kernel = FFTKernel(StudentT(), WORKERS)
    kernel.set_points(rng.normal(size=(40, 2)))
    with pytest.raises(UserWarning, match="spans"):  # an error, as in all tests
        kernel.set_points(1e3 * rng.normal(size=(10, 2)))
    try:
        phi, _ = kernel.potential()
    except RuntimeError as error:
        assert "set_points" in str(error)  # noqa: PT017
    else:
        assert phi.shape in ((10,), (40,))


CHANGED_LATER = """
from itertools import product
import numpy as np
from scipy.sparse import csr_array
from sktsne.kernels.attraction import Attraction
from sktsne.objectives import JointKL
from sktsne.kernels import ExactKernel
from sktsne.parallel import Workers
from sktsne.similarities import StudentT

Y = np.random.default_rng(0).normal(size=(200, 2))
changes = ("indices", 10**8), ("indices", -10**8), ("indptr", 10**8)
for (part, value), read_only in product(changes, (False, True)):
    P = csr_array(np.full((200, 200), 1.0 / 200**2))
    changed = getattr(P, part)[1:]
    getattr(P, part).flags.writeable = read_only  # the view stays writeable
    parts = Attraction(P, StudentT(), Workers()), JointKL(P, StudentT(), ExactKernel(StudentT(), Workers()), Workers())
    changed[:] = value
    for each in parts:
        each(Y, with_cost=True)
"""


def test_affinities_that_their_owner_changes_later_do_no_harm():
    result = subprocess.run([sys.executable, "-c", CHANGED_LATER], capture_output=True, text=True, timeout=LONGEST)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_frozen_affinities_cannot_be_changed_and_are_not_copied(dtype, rng):
    P = sparse(joint(rng, 20))
    P.indices, P.indptr = P.indices.astype(dtype), P.indptr.astype(dtype)
    before = P.copy()
    assert not is_constant(P.indices)
    frozen = as_affinities("P", freeze(P))
    for part in "indices", "indptr":
        array = getattr(frozen, part)
        assert (array == getattr(before, part)).all()
        assert array.dtype == dtype
        assert is_constant(array)
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_an_index_beyond_the_map_is_an_error(rng):
    frozen = FrozenMap(rng.normal(size=(9, 2)), 1.0, ExactKernel)
    for index in (9, 10**9, -1, -(2**62)):
        with pytest.raises(ValueError, match="indices must be from 0 to 8"):
            frozen.place(np.array([[0.5, 0.5]]), np.array([[0, index]]))


def test_a_gradient_of_another_shape_is_an_error(rng):
    for name, change in odd.SHAPES.items():
        if name == "broadcast":
            continue
        objective = odd._objective(lambda result, change=change: result._replace(gradient=change(result.gradient)))
        with pytest.raises(ValueError, match="gradient of function"):
            minimize(objective, rng.normal(size=(9, 2)), [Phase(3, 1.0, 0.0, 0.1)])


def test_workers_that_are_foreign_call_no_compiled_loop(rng):
    Y, foreign = rng.normal(size=(40, 2)), odd.ForeignWorkers()
    calls = [partial(factory, StudentT(), foreign) for factory in KERNELS.values()]
    calls += [
        lambda: conditional_probabilities(near(rng), 2.0, foreign),
        lambda: Attraction(joint(rng, 40), StudentT(), foreign),
        lambda: minimize(odd._objective(lambda result: result), Y, [Phase(3, 1.0, 0.0, 0.1)], workers=foreign),
        *(partial(make(3).fit, Y, foreign) for make in (ExactSearch, ClusteredSearch)),
        partial(AllPairs().fit, Y, foreign),
        *(
            partial(fitted_search(make, Y, WORKERS).neighbors_of, Y, foreign)
            for make in (ExactSearch(3), ClusteredSearch(3), AllPairs())
        ),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"workers == .* must be an instance of Workers"):
            call()


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize(
    "kind", ["broken coo", "broken csc", "broken bsr", "broken lil", "index beyond", "indptr beyond"]
)
def test_a_sparse_matrix_that_was_broken_is_an_error_of_the_estimator(estimator, kind, rng):
    # scikit-learn converts to CSR before it looks, and SciPy's loops wrote beyond their arrays.
    X = csr_array(np.abs(rng.normal(size=(40, 5))))
    with pytest.raises(ValueError, match="valid sparse matrix"):
        estimator(**QUICK).fit(odd.SPARSE[kind](X))
    model = estimator(**QUICK).fit(X)
    with pytest.raises(ValueError, match="valid sparse matrix"):
        model.transform(odd.SPARSE[kind](X))


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_probabilities_of_another_shape_are_an_error_that_names_the_rule(estimator, rng):
    # Transposed ones made a matrix with indices beyond its shape.
    with pytest.raises(ValueError, match="OddRule"):
        estimator(affinities=OddRule(np.transpose), **QUICK).fit(rng.normal(size=(40, 5)))


def test_points_that_overflow_in_single_precision_are_no_undefined_shift(rng):
    # For UndefinedBehaviorSanitizer: their differences are NaN there, and the logarithm of 1 + r² shifts bits.
    attraction = Attraction(sparse(joint(rng, 20)), StudentT(), WORKERS, np.float32)
    with np.errstate(all="ignore"):
        assert attraction(1e300 * rng.normal(size=(20, 2)), with_cost=True)[0].shape == (20, 2)


def test_distances_that_rounding_left_below_zero_are_zero():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])

    def rounded(a, b):
        return (-2e-10 if a[0] + b[0] == 1.0 else 1e-10) * (a[0] != b[0])

    graph = nearest_neighbors(X, 3, rounded)
    assert graph.distances.min() == 0.0
    probabilities = conditional_probabilities(graph.distances, 2.0, WORKERS)
    assert np.allclose(probabilities.sum(axis=1), 1.0)


def test_a_conversion_of_affinities_leaves_the_neighbors_as_they_are(rng):
    indices = np.array([[2, 1], [2, 0], [1, 0]], dtype=np.int32)
    before = indices.copy()
    conditional_affinities(NeighborGraph(indices, np.array([[1.0, 2.0]] * 3)), Uniform(2), WORKERS)
    assert (indices == before).all()
