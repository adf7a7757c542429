"""The SNE estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

from ._base import BaseEmbedding
from ._reports import Callbacks
from .kernels.contract import KernelFactory
from .objectives import ConditionalKL


class SNE(BaseEmbedding):
    """Stochastic neighbor embedding (SNE).

    Places a point for every row so that near rows become near points: gradient descent minimizes the sum, over the
    rows, of the Kullback-Leibler divergence between the conditional probabilities of the rows and those of the points,
    whose similarity is the Gaussian ``exp(-r²)`` [1]_. Parameters are as in `TSNE`.

    Parameters
    ----------
    n_components : int, default=2
        Dimension of the embedding.

    perplexity : float or sequence of float, default=30.0
        The effective number of neighbors of each row. Larger values show more of the global, smaller ones more of the
        local structure; 5 to 50 is usual. The largest perplexity is ``max(1, n_samples - 1.5)``: it
        replaces larger values, with a warning if it is less than nine tenths of the value. With several, such as
        ``[5, 50, 500]``, a row's conditional probabilities are the mean over the perplexities, which keeps small and
        large neighborhoods.

    early_exaggeration : float, default=4.0
        Factor on the attraction in the first iterations, which lets clusters find their places; see
        ``early_exaggeration_iter``.

    learning_rate : float or "auto", default="auto"
        "auto" divides each point's gradient by the stiffness of its attraction (the diagonal of its Hessian) and
        multiplies by 1.2, so that step sizes do not depend on the number of rows or on the exaggeration. A number
        multiplies the gradient of every point, as in scikit-learn; fits diverge from about 0.5 on, and during early
        exaggeration from about 0.5 over its factor.

    max_iter : int, default=1000
        The largest number of iterations, including early exaggeration.

    n_iter_without_progress : int, default=50
        After early exaggeration, the fit ends when the cost has fallen by less than ``tol`` times the cost in this
        number of iterations. The cost is checked every 50 iterations.

    min_grad_norm : float, default=1e-9
        After early exaggeration, at every 50th iteration, the fit ends when the root mean square of the points'
        gradients is at most ``min_grad_norm`` times the root mean square of the points' distances from their center.
        Unlike scikit-learn's rule, this one depends neither on the number of rows nor on the scale of the map.

    metric : str or callable, default="euclidean"
        The distance between rows: a metric of :class:`sklearn.neighbors.NearestNeighbors` by name, a function of two
        rows that is symmetric, or "precomputed". With "precomputed", ``X`` holds distances: a square matrix, or a
        sparse graph as :class:`sklearn.neighbors.KNeighborsTransformer` gives it. Distances are squared in every case,
        so that computed and precomputed ones give the same result.

    metric_params : dict, default=None
        Further arguments of the metric.

    init : {"pca", "spectral", "random"} or array of shape (n_samples, n_components), default="pca"
        The start. "pca", the principal components, is reproducible and keeps the global arrangement; "spectral",
        eigenvectors of the affinities, does not need the rows. Both have the standard deviation 1e-4 along their widest
        component; "random" is normal with this standard deviation. An array is used as given, except that of points
        that coincide all but one are moved a little. :func:`sktsne.initialization.rescale` turns another map into a
        start.

    verbose : int or bool, default=0
        1 prints the stages; 2 also prints cost, gradient norm and seconds every 50 iterations.

    random_state : int, RandomState instance or None, default=None
        Seeds ``init="random"``; the solvers of "pca" and "spectral", and the random coordinates in place of components
        that they do not find; and the separation of points that coincide in the start.
        Pass an int for results that repeat.

    method : {"auto", "exact", "fft", "barnes_hut"} or callable, default="auto"
        How the repulsion, a sum over all pairs of points, is computed. "exact" sums all pairs; with a perplexity, it
        also takes the affinities of all pairs of rows, in a dense matrix. All other methods take the affinities of the
        ``min(n_samples - 1, int(3 * perplexity + 1))`` nearest neighbors of each row. "fft" interpolates on a mesh, for
        one or two components, in time nearly proportional to n_samples; its forces have a relative error of about 1 %.
        "barnes_hut" combines distant points into cells of a tree, for up to three components. With "fft" and
        "barnes_hut", the attraction and the cost are computed in float32 for any input; with "fft", the repulsion too.
        "auto" is the fastest for the number of rows: "fft" for one or two components from 500 rows, "barnes_hut" for
        three from 4,000 (with a finite ``dof`` from 500; with ``dof=1`` as in `TSNE`), otherwise "exact". A callable
        makes a kernel of your own, see :class:`sktsne.kernels.GradientKernel`.

    angle : float, default=0.5
        Accuracy of "barnes_hut", from 0 (exact) to 1: a cell of the tree counts as one point if its size over its
        distance is at most ``angle``. Ignored by kernels without this option.

    n_jobs : int, default=None
        Threads for every stage. ``None`` is every core that the process may use, and fewer inside joblib's workers so
        that a grid search does not use cores twice; an integer follows joblib, -1 being every core. The embedding does
        not depend on ``n_jobs``.

    neighbors : {"auto", "exact", "clustered"} or transformer, default="auto"
        How the nearest neighbors are searched. "exact" finds them all. "clustered" finds at least 99 % of them, in
        lists of rows that are near one another, with any metric by name. "auto" is "clustered" for these metrics from
        5,000 rows of more than six columns on, and otherwise "exact". A transformer returns a sparse graph of distances
        as :class:`sklearn.neighbors.KNeighborsTransformer` does; a clone of it is fitted, with its ``n_neighbors``
        raised to what the perplexity needs. A transformer has its own metric, so ``metric`` must keep its default.

    tol : float, default=1e-4
        The fraction of the cost by which the cost must fall, see ``n_iter_without_progress``. With the default a fit
        has converged for all practical purposes; 0 lets it run as long as the cost falls.

    affinities : {"perplexity", "precomputed"} or object, default="perplexity"
        The probabilities that the map shows. "perplexity" gives every row a Gaussian of its own width. With
        "precomputed", ``X`` is a square matrix of affinities, dense or sparse, which is scaled so that its rows sum
        to 1. An object gives the rows probabilities over their nearest neighbors: :class:`sktsne.affinities.Uniform`,
        :class:`sktsne.affinities.FixedBandwidth`, or one of your own with the same methods; ``perplexity`` has no
        effect then.

    dof : float, default=inf
        Degrees of freedom α of the points' similarity ``(1 + r²/α)^(-α)``; ``inf`` is the Gaussian ``exp(-r²)`` of SNE.

    exaggeration : float, default=1.0
        Factor on the attraction after early exaggeration, at least 1: below 1 the cost has no minimum. A factor above 1
        makes clusters denser and the gaps between them wider; ``kl_divergence_`` is the cost without the factor.

    early_exaggeration_iter : int, default=100
        Iterations of early exaggeration. In the first half the factor is ``early_exaggeration``, in the second it falls
        geometrically to ``exaggeration``.

    momentum : float, default=0.9
        Fraction of the last step that is added to the next one, at least 0 and below 1.

    max_step_norm : float or None, default=1.0
        The largest distance by which a point moves in an iteration, before the map is centered. ``None`` is no limit.

    callback : callable or list of callable, default=None
        Called as ``callback(iteration, cost, embedding)`` every ``callback_every`` iterations, with the cost without
        exaggeration and a copy of the map, shape (n_samples, n_components). The fit ends when ``callback`` returns
        True; an exception in ``callback`` leaves the estimator as it was before the fit. The callables of a list are
        called one after the other, and the fit ends when any of them returns True. Two callbacks are
        :class:`sktsne.progress.ProgressBar` and :class:`sktsne.plotting.FrameRecorder`. A callback may also follow
        the stages of the fit and every iteration, see :class:`sktsne.progress.Callback`.

    callback_every : int, default=50
        Iterations from one call of ``callback`` to the next. Also the iterations in each task "iterations" that is
        reported to scikit-learn's callbacks (``set_callbacks``, with scikit-learn 1.9 and later).

    warm_start : bool, default=False
        Whether a fit of the same rows continues where the last fit ended or was interrupted; ``max_iter`` counts the
        iterations of both. A fit in two halves equals one fit, to the last bit. A fit of other rows begins anew.

    checkpoint : path-like, default=None
        A file in which the fit saves its state every 50 iterations. If the file exists when a fit begins, the fit
        continues from it, and equals an uninterrupted fit, to the last bit; a file of other rows or parameters raises a
        ``ValueError``. The file is removed when the fit is done.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_samples, n_components)
        The embedding: float32 for float32 input, float64 for any other.

    kl_divergence_ : float
        The cost of the embedding, in nats: the sum over the rows of the Kullback-Leibler divergence of their
        conditional probabilities. Divide by n_samples for the cost per row. Costs for different perplexities measure
        different things and do not compare.

    n_iter_ : int
        The number of the last iteration, counted from 0 as in scikit-learn: ``max_iter - 1`` unless the fit ended
        earlier.

    learning_rate_ : float
        The learning rate that was used: 1.2 for "auto".

    affinities_ : csr_array or ndarray of shape (n_samples, n_samples)
        The conditional probabilities p_{j|i}: row i sums to 1. Dense for a perplexity with ``method="exact"`` and for
        dense precomputed affinities; otherwise sparse.

    method_ : str
        The name of the kernel that was used.

    timings_ : dict of str to float
        Seconds spent in each stage: "neighbors", "initialization" (unless ``init`` is an array), "affinities" and
        "optimization".

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of features seen during fit, where X has names that are all strings.

    See Also
    --------
    TSNE : Heavy tails and joint probabilities: less crowding, clearer clusters.

    Notes
    -----
    A fit raises a ``ValueError`` or ``TypeError`` that names the parameter for values that are out of range, and a
    ``FloatingPointError`` if a learning rate makes the optimization diverge. No fit returns NaN.

    References
    ----------
    .. [1] G. Hinton and S. Roweis, "Stochastic neighbor embedding", Advances in Neural Information Processing Systems
       15, 857-864, 2002.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import SNE
    >>> X, y = load_iris(return_X_y=True)
    >>> sne = SNE(perplexity=20, random_state=0).fit(X)
    >>> sne.embedding_.shape
    (150, 2)
    >>> bool(sne.kl_divergence_ / len(X) < 0.5)
    True
    """

    _objective = ConditionalKL
    _label = "SNE"
    # Two neighbors that move in opposite directions feel twice the stiffness: 2 · _relative_rate · _largest_gain = 3.6
    # is just below 2 (1 + momentum) = 3.8, above which the steps would not be stable.
    _relative_rate = 1.2
    _largest_gain = 1.5

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float | Sequence[float] = 30.0,
        early_exaggeration: float = 4.0,
        learning_rate: float | str = "auto",
        max_iter: int = 1000,
        n_iter_without_progress: int = 50,
        min_grad_norm: float = 1e-9,
        metric: Any = "euclidean",
        metric_params: dict[str, Any] | None = None,
        init: Any = "pca",
        verbose: int = 0,
        random_state: Any = None,
        method: str | KernelFactory = "auto",
        angle: float = 0.5,
        n_jobs: int | None = None,
        neighbors: Any = "auto",
        tol: float = 1e-4,
        affinities: Any = "perplexity",
        dof: float = math.inf,
        exaggeration: float = 1.0,
        early_exaggeration_iter: int = 100,
        momentum: float = 0.9,
        max_step_norm: float | None = 1.0,
        callback: Callbacks = None,
        callback_every: int = 50,
        warm_start: bool = False,
        checkpoint: str | PathLike[str] | None = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.n_iter_without_progress = n_iter_without_progress
        self.min_grad_norm = min_grad_norm
        self.metric = metric
        self.metric_params = metric_params
        self.init = init
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.angle = angle
        self.n_jobs = n_jobs
        self.neighbors = neighbors
        self.tol = tol
        self.affinities = affinities
        self.dof = dof
        self.exaggeration = exaggeration
        self.early_exaggeration_iter = early_exaggeration_iter
        self.momentum = momentum
        self.max_step_norm = max_step_norm
        self.callback = callback
        self.callback_every = callback_every
        self.warm_start = warm_start
        self.checkpoint = checkpoint
