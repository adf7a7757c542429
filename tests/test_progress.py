"""The progress bar, on a terminal and elsewhere."""

import io
import pickle
import re
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from threading import Barrier

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sktsne import SNE, TSNE
from sktsne.metrics.scorers import trustworthiness_scorer
from sktsne.plotting import FrameRecorder
from sktsne.progress import ProgressBar

pytest.importorskip("tqdm")
FAST = {"perplexity": 5.0, "max_iter": 120, "callback_every": 10, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4))

both = pytest.mark.parametrize("estimator", [TSNE, SNE])


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True

    def lines(self):
        """Return what is seen in the end."""
        return [re.split("\r", line)[-1].rstrip() for line in self.getvalue().split("\n")]  # tqdm clears longer lines


@pytest.fixture
def terminal():
    return Terminal()


@both
def test_a_bar_tells_stage_iterations_cost_and_time(estimator, terminal):
    with redirect_stderr(terminal):
        model = estimator(callback=ProgressBar(), **FAST, tol=0.0, min_grad_norm=0.0).fit(X)
    shown = terminal.getvalue()
    for stage in ("neighbors", "initialization", "affinities"):
        assert f"{model._label}: {stage}" in shown
    assert f"{model._label}:   0%|" in shown
    bar, after = terminal.lines()
    assert re.fullmatch(rf"{model._label}: 100%\|█+\| 00:0\d<00:00, 120/120, cost \d+\.\d{{4}}", bar)
    assert f"cost {model.kl_divergence_:.4f}" in bar
    assert after == ""
    assert_array_equal(model.embedding_, clone(model).set_params(callback=None).fit(X).embedding_)


def test_a_bar_of_a_fit_that_converges_is_complete(terminal):
    with redirect_stderr(terminal):
        model = TSNE(callback=ProgressBar(), **{**FAST, "max_iter": 1000}).fit(X)
    assert model.n_iter_ < 999
    assert f"100%|{'█'}" in terminal.lines()[0]
    done = model.n_iter_ + 1
    assert f", {done}/{done}, " in terminal.lines()[0]


def test_a_bar_moves_between_two_calls_with_a_cost(terminal):
    class Slow(ProgressBar):
        def tick(self, iteration):
            if iteration == 30:
                time.sleep(0.2)  # a bar is drawn at most every tenth of a second
            super().tick(iteration)

    with redirect_stderr(terminal):
        TSNE(callback=Slow(), **{**FAST, "callback_every": 1000}).fit(X)
    assert " 25%|" in terminal.getvalue()
    assert ", 30/120, early exaggeration" in terminal.getvalue()


def test_a_bar_is_one_of_several_callbacks(terminal):
    iterations = []
    with redirect_stderr(terminal):
        TSNE(callback=[lambda i, *_: iterations.append(i), ProgressBar()], **{**FAST, "callback_every": 60}).fit(X)
    assert iterations == [60]
    assert "100%|" in terminal.lines()[0]


def test_a_notebook_without_ipywidgets_has_a_bar_of_text(monkeypatch):
    stream = type("OutStream", (Terminal,), {"__module__": "ipykernel.iostream", "isatty": lambda self: False})()
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for module in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with redirect_stderr(stream):
        TSNE(callback=ProgressBar(), **FAST).fit(X)  # a warning would be an error
    assert re.search(r"t-SNE: 100%\|█+\|.*, 120/120, cost", stream.getvalue())
    for module in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        sys.modules.pop(module, None)  # the next test imports them anew


def test_the_representation_is_short():
    assert repr(TSNE(callback=[ProgressBar(), FrameRecorder()])) == "TSNE(callback=[ProgressBar(), FrameRecorder()])"


def test_early_exaggeration_is_told(terminal):
    with redirect_stderr(terminal):
        TSNE(callback=ProgressBar(), **{**FAST, "max_iter": 60}).fit(X)
    assert terminal.lines()[0].endswith(", early exaggeration")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_bar_stays_where_it_was(error, terminal):
    class Interrupted(ProgressBar):
        def __call__(self, iteration, cost, embedding=None):
            super().__call__(iteration, cost, embedding)
            if iteration == 60:
                raise error

    model = TSNE(callback=Interrupted(), **FAST)
    with pytest.raises(error), redirect_stderr(terminal):
        model.fit(X)
    bar, after = terminal.lines()
    assert " 50%|" in bar
    assert ", 60/120, " in bar
    assert after == ""
    assert not model.callback._bars


def test_there_is_no_bar_in_a_file(capsys):
    TSNE(callback=ProgressBar(), verbose=1, **FAST).fit(X)
    out, err = capsys.readouterr()
    assert err == ""
    assert "\r" not in out


@pytest.mark.parametrize("closed", [True, False])
def test_there_is_no_bar_without_standard_error(closed):
    """Processes without a console, such as services and those of pythonw, have no standard error, or a closed one."""
    stream = Terminal() if closed else None
    if stream is not None:
        stream.close()
    with redirect_stderr(stream):
        model = TSNE(callback=ProgressBar(), **FAST).fit(X)
    assert model.n_iter_ == 119


def test_fits_in_several_threads_share_a_bar(terminal):
    bar, both_run = ProgressBar(), Barrier(2)

    def wait(iteration, *_):
        if iteration == 60:
            both_run.wait(timeout=30)

    def fit(max_iter):
        TSNE(callback=[bar, wait], **{**FAST, "max_iter": max_iter}, tol=0.0, n_jobs=1).fit(X)

    with redirect_stderr(terminal), ThreadPoolExecutor(2) as threads:
        list(threads.map(fit, [100, 200]))
    for max_iter in 100, 200:
        assert f", {max_iter}/{max_iter}, cost" in terminal.getvalue()
    pickle.dumps(bar)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_fit_of_a_search_has_a_bar(n_jobs, terminal):
    model = TSNE(callback=ProgressBar(), **FAST)
    search = GridSearchCV(model, {"perplexity": [3.0, 8.0]}, scoring=trustworthiness_scorer, cv=2, n_jobs=n_jobs)
    with redirect_stderr(terminal):
        search.fit(X)
    assert terminal.getvalue().count("  0%|") == (5 if n_jobs == 1 else 1)  # workers have a standard error of their own


def test_tqdm_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model = TSNE(callback=ProgressBar(), **FAST)
    with pytest.raises(ImportError, match=r'ProgressBar needs tqdm, .* "sktsne\[progress\]"'):
        model.fit(X)
    assert not hasattr(model, "embedding_")
