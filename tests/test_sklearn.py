"""The estimators inside scikit-learn: conformance, pipelines, grid searches."""

import re
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators, estimator_checks, estimator_html_repr
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.fixes import parse_version
from test_docs import PAGES, documented
from tools import snippets

from sktsne import SNE, TSNE
from sktsne._parameters import INITS
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.neighbors import SEARCHES

ESTIMATORS = [TSNE, SNE]

# scikit-learn's checks fit sets of 10 to 50 rows with the default perplexity.
few_rows = pytest.mark.filterwarnings("ignore:perplexity == 30 needs at least")


@few_rows
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_check_estimator_expects_no_failure(estimator):
    outcomes = check_estimator(estimator(max_iter=100), on_skip=None)
    assert {outcome["check_name"] for outcome in outcomes if outcome["status"] != "passed"} <= {
        "check_array_api_input"  # runs only where array API dispatch is switched on
    }


@few_rows
@pytest.mark.filterwarnings("ignore:X .* feature names")  # the checks fit frames and transform arrays
@pytest.mark.parametrize(
    "name",
    [
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_dataframe_column_names_consistency",
    ],
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_checks_that_check_estimator_leaves_out(estimator, name):
    check = getattr(estimator_checks, name)
    check(estimator.__name__, estimator())


def test_the_guides_test_file_runs_all_checks(tmp_path):
    code = snippets("scikit_learn.rst")["Checks and lists of estimators"]
    (tmp_path / "test_own.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_own.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed", done.stdout, flags=re.MULTILINE)
    assert int(passed[1]) > 80  # scikit-learn 1.9 has 47 checks for each of the two


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_last_step_of_a_pipeline(estimator, digits):
    X = digits[0][:200]
    pipeline = make_pipeline(StandardScaler(), PCA(20, random_state=0), estimator(perplexity=10.0, max_iter=50))
    embedding = pipeline.fit_transform(X)
    by_hand = PCA(20, random_state=0).fit_transform(StandardScaler().fit_transform(X))
    assert_array_equal(embedding, estimator(perplexity=10.0, max_iter=50).fit_transform(by_hand))
    assert pipeline.get_feature_names_out().tolist() == pipeline[-1].get_feature_names_out().tolist()
    pipeline.set_params(**{f"{estimator.__name__.lower()}__n_components": 1})
    assert pipeline.fit_transform(X).shape == (200, 1)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pipeline_with_feature_names(estimator, digits):
    pipeline = Pipeline([("scale", StandardScaler()), ("map", estimator(perplexity=10.0, max_iter=20))])
    frame = pipeline.set_output(transform="pandas").fit_transform(digits[0][:100])
    assert frame.columns.tolist() == [f"{estimator.__name__.lower()}{i}" for i in range(2)]


def training_trustworthiness(model, X, y=None):
    """Score the map of the training rows by trustworthiness, or where ``X`` is others by its cost."""
    model = model.named_steps["map"] if isinstance(model, Pipeline) else model
    return trustworthiness(X, model.embedding_) if len(X) == len(model.embedding_) else -model.kl_divergence_


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("piped", [False, True])
def test_grid_search_over_perplexity(estimator, n_jobs, piped, digits):
    X = digits[0][:200]
    model = estimator(max_iter=60, random_state=0)
    name = "perplexity"
    if piped:
        model = Pipeline([("scale", StandardScaler()), ("map", model)])
        name = "map__perplexity"
    every_row = [(np.arange(200), np.arange(200))]
    search = GridSearchCV(
        model,
        {name: [5.0, 15.0, 40.0]},
        scoring=training_trustworthiness,
        cv=every_row,
        n_jobs=n_jobs,
        error_score="raise",
    )
    search.fit(X)
    assert len(set(search.cv_results_["mean_test_score"])) == 3
    best = search.best_estimator_["map"] if piped else search.best_estimator_
    assert best.perplexity == search.best_params_[name]
    assert best.embedding_.shape == (200, 2)


def test_grid_search_over_a_transformers_parameters(digits):
    X = digits[0][:100] + np.random.default_rng(0).normal(scale=1e-3, size=(100, 64))  # no ties
    search = GridSearchCV(
        TSNE(neighbors=KNeighborsTransformer(), perplexity=10.0, max_iter=60),
        {"neighbors__metric": ["euclidean", "cosine"], "neighbors__n_neighbors": [5, 50]},
        scoring=training_trustworthiness,
        cv=[(np.arange(100), np.arange(100))],
        error_score="raise",
    )
    # More neighbors than needed are given, and the nearest used.
    euclidean, *others = search.fit(X).cv_results_["mean_test_score"]
    assert others[0] == euclidean
    assert others[1] == others[2] != euclidean


def test_processes_and_one_process_agree(digits):
    def scores(n_jobs):
        search = GridSearchCV(
            TSNE(max_iter=60), {"perplexity": [5.0, 15.0]}, scoring=training_trustworthiness, cv=2, n_jobs=n_jobs
        )
        return search.fit(digits[0][:200]).cv_results_["mean_test_score"]

    assert_array_equal(scores(1), scores(2))


@pytest.fixture
def fits_within(monkeypatch):
    """Return a list that names each estimator of scikit-learn that is fitted, recorded as MLflow's autologging does."""
    fitted = []

    def recorded(function):
        def record(self, *args, **kwargs):
            fitted.append(type(self).__name__)
            return function(self, *args, **kwargs)

        return record

    for _, estimator in all_estimators():
        for method in ("fit", "fit_transform", "fit_predict"):
            if hasattr(estimator, method):
                monkeypatch.setattr(estimator, method, recorded(getattr(estimator, method)))
    PCA(1).fit(np.eye(3))
    assert "PCA" in fitted
    fitted.clear()
    return fitted


@pytest.mark.parametrize(
    ("n_columns", "storage", "params"),
    [
        (3, np.asarray, {}),
        (30, np.asarray, {}),
        (1100, np.asarray, {}),
        (30, csr_array, {}),
        (130, csr_array, {}),
        *((30, np.asarray, {"init": init}) for init in INITS),
        *((n_columns, np.asarray, {"metric": "manhattan"}) for n_columns in (3, 30)),
        *((30, np.asarray, {"neighbors": neighbors, "metric": "cosine"}) for neighbors in SEARCHES),
        (2, np.asarray, {"metric": "haversine"}),
        (30, np.asarray, {"metric": "correlation"}),
        (30, np.asarray, {"metric": "mahalanobis"}),
        (30, np.asarray, {"method": "exact"}),
        (30, np.asarray, {"affinities": Uniform(10)}),
    ],
    ids=str,
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_fits_no_estimator_of_scikit_learn(estimator, n_columns, storage, params, rng, fits_within):
    X = rng.uniform(0.0, 1.5, size=(1100, n_columns))
    model = estimator(perplexity=5.0, max_iter=2, **params).fit(storage(X[:1050]))
    model.transform(storage(X[1050:]))
    model.fit_transform(storage(X))
    assert fits_within == []


DOCUMENTED = [TSNE, SNE, Uniform, FixedBandwidth]


@pytest.mark.parametrize("estimator", DOCUMENTED)
def test_the_representation_links_to_the_page_of_the_class(estimator):
    page = next(page for page in PAGES if documented(page) is estimator)
    link = f"https://sktsne.readthedocs.io/en/stable/generated/{page}.html"
    assert estimator()._get_doc_link() == link
    assert f'href="{link}"' in estimator_html_repr(estimator())


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="shows no descriptions")
@pytest.mark.parametrize("estimator", DOCUMENTED)
def test_the_representation_describes_each_parameter(estimator):
    html = estimator_html_repr(estimator())
    for name in estimator().get_params(deep=False):
        assert re.search(rf'--doc-link-{name};">\s*{name}: .+?<br><br>\S.+?</span>', html, flags=re.DOTALL), name
