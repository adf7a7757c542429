r"""Significance: whether the map keeps the neighborhood of a row better than it keeps those of rows without structure.

    C_i = Σ_j p̃_{j|i} log(p̃_{j|i} / q_{j|i}),    p̃_{j|i} = p_ij / Σ_k p_ik,    q_{j|i} = w_ij / Σ_{k≠i} w_ik
    p-value of row i = (1 + the number of null costs at most C_i) / (1 + the number of null costs)

p_ij are the affinities of the fit and w_ij the weights of its map. The null costs are the C of all points of the maps
of null rows, whose columns are shuffled independently of each other.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, issparse
from scipy.stats import false_discovery_control

from .._checks import check_n_jobs, check_number
from ..objectives import objective_of_fit
from ..parallel import Workers, effective_n_threads
from .refits import run_fits, seeds_of
from .rows import embedder_of_fit, given_matrix, rows_of_fit


def significance(
    estimator: Any,
    X: Any,
    *,
    n_nulls: int = 5,
    corrected: bool = True,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    r"""Return for each row the p-value that its neighborhood is kept no better than that of rows without structure.

    The question is that of EMBEDR [1]_: t-SNE draws groups of any rows, even of noise, so a point's cost says little
    before it is compared with the costs of noise. The columns of the rows are shuffled independently, which keeps the
    distribution of each column and removes all relations between columns. The null rows are embedded with the
    parameters of the fit. The cost of a point is the divergence of its own row,

    .. math:: C_i = \sum_j \tilde p_{j|i} \log(\tilde p_{j|i} / q_{j|i}), \qquad
        \tilde p_{j|i} = p_{ij} / \sum_k p_{ik}, \quad q_{j|i} = w_{ij} / \sum_{k \ne i} w_{ik},

    with the affinities :math:`p_{ij}` of the fit and the weights :math:`w_{ij}` of its map, for t-SNE and SNE alike.
    The p-value of a row is the fraction of the null costs, of all points of all null maps, that are at most its own
    cost; both numbers are increased by 1, so that no p-value is 0.

    A low p-value says that the map keeps the neighborhood of the row better than if the columns were unrelated. A high
    one says that the neighborhood of the point looks like one that the method makes of noise. Neighborhoods are as
    large as the perplexity: in the middle of a group with many more rows, the neighbors of a row may be as good as
    random, and its p-value is then high although the group is real. So compare p-values over several perplexities, up
    to the number of rows of the groups.

    The p-value judges neither gaps between groups nor their arrangement, and does not say what the structure is:
    columns that are only correlated are structure, too, and so are repeated rows. In a pipeline with PCA before the
    embedding, the components are shuffled, which have no correlation, so that a Gaussian cloud of any shape counts as
    noise. Columns that have separate groups of values, as the codes of categories do, form groups even when shuffled,
    and fewer rows are significant.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these. It is not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows of the fit, as they enter ``estimator``.
    n_nulls : int, default=5
        The number of null maps, each of which takes the time of a fit. For a cloud of 400 rows the standard deviation
        of a p-value between calls was 0.023 / sqrt(n_nulls), because whole maps of noise differ in their costs.
    corrected : bool, default=True
        Whether p-values are corrected for the number of rows by the procedure of Benjamini and Hochberg [2]_. Of the
        rows with corrected p-values up to 0.05, at most 5 % are expected to be noise; of rows without structure hardly
        any has such a p-value. The procedure holds for p-values that depend on each other positively, as p-values from
        the same null costs do [3]_. Without the correction, 5 % of all rows of noise have p-values up to 0.05.
    random_state : int, RandomState instance or None, default=None
        Seeds the shuffles, and the starts of the null maps. Pass an int for reproducible results.
    n_jobs : int, default=None
        The number of fits at a time, by :class:`joblib.Parallel`. With several, each uses its share of the cores
        instead of the ``n_jobs`` of the estimator. The result does not depend on ``n_jobs``.

    Returns
    -------
    p_values : ndarray of shape (n_samples,), float64
        The p-values, above 0 and at most 1. High values mark points whose neighborhoods must not be believed.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError, ValueError
        If a parameter is not accepted, ``X`` does not hold the rows of the fit, or ``X`` cannot be shuffled: distances
        and affinities between rows have no columns of their own, and shuffling a single column changes no distance.

    Notes
    -----
    A start that was given as an array belongs to the rows of the fit. Null maps then start from principal components.
    They are made with the parameters of the fit. If a callback ended the fit, or its start was a finished map, the null
    maps are worse than the map for this reason alone.

    References
    ----------
    .. [1] E. M. Johnson, W. Kath and M. Mani, "EMBEDR: Distinguishing signal from noise in single-cell omics data",
       Patterns 3, 100443, 2022.
    .. [2] Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate: a practical and powerful approach to
       multiple testing", Journal of the Royal Statistical Society B 57, 289-300, 1995.
    .. [3] S. Bates, E. Candès, L. Lei, Y. Romano and M. Sesia, "Testing for outliers with conformal p-values", Annals
       of Statistics 51, 149-178, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import significance
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(200, 10))
    >>> groups = noise + rng.normal(scale=9, size=(5, 10)).repeat(40, axis=0)
    >>> for X in noise, groups:
    ...     tsne = TSNE(random_state=0).fit(X)
    ...     print(bool(np.mean(significance(tsne, X, n_nulls=2, random_state=0) <= 0.05) > 0.5))
    False
    True
    """
    check_number("n_nulls", n_nulls, Integral, 1)
    if not isinstance(corrected, (bool, np.bool_)):
        raise TypeError(f"corrected == {corrected!r}, must be True or False, not {type(corrected).__name__}.")
    check_n_jobs(n_jobs)
    seeds = seeds_of(random_state, n_nulls)
    if parameter := given_matrix(embedder_of_fit(estimator)):
        raise ValueError(
            f"{parameter}, must be a fit of rows: the null rows have shuffled columns, and a matrix that compares rows "
            "with each other has no columns that can be shuffled."
        )
    embedder, rows = rows_of_fit(estimator, X)
    if rows.shape[1] == 1:
        raise ValueError("X has 1 column, must have at least 2: shuffling a single column changes no distance.")
    costs = _costs(embedder)
    init = embedder.init if isinstance(embedder.init, str) else "pca"
    nulls = np.sort(np.concatenate(run_fits(partial(_null_costs, rows), embedder, seeds, n_jobs, init=init)))
    p_values = (1.0 + np.searchsorted(nulls, costs, side="right")) / (1.0 + len(nulls))
    return np.asarray(false_discovery_control(p_values, method="bh") if corrected else p_values)


def _costs(embedder: Any) -> NDArray[np.float64]:
    """Return the cost C_i of each point of a fitted estimator, computed with its kernel."""
    with Workers(effective_n_threads(embedder.n_jobs)) as workers:
        objective, Y = objective_of_fit(embedder, workers, of_rows=True)
        return objective.point_costs(Y)


def _null_costs(rows: Any, null: Any) -> NDArray[np.float64]:
    """Return the costs of all points of the map of shuffled rows that the estimator ``null`` makes."""
    return _costs(null.fit(shuffled(rows, np.random.default_rng(null.random_state))))


def shuffled(X: Any, rng: np.random.Generator) -> Any:
    """Return a copy of rows in which each column is shuffled independently.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n, n_columns)
        The rows. The stored entries of a sparse column move to random rows, in a time in proportion to their number.
    rng : Generator
        The random numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.reliability.nulls import shuffled
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> np.sort(shuffled(X, np.random.default_rng(0)), axis=0).tolist() == X.tolist()
    True
    """
    if not issparse(X):
        return rng.permuted(X, axis=0)
    columns = csc_array(X)
    n, bounds = X.shape[0], columns.indptr
    counts = np.diff(bounds)
    rows = [rng.choice(n, count, replace=False) for count in counts]
    indices = np.concatenate([*rows, np.empty(0, dtype=np.intp)]).astype(columns.indices.dtype)
    return csr_array(csc_array((columns.data, indices, bounds), shape=X.shape))
