"""Clusters on this machine and what the tests of fits on a cluster share. Importing it needs Dask."""

import contextlib
import logging
import multiprocessing
import time
from hashlib import blake2b

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from sktsne.dask import SNE, TSNE

# Workers start much faster where processes can be forked from one that has imported the libraries.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.multiprocessing-method": METHOD,
    "distributed.comm.timeouts.connect": "10s",  # how long workers try to reach one that has died, in place of 30 s
}
FAST = {"perplexity": 8.0, "max_iter": 12, "early_exaggeration_iter": 6, "callback_every": 4, "random_state": 0}
ESTIMATORS = [TSNE, SNE]
SECONDS = 60.0  # after which a test fails that waits for a cluster


@contextlib.contextmanager
def connected(n_workers, threads_per_worker=1, processes=True, **settings):
    """Start a cluster that writes no log, and yield its client, which is not the current one."""
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            processes=processes,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            **settings,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def scale(client, n_workers):
    """Change the number of workers, and wait for it."""
    client.cluster.scale(n_workers)
    wait_until(lambda: len(client.nthreads()) == n_workers)


def wait_until(condition):
    """Wait until a condition is true."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "the cluster did not do what the test waits for"
        time.sleep(0.02)


def blocks(X, *lengths):
    """Return rows as a Dask array whose blocks have the given lengths, or 350 rows each."""
    return da.from_array(X, chunks=(lengths or 350, -1))


def result(client, collection):
    """Return a Dask collection in the memory of this process."""
    return client.compute(collection).result()


def digest(client, model):
    """Return a hash of the map, which fails unless all bits are the same."""
    return blake2b(result(client, model.embedding_).tobytes(), digest_size=16).hexdigest()


def blobs(n, n_features=8):
    """Return rows in groups, the same in every call."""
    rng = np.random.default_rng(0)
    return 4.0 * rng.normal(size=(12, n_features))[rng.integers(0, 12, n)] + rng.normal(size=(n, n_features))
