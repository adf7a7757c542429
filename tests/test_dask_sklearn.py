"""The checks of scikit-learn for the estimators of a cluster, which get its NumPy arrays as Dask arrays."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sktsne[dask]'")
dd = pytest.importorskip("dask.dataframe")

import clusters  # noqa: E402
import dask.array as da  # noqa: E402

import sktsne.dask  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # sockets that Dask closes late
    # scikit-learn's checks fit sets of 10 to 50 rows with the default perplexity.
    pytest.mark.filterwarnings("ignore:perplexity == 30 needs at least"),
]

DOES_NOT_APPLY = {
    "check_array_api_input": "runs only where array API dispatch is switched on",
    "check_estimators_empty_data_messages": "the error for no columns is the package's own",
    "check_estimator_sparse_tag": "Dask arrays, and not SciPy's matrices, are accepted",
    "check_estimator_sparse_array": "Dask arrays, and not SciPy's matrices, are accepted",
    "check_estimator_sparse_matrix": "Dask arrays, and not SciPy's matrices, are accepted",
    "check_transformer_data_not_an_array": "objects that can become NumPy arrays are refused",
    "check_estimators_pickle": "a fit belongs to its cluster, and cannot be saved",
    "check_fit2d_1sample": "sets a perplexity that is refused before rows are read",
}


@pytest.fixture(scope="module", autouse=True)
def client():
    """Start a cluster whose client is the current one."""
    with clusters.connected(1, processes=False) as client, client.as_current():
        yield client


def in_blocks(X):
    """Return what a user of a cluster has in place of an array or a data frame."""
    if isinstance(X, pd.DataFrame):
        return dd.from_pandas(X, npartitions=2)
    return da.from_array(X, chunks=(20, -1)[: X.ndim]) if isinstance(X, np.ndarray) else X


class InBlocks:
    """Mixin for estimators that get and return what scikit-learn's checks expect."""

    def fit(self, X, y=None):
        """Fit to blocks of X."""
        return super().fit(in_blocks(X), y)

    def fit_transform(self, X, y=None):
        """Fit to blocks of X, and return the map."""
        return self.fit(X).embedding_.compute()

    def transform(self, X):
        """Place blocks of X."""
        return super().transform(in_blocks(X)).compute()


class TSNE(InBlocks, sktsne.dask.TSNE):
    """t-SNE for the checks."""


class SNE(InBlocks, sktsne.dask.SNE):
    """SNE for the checks."""


@parametrize_with_checks([TSNE(max_iter=2), SNE(max_iter=2)], expected_failed_checks=lambda estimator: DOES_NOT_APPLY)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
