"""The evaluator that judges the maps of all libraries, in float64, with NumPy, SciPy and scikit-learn only.

Sums over all pairs take a few rows at a time, so that memory is bounded. Above 100,000 rows, all sums over rows are
estimated from 10,000 rows, which are the same for every map of a data set: the exact neighbors of a million rows would
take most of an hour on two cores. The affinities are kept in a file, so that they are computed only once. Above 5,000
rows, the trustworthiness is that of a sample of 5,000 rows among themselves.

The symmetric affinities are p_ij = (p_{j|i} + p_{i|j}) / 2n, and for any symmetric f

    Σ_i Σ_j p_ij f_ij = 1/n Σ_i Σ_j p_{j|i} f_ij

so that the conditional affinities of some rows estimate the sum. For f = log p, which needs p_{i|j} as well, one
neighbor j of each of these rows is drawn with the probability p_{j|i}.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

# The number of rows above which sums over rows are estimated, the number of rows that estimate them, and the largest
# number of rows in the trustworthiness.
MAX_ROWS, SAMPLED_ROWS, TRUSTWORTHINESS_ROWS = 100_000, 10_000, 5_000
# The number of elements of a temporary array, which then stays in the cache.
BLOCK = 2**18


class Affinities(NamedTuple):
    """Conditional affinities of a data set.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        The rows whose affinities are known: all of them, or a sample.
    conditional : csr_array of shape (m, n)
        The probabilities p_{j|i} of these rows.
    joint_log : float
        Σ p_ij log p_ij over all pairs, or its estimate.
    """

    rows: NDArray[np.intp]
    conditional: csr_array
    joint_log: float


def affinities_of(X: NDArray, perplexity: float = 30.0) -> Affinities:
    """Return the affinities of all rows, or, above `MAX_ROWS`, of a sample of them."""
    n, rows = len(X), _sampled_rows(len(X), MAX_ROWS, SAMPLED_ROWS)
    conditional = conditional_affinities(X, rows, perplexity)
    if len(rows) == n:
        p = (conditional + conditional.T).data / (2 * n)
        return Affinities(rows, conditional, float(np.sum(p * np.log(p))))
    random = np.random.default_rng(1)
    chosen = np.array(
        [random.choice(np.diff(conditional.indptr)[i], p=conditional[[i]].data) for i in range(len(rows))]
    )
    places = conditional.indptr[:-1] + chosen
    others = conditional_affinities(X, conditional.indices[places], perplexity)
    p = (conditional.data[places] + others[np.arange(len(rows)), rows]) / (2 * n)
    return Affinities(rows, conditional, float(np.mean(np.log(p))))


def conditional_affinities(X: NDArray, rows: NDArray[np.intp], perplexity: float) -> csr_array:
    """Return p_{j|i} of some rows over their 3 * perplexity + 1 nearest neighbors, by plain bisection."""
    n, m, k = len(X), len(rows), min(len(X) - 1, int(3 * perplexity + 1))
    X = X.astype(np.float64)
    distances, indices = NearestNeighbors(n_neighbors=k + 1, n_jobs=-1).fit(X).kneighbors(X[rows])
    # The row itself is left out. Among many equal rows it may be missing, and the last one of them is left out.
    own = indices == rows[:, None]
    own[~own.any(axis=1), -1] = True
    distances, indices = distances[~own].reshape(m, k), indices[~own].reshape(m, k)
    P = np.concatenate(_in_blocks(lambda some: _with_perplexity(distances[some], perplexity), m, k))
    columns = indices.ravel().astype(np.int32)
    return csr_array((P.ravel(), columns, np.arange(0, m * k + 1, k, dtype=np.int32)), shape=(m, n))


def cached_affinities(X: NDArray, folder: Path) -> Affinities:
    """Return the `affinities_of` X, from a file in the folder if an earlier call computed them."""
    file = folder / f"affinities-{len(X)}-{zlib.crc32(np.ascontiguousarray(X)):08x}.npz"
    if not file.exists():
        rows, P, joint_log = affinities_of(X)
        np.savez(file, rows=rows, data=P.data, indices=P.indices, indptr=P.indptr, joint_log=joint_log)
    with np.load(file) as arrays:
        rows = arrays["rows"]
        parts = arrays["data"], arrays["indices"], arrays["indptr"]
        return Affinities(rows, csr_array(parts, shape=(len(rows), len(X))), float(arrays["joint_log"]))


def judge(affinities: Affinities, X: NDArray, labels: NDArray, Y: NDArray, objective: str) -> dict[str, float]:
    """Return the measures of a map, with the cost of the objective "t-SNE" or "SNE"."""
    cost = sne_cost if objective == "SNE" else tsne_cost
    return {
        "cost": cost(affinities, Y),
        "accuracy": neighbor_accuracy(Y, labels),
        "trustworthiness": sampled_trustworthiness(X, Y),
    }


def tsne_cost(affinities: Affinities, Y: NDArray) -> float:
    """Return the cost of t-SNE with all pairs in the normalization."""
    rows, Y = affinities.rows, np.asarray(Y, dtype=np.float64)
    attraction = _attraction(affinities, Y, np.log1p) / len(rows)
    Z = len(Y) * np.mean(_of_distances(Y, rows, lambda r2: np.sum(1.0 / (1.0 + r2), axis=1)))
    return float(affinities.joint_log + attraction + np.log(Z))


def sne_cost(affinities: Affinities, Y: NDArray) -> float:
    """Return the cost of SNE per row."""
    rows, Y = affinities.rows, np.asarray(Y, dtype=np.float64)
    attraction, p = _attraction(affinities, Y, lambda r2: r2), affinities.conditional.data
    log_Z = _of_distances(Y, rows, _log_sum_exp_of_negative)
    return float((np.sum(p * np.log(p)) + attraction) / len(rows) + log_Z.mean())


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


def _attraction(affinities: Affinities, Y: NDArray, of_square: Callable[[NDArray], NDArray]) -> float:
    """Return the sum over the pairs of the rows of p times a function of the squared distance."""
    rows, P = affinities.rows, affinities.conditional

    def of_rows(some: slice) -> float:
        entries = slice(P.indptr[some.start], P.indptr[some.stop])
        i = np.repeat(rows[some], np.diff(P.indptr[some.start : some.stop + 1]))
        r2 = np.sum((Y[i] - Y[P.indices[entries]]) ** 2, axis=1)
        return float(P.data[entries] @ of_square(r2))

    return sum(_in_blocks(of_rows, len(rows), P.nnz // len(rows)))


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
