"""The protocol of scikit-learn's callbacks, which versions from 1.9 on have."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from registries import KERNELS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.metrics import trustworthiness
from sktsne.metrics.scorers import trustworthiness_scorer

protocol = pytest.importorskip("sklearn.callback")
FAST = {"perplexity": 5.0, "max_iter": 120, "callback_every": 20, "random_state": 0}
LONG = {**FAST, "tol": 0.0, "n_iter_without_progress": 1000, "min_grad_norm": 0.0}
STAGES = ["neighbors", "initialization", "affinities", "optimization"]

both = pytest.mark.parametrize("estimator", [TSNE, SNE])


@pytest.fixture
def X(digits):  # noqa: N802
    return digits[0][:100]


class Watch:
    """Records the tasks, and what it was told at their ends; acts at the hook that it is told to."""

    def __init__(self, at=None, act=lambda: None):
        self.at, self.act = at, act
        self.begun, self.ended, self.told, self.torn_down = [], [], [], 0

    def setup(self, estimator, context):
        self.do("setup")

    def teardown(self, estimator, context):
        self.torn_down += 1
        self.do("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context)
        return self.do(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append(context)
        self.told.append((context.task_name, X, y, fitted_estimator))
        return self.do(f"end {context.task_name}")

    def do(self, hook):
        return self.act() if hook == self.at else None


class PropagatedWatch(Watch):
    max_propagation_depth = None


def tree(context):
    """Return the names of a task and those in it, having checked their number."""
    children = list(context._children_map.values())
    assert len(children) <= context.max_subtasks
    return (context.task_name, [tree(child) for child in children])


def leaves(*names):
    return [(name, []) for name in names]


@both
@pytest.mark.parametrize("method", KERNELS)
def test_callbacks_see_the_tasks_and_change_nothing(estimator, method, X):
    expected = estimator(method=method, **LONG).fit(X)
    watch = Watch()
    model = estimator(method=method, n_jobs=2, **LONG).set_callbacks(watch).fit(X)
    assert_array_equal(model.embedding_, expected.embedding_)
    assert vars(model).keys() - vars(expected).keys() == {"_skl_callbacks"}
    root, *others = watch.begun
    assert tree(root) == (
        "fit", [*leaves(*STAGES[:3]), ("optimization", leaves(*["iterations"] * 6))],
    )  # fmt: skip
    assert root.max_subtasks == 4
    assert others[3].max_subtasks == 6
    assert sorted(map(id, watch.begun)) == sorted(map(id, watch.ended))
    assert watch.torn_down == 1


@pytest.mark.parametrize("max_iter", [1, 19, 20, 21])
def test_the_last_stretch_may_be_short(max_iter, X):
    watch = Watch()
    TSNE(**{**LONG, "max_iter": max_iter}).set_callbacks(watch).fit(X)
    assert len(tree(watch.begun[0])[1][-1][1]) == watch.begun[4].max_subtasks == 1 + (max_iter == 21)


def test_stages_are_counted(X):
    P = np.exp(-np.linalg.norm(X[:, None] - X, axis=2))
    for rows, change, stages in (
        (X, {"init": X[:, 2:4]}, ["neighbors", "affinities", "optimization"]),
        (P, {"affinities": "precomputed", "init": "spectral"}, ["affinities", "initialization", "optimization"]),
        (P, {"affinities": "precomputed", "init": X[:, 2:4]}, ["affinities", "optimization"]),
    ):
        watch = Watch()
        TSNE(**FAST, **change).set_callbacks(watch).fit(rows)
        assert [name for name, _ in tree(watch.begun[0])[1]] == stages
        assert watch.begun[0].max_subtasks == len(stages)


@pytest.mark.parametrize("half", [40, 50, 120, 130])
def test_a_fit_that_goes_on_has_the_rest_of_the_tasks(half, X):
    watch = Watch()
    once = TSNE(**LONG).fit(X)
    model = TSNE(warm_start=True, **{**LONG, "max_iter": half}).fit(X).set_params(max_iter=120).set_callbacks(watch)
    model.fit(X)
    assert half > 120 or np.array_equal(model.embedding_, once.embedding_)
    stretches = tree(watch.begun[0])[1][-1][1]
    assert len(stretches) == watch.begun[4].max_subtasks == {40: 4, 50: 4, 120: 1, 130: 1}[half]


@both
def test_callbacks_get_rows_and_an_estimator_as_fitted_so_far(estimator, X):
    y = np.arange(100)
    watch, maps = Watch(), []
    model = estimator(callback=lambda *args: maps.append(args), **LONG).set_callbacks(watch)
    single = X.astype(np.float32)
    model.fit_transform(single, y)
    assert all(told[1] is single and told[2] is y for told in watch.told)
    fitted = [told[3] for told in watch.told if told[0] == "iterations"]
    for so_far, (iteration, cost, Y) in zip(fitted, maps, strict=False):
        assert (so_far.n_iter_, so_far.kl_divergence_) == (iteration - 1, cost)
        assert_array_equal(so_far.embedding_, Y.astype(np.float32))
        assert_array_equal(so_far.transform(single), so_far.embedding_)
        assert so_far.transform(single[:3] + 0.25).shape == (3, 2)
    assert [so_far.n_iter_ for so_far in fitted] == [19, 39, 59, 79, 99, 119]
    for last in (fitted[-1], watch.told[-1][3]):
        assert_array_equal(last.embedding_, model.embedding_)
    assert watch.told[-1][0] == "fit"


def test_scores_are_monitored(X):
    monitor = protocol.ScoringMonitor(scoring=lambda model, X, y: {"kept": trustworthiness_scorer(model, X)})
    model = TSNE(**LONG).set_callbacks(monitor).fit(X, np.zeros(100))
    scores = [row["kept"] for row in monitor.get_logs().data if row["task_name"] == "iterations"]
    assert len(scores) == 6
    assert scores[-1] == trustworthiness(X, model.embedding_)


def test_a_callback_ends_a_fit(X):
    watch = Watch("end iterations", lambda: len(watch.ended) == 6)  # after three stages the third stretch
    model = TSNE(**LONG).set_callbacks(watch).fit(X)
    assert model.n_iter_ == 59
    assert_array_equal(model.embedding_, TSNE(**{**LONG, "max_iter": 60}).fit(X).embedding_)
    assert watch.told[-3][3] is None  # the stretch that was begun is empty
    assert sorted(map(id, watch.begun)) == sorted(map(id, watch.ended))


class StopFit(Exception):  # noqa: N818
    """A user's own."""


def fail():
    raise StopFit


@pytest.mark.parametrize("at", ["setup", "begin fit", "begin affinities", "end iterations", "end fit", "teardown"])
def test_an_exception_leaves_the_estimator_as_it_was(at, X):
    watch = Watch(at, fail)
    model = TSNE(**FAST).set_callbacks(watch)
    before = vars(model).copy()
    with pytest.raises(StopFit):
        model.fit(X)
    assert vars(model) == before
    assert watch.torn_down == 1
    with pytest.raises(NotFittedError):
        model.transform(X)
    fitted = model.set_callbacks().fit(X).embedding_
    with pytest.raises(StopFit):
        model.set_callbacks(watch).fit(X[:50])
    assert model.embedding_ is fitted


def test_an_invalid_parameter_calls_no_callback(X):
    watch = Watch()
    with pytest.raises(ValueError, match="perplexity"):
        TSNE(perplexity=-1.0).set_callbacks(watch).fit(X)
    assert watch.begun == []
    assert watch.torn_down == 0


@both
def test_callbacks_propagate_into_a_pipeline(estimator, X):
    watch = PropagatedWatch()
    pipeline = make_pipeline(StandardScaler(), estimator(**LONG)).set_callbacks(watch)
    embedding = pipeline.fit_transform(X)
    assert_array_equal(embedding, estimator(**LONG).fit_transform(StandardScaler().fit_transform(X)))
    ours = next(context for context in watch.begun if context.estimator_name == estimator.__name__)
    assert ours.source_task_name == "fit-transform-final-estimator"
    assert [name for name, _ in tree(ours)[1]] == STAGES
    assert not hasattr(pipeline[-1], "_skl_callbacks")


@both
def test_the_progress_bar_of_scikit_learn(estimator, X, capsys):
    pytest.importorskip("rich")
    name = estimator.__name__
    model = estimator(**LONG).set_callbacks(protocol.ProgressBar())
    model.fit(X)
    out = capsys.readouterr().out
    assert f"{name} - fit" in out
    assert f"{name} - optimization #3" in out
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(copy.fit(X).embedding_, model.embedding_)
        assert f"{name} - fit" in capsys.readouterr().out
    make_pipeline(StandardScaler(), estimator(**LONG)).set_callbacks(protocol.ProgressBar()).fit(X)
    assert "StandardScaler" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_progress_bar_of_a_search(n_jobs, X, capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "200")
    search = GridSearchCV(TSNE(**FAST), {"perplexity": [3.0, 8.0]}, scoring=trustworthiness_scorer, cv=2, n_jobs=n_jobs)
    expected = clone(search).fit(X).cv_results_["mean_test_score"]
    search.set_callbacks(protocol.ProgressBar(max_propagation_depth=None)).fit(X)
    assert_array_equal(search.cv_results_["mean_test_score"], expected)
    assert capsys.readouterr().out.count("TSNE - optimization #3") == 5
