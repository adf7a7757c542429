"""What holds of every fit, sought by hypothesis in rows, sizes, types and parameters that nobody thought of.

By default a short run whose examples are always the same. A long one tries other examples each time and prints how to
repeat what fails::

    SKTSNE_EXAMPLES=2000 pytest tests/test_properties.py --hypothesis-seed=1

with that many examples for each property.
"""

import itertools
import os
import threading
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS
from scipy.sparse import csr_array, issparse

from sktsne import SNE, TSNE, parallel
from sktsne._native import COMPILED
from sktsne._parameters import INITS
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.parallel import Workers

EXAMPLES = int(os.environ.get("SKTSNE_EXAMPLES", "0"))
SETTINGS = settings(
    max_examples=EXAMPLES or 30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
LARGEST = np.finfo(np.float64).max
ERRORS = (ValueError, TypeError, FloatingPointError, MemoryError)  # and nothing else, such as a LinAlgError

FAULTS = (MemoryError, KeyboardInterrupt, RuntimeError)

estimators = st.sampled_from([TSNE, SNE])
methods = st.sampled_from([*KERNELS, "auto"])
seeds = st.integers(0, 2**32 - 1)


@st.composite
def rows(draw, max_rows=40, max_columns=6, wild=True):
    """Draw a matrix of normal numbers, with duplicates, ties, outliers and scales of all sizes if it is to be wild."""
    n, p = draw(st.integers(2, max_rows)), draw(st.integers(1, max_columns))
    rng = np.random.default_rng(draw(seeds))
    X = rng.normal(size=(n, p)) + rng.integers(0, 3, size=(n, 1)) * draw(st.sampled_from([0.0, 5.0]))
    if not wild:
        return X
    if draw(st.booleans()):
        X = np.round(X * draw(st.sampled_from([0.3, 1.0, 3.0])))  # ties
    if draw(st.booleans()):
        X = X[rng.integers(0, draw(st.integers(1, n)), size=n)]  # duplicates
    if draw(st.booleans()):
        X = X * 10.0 ** rng.uniform(-draw(st.integers(0, 300)), draw(st.integers(0, 300)), size=p)
    if draw(st.booleans()):
        X[rng.integers(n), rng.integers(p)] = draw(st.floats(allow_nan=False, allow_infinity=False))
    if draw(st.booleans()):
        X[:, rng.integers(p)] = draw(st.sampled_from([0.0, 1e9, -1e200]))
    dtype = draw(st.sampled_from(["f8", "f8", "f8", "f4", "f2", "i4", "u1", "?"]))
    with np.errstate(all="ignore"):
        X = X.astype(dtype) if dtype[0] == "f" else np.clip(X, -1e9, 1e9).astype(dtype)
    return csr_array(X) if draw(st.booleans()) and dtype != "f2" else X


def parameters(wild=True):
    """Return a strategy of parameters of a short fit."""
    common = {
        "n_components": st.integers(1, 4 if wild else 2),
        "method": methods,
        "init": st.sampled_from(INITS),
        "perplexity": st.floats(1.0, 60.0) | st.lists(st.floats(1.0, 30.0), min_size=1, max_size=3),
        "max_iter": st.integers(1, 60),
        "early_exaggeration_iter": st.integers(0, 30),
        "random_state": st.integers(0, 5),
        "n_jobs": st.integers(1, 3),
    }
    options = {
        "metric": st.sampled_from(
            ["manhattan", "chebyshev", "cosine", "correlation", "canberra", "seuclidean", "hamming", "sqeuclidean"]
        ),
        "affinities": st.builds(Uniform, st.integers(1, 50)) | st.builds(FixedBandwidth, st.floats(1e-3, 1e3)),
        "dof": st.floats(0.1, 1e12) | st.just(np.inf),
        "early_exaggeration": st.floats(1.0, 100.0),
        "exaggeration": st.floats(1.0, 50.0),
        "momentum": st.floats(0.0, 0.999),
        "learning_rate": st.floats(1e-6, 1e3) | st.just(1e30),
        "max_step_norm": st.none() | st.floats(1e-3, 1e3),
        "angle": st.floats(0.0, 1.0),
    }
    return st.fixed_dictionaries(common, optional=options if wild else None)


def contents(X):
    parts = (X.data, X.indices, X.indptr) if issparse(X) else (X,)
    return [(part.dtype, part.tobytes()) for part in parts]


@pytest.fixture(autouse=True)
def _meshes(request):
    # A map too wide for its mesh takes longer than all other examples together: short runs have small meshes.
    if not EXAMPLES:
        request.getfixturevalue("small_meshes")


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    # So few rows would be one block of work, and that for the calling thread.
    monkeypatch.setattr(parallel, "BLOCK_COST", 2_000 if COMPILED else 100_000)
    monkeypatch.setattr(parallel, "THREADED_COST", 0)


@pytest.fixture(autouse=True)
def _warnings():
    # That of a perplexity that is too large, and that of a map that is too wide for the mesh.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        yield


@SETTINGS
@given(estimators, rows(), parameters())
def test_a_fit_gives_a_finite_map_or_a_documented_error(estimator, X, params):
    before = contents(X)
    model = estimator(**params)
    try:
        Y = model.fit_transform(X)
    except ERRORS as error:
        assert not hasattr(model, "embedding_")
        assert len(str(error)) > 20  # noqa: PT017
        assert contents(X) == before
        return
    n, d = X.shape[0], params["n_components"]
    assert contents(X) == before
    assert Y.shape == (n, d)
    assert Y.dtype == (np.float32 if X.dtype == np.float32 else np.float64)
    assert np.isfinite(Y).all()
    # A divergence is not negative, but for the kernel's error of log Z: of every row's, or of t-SNE's one.
    error = 3e-2 if model.method_ in APPROXIMATE else 1e-9
    assert -error * (n if estimator is SNE else 1) <= model.kl_divergence_ < np.inf
    assert_allclose(Y.mean(axis=0), 0.0, atol=1e-5 * max(1e-9, np.abs(Y).max()))
    assert_array_equal(model.transform(X), Y)
    again = model.transform(X[::-1])[::-1]
    assert np.isfinite(again).all()
    assert_array_equal(model.set_params(n_jobs=1).fit(X).embedding_, Y)


@SETTINGS
@given(estimators, rows(), rows(), parameters(), st.data())
def test_every_new_row_has_the_place_that_it_has_alone(estimator, X, new, params, data):
    p = min(X.shape[1], new.shape[1])
    X, new = X[:, :p], new[:, :p]
    try:
        model = estimator(**params).fit(X)
        before = contents(new)
        placed = model.transform(new)
    except ERRORS:
        assume(False)
    assert np.isfinite(placed).all()
    assert contents(new) == before
    chosen = data.draw(st.lists(st.integers(0, new.shape[0] - 1), min_size=1, max_size=10))
    # Rows that are those of the fit, in their order, keep all their places, even where some are equal.
    assume(X.shape[0] not in (new.shape[0], len(chosen)))
    assert_array_equal(model.transform(new[chosen]), placed[chosen])


GENTLE = {"max_iter": 10, "early_exaggeration_iter": 5, "perplexity": 3.0, "method": "exact"}


def affinities(estimator, X, **params):
    P = estimator(**{**GENTLE, "max_iter": 1, "method": "auto", **params}).fit(X).affinities_
    return P.toarray() if issparse(P) else P


@SETTINGS
@given(estimators, rows(wild=False), st.sampled_from(["exact", "auto"]), seeds)
def test_the_order_of_rows_does_not_matter(estimator, X, method, seed):
    assume(len(X) > 4)
    rng = np.random.default_rng(seed)
    order, start = rng.permutation(len(X)), 1e-2 * rng.normal(size=(len(X), 2))
    P, Q = affinities(estimator, X, method=method), affinities(estimator, X[order], method=method)
    assert_allclose(Q, P[np.ix_(order, order)], rtol=1e-9, atol=1e-15)
    fits = [estimator(init=s, **GENTLE).fit(x) for x, s in ((X, start), (X[order], start[order]))]
    assert_allclose(fits[1].embedding_, fits[0].embedding_[order], rtol=1e-6, atol=1e-8)
    assert fits[1].kl_divergence_ == pytest.approx(fits[0].kl_divergence_, rel=1e-9)


@SETTINGS
@given(estimators, rows(wild=False), st.sampled_from(["exact", "auto"]), seeds)
def test_where_the_rows_are_and_how_they_are_turned_does_not_matter(estimator, X, method, seed):
    assume(len(X) > 4)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(X.shape[1], X.shape[1])))[0]
    P = affinities(estimator, X, method=method)
    # Rounding of the moved rows is 1e-16 of the offset, and an affinity may follow β δ² by many times that.
    assert_allclose(affinities(estimator, X + 1e3 * rng.normal(size=X.shape[1]), method=method), P, rtol=1e-5)
    assert_allclose(affinities(estimator, X @ rotation, method=method), P, rtol=1e-7)


# LAPACK scaled the covariances.
SMALL = {"max_iter": 1, "early_exaggeration_iter": 0, "method": "exact", "init": "pca", "perplexity": 1.0}


@SETTINGS
@given(estimators, rows(wild=False), parameters(wild=False), st.integers(-900, 900))
@example(TSNE, np.random.default_rng(0).normal(size=(20, 2)), SMALL, -203)
def test_powers_of_two_do_not_change_a_bit(estimator, X, params, power):
    model = estimator(**params).fit(X)
    scaled = estimator(**params).fit(np.ldexp(X, power))
    assert_array_equal(scaled.embedding_, model.embedding_)
    assert scaled.kl_divergence_ == model.kl_divergence_


@SETTINGS
@given(estimators, rows(wild=False), methods, st.integers(1, 2), seeds)
@example(SNE, np.random.default_rng(0).normal(size=(2, 1)), "fft", 1, 194280)  # said to diverge: all are isolated
def test_where_the_start_is_does_not_matter(estimator, X, method, n_components, seed):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(len(X), n_components))
    params = {**GENTLE, "method": method, "n_components": n_components}
    model = estimator(init=start, **params).fit(X)
    moved = estimator(init=start + 10.0 * rng.normal(size=n_components), **params).fit(X)
    assert_allclose(moved.embedding_, model.embedding_, rtol=1e-3, atol=1e-4)


def blocks_until(function, error=None, at=-1):
    """Call a function, count the blocks of work that it gives to threads, and have one of them raise an error."""
    number, run = itertools.count(), Workers._run_blocks

    def counted(self, work, *args):
        def fail_or_work(*block):
            if next(number) == at:
                raise error
            return work(*block)

        return run(self, fail_or_work, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workers, "_run_blocks", counted)
        function()
    return next(number)


@SETTINGS
@given(
    estimators, rows(wild=False), parameters(wild=False), st.floats(0.0, 1.0), st.sampled_from(FAULTS), st.booleans()
)
def test_a_fault_in_any_block_of_work_leaves_everything_as_it_was(estimator, X, params, where, fault, fitted):
    assume(len(X) > 4)
    new, model = X[:3] + 0.5, estimator(**params)
    if fitted:
        model.fit(X[1:])
    before, expected = vars(model).copy(), estimator(**params)
    n_blocks = blocks_until(partial(expected.fit, X))
    with pytest.raises(fault):
        blocks_until(partial(model.fit, X), fault, int(where * (n_blocks - 1)))
    assert vars(model) == before
    assert_array_equal(model.fit(X).embedding_, expected.embedding_)
    n_blocks = blocks_until(partial(expected.transform, new))
    with pytest.raises(fault):
        blocks_until(partial(model.transform, new), fault, int(where * (n_blocks - 1)))
    assert_array_equal(model.transform(new), expected.transform(new))
    assert not any(thread.name.startswith("sktsne") for thread in threading.enumerate())
