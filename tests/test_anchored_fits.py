"""Fits with anchors and targets: an arrangement at large, rows that are tied to places, and rows that do not move."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktsne import SNE, TSNE
from sktsne.anchors import WIDTH, interpolated
from sktsne.kernels import KERNELS
from sktsne.metrics import point_costs
from sktsne.reliability import instability, perturbation, significance, singularity

KINDS = [TSNE, SNE]
ONES = np.ones((60, 2))
QUICK = {"perplexity": 12.0, "max_iter": 60, "early_exaggeration_iter": 20, "random_state": 0}


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(60, 4)) + np.repeat([0.0, 6.0], 30)[:, None]


@pytest.fixture
def targets(rng):
    places = 5.0 * rng.normal(size=(60, 2)) + 20.0
    places[::2] = np.nan
    return places


def correlation(Y, targets):
    """Return the correlation of a map with the targets, up to scale and center."""
    Y, t = Y - Y.mean(axis=0), targets - targets.mean(axis=0)
    return np.sum(Y * t) / np.sqrt(np.sum(Y**2) * np.sum(t**2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_stronger_arrangement_is_nearer_to_its_anchors(kind, storage, d, X):
    components = PCA(d, svd_solver="full").fit_transform(X)
    found = []
    for strength in (0.0, 1.0, 100.0):
        model = kind(n_components=d, anchors="pca", anchor_strength=strength, **{**QUICK, "init": "random"})
        Y = model.fit_transform(storage(X))
        assert_allclose(Y.mean(axis=0), 0.0, atol=1e-9 * np.abs(Y).max())
        found.append(correlation(Y, components) ** 2)
        n_distributions = 60 if kind is SNE else 1
        S = np.sum(Y**2)
        expected = n_distributions * strength * (1.0 - found[-1]) * S / (WIDTH**2 * 60 + S)
        assert_allclose(model.anchor_cost_, expected, rtol=1e-6, atol=1e-9)
    assert found[0] < found[1] + 1e-3
    assert found[1] < found[2]
    assert found[2] > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_anchors_may_be_any_map(kind, X, rng):
    circle = np.column_stack([np.cos(np.arange(60)), np.sin(np.arange(60))])
    frame = pd.DataFrame(7.0 + 1e-3 * circle)
    models = [kind(anchors=anchors, anchor_strength=100.0, **QUICK).fit(X) for anchors in (circle, frame)]
    assert_allclose(models[0].embedding_, models[1].embedding_, atol=1e-3 * np.abs(models[0].embedding_).max())
    assert correlation(models[0].embedding_, circle) ** 2 > 0.9
    assert_allclose(point_costs(models[0]).sum(), models[0].kl_divergence_, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_strength_of_zero_is_no_anchor(kind, X, targets):
    plain = kind(**QUICK).fit(X)
    model = kind(anchors="pca", anchor_strength=0.0, **QUICK).fit(X)
    assert_allclose(model.embedding_, plain.embedding_, atol=1e-5 * np.abs(plain.embedding_).max())
    assert model.anchor_cost_ == 0.0
    assert not hasattr(plain, "anchor_cost_")
    assert not hasattr(model.set_params(anchors=None).fit(X), "anchor_cost_")
    model = kind(**{**QUICK, "init": plain.embedding_}).fit(X, targets=targets, target_strength=0.0)
    assert model.anchor_cost_ == 0.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_held_rows_stay_and_free_rows_come_to_their_neighbors(kind, method, dtype, X):
    places = 30.0 + kind(**QUICK).fit_transform(X)
    free = np.arange(60) % 3 == 0
    targets = np.where(free[:, None], np.nan, places)
    model = kind(method=method, **QUICK).fit(X.astype(dtype), targets=targets)
    assert_array_equal(model.embedding_[~free], places[~free].astype(dtype))
    # Each group has free rows and held rows, which are neighbors.
    centers = [places[group & ~free].mean(axis=0) for group in (np.arange(60) < 30, np.arange(60) >= 30)]
    distances = np.linalg.norm(model.embedding_[free, None] - np.array(centers), axis=2)
    assert (distances.argmin(axis=1) == (np.arange(60) >= 30)[free]).all()
    assert_allclose(model.transform(X.astype(dtype)), model.embedding_)
    assert np.isfinite(model.transform(X.astype(dtype) + 0.1)).all()
    again = kind(method=method, n_jobs=2, **QUICK).fit(X.astype(dtype), targets=targets)
    assert_array_equal(again.embedding_, model.embedding_)


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_targets_are_nearer(kind, X, targets):
    distances = []
    tied = np.isfinite(targets).all(axis=1)
    for strength in (0.01, 0.1, 10.0, 1e6):
        model = kind(**QUICK).fit(X, targets=targets, target_strength=strength)
        distances.append(np.linalg.norm((model.embedding_ - targets)[tied], axis=1).mean())
        n_distributions = 60 if kind is SNE else 1
        squares = np.sum((model.embedding_ - targets)[tied] ** 2)
        assert_allclose(model.anchor_cost_, n_distributions * strength / 60 * squares, rtol=1e-6)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3


def test_each_row_has_its_own_strength(X, targets):
    tied = np.flatnonzero(np.isfinite(targets).all(axis=1))
    strengths = np.zeros(60)
    strengths[tied[:5]], strengths[tied[5:10]] = np.inf, 1e6
    model = TSNE(**QUICK).fit(X, targets=targets, target_strength=strengths)
    assert_array_equal(model.embedding_[tied[:5]], targets[tied[:5]])
    moved = np.linalg.norm((model.embedding_ - targets)[tied], axis=1)
    assert (moved[5:10] < 1e-3).all()
    assert (moved[10:] > 0.1).all()


def test_all_rows_may_be_held(X, rng):
    places = rng.normal(size=(60, 2))
    model = TSNE(**QUICK).fit(X, targets=places)
    assert_array_equal(model.embedding_, places)
    assert np.isfinite(model.transform(X + 0.1)).all()


def test_free_rows_start_at_an_array_if_there_is_one(X, targets, rng):
    start = rng.normal(size=(60, 2))
    model = TSNE(**{**QUICK, "init": start, "max_iter": 1, "max_step_norm": 1e-3}).fit(X, targets=targets)
    free = np.isnan(targets).any(axis=1)
    assert_allclose(model.embedding_, np.where(free[:, None], start, targets), atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["pca", "array"])
def test_rows_with_one_target_move_apart_unless_they_are_held(kind, init, X, rng):
    X = np.concatenate([X, X[:1]])
    model = kind(**{**QUICK, "init": init if init == "pca" else rng.normal(size=(61, 2))})
    held = model.fit_transform(X, targets=np.ones((61, 2)))
    assert_array_equal(held, np.ones((61, 2)))
    Y = model.fit_transform(X, targets=np.ones((61, 2)), target_strength=0.01)
    assert Y.std() > 0.1
    if init == "pca":
        assert_allclose(Y[60], Y[0])  # equal rows stay together


def test_interpolation_reaches_far_points_and_leaves_others_at_the_mean():
    chain = np.eye(30, k=1) + np.eye(30, k=-1)
    chain[14, 15] = chain[15, 14] = 0.0
    targets = np.full((30, 1), np.nan)
    targets[0], targets[5] = 0.0, 5.0
    for affinities in chain, csr_array(chain):
        positions = interpolated(affinities, targets).ravel()
        assert_allclose(positions[:6], np.arange(6), atol=0.3)
        assert_allclose(positions[6:15], 5.0, atol=0.1)
        assert_allclose(positions[15:], 2.5)


@pytest.mark.parametrize("far", [1e19, 1e300, -np.inf])
def test_interpolation_refuses_targets_whose_squares_overflow(far):
    with pytest.raises(ValueError, match=r"targets has values up to .*, must have none beyond"):
        interpolated(np.ones((2, 2)), np.array([[far], [np.nan]]))


@pytest.mark.parametrize("given", ["metric", "affinities"])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_precomputed_rows_can_have_targets(given, storage, X, targets):
    distances = pairwise_distances(X)
    matrix = storage(distances if given == "metric" else np.exp(-distances))
    model = TSNE(**{given: "precomputed"}, **{**QUICK, "init": "random"}).fit(matrix, targets=targets)
    tied = np.isfinite(targets).all(axis=1)
    assert_array_equal(model.embedding_[tied], targets[tied])
    with pytest.raises(ValueError, match=f"anchors == 'pca' needs the rows, and {given} == 'precomputed'"):
        model.set_params(anchors="pca").fit(matrix)


def test_targets_and_an_arrangement_and_weights_together(X, targets):
    weights = np.linspace(0.0, 2.0, 60)
    model = TSNE(anchors="pca", **QUICK).fit(X, sample_weight=weights, targets=targets, target_strength=1.0)
    assert model.anchor_cost_ > 0.0
    assert np.isfinite(model.embedding_).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": np.ones((59, 2))}, r"targets has shape \(59, 2\), must have shape \(60, 2\)"),
        ({"targets": np.ones((60, 3))}, r"targets has shape \(60, 3\), must have shape \(60, 2\)"),
        ({"targets": np.ones(60)}, r"targets has shape \(60,\), must have shape \(60, 2\)"),
        ({"targets": np.full((60, 2), np.nan)}, "targets are all NaN, must be finite for one row at least"),
        ({"targets": np.full((60, 2), np.inf)}, "targets contains infinity"),
        ({"targets": np.full((60, 2), -1e300)}, r"targets has values up to 1e\+300, must have none beyond 1e\+18"),
        (
            {"targets": np.r_[ONES[:5], np.full((55, 2), np.nan)], "sample_weight": np.arange(60) >= 5},
            "targets are NaN for all rows but those of weight 0",
        ),
        ({"targets": np.array([[1.0, np.nan]] * 60)}, r"targets\[0\] == \[1.0, nan\], must be finite, or NaN in all"),
        ({"targets": "pca"}, "targets must hold numbers"),
        ({"target_strength": 1.0}, "target_strength == 1.0 is given without targets"),
        ({"target_strength": np.ones(60)}, "is given without targets"),
        (
            {"targets": np.ones((60, 2)), "target_strength": -1.0},
            "target_strength == -1.0, must be a number at least 0",
        ),
        ({"targets": ONES, "target_strength": np.nan}, "target_strength == nan, must be"),
        ({"targets": ONES, "target_strength": True}, "target_strength == True, must be a number, not bool"),
        ({"targets": ONES, "target_strength": np.ones(59)}, r"target_strength has shape \(59,\)"),
        (
            {"targets": np.ones((60, 2)), "target_strength": -np.arange(60.0)},
            r"target_strength\[1\] == -1.0, must be at",
        ),
        ({"targets": ONES, "target_strength": "strong"}, "target_strength must hold numbers"),
        ({"targets": ONES, "target_strength": None}, r"target_strength == None, must hold numbers: one, or an array"),
        (
            {"targets": ONES, "target_strength": np.array(1.0)},
            r"target_strength == array\(1.\), must hold numbers: one",
        ),
    ],
)
def test_wrong_targets_are_refused_before_any_work(arguments, message, X):
    def neither(*_):
        raise AssertionError

    with pytest.raises((TypeError, ValueError), match=message):
        TSNE(metric=neither).fit(X, **arguments)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"anchors": "mds"}, "anchors == 'mds', must be one of 'pca', an array of shape"),
        ({"anchors": np.ones((59, 2))}, r"anchors has shape \(59, 2\), must be"),
        ({"anchors": np.full((60, 2), np.nan)}, "anchors"),
        ({"anchors": np.ones((60, 2))}, "anchors must not all coincide"),
        ({"anchors": 3}, "anchors == 3, must be one of 'pca', None or an array"),
        ({"anchor_strength": -1}, "anchor_strength == -1, must be a number at least 0"),
        ({"anchor_strength": "strong"}, "anchor_strength == 'strong', must be a number"),
        ({"anchor_strength": np.inf}, "anchor_strength == inf, must be a number at least 0 and finite"),
    ],
)
def test_wrong_anchors_are_refused_before_any_work(parameters, message, X):
    def neither(*_):
        raise AssertionError

    with pytest.raises((TypeError, ValueError), match=message):
        TSNE(metric=neither, **parameters).fit(X)


def test_anchors_that_differ_in_rows_of_weight_zero_only_are_refused_before_any_work(X):
    def neither(*_):
        raise AssertionError

    model = TSNE(metric=neither, anchors=np.r_[[[2.0, 2.0]], ONES[1:]])
    with pytest.raises(ValueError, match="anchors must not all coincide for the rows with a positive weight"):
        model.fit(X, sample_weight=np.arange(60) > 0)


def test_equal_rows_have_no_principal_components():
    with pytest.raises(ValueError, match="anchors == 'pca' needs rows that differ"):
        TSNE(anchors="pca", perplexity=3).fit(np.ones((20, 3)))


def test_searches_vary_the_strength(X):
    grid = {"anchor_strength": [0.0, 100.0]}
    search = GridSearchCV(TSNE(anchors="pca", **QUICK), grid, scoring=lambda model, X, y=None: -model.kl_divergence_)
    assert search.fit(X).best_params_ == {"anchor_strength": 0.0}


def test_pipelines_and_routing(X, targets):
    expected = TSNE(**QUICK).fit(X, targets=targets, target_strength=2.0).embedding_
    pipeline = make_pipeline("passthrough", TSNE(**QUICK))
    assert_array_equal(pipeline.fit_transform(X, tsne__targets=targets, tsne__target_strength=2.0), expected)
    with config_context(enable_metadata_routing=True):
        step = TSNE(**QUICK).set_fit_request(sample_weight=False, targets=True, target_strength=True)
        routed = make_pipeline("passthrough", step).fit(X, targets=targets, target_strength=2.0)
    assert_array_equal(routed[-1].embedding_, expected)


def test_a_checkpoint_of_other_targets_is_refused(X, targets, tmp_path):
    path = tmp_path / "fit"

    def stop(iteration, cost, embedding):
        raise KeyboardInterrupt

    def model(**changes):
        return TSNE(**{**QUICK, "max_iter": 120, "checkpoint": path, "callback_every": 100, **changes})

    with pytest.raises(KeyboardInterrupt):
        model(callback=stop).fit(X, targets=targets)
    for arguments in {}, {"targets": targets + 1.0}, {"targets": targets, "target_strength": 3.0}:
        with pytest.raises(ValueError, match="another fit"):
            model().fit(X, **arguments)
    continued = model().fit(X, targets=targets)
    assert_array_equal(continued.embedding_, model(checkpoint=None).fit(X, targets=targets).embedding_)


def test_reports_hold_the_anchors_and_the_map_keeps_its_place(X, targets):
    reports = []
    model = TSNE(**QUICK, callback=lambda *report: reports.append(report), callback_every=20)
    model.fit(X, targets=targets, target_strength=1.0)
    tied = np.isfinite(targets).all(axis=1)
    for _, _, Y in reports:
        assert np.linalg.norm((Y - targets)[tied], axis=1).mean() < 10.0
    last = TSNE(**{**QUICK, "max_iter": 40}).fit(X, targets=targets, target_strength=1.0)
    assert_allclose(reports[-1][1], last.kl_divergence_ + last.anchor_cost_, rtol=1e-9)
    assert_allclose(reports[-1][2], last.embedding_)


def test_the_last_line_tells_the_cost_without_anchors(X, capsys):
    model = TSNE(anchors="pca", verbose=1, **QUICK).fit(X)
    assert f"iterations: {model.kl_divergence_:f} (stopped" in capsys.readouterr().out


def test_scores_of_anchored_maps_leave_the_anchors_out(X):
    model = TSNE(anchors="pca", anchor_strength=0.5, **QUICK).fit(X)
    for scores in (
        singularity(model),
        perturbation(model, X),
        significance(model, X, random_state=0),
        instability(model, X, n_fits=2, random_state=0).neighbors,
        instability(model, X, n_fits=2, random_state=0, resample="rows").neighbors,
    ):
        assert scores.shape == (60,)
