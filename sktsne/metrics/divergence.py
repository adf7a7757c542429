"""Measures that are the objective: a map's divergence, what each point has of it, and a criterion made from it."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array

from .._checks import as_floats, as_input, check_dof, check_number, precision_of, without_rounding
from .._parameters import choose_method
from .._pipeline import embedder_of
from ..kernels import ExactKernel
from ..kernels.contract import make_kernel
from ..objectives import ConditionalKL, JointKL
from ..parallel import Workers, effective_n_threads
from ..similarities import similarity_of


def kl_divergence(
    affinities: Any,
    embedding: ArrayLike,
    *,
    joint: bool = True,
    dof: float | None = None,
    n_jobs: int | None = None,
) -> float:
    """Return the cost of any embedding for given affinities, by sums over all pairs in float64.

    It compares maps of any origin for the same affinities, kind of cost and ``dof``: a lower cost is a better map in
    the terms of the method. Costs for other affinities, and so for another perplexity, do not compare, nor do those of
    t-SNE and SNE. Unlike the other measures it sees the scale of the map.

    Parameters
    ----------
    affinities : {array-like, sparse matrix} of shape (n_samples, n_samples)
        Affinities without a diagonal, such as the attribute ``affinities_`` of a fitted estimator.
    embedding : array-like of shape (n_samples, n_components)
        The positions.
    joint : bool, default=True
        Whether the cost is that of t-SNE, of affinities that are symmetrized and scaled to the sum 1; otherwise that of
        SNE, of affinities whose rows are scaled to the sum 1, summed over the rows.
    dof : float, default=None
        Degrees of freedom of the similarity of points; ``None`` is 1 for t-SNE and ``inf``, the Gaussian, for SNE.
    n_jobs : int, default=None
        Threads, as for :class:`sktsne.TSNE`. The result does not depend on it.

    Returns
    -------
    cost : float
        The Kullback-Leibler divergence, in nats.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.metrics import kl_divergence
    >>> X = load_iris().data
    >>> tsne = TSNE(random_state=0).fit(X)
    >>> abs(kl_divergence(tsne.affinities_, tsne.embedding_) / tsne.kl_divergence_ - 1) < 1e-6
    True
    >>> kl_divergence(tsne.affinities_, 2 * tsne.embedding_) > tsne.kl_divergence_
    True
    """
    Y = check_array(embedding, dtype=np.float64, order="C", ensure_min_samples=2, input_name="embedding")
    objective = JointKL if joint else ConditionalKL
    dof = (1.0 if joint else math.inf) if dof is None else dof
    check_dof(dof)
    P = objective.from_given(_check_affinities(affinities, len(Y), joint))
    similarity = similarity_of(dof)
    with Workers(effective_n_threads(n_jobs)) as workers:
        return float(objective(P, similarity, ExactKernel(similarity, workers), workers)(Y, with_cost=True).cost)


def point_costs(estimator: Any) -> NDArray[np.float64]:
    """Return each row's part of the cost of a map, to find the rows that it shows badly.

    They are the terms of the Kullback-Leibler divergence in the row's affinities, Σ_j p_ij log(p_ij / q_ij) for t-SNE
    and Σ_j p_{j|i} log(p_{j|i} / q_{j|i}) for SNE, and sum to ``kl_divergence_``. For t-SNE, where they are parts of
    one divergence, a few may be negative. They compare rows of the same map: those with a high cost have neighbors
    that the map placed too far away.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        A fitted estimator, or a pipeline with one.

    Returns
    -------
    costs : ndarray of shape (n_samples,)
        The parts, in nats; to the accuracy of the estimator's kernel, in a time that is linear in the rows where an
        iteration's is.

    See Also
    --------
    kl_divergence : The cost of any embedding.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE, EmbeddingDisplay
    >>> from sktsne.metrics import point_costs
    >>> tsne = TSNE(random_state=0).fit(load_iris().data)
    >>> costs = point_costs(tsne)
    >>> bool(np.isclose(costs.sum(), tsne.kl_divergence_))
    True
    >>> display = EmbeddingDisplay.from_estimator(tsne, y=costs, label_name="cost")
    """
    estimator = embedder_of(estimator)
    Y = as_floats("embedding_", estimator.embedding_, ("n", "d"), empty=False)
    Y = Y - Y.mean(axis=0)
    similarity = similarity_of(estimator.dof)
    with Workers(effective_n_threads(estimator.n_jobs)) as workers:
        kernel = make_kernel(choose_method(estimator, len(Y))[1], similarity, workers)
        objective: JointKL | ConditionalKL = estimator._objective(estimator.affinities_, similarity, kernel, workers)
        return objective.point_costs(Y)


def pbic(estimator: Any) -> float:
    """Return the criterion of Cao and Wang for the choice of a perplexity; the least is best.

    The cost of a map falls as its perplexity grows, whatever becomes of the map [1]_. The criterion charges
    ``log(n) / n`` for every unit of perplexity, as the Bayesian information criterion does for parameters. It compares
    fits of the same rows that differ in the perplexity alone.

    It is a heuristic, which its authors compared with people's choices. It looks at nothing but the cost; the charge
    falls with the number of rows, so that more of them call for a larger perplexity, and it does not know what a map is
    for. `trustworthiness` at the size of the neighborhoods that matter does.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        A fitted estimator, or a pipeline with one, whose ``perplexity`` is one number below ``n_samples - 1``.

    Returns
    -------
    value : float
        ``2 * KL + log(n) * perplexity / n``. The KL divergence is that of t-SNE, or the mean over the rows for SNE:
        the criterion was made for t-SNE, and values of both do not compare.

    References
    ----------
    .. [1] Y. Cao and L. Wang, "Automatic selection of t-SNE perplexity", arXiv:1708.03229, 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktsne import TSNE
    >>> from sktsne.metrics import pbic
    >>> X = load_digits().data[:300]
    >>> fits = [TSNE(perplexity=perplexity, random_state=0).fit(X) for perplexity in (2, 10, 100)]
    >>> min(fits, key=pbic).perplexity
    10
    """
    estimator = embedder_of(estimator)
    n = len(estimator.embedding_)
    check_number("perplexity", estimator.perplexity, Real, 1)
    if estimator.perplexity >= n - 1:
        raise ValueError(f"perplexity == {estimator.perplexity!r}, must be below n_samples - 1 == {n - 1}.")
    if not (isinstance(estimator.affinities, str) and estimator.affinities == "perplexity"):
        raise ValueError(f"affinities == {estimator.affinities!r}, must be 'perplexity': others do not have one.")
    mean = estimator.kl_divergence_ / estimator._objective.count_distributions(n)
    return float(2.0 * mean + math.log(n) * estimator.perplexity / n)


def _check_affinities(affinities: Any, n: int, joint: bool) -> csr_array | NDArray[np.float64]:
    precision = precision_of(affinities)
    affinities = as_input("affinities", affinities)
    P = check_array(affinities, accept_sparse="csr", dtype=np.float64, order="C", input_name="affinities")
    P = without_rounding("affinities must not be negative", csr_array(P) if issparse(P) else P, precision)
    if P.shape != (n, n):
        raise ValueError(f"affinities has shape {P.shape}, must have {(n, n)}: a row and a column for every position.")
    if P.diagonal().any():
        raise ValueError("affinities must be 0 on the diagonal.")
    sums = np.asarray(P.sum(axis=1)).ravel()
    if not (sums.any() if joint else sums.all()):
        raise ValueError(
            "affinities are all 0, must not be."
            if joint
            else f"affinities of row {sums.argmin()} are all 0, must not be with joint=False."
        )
    return P
