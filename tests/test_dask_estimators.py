"""What users do with the estimators for a cluster apart from fits: copies, outputs of other types, wrong arguments."""

import asyncio
import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sktsne[dask]'")

import dask.array as da
import dask.dataframe as dd
import pandas as pd
from distributed import Client

from sktsne.dask import SNE, TSNE
from sktsne.large import sample_rows

both = pytest.mark.parametrize("estimator", [TSNE, SNE])


@pytest.fixture(scope="module")
def client():
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as client:
        yield client


@both
def test_a_fit_and_a_client_cannot_be_copied(estimator, client):
    unfitted = estimator(perplexity=5.0, max_iter=1)
    for same in pickle.loads(pickle.dumps(unfitted)), copy.deepcopy(unfitted):
        assert same.get_params() == unfitted.get_params()
    fitted = clone(unfitted).fit(da.random.default_rng(0).normal(size=(40, 3)))
    for one in fitted, estimator(client=client):
        for copied in pickle.dumps, copy.deepcopy:
            with pytest.raises(TypeError, match=f"^{estimator.__name__} cannot be saved or copied with its fit or its"):
                copied(one)
    assert clone(fitted).get_params() == unfitted.get_params()


@both
def test_there_is_no_set_output(estimator):
    assert not hasattr(estimator(), "set_output")
    with pytest.raises(ValueError, match="`set_output` is not available"):
        make_pipeline(estimator()).set_output(transform="pandas")


@both
def test_a_client_of_another_type_is_refused(estimator):
    with pytest.raises(TypeError, match=r"^client == 'tcp://scheduler:8786', must be an instance of Client, not str"):
        estimator(client="tcp://scheduler:8786").fit(da.ones((40, 3)))


def test_an_asynchronous_client_is_refused(client):
    async def fit():
        async with Client(client.scheduler.address, asynchronous=True) as own:
            TSNE(client=own).fit(da.ones((40, 3)))

    with pytest.raises(ValueError, match=r"^client == .* must not be asynchronous: a fit waits for results"):
        asyncio.run(fit())


@pytest.mark.usefixtures("client")
def test_a_series_is_refused():
    series = dd.from_pandas(pd.Series(np.arange(40.0)), npartitions=2)
    for call in TSNE().fit, lambda X: sample_rows(X, 10):
        with pytest.raises(ValueError, match=r"^X has 1 dimensions, must have 2: \(n_samples, n_features\)"):
            call(series)
