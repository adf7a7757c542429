"""Maps that belong together: maps that grow, sequences of maps, and their pictures."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne._keys import in_common, read_keys
from sktsne.growth import extend
from sktsne.initialization import pca_start
from sktsne.metrics import knn_accuracy, trustworthiness_scorer
from sktsne.plotting import plot_sequence
from sktsne.sequences import fit_sequence

N, N_OLD = 300, 200
QUICK = {"perplexity": 15.0, "max_iter": 300, "random_state": 0}


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:N], digits[1][:N]


@pytest.fixture(scope="module")
def old(rows):
    return TSNE(**QUICK).fit(rows[0][:N_OLD])


@pytest.fixture(scope="module")
def deforming(rows):
    """Return three sets of the same rows, which change a little from set to set."""
    X, _ = rows
    noise = np.random.default_rng(0).normal(scale=2.0, size=X.shape)
    return [X + share * noise for share in (0.0, 0.5, 1.0)]


def state(estimator):
    """Return a copy of all that an estimator stores, except for objects of the package."""
    kinds = (int, float, str, np.ndarray, dict, type(None))
    return {name: np.copy(value) for name, value in vars(estimator).items() if isinstance(value, kinds)}


def moves(before, after):
    return np.linalg.norm(after - before, axis=1)


# Maps that grow


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("params", [{}, {"method": "exact"}, {"method": "barnes_hut"}, {"n_components": 1}])
def test_old_rows_keep_their_bits_with_an_infinite_strength(rows, estimator, params):
    X, _ = rows
    fitted = estimator(**{**QUICK, "max_iter": 100, **params}).fit(X[:N_OLD])
    order = np.random.default_rng(0).permutation(N)
    extended = extend(fitted, X[order], strength=np.inf)
    is_old = order < N_OLD
    assert_array_equal(extended.embedding_[is_old], fitted.embedding_[order[is_old]])
    assert np.isfinite(extended.embedding_).all()
    assert_array_equal(extended.transform(X[:N_OLD]), fitted.embedding_)


def test_old_rows_hardly_move_and_new_rows_settle(rows, old):
    X, digit = rows
    extended = extend(old, X)
    size = old.embedding_.std(axis=0).mean()
    assert moves(old.embedding_, extended.embedding_[:N_OLD]).mean() < 0.1 * size
    # Among digits that the old map has, new rows are near rows of their own digit as often as with transform.
    placed = old.transform(X[N_OLD:])
    scores = [
        knn_accuracy(old.embedding_, digit[:N_OLD], Y, digit[N_OLD:]) for Y in (placed, extended.embedding_[N_OLD:])
    ]
    assert scores[1] > scores[0] - 0.05
    whole = clone(old).fit(X)
    assert extended.kl_divergence_ < 1.2 * whole.kl_divergence_
    loose = extend(old, X, strength=0.0)
    assert (
        moves(old.embedding_, loose.embedding_[:N_OLD]).mean()
        > moves(old.embedding_, extended.embedding_[:N_OLD]).mean()
    )


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_a_strength_weighs_moves_against_the_cost(rows, estimator):
    X, _ = rows
    fitted = estimator(**QUICK).fit(X[:N_OLD])
    maps = [extend(fitted, X, strength=strength) for strength in (0.0, "auto", np.inf)]
    distances = [moves(fitted.embedding_, one.embedding_[:N_OLD]).mean() for one in maps]
    costs = [one.kl_divergence_ for one in maps]
    assert sorted(distances, reverse=True) == distances
    assert distances[2] == 0.0 < distances[1] < 0.2 * distances[0]
    assert sorted(costs) == costs


@pytest.mark.parametrize("strength", [1.0, np.inf])
def test_extending_gives_the_same_bits_for_any_number_of_threads(rows, old, strength):
    X, _ = rows
    maps = []
    for n_jobs in (1, 2):
        fitted = clone(old).set_params(n_jobs=n_jobs).fit(X[:N_OLD])
        maps.append(extend(fitted, X, strength=strength).embedding_)
    assert_array_equal(maps[0], maps[1])
    assert_array_equal(extend(old, X, strength=strength).embedding_, maps[0])


def test_extending_changes_nothing_in_the_old_estimator(rows, old):
    before, X = state(old), rows[0].copy()
    extended = extend(old, X)
    assert_array_equal(X, rows[0])
    assert before.keys() == state(old).keys()
    for name, value in state(old).items():
        assert_array_equal(value, before[name], err_msg=name)
    assert extended.get_params() == old.get_params()
    assert extended is not old
    again = extend(extended, X, strength=np.inf)
    assert_array_equal(again.embedding_, extended.embedding_)


def test_a_start_of_the_users_stays_a_parameter(rows):
    X, _ = rows
    start = np.random.default_rng(0).normal(size=(N_OLD, 2))
    extended = extend(TSNE(**QUICK, init=start, early_exaggeration_iter=20).fit(X[:N_OLD]), X)
    assert_array_equal(extended.init, start)
    assert extended.early_exaggeration_iter == 20


@pytest.mark.parametrize("convert", [csr_array, lambda X: X.astype(np.float32), lambda X: X.tolist()])
def test_old_rows_are_recognized_in_any_storage(rows, old, convert):
    X, _ = rows
    extended = extend(old, convert(X), strength=np.inf)
    assert_allclose(extended.embedding_[:N_OLD], old.embedding_, rtol=1e-6)


def test_names_of_columns_are_kept(rows):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rows[0]).add_prefix("pixel")
    extended = extend(TSNE(**QUICK).fit(X[:N_OLD]), X)
    assert_array_equal(extended.feature_names_in_, X.columns)


def test_equal_rows_keep_their_own_places_and_further_copies_share_one(rows):
    X, _ = rows
    doubled = np.vstack([X[:100], X[:50]])
    fitted = TSNE(**QUICK).fit(doubled)
    extended = extend(fitted, np.vstack([doubled, X[:20], X[100:150]]), strength=np.inf)
    assert_array_equal(extended.embedding_[:150], fitted.embedding_)
    assert_array_equal(extended.embedding_[150:170], fitted.embedding_[:20])
    held = extend(fitted, np.vstack([doubled, X[:20], X[100:150]]))
    assert np.isfinite(held.embedding_).all()


def test_rows_that_are_left_out_are_left_out(rows, old):
    X, _ = rows
    extended = extend(old, X[100:], strength=np.inf)
    assert extended.embedding_.shape == (200, 2)
    assert_array_equal(extended.embedding_[:100], old.embedding_[100:])


def test_a_map_without_new_rows_stays_as_it_is(rows, old):
    assert_array_equal(extend(old, rows[0][:N_OLD], strength=np.inf).embedding_, old.embedding_)


def test_pipelines_keep_their_earlier_steps(rows):
    X, _ = rows
    # The rows of PCA.transform differ by rounding from those of the fit.
    pipeline = make_pipeline(StandardScaler(), PCA(20), TSNE(**QUICK)).fit(X[:N_OLD])
    map_before, mean = pipeline[-1].embedding_.copy(), pipeline[0].mean_.copy()
    extended = extend(pipeline, X, strength=np.inf)
    assert_array_equal(extended[-1].embedding_[:N_OLD], map_before)
    assert_array_equal(extended.transform(X)[:N_OLD], map_before)
    extended.fit(X)
    assert_array_equal(pipeline[0].mean_, mean)
    assert_array_equal(pipeline[-1].embedding_, map_before)


def test_weighted_maps_grow_with_weights(rows, old):
    X, _ = rows
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=N)
    fitted = TSNE(**QUICK).fit(X[:N_OLD], sample_weight=weights[:N_OLD])
    extended = extend(fitted, X, strength=np.inf, sample_weight=weights)
    assert_array_equal(extended.embedding_[:N_OLD], fitted.embedding_)
    assert (extended.affinities_ != extend(fitted, X, sample_weight=1.0).affinities_).nnz > 0
    with pytest.raises(ValueError, match="sample_weight == None, must hold the weights of X"):
        extend(fitted, X)


def test_the_best_estimator_of_a_search_is_extended(rows):
    X, _ = rows
    split = [(np.arange(N_OLD), np.arange(N_OLD))]
    search = GridSearchCV(TSNE(**QUICK), {"perplexity": [5, 10]}, scoring=trustworthiness_scorer, cv=split)
    search.fit(X[:N_OLD])
    extended = extend(search, X, strength=np.inf)
    assert isinstance(extended, TSNE)
    assert_array_equal(extended.embedding_[:N_OLD], search.best_estimator_.embedding_)


def spoiled_extensions(X):
    fitted = TSNE(**{**QUICK, "max_iter": 5}).fit(X[:50])
    D = pairwise_distances(X[:50])
    with_classifier = make_pipeline(TSNE(**{**QUICK, "max_iter": 5}), LogisticRegression())
    return {
        "not fitted": (TSNE(), X, {}, NotFittedError, "not fitted"),
        "another estimator": (PCA(2).fit(X), X, {}, TypeError, "estimator == PCA"),
        "other columns": (fitted, X[:, :10], {}, ValueError, "10 features"),
        "no old row": (fitted, X[50:], {}, ValueError, "none of its 250 rows is one"),
        "NaN": (fitted, np.where(X > 5.0, np.nan, X), {}, ValueError, "NaN"),
        "negative strength": (fitted, X, {"strength": -1}, ValueError, "strength == -1"),
        "strength NaN": (fitted, X, {"strength": np.nan}, ValueError, "strength == nan"),
        "no strength": (fitted, X, {"strength": None}, TypeError, "strength == None"),
        "strength of a text": (fitted, X, {"strength": "firm"}, ValueError, "strength == 'firm'"),
        "no estimator": (None, X, {}, TypeError, "estimator == None, must be a TSNE or SNE"),
        "an array": (X, X, {}, TypeError, r"estimator == array\((.|\n)*must be a TSNE or SNE"),
        "anchors of the rows of the fit": (
            TSNE(**{**QUICK, "max_iter": 5, "anchors": X[:50, 2:4]}).fit(X[:50]), X, {}, ValueError,
            "anchors is an array .* must be None or 'pca'",
        ),
        "a step behind the map": (
            with_classifier.fit(X[:50], np.arange(50) % 2), X, {}, ValueError, "its last step is LogisticRegression"
        ),
        "distances": (
            TSNE(**{**QUICK, "max_iter": 5, "metric": "precomputed", "init": "random"}).fit(D), D, {}, ValueError,
            "metric == 'precomputed'",
        ),
    }  # fmt: skip


def test_errors_of_extend_come_before_any_fit(rows, monkeypatch):
    cases = spoiled_extensions(rows[0])
    monkeypatch.setattr(TSNE, "_fit", lambda *args, **kwargs: pytest.fail("a fit began"))
    for estimator, X, arguments, error, message in cases.values():
        with pytest.raises(error, match=message):
            extend(estimator, X, **arguments)


# Sequences


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_common_rows_move_less_than_in_maps_of_their_own(deforming, estimator):
    start = pca_start(deforming[0], 2, np.random.RandomState(0))
    model = estimator(**QUICK, init=start)
    held = [fitted.embedding_ for fitted in fit_sequence(model, deforming)]
    alone = [clone(model).fit_transform(X) for X in deforming]
    assert_array_equal(held[0], alone[0])
    distances = [np.mean([moves(*pair).mean() for pair in pairwise(maps)]) for maps in (held, alone)]
    # With three seeds of the noise, the ratios were from 0.07 to 0.25.
    assert distances[0] < 0.5 * distances[1]


def test_infinite_strength_keeps_the_places_of_common_rows(deforming):
    keys = [np.arange(200), np.arange(100, 300)]
    first, second = fit_sequence(TSNE(**QUICK), [deforming[0][:200], deforming[1][100:]], keys=keys, strength=np.inf)
    assert_array_equal(second.embedding_[:100], first.embedding_[100:])
    assert np.isfinite(second.embedding_).all()


def test_labels_name_rows_in_any_order_and_kind(deforming):
    orders = [np.random.default_rng(k).permutation(N) for k in range(3)]
    expected = [fitted.embedding_ for fitted in fit_sequence(TSNE(**QUICK), deforming, strength=np.inf)]
    sets = [deforming[0], *(X[order] for X, order in zip(deforming[1:], orders[1:], strict=True))]
    names = [f"row {k}" for k in range(N)]
    keys = [names, *([names[k] for k in order] for order in orders[1:])]
    maps = fit_sequence(TSNE(**QUICK), sets, keys=keys, strength=np.inf)
    for fitted, order, wanted in zip(maps[1:], orders[1:], expected[1:], strict=True):
        assert_array_equal(fitted.embedding_, wanted[order])


def test_the_order_of_rows_changes_a_map_by_rounding_only(deforming):
    order = np.random.default_rng(0).permutation(N)
    first, second = fit_sequence(TSNE(**QUICK), deforming[:2])
    keys = [np.arange(N), order]
    _, other = fit_sequence(TSNE(**QUICK), [deforming[0], deforming[1][order]], keys=keys)
    assert_allclose(other.embedding_, second.embedding_[order], atol=1e-3 * first.embedding_.std())


@pytest.mark.parametrize("keys", [[[(1, "a"), (2, "b")], [(2, "b"), (3, "c")]], [[1.5, "x"], ["x", True]]])
def test_labels_may_be_of_any_kind(keys):
    assert list(map(np.ndarray.tolist, in_common(*read_keys(keys, [2, 2], "Xs")))) == [[1], [0]]


def test_sequences_repeat_for_any_number_of_threads(deforming):
    keys = [np.arange(200), np.arange(50, 300)]
    sets = [deforming[0][:200], deforming[1][50:]]
    maps = [fit_sequence(TSNE(**QUICK, n_jobs=n), sets, keys=keys)[1].embedding_ for n in (1, 2)]
    assert_array_equal(*maps)


def test_a_sequence_changes_nothing_of_the_users(deforming):
    start = np.random.default_rng(0).normal(size=(N, 2))
    generator = np.random.RandomState(0)
    model = TSNE(**{**QUICK, "random_state": generator}, init=start)
    before, sets = state(model), [X.copy() for X in deforming]
    maps = fit_sequence(model, deforming)
    assert not hasattr(model, "embedding_")
    for name, value in state(model).items():
        assert_array_equal(value, before[name], err_msg=name)
    assert generator.uniform() == np.random.RandomState(0).uniform()
    for X, Y in zip(deforming, sets, strict=True):
        assert_array_equal(X, Y)
    for fitted in maps:
        assert_array_equal(fitted.init, start)
        assert fitted.early_exaggeration_iter == model.early_exaggeration_iter


@pytest.mark.parametrize("kind", ["metric", "affinities"])
def test_sequences_of_distances_and_of_affinities(deforming, kind):
    D = [pairwise_distances(X) for X in deforming]
    if kind == "affinities":
        D = [np.exp(-((Z / 20.0) ** 2)) for Z in D]
    maps = fit_sequence(TSNE(**QUICK, **{kind: "precomputed"}, init="spectral"), D)
    size = maps[0].embedding_.std()
    for before, after in pairwise(maps):
        assert moves(before.embedding_, after.embedding_).mean() < size


def test_sets_may_have_other_columns(deforming):
    maps = fit_sequence(TSNE(**QUICK), [deforming[0], deforming[1][:, 20:]])
    assert [fitted.n_features_in_ for fitted in maps] == [64, 44]


@pytest.mark.parametrize("memory", [False, True])
def test_pipelines_fit_their_steps_to_each_set(deforming, tmp_path, memory):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK), memory=str(tmp_path) if memory else None)
    maps = fit_sequence(pipeline, deforming[:2], strength=np.inf)
    assert_array_equal(maps[0][-1].embedding_, maps[1][-1].embedding_)
    for fitted, X in zip(maps, deforming[:2], strict=True):
        assert_allclose(fitted[0].mean_, X.mean(axis=0))
        assert_array_equal(fitted.transform(X), fitted[-1].embedding_)
    assert not hasattr(pipeline[0], "mean_")
    only = fit_sequence(make_pipeline(TSNE(**QUICK)), deforming[:2], strength=np.inf)
    assert_array_equal(only[0][-1].embedding_, only[1][-1].embedding_)


def test_an_array_of_anchors_serves_sets_of_the_same_rows(deforming, rng):
    anchors = rng.normal(size=(len(deforming[0]), 2))
    keys = [range(len(anchors)), np.arange(len(anchors))]
    first, second = fit_sequence(TSNE(**{**QUICK, "max_iter": 30, "anchors": anchors}), deforming[:2], keys=keys)
    assert_array_equal(second.anchors, first.anchors)
    assert second.anchor_cost_ > 0.0


def test_a_set_with_few_known_rows_has_early_exaggeration(deforming, monkeypatch):
    counts, fit = [], TSNE.fit

    def watched(self, *args, **kwargs):
        counts.append(self.early_exaggeration_iter)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(TSNE, "fit", watched)
    keys = [np.arange(200), np.arange(100, 300), np.arange(290, 490)]
    X = deforming[0]
    fit_sequence(TSNE(**{**QUICK, "max_iter": 5}), [X[:200], X[100:], X[:200]], keys=keys)
    assert counts == [100, 0, 100]


def test_sequences_save_no_checkpoint(deforming, tmp_path):
    path = tmp_path / "checkpoint.npz"
    maps = fit_sequence(TSNE(**{**QUICK, "max_iter": 60}, checkpoint=path), deforming)
    assert [fitted.checkpoint for fitted in maps] == [path] * 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"estimator": PCA(2)}, TypeError, "estimator == PCA"),
        ({"estimator": TSNE}, TypeError, "estimator == <class"),
        ({"estimator": make_pipeline(TSNE(), PCA(1))}, TypeError, "pipeline that ends with one"),
        ({"Xs": []}, ValueError, r"Xs == \[\]"),
        ({"Xs": np.ones((20, 3))}, TypeError, "Xs is a ndarray"),
        ({"Xs": csr_array(np.ones((20, 3)))}, TypeError, "Xs is a csr_array"),
        ({"Xs": {"a": np.ones((20, 3))}}, TypeError, "Xs is a dict"),
        ({"Xs": 3}, TypeError, "Xs is a int"),
        ({"Xs": [3, 4]}, TypeError, r"Xs\[0\] must be an array"),
        ({"Xs": [np.ones((20, 3)), np.ones((21, 3))]}, ValueError, "have 20, 21 rows: keys"),
        ({"keys": [np.arange(20)]}, ValueError, "must have 2 arrays"),
        ({"keys": "ab"}, ValueError, "must have 2 arrays"),
        ({"keys": 3}, TypeError, "keys must be an array"),
        ({"keys": ["ab", "cd"]}, ValueError, r"keys\[0\] has shape \(\)"),
        ({"keys": [np.arange(20), np.arange(19)]}, ValueError, r"keys\[1\] has shape \(19,\), must have \(20,\)"),
        ({"keys": [np.arange(20), np.arange(20) % 19]}, ValueError, r"keys\[1\]\[0\] and keys\[1\]\[19\] are both"),
        ({"keys": [np.arange(20), np.arange(20, 40)]}, ValueError, r"Xs\[1\] must have rows in common with Xs\[0\]"),
        ({"keys": [np.arange(20), [None, *range(19)]]}, ValueError, r"keys\[1\]\[0\] is missing"),
        ({"keys": [np.arange(20), [{"a": 1}] * 20]}, TypeError, r"keys\[1\]\[0\] == {'a': 1}, must be hashable"),
        (
            {"estimator": TSNE(anchors=np.ones((20, 2))), "keys": [np.arange(20), np.arange(1, 21)]}, ValueError,
            "anchors is an array .* must be None or 'pca' for sets with other rows",
        ),
        ({"strength": -0.5}, ValueError, "strength == -0.5"),
        ({"strength": True}, TypeError, "strength == True"),
    ],
)  # fmt: skip
def test_errors_of_sequences_come_before_any_fit(arguments, error, message, monkeypatch):
    monkeypatch.setattr(TSNE, "_fit", lambda *args, **kwargs: pytest.fail("a fit began"))
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(error, match=message):
        fit_sequence(**{"estimator": TSNE(perplexity=5), "Xs": [X, X], **arguments})


# Pictures


@pytest.fixture
def pyplot():
    pytest.importorskip("matplotlib").use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    yield plt
    plt.close("all")


@pytest.fixture
def three_maps(rng):
    return [scale * rng.normal(size=(n, 2)) for scale, n in ((1.0, 50), (3.0, 60), (2.0, 40))]


def colors_of(display, y):
    """Return the color of each label."""
    return {label: tuple(color) for label, color in zip(y, display.points_.get_facecolors(), strict=True)}


@pytest.mark.parametrize("mixed", [False, True])
def test_a_label_has_one_color_in_all_maps(pyplot, three_maps, mixed):
    y = [np.arange(50) % 5, np.arange(60) % 3 + 3, np.arange(40) % 2 + 9]
    if mixed:
        y[1] = y[1].astype(str)
    displays = plot_sequence(three_maps, y)
    found = [colors_of(display, labels.tolist()) for display, labels in zip(displays, y, strict=True)]
    merged = {**found[0], **found[1], **found[2]}
    for colors in found:
        assert colors.items() <= merged.items()
    assert len(set(merged.values())) == len(merged)
    assert [display.legend_ is None for display in displays] == [True, True, False]
    assert len(displays[2].legend_.get_texts()) == len(merged)


def test_values_have_one_scale_in_all_maps(pyplot, three_maps):
    y = [np.linspace(0.0, 1.0, 50), np.linspace(-5.0, 0.0, 60), np.append(np.linspace(0.0, 1.0, 39), np.inf)]
    displays = plot_sequence(three_maps, y, label_name="height")
    assert [display.points_.get_clim() for display in displays] == [(-5.0, 1.0)] * 3
    assert displays[2].colorbar_.ax.get_ylabel() == "height"
    displays = plot_sequence(three_maps, y, vmin=-1.0, vmax=3.0)
    assert [display.points_.get_clim() for display in displays] == [(-1.0, 3.0)] * 3


def test_densities_have_one_scale_in_all_maps(pyplot, rng):
    maps = [scale * rng.normal(size=(n, 2)) for scale, n in ((1.0, 3000), (2.0, 90_000))]
    displays = plot_sequence(maps, density=True)
    counts = [display.points_.get_array().max() for display in displays]
    assert [display.points_.get_clim() for display in displays] == [(1.0, max(counts))] * 2
    displays[1].figure_.canvas.draw()
    assert {"1", "2", "5", "10"} <= {text.get_text() for text in displays[1].colorbar_.ax.get_yticklabels()}


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.filterwarnings("ignore:the plot shows only the first two of 4 components")
def test_all_axes_have_the_same_limits(pyplot, rng, d):
    maps = [scale * rng.normal(size=(50, d)) for scale in (1.0, 3.0)]
    displays = plot_sequence(maps, np.arange(50) % 3, names=[2024, 2025], n_columns=1)
    displays[0].figure_.canvas.draw()
    first, second = (display.ax_ for display in displays)
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim()[0] <= maps[1][:, 0].min()
    assert first.get_xlim()[1] >= maps[1][:, 0].max()
    assert [ax.get_title() for ax in (first, second)] == ["2024", "2025"]


def test_lines_join_the_places_of_a_row(pyplot, three_maps):
    keys = [np.arange(50), np.arange(60)[::-1], np.arange(40) + 55]
    displays = plot_sequence(three_maps, keys=keys, lines=True)
    lines = [display.ax_.collections[1:] for display in displays]
    assert list(map(len, lines)) == [0, 1, 1]
    segments = np.array(lines[1][0].get_segments())
    assert_array_equal(segments[:, 0], three_maps[0][keys[1][10:]])
    assert_array_equal(segments[:, 1], three_maps[1][10:])
    assert len(lines[2][0].get_segments()) == 5
    assert lines[1][0].get_zorder() < displays[1].points_.get_zorder()


def test_estimators_and_one_column_of_labels(pyplot, rows, old):
    displays = plot_sequence([old, make_pipeline(clone(old)).fit(rows[0][:N_OLD])], rows[1][:N_OLD])
    assert_array_equal(displays[0].points_.get_offsets(), old.embedding_)
    assert [display.ax_.get_title() for display in displays] == ["map 1", "map 2"]
    assert_array_equal(displays[0].points_.get_facecolors(), displays[1].points_.get_facecolors())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"maps": []}, ValueError, r"maps == \[\]"),
        ({"maps": np.ones((20, 2))}, TypeError, "maps is a ndarray"),
        ({"maps": TSNE()}, TypeError, "maps is a TSNE"),
        ({"maps": [TSNE()]}, NotFittedError, "not fitted"),
        ({"maps": [np.ones((20, 2)), np.ones((20, 3))]}, ValueError, "maps have 2, 3 components"),
        ({"maps": [np.ones((20, 2)), np.full((20, 2), np.nan)]}, ValueError, r"maps\[1\] contains NaN"),
        ({"y": np.arange(19)}, ValueError, r"y has shape \(19,\), must have \(20,\)"),
        ({"y": [np.arange(20)]}, ValueError, "a list with a column for each map"),
        ({"y": [np.arange(20), np.arange(19)]}, ValueError, r"y\[1\] has shape \(19,\)"),
        ({"y": 3}, TypeError, "y must be an array"),
        ({"names": ["one"]}, ValueError, "must hold 2 titles"),
        ({"names": "ab"}, ValueError, "must hold 2 titles"),
        ({"lines": 1}, TypeError, "lines == 1"),
        ({"lines": True, "maps": [np.ones((20, 1))] * 2}, ValueError, "lines == True, must be False for maps with 1 "),
        ({"keys": [np.arange(20)]}, ValueError, "must have 2 arrays, one for each of maps"),
        ({"n_columns": 0}, ValueError, "n_columns == 0"),
    ],
)  # fmt: skip
def test_errors_of_pictures(pyplot, arguments, error, message):
    with pytest.raises(error, match=message):
        plot_sequence(**{"maps": [np.random.default_rng(0).normal(size=(20, 2))] * 2, **arguments})
    assert pyplot.get_fignums() == []
