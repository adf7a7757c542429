"""Code written for ``sklearn.manifold.TSNE`` runs when only the import changes."""

import inspect

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_circles, make_s_curve
from sklearn.manifold import TSNE as SklearnTSNE  # noqa: N811
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline

from sktsne import SNE, TSNE


def test_parameters_have_the_same_names_order_and_defaults():
    theirs = dict(inspect.signature(SklearnTSNE).parameters)
    if "n_iter" in theirs:  # deprecated in scikit-learn 1.5 and gone in 1.7; until then, max_iter=None stood for 1000
        del theirs["n_iter"]
        theirs["max_iter"] = theirs["max_iter"].replace(default=1000)
    ours = inspect.signature(TSNE).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [parameter.kind for parameter in ours.values()][: len(theirs)] == [p.kind for p in theirs.values()]
    differing = {name for name in theirs if ours[name].default != theirs[name].default}
    assert differing == {"method", "n_iter_without_progress"}


def test_sne_has_the_parameters_of_tsne():
    differing = {name for name, value in TSNE().get_params().items() if SNE().get_params()[name] != value}
    assert differing == {"dof", "early_exaggeration", "min_grad_norm", "tol"}


def test_fitted_attributes_are_all_there(digits):
    X = digits[0][:100]
    theirs = SklearnTSNE(max_iter=250).fit(X)
    ours = TSNE(max_iter=250).fit(X)
    public = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    assert public <= set(vars(ours))


def test_iterations_are_numbered_as_in_scikit_learn(digits):
    X, params = digits[0][:60], {"perplexity": 5.0, "max_iter": 260, "min_grad_norm": 0.0, "random_state": 0}
    theirs = SklearnTSNE(n_iter_without_progress=1000, **params).fit(X)
    ours = TSNE(n_iter_without_progress=1000, **params).fit(X)
    assert ours.n_iter_ == theirs.n_iter_ == 259


# The calls of scikit-learn's gallery.


@pytest.mark.parametrize("perplexity", [5, 30, 50, 100])
@pytest.mark.parametrize("make", [make_circles, make_s_curve])
def test_plot_t_sne_perplexity(make, perplexity):
    X, _ = make(150, noise=0.05, random_state=0)
    Y = TSNE(n_components=2, init="random", random_state=0, perplexity=perplexity, max_iter=300).fit_transform(X)
    assert Y.shape == (150, 2)
    assert np.isfinite(Y).all()


def test_plot_compare_methods():
    X, _ = make_s_curve(500, random_state=0)
    tsne = TSNE(n_components=2, perplexity=30, init="random", max_iter=250, random_state=0)
    assert tsne.fit_transform(X).shape == (500, 2)


def test_plot_lle_digits():
    X, y = load_digits(n_class=6, return_X_y=True)
    Y = TSNE(n_components=2, max_iter=150, n_jobs=2, random_state=0).fit_transform(X[:300], y[:300])
    assert Y.shape == (300, 2)


def test_approximate_nearest_neighbors(digits):
    X = digits[0][:300]
    params = {"init": "random", "method": "barnes_hut", "random_state": 42, "max_iter": 150, "learning_rate": "auto"}
    graph = KNeighborsTransformer(n_neighbors=(3 * 30 + 1) + 1, mode="distance", metric="sqeuclidean")
    Y = make_pipeline(graph, TSNE(metric="precomputed", **params)).fit_transform(X)
    assert Y.shape == (300, 2)
