"""The table of the guide that says which fits each score of reliability serves: each entry is tried."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.metrics import trustworthiness_scorer
from sktsne.reliability import instability, outliers, perturbation, significance, singularity
from sktsne.reliability.rows import rows_of_fit
from sktsne.reliability.scores import SCORES

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "reading.rst"
HEAD, *ENTRIES = (
    re.split(r"^\s+- ", row, flags=re.MULTILINE)
    for row in re.split(r"^   \* - ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if row.startswith("The fit has") or re.search(r"^     - (yes|no)$", row, flags=re.MULTILINE)
)
COLUMNS = [name.strip() for name in HEAD[1:]]
TABLE = {row[0].strip(): [entry.split("\n")[0] for entry in row[1:]] for row in ENTRIES}

COMPUTE = {
    "perturbation": perturbation,
    "singularity": lambda model, X: singularity(model),
    "significance": partial(significance, n_nulls=1, random_state=0),
    "starts": lambda model, X: instability(model, n_fits=1, n_neighbors=5, random_state=0).neighbors,
    "rows": lambda model, X: instability(model, X, n_fits=1, n_neighbors=5, resample="rows", random_state=0).neighbors,
    "outliers": partial(outliers, n_neighbors=5),
}
EUCLIDEAN = ["euclidean", "sqeuclidean", "seuclidean", "mahalanobis", "cosine", "correlation"]
QUICK = {"max_iter": 60, "perplexity": 5, "random_state": 0}
N = 40


def manhattan(x, y):
    return float(np.abs(x - y).sum())


def rows():
    return np.random.default_rng(0).normal(size=(N, 4))


def search(estimator):
    pipeline = make_pipeline(StandardScaler(), estimator)
    name = f"{type(estimator).__name__.lower()}__perplexity"
    return GridSearchCV(pipeline, {name: [4, 6]}, scoring=trustworthiness_scorer, cv=2)


def fits_of(case, estimator):
    """Yield fitted estimators with their X, for a row of the table."""
    X = rows()
    sparse = csr_array(np.where(np.abs(X) > 0.3, X, 0.0))
    D = pairwise_distances(X)
    given = {"metric": "precomputed", "init": "random"}
    P = np.exp(-D)
    cases = {
        "dense rows, Euclidean metrics": [({"metric": metric}, X) for metric in EUCLIDEAN],
        "sparse rows, Euclidean metrics": [({"metric": metric}, sparse) for metric in ["euclidean", "cosine"]],
        "another metric by its name": [
            ({"metric": "manhattan"}, X),
            ({"metric": "manhattan"}, sparse),
            ({"metric": "chebyshev"}, X),
        ],
        "a callable as the metric": [({"metric": manhattan}, X)],
        "a transformer as ``neighbors``": [({"neighbors": KNeighborsTransformer(n_neighbors=16)}, X)],
        "precomputed distances, dense": [(given, D), ({**given, "method": "exact"}, D)],
        "precomputed distances, a sparse graph": [(given, KNeighborsTransformer(n_neighbors=20).fit_transform(X))],
        "precomputed affinities": [
            ({"affinities": "precomputed", "init": "random"}, matrix)
            for matrix in (P, csr_array(np.where(D < 3, P, 0)))
        ],
    }
    if case == "a pipeline or a search":
        for model in (make_pipeline(StandardScaler(), estimator(**QUICK)), search(estimator(**QUICK))):
            yield model.fit(X), X
    else:
        for params, matrix in cases[case]:
            yield estimator(**QUICK, **params).fit(matrix), matrix


def test_the_table_has_the_scores():
    assert list(COMPUTE) == COLUMNS
    assert len(TABLE) == 9
    assert {len(entries) for entries in TABLE.values()} == {len(COLUMNS)}


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("case", TABLE)
def test_every_entry_is_true(case, estimator):
    for model, X in fits_of(case, estimator):
        for name, entry in zip(COLUMNS, TABLE[case], strict=True):
            if entry == "yes":
                scores = COMPUTE[name](model, X)
                assert scores.shape == (N,)
                assert not np.isnan(scores).any()
            else:
                with pytest.raises(ValueError, match=r"metric|neighbors|affinities"):
                    COMPUTE[name](model, X)
        # `reliability_scores` leaves out what is not served.
        served = {name: score.serves(*rows_of_fit(model, X)) for name, score in SCORES.items()}
        entries = dict(zip(COLUMNS, TABLE[case], strict=True))
        entries["instability"] = entries.pop("starts")
        assert served == {name: entries[name] == "yes" for name in SCORES}
