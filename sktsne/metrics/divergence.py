"""Measures made from the cost of a map: the cost itself, the part of each row, and a criterion for the perplexity."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array

from .._checks import as_input, check_dof, check_number, precision_of, without_rounding
from .._pipeline import embedder_of
from .._row_arguments import as_sample_weight
from ..kernels import ExactKernel
from ..objectives import ConditionalKL, JointKL, objective_of_fit
from ..optimizer import Frame
from ..parallel import Workers, effective_n_threads
from ..similarities import similarity_of


def kl_divergence(
    affinities: Any,
    embedding: ArrayLike,
    *,
    joint: bool = True,
    dof: float | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> float:
    """Return the cost of an embedding for given affinities.

    The cost is the Kullback-Leibler divergence that t-SNE or SNE minimizes, computed by sums over all pairs of points
    in float64. Use it to compare maps of any origin for the same affinities and ``dof``: the map with the lower cost is
    better by the standard of the method. Costs for different affinities, and therefore for different perplexities,
    cannot be compared; neither can a cost of t-SNE and a cost of SNE. Unlike the other measures, the cost depends on
    the scale of the map.

    Parameters
    ----------
    affinities : {array-like, sparse matrix} of shape (n_samples, n_samples)
        Affinities that are 0 on the diagonal, such as the attribute ``affinities_`` of a fitted estimator.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the points.
    joint : bool, default=True
        Whether to return the cost of t-SNE, for which the affinities are symmetrized and scaled to the sum 1. Otherwise
        the cost of SNE is returned: each row of the affinities is scaled to the sum 1, and the divergences of all rows
        are summed.
    dof : float, default=None
        Degrees of freedom of the similarity of points. ``None`` means 1 for t-SNE and ``inf``, the Gaussian, for SNE.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the rows: those of the fit whose ``affinities_`` are given. The affinities are then those of all
        copies of each row, and those on the diagonal those among the copies of one row.
    n_jobs : int, default=None
        Number of threads, as for :class:`sktsne.TSNE`. The result does not depend on ``n_jobs``.

    Returns
    -------
    cost : float
        The Kullback-Leibler divergence, in nats.

    Raises
    ------
    ValueError
        If ``affinities`` is not square, does not have a row for each position, is negative or, without weights, not 0
        on the diagonal, or if all affinities are 0; with ``joint=False`` also if those of one row are. If
        ``sample_weight`` is not accepted, or contradicts the diagonal.

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
    weights = as_sample_weight(sample_weight, len(Y))
    P = _check_affinities(affinities, len(Y), None if weights is None else weights > 0.0, joint)
    if weights is not None:
        Y, weights = Y[weights > 0.0], weights[weights > 0.0]
    P, similarity = objective.from_given(P), similarity_of(dof)
    with Workers(effective_n_threads(n_jobs)) as workers:
        cost = objective(P, similarity, ExactKernel(similarity, workers), workers, weights)(Y, with_cost=True).cost
    return float(cost)


def point_costs(estimator: Any) -> NDArray[np.float64]:
    """Return each row's part of the cost of a map.

    Use the parts to find the rows that a map shows badly: a row with a high cost has neighbors that the map placed too
    far away. The part of row i is Σ_j p_ij log(p_ij / q_ij) for t-SNE and Σ_j p_{j|i} log(p_{j|i} / q_{j|i}) for SNE,
    and the sum of all parts is ``kl_divergence_``. A few parts may be negative for t-SNE, where each is only a part of
    one divergence. Compare parts only between rows of the same map. The part of a row with a weight is that of all of
    its copies.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        A fitted estimator, or a pipeline with one.

    Returns
    -------
    costs : ndarray of shape (n_samples,)
        The parts, in nats. The kernel of the estimator computes them, so that their accuracy, and how the time grows
        with the number of rows, are those of an iteration.

    See Also
    --------
    kl_divergence : The cost of an embedding from any method.

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
    with Workers(effective_n_threads(estimator.n_jobs)) as workers:
        objective, Y = objective_of_fit(estimator, workers)
        costs = np.zeros(len(estimator.embedding_))
        costs[slice(None) if estimator._counted is None else estimator._counted] = objective.point_costs(Y)
        return costs


def pbic(estimator: Any) -> float:
    """Return the criterion of Cao and Wang for the choice of a perplexity; lower is better.

    The cost of a map falls as the perplexity grows, whether or not the map gets better [1]_. Therefore the criterion
    adds a charge of ``log(n) / n`` for every unit of perplexity, as the Bayesian information criterion adds one for
    every parameter. Use it to compare fits of the same rows that differ only in their perplexity.

    The criterion is a heuristic, which its authors compared with people's choices. It depends only on the cost, not on
    the purpose of the map. The charge falls with the number of rows, so that the criterion favors a larger perplexity
    for more rows. If you know which size of neighborhoods matters to you, compare maps by
    :func:`sktsne.metrics.trustworthiness` with this size as ``n_neighbors``.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        A fitted estimator, or a pipeline with one, whose ``perplexity`` is one number below ``n_samples - 1``.

    Returns
    -------
    value : float
        ``2 * KL + log(n) * perplexity / n``, where KL is ``kl_divergence_`` for t-SNE, and its mean over the rows for
        SNE. The criterion was made for t-SNE; values for t-SNE and for SNE cannot be compared.

    Raises
    ------
    ValueError
        If ``perplexity`` is at least ``n_samples - 1``, or the affinities of the fit are not those of a perplexity.
    TypeError
        If ``perplexity`` is not one number.

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
    n = Frame(estimator._map.weights).total(len(estimator._map.points))
    if not (isinstance(estimator.affinities, str) and estimator.affinities == "perplexity"):
        raise ValueError(
            f"affinities == {estimator.affinities!r}, must be 'perplexity': other affinities have no perplexity."
        )
    if estimator.n_neighbors is not None:
        raise ValueError(f"n_neighbors == {estimator.n_neighbors}, must be None: other affinities have no perplexity.")
    check_number("perplexity", estimator.perplexity, Real, 1)
    if estimator.perplexity >= n - 1:
        raise ValueError(f"perplexity == {estimator.perplexity!r}, must be below n_samples - 1 == {n - 1:.12g}.")
    mean = estimator.kl_divergence_ / estimator._objective.count_distributions(n)
    return float(2.0 * mean + math.log(n) * estimator.perplexity / n)


def _check_affinities(
    affinities: Any, n: int, counted: NDArray[np.bool_] | None, joint: bool
) -> csr_array | NDArray[np.float64]:
    """Return the affinities of the rows that count; if ``counted`` is None, all rows count, and have no copies."""
    precision = precision_of(affinities)
    affinities = as_input("affinities", affinities)
    P = check_array(affinities, accept_sparse="csr", dtype=np.float64, order="C", input_name="affinities")
    P = without_rounding("affinities must not be negative", csr_array(P) if issparse(P) else P, precision)
    if P.shape != (n, n):
        raise ValueError(f"affinities has shape {P.shape}, must have {(n, n)}: a row and a column for every position.")
    if counted is not None:
        P = P[counted][:, counted]
    elif P.diagonal().any():
        raise ValueError("affinities must be 0 on the diagonal.")
    sums = np.asarray(P.sum(axis=1)).ravel()
    if not (sums.any() if joint else sums.all()):
        raise ValueError(
            "affinities are all 0, some must be positive."
            if joint
            else f"affinities of row {sums.argmin()} are all 0, some must be positive in every row with joint=False."
        )
    return P
