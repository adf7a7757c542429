"""The t-SNE estimator."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from ._base import BaseEmbedding
from ._reports import Callbacks
from .kernels.contract import KernelFactory
from .objectives import JointKL


class TSNE(BaseEmbedding):
    """t-distributed stochastic neighbor embedding (t-SNE).

    t-SNE shows high-dimensional rows as a map: a point for each row, placed so that similar rows become neighboring
    points. It turns the distances between rows into joint probabilities, compares them with the joint probabilities of
    the points, whose similarity has the heavy tail of a Student-t distribution, and minimizes the Kullback-Leibler
    divergence of the two by gradient descent [1]_. Use it to see groups of similar rows; :doc:`/guide/reading` tells
    what a map does not show.

    The parameters up to ``n_jobs`` have the names, the order and the meaning of those of
    :class:`sklearn.manifold.TSNE`; :doc:`/from_scikit_learn` lists the differences.

    Parameters
    ----------
    n_components : int, default=2
        Dimension of the embedding, 2 for a picture. ``method`` says which dimensions each method takes.

    perplexity : float or sequence of float, default=30.0
        The effective number of neighbors of each row, at least 1; 5 to 50 is usual. A small perplexity shows local
        structure, a large one more of the arrangement of the groups; see :doc:`/guide/perplexity`. Values above
        ``max(1, n_samples - 1.5)`` are replaced by this number, with a warning if it is less than nine tenths of the
        value. With a sequence such as ``[5, 50, 500]``, the probabilities of each row are the mean over the
        perplexities, and one map keeps small and large neighborhoods.

    early_exaggeration : float, default=12.0
        Factor on the attraction between points in the first ``early_exaggeration_iter`` iterations, at least 1. It
        draws the points of each group together before the map spreads out. Use 1 to continue from a finished map.

    learning_rate : float or "auto", default="auto"
        "auto" gives each point its own step size: it multiplies the gradient by 1.75 and divides it by the stiffness of
        the point's attraction (the diagonal of its Hessian), so that step sizes do not depend on the number of rows or
        on the exaggeration. A number multiplies every gradient, as in scikit-learn; too high a number scatters the
        points.

    max_iter : int, default=1000
        The largest number of iterations, including those of early exaggeration. Most fits end earlier; see ``tol``.

    n_iter_without_progress : int, default=50
        After early exaggeration, the fit ends when the cost has fallen by less than ``tol`` times the cost in this
        number of iterations. The cost is checked every 50 iterations, so use multiples of 50.

    min_grad_norm : float, default=1e-7
        After early exaggeration, the fit ends when the root mean square of the points' gradients, times n_samples, is
        at most ``min_grad_norm`` times the root mean square of the points' distances from their center. Unlike
        scikit-learn's rule, this rule depends neither on the number of rows nor on the scale of the map.

    metric : str or callable, default="euclidean"
        The distance between rows: the name of a metric of :class:`sklearn.neighbors.NearestNeighbors`, a function that
        returns the distance of two rows and is symmetric, or "precomputed". With "precomputed", ``X`` holds distances:
        a square matrix, or a sparse graph such as :class:`sklearn.neighbors.KNeighborsTransformer` returns. Do not
        square precomputed distances, because the fit squares all distances.

    metric_params : dict, default=None
        Keyword arguments of the metric, for example ``{"p": 3}`` for "minkowski".

    init : {"pca", "spectral", "random"} or array of shape (n_samples, n_components), default="pca"
        The positions at which the optimization starts; see :doc:`/guide/starts`. "pca" takes the principal components
        of the rows, which keep much of their large-scale arrangement. "spectral" takes eigenvectors of the affinities,
        so that it works without rows, for precomputed distances or affinities. Both have the standard deviation 1e-4
        along their widest component; "random" draws normal coordinates with this standard deviation. An array is
        centered and otherwise used as it is, except that points at the same position are moved slightly, so that they
        can separate. Use :func:`sktsne.initialization.rescale` to turn another map into a start.

    verbose : int or bool, default=0
        1 prints the stages of the fit; 2 also prints the cost, the gradient norm and the seconds every 50 iterations.

    random_state : int, RandomState instance or None, default=None
        Seeds the start, which is the only random part of a fit; see :doc:`/guide/reproducibility`. Pass an int for
        reproducible results.

    method : {"auto", "exact", "fft", "barnes_hut"} or callable, default="auto"
        How the repulsion, a sum over all pairs of points, is computed; see :doc:`/guide/kernels`.

        - "exact" sums all pairs, for any number of components. With ``affinities="perplexity"``, it uses a dense matrix
          of the affinities of all pairs of rows. All other methods use the affinities of the
          ``min(n_samples - 1, int(3 * perplexity + 1))`` nearest neighbors of each row.
        - "fft" interpolates on a mesh, for up to three components, in a time nearly proportional to n_samples. Its
          forces have a relative error of about 1 %, and of 2 to 3 % for a ``dof`` of ½ or less. Most maps with three
          components are too wide for a mesh as fine as this; the error is then larger, and a warning says so.
        - "barnes_hut" combines distant points into cells of a tree, for up to three components.
        - "auto" is the fastest method for the number of rows: with one component "fft" from 600 rows on; with two
          "barnes_hut" from 1,000 and "fft" from 3,000; with three "barnes_hut" from 1,000; otherwise "exact".
          :doc:`/kernels` lists the numbers for other values of ``dof``.
        - A callable makes a kernel of your own; see :class:`sktsne.kernels.GradientKernel`.

        With "fft" and "barnes_hut", the attraction and the cost are computed in float32 for any input; with "fft", the
        repulsion too.

    angle : float, default=0.5
        Accuracy of "barnes_hut", from 0 (exact) to 1 (fastest): a cell of the tree counts as one point if the size of
        the cell divided by its distance is at most ``angle``. For ``dof=1``, cells are described by their spread, too,
        and may be larger. Methods without this option ignore it.

    n_jobs : int, default=None
        Number of threads. ``None`` uses every core that the process may use, and fewer inside joblib's workers, so that
        a grid search does not use cores twice. An integer follows joblib: -1 is every core. The embedding does not
        depend on ``n_jobs``.

    neighbors : {"auto", "exact", "clustered"} or transformer, default="auto"
        The search for the nearest neighbors of each row; see :doc:`/guide/neighbors`. "exact" finds all of them.
        "clustered" searches only the nearest of many lists of similar rows, and finds at least 99 % of the neighbors,
        with any metric by name. "auto" is "clustered" for dense rows and a metric by name, from 5,000 rows and seven
        columns on, and "exact" otherwise. A transformer returns a sparse graph of distances, as
        :class:`sklearn.neighbors.KNeighborsTransformer` does; the fit clones it and raises its ``n_neighbors`` to what
        the affinities need. It has its own metric, so ``metric`` must keep its default.

    tol : float, default=0.0125
        The fraction of the cost by which the cost must fall in ``n_iter_without_progress`` iterations, or the fit ends.
        The default ends most fits after 200 to 500 iterations; 0 lets them run as long as the cost falls.

    n_neighbors : int, default=None
        Gives each row the same affinity to each of its ``n_neighbors`` nearest neighbors, in place of a perplexity. A
        map with 15 neighbors resembles a map with the perplexity 30, and for many rows the fit takes a fraction of the
        time and memory; see :doc:`/guide/affinities`. ``perplexity`` and ``affinities`` must keep their defaults.

    affinities : {"perplexity", "precomputed"} or object, default="perplexity"
        The probabilities that the map shows; see :doc:`/guide/affinities`. "perplexity" gives each row a Gaussian of
        its own width, so that all rows have the same effective number of neighbors. With "precomputed", ``X`` is a
        square matrix of affinities, dense or sparse, which is made symmetric and scaled to the sum 1. An object
        computes the probabilities of each row's nearest neighbors: :class:`sktsne.affinities.Uniform`,
        :class:`sktsne.affinities.FixedBandwidth`, or one of your own with the same methods. Only "perplexity" uses
        ``perplexity``.

    dof : float, default=1.0
        Degrees of freedom α of the similarity ``(1 + r²/α)^(-α)`` of two points at the distance r; see
        :doc:`/guide/groups`. Below 1 the tails are heavier than those of t-SNE, and clusters break up into smaller ones
        [4]_. ``inf`` is a Gaussian, ``exp(-r²)``, and makes the method symmetric SNE.

    exaggeration : float, default=1.0
        Factor on the attraction after early exaggeration, at least 1, because below 1 the cost has no minimum. A factor
        above 1 makes groups denser and the gaps between them wider. ``kl_divergence_`` is the cost without it.

    anchors : {"pca"} or array of shape (n_samples, n_components), default=None
        An arrangement that the map keeps at large: the principal components of the rows, or another map of the same
        rows; see :doc:`/guide/anchors`. The arrangement counts up to its scale and its center, which adapt to the map
        as it grows. Use the ``targets`` of `fit` for rows that shall have certain places in the map.

    anchor_strength : float, default=1.0
        How strongly the map is tied to ``anchors``, at least 0. The minimized cost per distribution grows by
        ``anchor_strength * (1 - r**2)``, with the correlation r of the map and the anchors, so that a strength is in
        nats and does not depend on the number of rows. About 0.3 changes the arrangement of groups, and above 10 the
        map resembles its anchors. Ignored without ``anchors``.

    early_exaggeration_iter : int, default=100
        Number of iterations with early exaggeration. The factor is ``early_exaggeration`` in the first half of them,
        and changes geometrically to ``exaggeration`` in the second half.

    momentum : float, default=0.9
        Fraction of the last step that is added to the next step, at least 0 and below 1. ``learning_rate="auto"`` was
        chosen for the default.

    max_step_norm : float or None, default=1.0
        The largest distance that a point moves in one iteration, before the map is centered. ``None`` sets no limit.

    callback : callable or list of callable, default=None
        Called as ``callback(iteration, cost, embedding)`` every ``callback_every`` iterations, with the cost without
        exaggeration, to which anchors and targets add theirs, and a copy of the map, shape (n_samples, n_components),
        without rows of weight 0. The fit ends when ``callback`` returns True; an exception in ``callback`` leaves the
        estimator as it was before the fit. The callables of a list are called one after the other, and the fit ends
        when any of them returns True. Two callbacks are :class:`sktsne.progress.ProgressBar` and
        :class:`sktsne.plotting.FrameRecorder`. A callback may also follow the stages of the fit and every iteration,
        see :class:`sktsne.progress.Callback`.

    callback_every : int, default=50
        Number of iterations from one call of ``callback`` to the next. Also the length of each task "iterations" that
        the fit reports to scikit-learn's callbacks (``set_callbacks``, with scikit-learn 1.9 and later).

    warm_start : bool, default=False
        Whether a fit of the same rows continues where the last fit ended or was interrupted. ``max_iter`` then counts
        the iterations of both fits, which give the same map as one fit, to the last bit. A fit of other rows starts
        anew.

    checkpoint : path-like, default=None
        Path of a file in which the fit saves its state every 50 iterations. If the file exists when a fit begins, the
        fit continues from it, and gives the same map as an uninterrupted fit, to the last bit. A file of other rows or
        parameters raises a ``ValueError``. The file is removed when the fit is done.

    Attributes
    ----------
    embedding_ : ndarray of shape (n_samples, n_components)
        The embedding: float32 for float32 input, float64 for any other input.

    kl_divergence_ : float
        The cost of the embedding: the Kullback-Leibler divergence between the joint probabilities of the rows and those
        of the points, in nats. Costs for different perplexities cannot be compared. With ``sample_weight``, it is the
        cost of all copies of the rows.

    anchor_cost_ : float
        The part of the minimized cost that ``anchors`` and ``targets`` add, which ``kl_divergence_`` does not contain.
        Defined only for fits with one of them.

    n_iter_ : int
        The number of the last iteration, counted from 0 as in scikit-learn.

    learning_rate_ : float
        The learning rate that was used: 1.75 for "auto".

    affinities_ : csr_array or ndarray of shape (n_samples, n_samples)
        The joint probabilities p_ij of pairs of rows: symmetric, with the sum 1. A dense array for ``method="exact"``
        with ``affinities="perplexity"`` and for dense precomputed affinities; otherwise sparse, and float32 where the
        fit computes them from float32 ``X`` for "fft" or "barnes_hut". With ``sample_weight``, the probabilities of all
        copies of two rows together, on the diagonal those of the copies of one row.

    method_ : str
        The name of the kernel that was used, for example "fft".

    timings_ : dict of str to float
        The seconds that each stage took: "neighbors" (unless the affinities are precomputed), "initialization" (unless
        ``init`` is an array), "affinities" and "optimization".

    n_features_in_ : int
        Number of features seen during fit.

    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of features seen during fit. Defined only when ``X`` has feature names that are all strings.

    See Also
    --------
    SNE : The method from which t-SNE was developed, with Gaussian similarities.
    sklearn.manifold.TSNE : The t-SNE of scikit-learn, with the same parameters up to ``n_jobs``.

    Notes
    -----
    A fit raises a ``ValueError`` or ``TypeError`` that names a parameter whose value is not accepted, and a
    ``FloatingPointError`` if the optimization diverges. No fit returns NaN.

    [2]_ and [3]_ discuss how to choose the parameters of t-SNE.

    References
    ----------
    .. [1] L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", Journal of Machine Learning Research 9,
       2579-2605, 2008.
    .. [2] A. C. Belkina et al., "Automated optimized parameters for t-distributed stochastic neighbor embedding improve
       visualization and analysis of large datasets", Nature Communications 10, 5415, 2019.
    .. [3] D. Kobak and P. Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 10,
       5416, 2019.
    .. [4] D. Kobak, G. Linderman, S. Steinerberger, Y. Kluger and P. Berens, "Heavy-tailed kernels reveal a finer
       cluster structure in t-SNE visualisations", ECML PKDD, 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktsne import TSNE
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), TSNE(perplexity=20, random_state=0))
    >>> pipeline.fit_transform(X).shape
    (150, 2)
    >>> pipeline.get_feature_names_out()
    array(['tsne0', 'tsne1'], dtype=object)
    """

    _objective = JointKL
    _label = "t-SNE"
    _relative_rate = 1.75
    _largest_gain = 2.0

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float | Sequence[float] = 30.0,
        early_exaggeration: float = 12.0,
        learning_rate: float | str = "auto",
        max_iter: int = 1000,
        n_iter_without_progress: int = 50,
        min_grad_norm: float = 1e-7,
        metric: Any = "euclidean",
        metric_params: dict[str, Any] | None = None,
        init: Any = "pca",
        verbose: int = 0,
        random_state: Any = None,
        method: str | KernelFactory = "auto",
        angle: float = 0.5,
        n_jobs: int | None = None,
        neighbors: Any = "auto",
        tol: float = 0.0125,
        n_neighbors: int | None = None,
        affinities: Any = "perplexity",
        dof: float = 1.0,
        exaggeration: float = 1.0,
        anchors: Any = None,
        anchor_strength: float = 1.0,
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
        self.n_neighbors = n_neighbors
        self.affinities = affinities
        self.dof = dof
        self.exaggeration = exaggeration
        self.anchors = anchors
        self.anchor_strength = anchor_strength
        self.early_exaggeration_iter = early_exaggeration_iter
        self.momentum = momentum
        self.max_step_norm = max_step_norm
        self.callback = callback
        self.callback_every = callback_every
        self.warm_start = warm_start
        self.checkpoint = checkpoint
