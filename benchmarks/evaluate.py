"""The evaluator that judges the maps of all libraries, in float64, with NumPy, SciPy and scikit-learn only.

Sums over all pairs take a few rows at a time, so that memory is bounded. Above 100,000 rows, the normalization is
estimated from 10,000 rows against all rows, which are the same for every map of a data set. Above 5,000 rows, the
trustworthiness is that of a sample of 5,000 rows among themselves. The exact neighbors of a million rows take most of
an hour on two cores; the affinities are kept in a file, so that this happens only once.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz, save_npz
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

# The number of rows above which the normalization is estimated, the number of rows that estimate it, and the largest
# number of rows in the trustworthiness.
MAX_ALL_PAIRS, NORMALIZATION_ROWS, TRUSTWORTHINESS_ROWS = 100_000, 10_000, 5_000
# The number of elements of a temporary array, which then stays in the cache.
BLOCK = 2**18


def conditional_affinities(X: NDArray, perplexity: float = 30.0) -> csr_array:
    """Return p_{j|i} over the 3 * perplexity + 1 nearest neighbors, with precisions that plain bisection finds."""
    n, k = len(X), min(len(X) - 1, int(3 * perplexity + 1))
    distances, indices = NearestNeighbors(n_neighbors=k, n_jobs=-1).fit(X.astype(np.float64)).kneighbors()
    P = np.concatenate(_in_blocks(lambda rows: _with_perplexity(distances[rows], perplexity), n, k))
    columns = indices.ravel().astype(np.int32)
    return csr_array((P.ravel(), columns, np.arange(0, n * k + 1, k, dtype=np.int32)), shape=(n, n))


def cached_affinities(X: NDArray, folder: Path) -> csr_array:
    """Return the `conditional_affinities` of X, from a file in the folder if an earlier call computed them."""
    file = folder / f"affinities-{len(X)}-{zlib.crc32(np.ascontiguousarray(X)):08x}.npz"
    if not file.exists():
        save_npz(file, conditional_affinities(X), compressed=False)
    return load_npz(file)


def judge(conditional: csr_array, X: NDArray, labels: NDArray, Y: NDArray, objective: str) -> dict[str, float]:
    """Return the measures of a map, with the cost of the objective "t-SNE" or "SNE"."""
    cost = sne_cost if objective == "SNE" else tsne_cost
    return {
        "cost": cost(conditional, Y),
        "accuracy": neighbor_accuracy(Y, labels),
        "trustworthiness": sampled_trustworthiness(X, Y),
    }


def tsne_cost(conditional: csr_array, Y: NDArray) -> float:
    """Return the cost of t-SNE with all pairs in the normalization."""
    n, Y = len(Y), np.asarray(Y, dtype=np.float64)
    p = (conditional + conditional.T).data / (2 * n)
    # A pair has the same distance in both directions, so that the conditional affinities give the same sum as p.
    attraction = _attraction(conditional, Y, np.log1p) / n
    rows = _sampled_rows(n, MAX_ALL_PAIRS, NORMALIZATION_ROWS)
    Z = n * np.mean(_of_distances(Y, rows, lambda r2: np.sum(1.0 / (1.0 + r2), axis=1)))
    return float(np.sum(p * np.log(p)) + attraction + np.log(Z))


def sne_cost(conditional: csr_array, Y: NDArray) -> float:
    """Return the cost of SNE per row."""
    n, Y = len(Y), np.asarray(Y, dtype=np.float64)
    attraction = _attraction(conditional, Y, lambda r2: r2)
    rows = _sampled_rows(n, MAX_ALL_PAIRS, NORMALIZATION_ROWS)
    log_Z = _of_distances(Y, rows, _log_sum_exp_of_negative)
    return float((np.sum(conditional.data * np.log(conditional.data)) + attraction) / n + log_Z.mean())


def neighbor_accuracy(Y: NDArray, labels: NDArray) -> float:
    """Return the 3-fold accuracy of 10 nearest neighbors in the map."""
    return float(cross_val_score(KNeighborsClassifier(10), Y.astype(np.float64), labels, cv=3).mean())


def sampled_trustworthiness(X: NDArray, Y: NDArray) -> float:
    """Return the trustworthiness of 10 neighbors, of a sample with its own neighbors if there are many rows."""
    rows = _sampled_rows(len(X), TRUSTWORTHINESS_ROWS, TRUSTWORTHINESS_ROWS)
    return float(trustworthiness(X[rows].astype(np.float64), Y[rows].astype(np.float64), n_neighbors=10))


def _with_perplexity(distances: NDArray, perplexity: float) -> NDArray:
    """Return, row by row, Gaussian probabilities of the distances that have the perplexity."""
    D = distances**2 - distances[:, :1] ** 2
    low, high = np.full((len(D), 1), -60.0), np.full((len(D), 1), 60.0)
    for _ in range(60):
        middle = (low + high) / 2
        P = np.exp(-np.minimum(np.exp(middle) * D, 700.0))
        P /= P.sum(axis=1, keepdims=True)
        too_wide = -np.sum(P * np.log(P), axis=1, keepdims=True) > np.log(perplexity)
        low, high = np.where(too_wide, middle, low), np.where(too_wide, high, middle)
    return P


def _attraction(P: csr_array, Y: NDArray, of_square: Callable[[NDArray], NDArray]) -> float:
    """Return the sum over all pairs of p times a function of the squared distance."""

    def of_rows(rows: slice) -> float:
        entries = slice(P.indptr[rows.start], P.indptr[rows.stop])
        i = np.repeat(np.arange(rows.start, rows.stop), np.diff(P.indptr[rows.start : rows.stop + 1]))
        r2 = np.sum((Y[i] - Y[P.indices[entries]]) ** 2, axis=1)
        return float(P.data[entries] @ of_square(r2))

    return sum(_in_blocks(of_rows, len(Y), P.nnz // len(Y)))


def _of_distances(Y: NDArray, rows: NDArray, function: Callable[[NDArray], NDArray]) -> NDArray:
    """Apply a function to rows of squared distances, in which the distance of a point to itself is infinite."""

    def of_block(block: slice) -> NDArray:
        r2 = cdist(Y[rows[block]], Y, "sqeuclidean")
        r2[np.arange(len(r2)), rows[block]] = np.inf
        return function(r2)

    return np.concatenate(_in_blocks(of_block, len(rows), len(Y)))


def _log_sum_exp_of_negative(r2: NDArray) -> NDArray:
    nearest = r2.min(axis=1, keepdims=True)
    return np.log(np.sum(np.exp(nearest - r2), axis=1)) - nearest[:, 0]


def _in_blocks(function: Callable[[slice], object], n: int, width: int) -> list:
    """Return the results of a function for blocks of n rows, in the order of the blocks, which threads share."""
    size = max(1, BLOCK // max(1, width))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, (slice(start, min(n, start + size)) for start in range(0, n, size))))


def _sampled_rows(n: int, largest: int, sample: int) -> NDArray[np.intp]:
    """Return all rows if there are at most ``largest``, and otherwise a random sample that is always the same."""
    return np.arange(n) if n <= largest else np.random.default_rng(0).choice(n, sample, replace=False)
