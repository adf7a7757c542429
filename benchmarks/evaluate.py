"""One evaluator for the maps of every library, in float64 and of nobody's code but NumPy's and SciPy's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors


def conditional_affinities(X: NDArray, perplexity: float = 30.0) -> csr_array:
    """Return p_{j|i} over the 3 * perplexity + 1 nearest neighbours, the precisions found by plain bisection."""
    n, k = len(X), min(len(X) - 1, int(3 * perplexity + 1))
    distances, indices = NearestNeighbors(n_neighbors=k).fit(X.astype(np.float64)).kneighbors()
    D = distances**2 - distances[:, :1] ** 2
    low, high = np.full((n, 1), -60.0), np.full((n, 1), 60.0)
    for _ in range(100):
        middle = (low + high) / 2
        P = np.exp(-np.minimum(np.exp(middle) * D, 700.0))
        P /= P.sum(axis=1, keepdims=True)
        too_wide = -np.sum(P * np.log(P), axis=1, keepdims=True) > np.log(perplexity)
        low, high = np.where(too_wide, middle, low), np.where(too_wide, high, middle)
    return csr_array((P.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))


def tsne_cost(conditional: csr_array, Y: NDArray) -> float:
    """Return the cost of t-SNE with all pairs in the normalisation."""
    P = (conditional + conditional.T).tocoo()
    p = P.data / P.data.sum()
    Y = np.asarray(Y, dtype=np.float64)
    r2 = np.sum((Y[P.row] - Y[P.col]) ** 2, axis=1)
    Z = 2.0 * np.sum(1.0 / (1.0 + pdist(Y, "sqeuclidean")))
    return float(np.sum(p * (np.log(p) + np.log1p(r2))) + np.log(Z))


def sne_cost(conditional: csr_array, Y: NDArray) -> float:
    """Return the cost of SNE per row."""
    P = conditional.tocoo()
    Y = np.asarray(Y, dtype=np.float64)
    r2 = np.sum((Y[P.row] - Y[P.col]) ** 2, axis=1)
    log_Z = np.empty(len(Y))
    for i, y in enumerate(Y):
        exponents = -np.delete(np.sum((Y - y) ** 2, axis=1), i)
        log_Z[i] = exponents.max() + np.log(np.exp(exponents - exponents.max()).sum())
    return float((np.sum(P.data * (np.log(P.data) + r2)) + log_Z.sum()) / len(Y))


def neighbor_accuracy(Y: NDArray, labels: NDArray) -> float:
    """Return the 3-fold accuracy of 10 nearest neighbours in the map."""
    return float(cross_val_score(KNeighborsClassifier(10), np.asarray(Y), labels, cv=3).mean())
