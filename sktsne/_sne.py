"""The SNE estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from typing import Any

from ._base import BaseEmbedding
from ._reports import Callback
from .kernels.contract import KernelFactory
from .objectives import ConditionalKL


class SNE(BaseEmbedding):
    """Stochastic neighbor embedding (SNE).

    Places a point for every row so that the probabilities with which points pick each other as neighbors, under
    Gaussian similarities ``exp(-r²)``, are like those of the rows, by minimizing the sum of the rows' Kullback-Leibler
    divergences [1]_ with its exact gradient. Parameters are as in `TSNE`.

    Parameters
    ----------
    n_components : int, default=2
        Dimension of the embedding.

    perplexity : float or sequence of float, default=30.0
        The effective number of neighbors of each row. Larger values show more of the global, smaller ones more of the
        local structure; 5 to 50 is usual. It must be below ``n_samples - 1``: otherwise a warning is given and
        ``(n_samples - 1) / 3`` used, or 1 where that is less. With several, such as ``[5, 50, 500]``, a row's
        conditional probabilities are the mean of those for each, which keeps small and large neighborhoods.

    early_exaggeration : float, default=4.0
        Factor on the attraction in the first iterations, which lets clusters find their places; see
        ``early_exaggeration_iter``.

    learning_rate : float or "auto", default="auto"
        "auto" is 1.2 relative to the curvature: a point's step is that times its gradient over the stiffness of the
        springs that hold it. A number is the step per unit of gradient of every point and iteration, as in
        scikit-learn. 0.5 is about where it begins to diverge, and early exaggeration lowers that by its factor.

    max_iter : int, default=1000
        The largest number of iterations, those of early exaggeration among them.

    n_iter_without_progress : int, default=50
        After early exaggeration, the fit ends when the cost has not fallen by ``tol`` of itself in this number of
        iterations. It is looked at every 50 iterations.

    min_grad_norm : float, default=1e-9
        After early exaggeration, at every 50th iteration, the fit ends when the gradient has vanished: when the
        root mean square of the points' gradients is at most this part of the root mean square of their
        distances from the center. Unlike scikit-learn's, the rule depends neither on the number of rows nor on the
        scale of the map.

    metric : str or callable, default="euclidean"
        The distance between rows: a metric of :class:`sklearn.neighbors.NearestNeighbors` by name, a function of two
        rows that is symmetric, or "precomputed". With "precomputed", ``X`` holds distances: a square matrix, or a
        sparse graph as :class:`sklearn.neighbors.KNeighborsTransformer` gives it. Distances are squared in every case,
        so that computed and precomputed ones give the same result.

    metric_params : dict, default=None
        Further arguments of the metric.

    init : {"pca", "spectral", "random"} or array of shape (n_samples, n_components), default="pca"
        The start. "pca" is reproducible and keeps the global arrangement; "spectral" takes eigenvectors of the
        affinities, and does not need the rows. Their widest component gets the standard deviation 1e-4. "random" is
        normal with that standard deviation. An array is used as it is, but for points that coincide: all but one are
        moved a little. :func:`sktsne.initialization.rescale` makes a start of another map.

    verbose : int or bool, default=0
        1 prints the stages, 2 also cost, gradient norm and seconds every 50 iterations.

    random_state : int, RandomState instance or None, default=None
        Seeds ``init="random"``, the solvers of "pca" and "spectral" and the components that they do not find, and the
        separation of points that coincide in the start.
        Pass an int for results that repeat.

    method : {"auto", "exact", "fft", "barnes_hut"} or callable, default="auto"
        How the sums over all pairs are computed. "exact" takes all pairs for the affinities of a perplexity too, and
        needs memory for a dense matrix of them; the others take the ``min(n_samples - 1, int(3 * perplexity + 1))``
        nearest neighbors of each row. "fft" interpolates on a mesh, for one or two components, in time that hardly
        grows faster than the number of rows; its forces have a relative error of about 1 %. "barnes_hut" takes points
        that are far away together, by a tree, for up to three components. With both, the attraction and the cost are
        computed in float32 for any input, and with "fft" the forces too. "auto" is the fastest: "fft" for one or
        two components from 500 rows, "barnes_hut" for three from 4,000 (with a finite ``dof`` from 500), else the exact
        sum. A callable makes a kernel of your own, see
        :class:`sktsne.kernels.GradientKernel`.

    angle : float, default=0.5
        Accuracy of "barnes_hut", from 0 (exact) to 1: the size of a cell, over its distance, up to which its points
        are taken together. Without effect on the others.

    n_jobs : int, default=None
        Threads for every stage. ``None`` is every core that the process may use, and fewer inside joblib's workers so
        that a grid search does not use cores twice; an integer follows joblib, -1 being every core. The embedding does
        not depend on it.

    neighbors : {"auto", "exact", "faiss"} or transformer, default="auto"
        How the nearest neighbors are searched. "exact" finds them all. "faiss" finds at least 98 % of them with the
        optional package ``faiss-cpu``, for dense rows and the metrics "euclidean", "l2" and "cosine". "auto" is "faiss"
        for these, from 20,000 rows of more than six columns, where the package is installed; otherwise "exact". A
        transformer returns a sparse graph of distances as :class:`sklearn.neighbors.KNeighborsTransformer` does; a
        clone of it is fitted, with its ``n_neighbors`` raised to what the perplexity needs. It has a metric of its own,
        so that ``metric`` must keep its default.

    tol : float, default=1e-4
        The part of itself by which the cost must fall, see ``n_iter_without_progress``. With the default a fit
        has converged for all practical purposes; 0 lets it go on until the gradient has vanished.

    affinities : {"perplexity", "precomputed"} or object, default="perplexity"
        What the map shows. "perplexity" gives every row a Gaussian of its own width. "precomputed" takes ``X`` for a
        square matrix of affinities, dense or sparse, which is scaled so that its rows sum to 1. An
        object gives the rows probabilities over their nearest neighbors: :class:`sktsne.affinities.Uniform`,
        :class:`sktsne.affinities.FixedBandwidth`, or one of your own with the same methods; ``perplexity`` has no
        effect then.

    dof : float, default=inf
        Degrees of freedom α of the points' similarity ``(1 + r²/α)^(-α)``; ``inf`` is the Gaussian ``exp(-r²)`` of SNE.

    exaggeration : float, default=1.0
        Factor on the attraction after early exaggeration. Above 1 it makes clusters denser, and the gaps between them
        wider; ``kl_divergence_`` is that of the true affinities. Below 1 there is no minimum: maps could grow forever.

    early_exaggeration_iter : int, default=100
        Iterations of early exaggeration. In the first half the factor is ``early_exaggeration``, in the second it falls
        geometrically to ``exaggeration``.

    momentum : float, default=0.9
        Part of the last step that the next one keeps, at least 0 and below 1.

    max_step_norm : float or None, default=1.0
        The largest distance by which a point moves in an iteration, before the map is centered. ``None`` is no limit.

    callback : callable, default=None
        Called as ``callback(iteration, cost, embedding)`` every ``callback_every`` iterations, with the cost of the
        true affinities and a copy of the map, shape (n_samples, n_components). The fit ends when it returns True; an
        exception in it leaves the estimator as it was. :class:`sktsne.progress.ProgressBar` and
        :class:`sktsne.plotting.FrameRecorder` are two. Each stage of the fit (see ``timings_``) runs in the context
        manager that ``callback.stage(name, estimator)`` returns, where there is such a method.

    callback_every : int, default=50
        Iterations from one call to the next, and in each of the tasks "iterations" that callbacks of scikit-learn see,
        which ``set_callbacks`` sets where scikit-learn has it (1.9 and later).

    warm_start : bool, default=False
        Whether a fit of the same rows goes on where the last one ended, or was interrupted: ``max_iter`` counts the
        iterations of both. A fit in two halves equals one fit, to the last bit. For other rows it begins anew.

    checkpoint : path-like, default=None
        A file in which the fit saves its state every 50 iterations. If it is there when a fit begins, that goes on from
        it, and equals one without a break, to the last bit; a ``ValueError`` says if the file is of another fit. It is
        removed when the fit is done.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_samples, n_components)
        The embedding: float32 for float32 input, float64 for any other.

    kl_divergence_ : float
        The cost of the embedding, in nats: the sum over the rows of the Kullback-Leibler divergence of their
        conditional probabilities. Divide by n_samples for the cost per row. Costs for different perplexities measure
        different things and do not compare.

    n_iter_ : int
        Iterations done.

    learning_rate_ : float
        The learning rate that was used; for "auto" the relative one, 1.2.

    affinities_ : csr_array or ndarray of shape (n_samples, n_samples)
        The conditional probabilities p_{j|i}: row i sums to 1. Sparse; dense with ``method="exact"``.

    method_ : str
        The kernel that was used.

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
    ``FloatingPointError`` if a learning rate makes the optimization diverge; it never returns NaN.

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
    # Neighbors that move against each other feel springs twice as stiff: 2 · 1.2 · 1.5 is just below 2 (1 + momentum),
    # above which the steps would not be stable.
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
        callback: Callback | None = None,
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
