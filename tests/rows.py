"""Rows that the tests of the searches share, and their distances by plain differences."""

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.metrics import pairwise_distances

from sktsne.neighbors import canonical, traits_of
from sktsne.parallel import Workers

# Under these, rows that are true and false have distances that follow from counts.
COUNT_METRICS = ["dice", "hamming", "jaccard", "matching", "rogerstanimoto", "russellrao", "sokalsneath", "yule"]

BATCHES = [2, 19, 20, 21, 257]  # matrix products change their ways at some


def differences(new, X):
    """Return the distances by plain differences, in more digits than float64 has."""
    new, X = new.astype(np.longdouble), X.astype(np.longdouble)
    return np.sqrt(((new[:, None] - X) ** 2).sum(axis=-1))


def brute_force(X, k):
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, :k]


def rows_for(metric, n, n_columns, rng):
    """Return rows that the metric is made for, without ties: true and false, places on a sphere, or positive."""
    if traits_of(metric).boolean:
        X = (rng.uniform(size=(n, n_columns)) < rng.uniform(0.2, 0.8, size=(n, 1))).astype(float)
        X[:, 0] = 1.0  # rows that are all false have no distance under some
        return X
    if metric == "haversine":
        return rng.uniform([-np.pi / 2, -np.pi], [np.pi / 2, np.pi], size=(n, 2))
    if metric == "hamming":
        return rng.integers(0, 4, size=(n, n_columns)).astype(float)
    return rng.lognormal(sigma=2.0, size=(n, n_columns))


def naive(X, metric, **params):
    """Return all distances, by scikit-learn's direct way, and those to the nearest, with an infinite diagonal."""
    X = X != 0.0 if traits_of(metric).boolean else X
    D = np.array(pairwise_distances(X, metric=canonical(metric), **params))
    np.fill_diagonal(D, np.inf)
    return D, np.sort(D, axis=1)


def assert_same_in_every_batch(search, rows, rng, sizes=BATCHES):
    """Check neighbors and distances, bit for bit, for batches of several sizes, orders and numbers of threads."""
    expected = search.neighbors_of(rows, Workers())
    n = rows.shape[0]
    choices = [rng.integers(0, n, 1) for _ in range(3)] + [rng.permutation(n)[:60]]
    for size in sizes:
        first = rng.integers(0, n - size + 1)
        choices += [np.arange(first, first + size)]
    for number, chosen in enumerate(choices):
        with Workers(1 + number % 3) as workers:
            found = search.neighbors_of(rows[chosen], workers)
        assert_array_equal(found.indices, expected.indices[chosen])
        assert_array_equal(found.distances, expected.distances[chosen])


# Rows whose neighbors are found in lists


def blobs(rng, n=3000, n_features=20):
    return 10 * rng.normal(size=(50, n_features))[rng.integers(0, 50, n)] + rng.normal(size=(n, n_features))


def digits_like(rng):
    return np.round(4 * np.maximum(rng.normal(size=(3000, 8)) @ rng.normal(size=(8, 64)), 0))


def heavy_tails(rng):
    return rng.standard_t(1.5, size=(4000, 8))


def duplicates(rng):
    return np.repeat(rng.normal(size=(30, 10)), 100, axis=0)


def few_duplicates(rng):
    return np.repeat(rng.normal(size=(1500, 6)), 3, axis=0)


def grid(rng):
    return np.stack(np.meshgrid(*[np.arange(15.0)] * 3), axis=-1).reshape(-1, 3)


def lonely_rows(rng):  # whose own lists have too few neighbors
    return np.vstack([rng.normal(size=(3000, 5)), 100 * rng.normal(size=(40, 5))])


def tight_groups(rng):  # whose distances float32 does not resolve well
    return np.repeat(rng.normal(size=(30, 10)), 100, axis=0) + 1e-5 * rng.normal(size=(3000, 10))


def far_groups(rng):  # some of whose distances it does not resolve at all
    return np.vstack([blobs(rng, 3000, 10), 50.0 + 1e-7 * rng.normal(size=(40, 10))])


def huge(rng):
    return 1e60 * rng.normal(size=(3000, 4))


def outlier(rng):  # beside which float32 sees nothing
    return np.vstack([blobs(rng), np.full((1, 20), 1e12)])
