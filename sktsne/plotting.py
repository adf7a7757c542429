"""Pictures of maps: displays in the manner of scikit-learn's, and frames of a fit.

matplotlib is an optional extra, imported when something is drawn: ``pip install "sktsne[plot]"``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from ._parameters import check_choice
from .metrics import _place_of_embedding, rnx_curve

MAX_CLASSES = 20
# From here on marks hide each other however small they are.
MAX_MARKS = 200_000

# Colours that stay apart in the common forms of colour blindness, the palest last: those of M. Okabe and K. Ito (2008),
# and ten of M. A. Petroff ("Accessible color sequences for data visualization", arXiv:2107.02270, 2021). No twenty do;
# these are matplotlib's tab20, the strong before the pale.
PALETTES = (
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442"),
    (
        "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
    ),
    (
        "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
        "#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#c7c7c7", "#dbdb8d", "#9edae5",
    ),
)  # fmt: skip
UNKNOWN = "0.8"  # values that are NaN


class EmbeddingDisplay:
    """A map, drawn as points or as their density.

    Make it by `from_estimator` or `from_embedding`, which draw it, too.

    Up to 20 different labels are classes, each with a colour of a palette that is safe for the colour-blind up to ten;
    more are a scale, if they are numbers. Marks get smaller and more transparent with the number of points. A flat
    map of more than 200,000 points is drawn as an image, in which a pixel shows how many points it has: by the
    logarithm of their number, by its depth of the colour of the class that most of them are of, or by their mean value.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, n_components)
        The positions. One component is drawn as a strip, with the points scattered across; of more than three, the
        first two.
    y : array-like of shape (n_samples,), default=None
        Labels or values that give the colours. Points whose value is NaN are grey, and left out of mean values.
    label_name : str, default=None
        What they are called; by default the name of a pandas Series.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        The figure that it is in.
    points_ : matplotlib PathCollection or AxesImage
        The points, or their density.
    legend_ : matplotlib Legend or None
        The classes, at the right of the map.
    colorbar_ : matplotlib Colorbar or None
        The scale of values or counts.

    See Also
    --------
    plot_perplexities : Maps at several perplexities.
    RNXDisplay : How well a map keeps neighborhoods of all sizes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE, EmbeddingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> tsne = TSNE(random_state=0).fit(X)
    >>> display = EmbeddingDisplay.from_estimator(tsne, y=load_iris().target_names[y])
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['setosa', 'versicolor', 'virginica']
    """

    ax_: Any
    figure_: Any
    points_: Any
    legend_: Any
    colorbar_: Any

    def __init__(self, embedding: ArrayLike, y: Any = None, *, label_name: str | None = None) -> None:
        self.embedding = embedding
        self.y = y
        self.label_name = label_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        label_name: str | None = None,
        ax: Any = None,
        density: bool | str = "auto",
        legend: bool = True,
        **kwargs: Any,
    ) -> EmbeddingDisplay:
        """Draw the map of a fitted estimator.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator, or a pipeline with one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows to place by ``transform``; ``None`` draws those of the fit, the attribute ``embedding_``.
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colours.
        label_name : str, default=None
            What they are called; by default the name of a pandas Series.
        ax, density, legend, **kwargs
            As for `plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The drawn map.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktsne import TSNE, EmbeddingDisplay
        >>> X = load_iris().data
        >>> tsne = TSNE(random_state=0).fit(X[::2])
        >>> display = EmbeddingDisplay.from_estimator(tsne, X[1::2], X[1::2, 2], label_name="petal length")
        >>> display.colorbar_.ax.get_ylabel()
        'petal length'
        """
        embedding = _embedding_of(estimator, X)
        return cls(embedding, y, label_name=label_name).plot(ax, density=density, legend=legend, **kwargs)

    @classmethod
    def from_embedding(
        cls,
        embedding: ArrayLike,
        y: Any = None,
        *,
        label_name: str | None = None,
        ax: Any = None,
        density: bool | str = "auto",
        legend: bool = True,
        **kwargs: Any,
    ) -> EmbeddingDisplay:
        """Draw a map, by whatever method.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, n_components)
            The positions.
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colours.
        label_name : str, default=None
            What they are called; by default the name of a pandas Series.
        ax, density, legend, **kwargs
            As for `plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The drawn map.

        Examples
        --------
        >>> import numpy as np
        >>> from sktsne import EmbeddingDisplay
        >>> display = EmbeddingDisplay.from_embedding(np.random.default_rng(0).normal(size=(300_000, 2)))
        >>> display.colorbar_.ax.get_ylabel()
        'points per pixel'
        """
        return cls(embedding, y, label_name=label_name).plot(ax, density=density, legend=legend, **kwargs)

    def plot(
        self, ax: Any = None, *, density: bool | str = "auto", legend: bool = True, **kwargs: Any
    ) -> EmbeddingDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, for three components one of ``projection="3d"``; by default a new figure.
        density : bool or "auto", default="auto"
            Whether to draw an image of the density; "auto" does from 200,001 points on. Of a map with three components,
            which has no such image, "auto" draws as many points of a random sample, and warns.
        legend : bool, default=True
            Whether to draw the legend or colour bar.
        **kwargs
            Arguments for matplotlib's ``scatter``, or ``imshow`` for a density, in place of those chosen here: ``s``,
            ``alpha``, ``cmap``, ``vmin``, ``vmax`` or ``norm``, for example.

        Returns
        -------
        self : EmbeddingDisplay
            With the attributes of what was drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If ``ax`` is not for the number of components, or a density is asked for with three.

        Warns
        -----
        UserWarning
            Where the picture leaves something out: components, classes, or points.
        """
        if not isinstance(density, bool | np.bool_):
            check_choice("density", density, ("auto",), " or a bool")
        embedding, labels = self._check()
        n, d = embedding.shape
        if density is True and d == 3:
            raise ValueError("density == True, must be False or 'auto' for a map with 3 components.")
        self.ax_ = _axes_for(d) if ax is None else ax
        self.figure_ = self.ax_.figure
        if (self.ax_.name == "3d") != (d == 3):
            raise ValueError(
                f"ax has the projection {self.ax_.name!r}, must have {'3d' if d == 3 else 'rectilinear'!r}."
            )
        _prepare(self.ax_, d)
        if density == "auto" and d == 3 and n > MAX_MARKS:
            warnings.warn(f"of {n} points, the plot shows a random sample of {MAX_MARKS}", UserWarning, stacklevel=2)
            rows = np.sort(np.random.default_rng(0).choice(n, MAX_MARKS, replace=False))
            embedding, labels = embedding[rows], labels.of(rows)
        elif density is True or (density == "auto" and n > MAX_MARKS):
            self.points_ = _image(self.ax_, embedding, labels, kwargs)
            self._add_legend(labels, legend, labels.name if labels.values is not None else "points per pixel")
            return self
        self.points_ = _marks(self.ax_, embedding, labels, kwargs)
        self._add_legend(labels, legend, labels.name)
        return self

    def _check(self) -> tuple[NDArray[Any], Labels]:
        """Return the components to draw, and the labels."""
        Y = check_array(self.embedding, dtype=[np.float64, np.float32], input_name="embedding")
        if Y.shape[1] > 3:
            message = f"of {Y.shape[1]} components, the plot shows the first two"
            warnings.warn(message, UserWarning, stacklevel=3)
            Y = Y[:, :2]
        name = self.label_name if self.label_name is not None else getattr(self.y, "name", None)
        if self.y is None:
            return Y, Labels(None)
        y = column_or_1d(self.y)
        check_consistent_length(Y, y)
        return Y, _read_labels(y, "" if name is None else str(name))

    def _add_legend(self, labels: Labels, wanted: bool, bar_name: str | None) -> None:
        self.legend_ = self.colorbar_ = None
        if wanted and labels.classes is not None:
            self.legend_ = _legend(self.ax_, labels)
        elif wanted and self.points_.get_array() is not None:
            self.colorbar_ = self.figure_.colorbar(self.points_, ax=self.ax_, shrink=0.7)
            self.colorbar_.solids.set_alpha(1.0)
            self.colorbar_.set_label(bar_name, parse_math=False)  # a label may hold a dollar sign


class RNXDisplay:
    """How well a map keeps neighborhoods of all sizes: the curve R_NX(k) over the logarithm of k.

    Make it by `from_estimator` or `from_embedding`, which draw it, too. Pass ``ax=display.ax_`` to compare another map.

    Parameters
    ----------
    curve : array-like of shape (n_samples - 2,)
        R_NX(k) for k = 1, 2, …, as :func:`sktsne.metrics.rnx_curve` returns it.
    name : str, default=None
        What the map is called in the legend. The area under its curve follows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        The figure that it is in.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sktsne.metrics.rnx_curve : What the curve says.
    sktsne.metrics.rnx_auc : The area under it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne import TSNE
    >>> from sktsne.plotting import RNXDisplay
    >>> X = load_iris().data
    >>> display = RNXDisplay.from_estimator(TSNE(random_state=0).fit(X), X)
    >>> display = RNXDisplay.from_embedding(X, PCA(n_components=2).fit_transform(X), name="PCA", ax=display.ax_)
    >>> display.line_.get_label()
    'PCA (area 0.69)'
    """

    ax_: Any
    figure_: Any
    line_: Any

    def __init__(self, curve: ArrayLike, *, name: str | None = None) -> None:
        self.curve = curve
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        name: str | None = None,
        ax: Any = None,
        metric: Any = None,
        sample_size: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        **kwargs: Any,
    ) -> RNXDisplay:
        """Draw the curve of a fitted estimator's map.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator.
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows of the fit.
        name : str, default=None
            What the map is called; by default the estimator's class.
        ax, **kwargs
            As for `plot`.
        metric : str or callable, default=None
            The distance between rows; by default that of the estimator.
        sample_size, random_state, n_jobs
            As for :func:`sktsne.metrics.rnx_curve`.

        Returns
        -------
        display : RNXDisplay
            The drawn curve.
        """
        check_is_fitted(estimator, "embedding_")
        settings = {"sample_size": sample_size, "random_state": random_state, "n_jobs": n_jobs}
        metric = getattr(estimator, "metric", "euclidean") if metric is None else metric
        name = type(estimator).__name__ if name is None else name
        return cls.from_embedding(X, estimator.embedding_, name=name, ax=ax, metric=metric, **settings, **kwargs)

    @classmethod
    def from_embedding(
        cls,
        X: Any,
        embedding: ArrayLike,
        *,
        name: str | None = None,
        ax: Any = None,
        metric: Any = "euclidean",
        sample_size: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        **kwargs: Any,
    ) -> RNXDisplay:
        """Draw the curve of a map, by whatever method.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows that were embedded, or with ``metric="precomputed"`` all of their distances.
        embedding : array-like of shape (n_samples, n_components)
            Their positions.
        name : str, default=None
            What the map is called.
        ax, **kwargs
            As for `plot`.
        metric, sample_size, random_state, n_jobs
            As for :func:`sktsne.metrics.rnx_curve`.

        Returns
        -------
        display : RNXDisplay
            The drawn curve.
        """
        curve = rnx_curve(
            X, embedding, metric=metric, sample_size=sample_size, random_state=random_state, n_jobs=n_jobs
        )
        return cls(curve, name=name).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> RNXDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.
        **kwargs
            Arguments for matplotlib's ``plot``.

        Returns
        -------
        self : RNXDisplay
            With the attributes of what was drawn.
        """
        curve = np.asarray(self.curve, dtype=np.float64)
        k = np.arange(1, len(curve) + 1)
        area = np.sum(curve / k) / np.sum(1.0 / k)
        self.ax_ = _new_figure((6.4, 4.0)).subplots() if ax is None else ax
        self.figure_ = self.ax_.figure
        label = f"area {area:.2f}" if self.name is None else f"{self.name} (area {area:.2f})"
        (self.line_,) = self.ax_.plot(k, curve, **{"label": label, **kwargs})
        self.ax_.set(xscale="log", xlabel="k, neighbors", ylabel="$R_{NX}(k)$", ylim=(min(0.0, curve.min()), 1.0))
        self.ax_.legend(loc="best", frameon=False)
        return self


def plot_perplexities(
    estimator: Any,
    X: Any,
    perplexities: Iterable[float],
    y: Any = None,
    *,
    n_columns: int = 3,
    label_name: str | None = None,
    **kwargs: Any,
) -> list[EmbeddingDisplay]:
    """Draw maps of the same rows at several perplexities, side by side.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        What to fit clones of; of a pipeline, with that estimator as a step, the perplexity of that step is set.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows.
    perplexities : iterable of float
        The perplexities.
    y : array-like of shape (n_samples,), default=None
        Labels or values that give the colours.
    n_columns : int, default=3
        Maps in a row of the picture.
    label_name : str, default=None
        What they are called.
    **kwargs
        Arguments for :meth:`EmbeddingDisplay.plot`.

    Returns
    -------
    displays : list of EmbeddingDisplay
        The maps, in one figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.plotting import plot_perplexities
    >>> X, y = load_iris(return_X_y=True)
    >>> displays = plot_perplexities(TSNE(random_state=0), X, [5, 30], y)
    >>> [display.ax_.get_title() for display in displays]
    ['perplexity 5', 'perplexity 30']
    """
    names = [name for name in estimator.get_params() if name.split("__")[-1] == "perplexity"]
    if not names:
        raise ValueError(f"estimator == {estimator!r}, must have the parameter perplexity, or a step that does.")
    values = list(perplexities)
    if not values:
        raise ValueError("perplexities == [], must hold at least one.")
    n_columns = min(n_columns, len(values))
    figure = _new_figure((3.2 * n_columns + 1.0, 3.4 * math.ceil(len(values) / n_columns)))
    displays = []
    for place, value in enumerate(values, start=1):
        Y = _embedding_of(clone(estimator).set_params(**{names[-1]: value}).fit(X))
        projection = "3d" if Y.shape[1] == 3 else None
        ax = figure.add_subplot(math.ceil(len(values) / n_columns), n_columns, place, projection=projection)
        ax.set_title(f"perplexity {value:g}")
        at_the_corner = place == n_columns  # one legend is enough
        displays.append(EmbeddingDisplay(Y, y, label_name=label_name).plot(ax, legend=at_the_corner, **kwargs))
    return displays


class FrameRecorder:
    """Record the map while it is fitted, for an animation: a ``callback`` for the estimators.

    It records every ``callback_every`` iterations of the estimator. Call it with the end of a fit to add that. A second
    fit begins anew, one that goes on (``warm_start``) goes on. Searches and others that clone an estimator copy it.

    Attributes
    ----------
    iterations : list of int
        When the frames were recorded.
    costs : list of float
        Their costs.
    maps : list of ndarray of shape (n_samples, n_components)
        The maps, in float32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.plotting import FrameRecorder
    >>> X, y = load_iris(return_X_y=True)
    >>> recorder = FrameRecorder()
    >>> tsne = TSNE(callback=recorder, callback_every=20, max_iter=110, random_state=0).fit(X)
    >>> recorder(tsne.n_iter_, tsne.kl_divergence_, tsne.embedding_)
    >>> recorder.iterations
    [20, 40, 60, 80, 100, 110]
    >>> recorder.animation(y).save("iris.gif", writer="pillow")  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.iterations: list[int] = []
        self.costs: list[float] = []
        self.maps: list[NDArray[np.float32]] = []

    def __call__(self, iteration: int, cost: float, embedding: NDArray[Any]) -> None:
        """Record a frame.

        Parameters
        ----------
        iteration : int
            Iterations done; a number that is not above the last one begins a new recording.
        cost : float
            The cost.
        embedding : ndarray of shape (n_samples, n_components)
            The map.
        """
        if self.iterations and (iteration <= self.iterations[-1] or embedding.shape != self.maps[-1].shape):
            self._clear()
        self.iterations.append(iteration)
        self.costs.append(cost)
        self.maps.append(np.array(embedding, dtype=np.float32))

    def animation(self, y: Any = None, *, interval: float = 100.0, ax: Any = None, **kwargs: Any) -> Any:
        """Return the animation.

        Every frame is turned and mirrored to fit the last one, and scaled to fill the picture: a map begins a
        thousand times smaller than it ends.

        Parameters
        ----------
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colours.
        interval : float, default=100.0
            Milliseconds from frame to frame.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.
        **kwargs
            Arguments for matplotlib's ``scatter``.

        Returns
        -------
        animation : matplotlib.animation.FuncAnimation
            To show, or to save: ``animation.save("fit.gif", writer="pillow")``.

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        if not self.maps:
            raise ValueError("There are no frames: pass the recorder as callback of an estimator, and fit that.")
        frames = _aligned(self.maps)
        display = EmbeddingDisplay(frames[-1], y).plot(ax, density=False, **kwargs)
        n_components = frames[-1].shape[1]
        for axis in "xyz"[:n_components]:
            display.ax_.set(**{f"{axis}lim": (-1.05, 1.05)})
        from matplotlib.animation import FuncAnimation  # after the plot, which says how to get it if it is missing

        def show(frame: int) -> list[Any]:
            coordinates = _coordinates(frames[frame])
            if len(coordinates) == 3:
                display.points_._offsets3d = coordinates
            else:
                display.points_.set_offsets(np.column_stack(coordinates))
            return [display.points_, display.ax_.set_title(f"iteration {self.iterations[frame]}")]

        return FuncAnimation(display.figure_, show, frames=len(frames), interval=interval)


def draw(path: Path, embedding: NDArray[Any], labels: NDArray[Any] | None = None, label_name: str = "label") -> None:
    """Write a picture of a map to a file, without the figures and windows of pyplot.

    Parameters
    ----------
    path : Path
        The file; its extension is a format of matplotlib.
    embedding : ndarray of shape (n, d)
        The positions.
    labels : ndarray of shape (n,), default=None
        Give the colours.
    label_name : str, default="label"
        What they are called.

    Warns
    -----
    UserWarning
        Where the picture leaves something out; see `EmbeddingDisplay`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_components = embedding.shape[1]
    figure = Figure(figsize=(8, 2) if n_components == 1 else (8, 8))
    FigureCanvasAgg(figure)
    ax = figure.add_subplot(projection="3d" if n_components == 3 else None)
    EmbeddingDisplay(embedding, labels, label_name=label_name).plot(ax)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _embedding_of(estimator: Any, X: Any = None) -> Any:
    """Return the map of an estimator or of that in a pipeline, or the positions of rows in it."""
    if isinstance(estimator, Pipeline):
        place = _place_of_embedding(estimator)
        estimator = estimator.steps[place][1] if X is None else estimator[: place + 1]
    if X is not None:
        return estimator.transform(X)
    check_is_fitted(estimator, "embedding_")
    return estimator.embedding_


# Labels


class Labels(NamedTuple):
    """What gives the colours: classes, as codes and names, or values, or neither."""

    name: str | None
    codes: NDArray[np.intp] | None = None
    classes: list[str] | None = None
    values: NDArray[np.float64] | None = None

    def of(self, rows: NDArray[np.intp]) -> Labels:
        """Return those of some rows."""
        return self._replace(
            codes=None if self.codes is None else self.codes[rows],
            values=None if self.values is None else self.values[rows],
        )

    @property
    def colors(self) -> NDArray[np.float64]:
        """The colours of the classes, RGBA."""
        from matplotlib.colors import to_rgba_array

        n_classes = len(self.classes or ())
        palette = next(palette for palette in PALETTES if len(palette) >= n_classes)
        return np.array(to_rgba_array(palette[:n_classes]))


def _read_labels(y: NDArray[Any], name: str) -> Labels:
    """Tell whether labels are classes or values."""
    numbers = _as_numbers(y)
    if numbers is None and y.dtype == object:
        y = y.astype(str)  # so that None and NaN among names are classes, too
    classes, examples, codes = np.unique(y if numbers is None else numbers, return_index=True, return_inverse=True)
    if len(classes) <= MAX_CLASSES:
        names = [f"{label:g}" if isinstance(label, float) else str(label) for label in y[examples].tolist()]
        return Labels(name, codes.ravel(), names)
    if numbers is not None:
        return Labels(name, values=numbers)
    message = f"{len(classes)} classes are too many to colour; the plot can show {MAX_CLASSES}, or numbers"
    warnings.warn(message, UserWarning, stacklevel=4)
    return Labels(None)


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64] | None:
    try:
        numbers = np.asarray(labels, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return None if np.isinf(numbers).any() else numbers


# Drawing


def _new_figure(size: tuple[float, float]) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'Pictures need matplotlib, pip install "sktsne[plot]" gets it ({error}).') from error
    return plt.figure(figsize=size, layout="constrained")


def _axes_for(d: int) -> Any:
    return _new_figure((6.4, 1.6) if d == 1 else (6.4, 5.4)).add_subplot(projection="3d" if d == 3 else None)


def _prepare(ax: Any, d: int) -> None:
    """Take off what has no meaning: scales, and the frame's weight. Distances are the same along every axis."""
    for axis in "xyz"[: max(2, d)]:
        ax.set(**{f"{axis}ticks": []})
    if d > 1:
        ax.set_aspect("equal", adjustable="box" if d == 3 else "datalim")
    for spine in ax.spines.values():
        spine.set_color("0.8")


def _coordinates(Y: NDArray[Any]) -> list[NDArray[Any]]:
    """Return what to draw along each axis; the points of a strip lie at random heights."""
    if Y.shape[1] == 1:
        return [Y[:, 0], np.random.default_rng(0).uniform(size=len(Y))]
    return list(Y.T)


def _marks(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Scatter the points in the order of the rows, so that no class hides the others."""
    n = len(Y)
    box = ax.get_window_extent()
    area = box.width * box.height * (72.0 / ax.figure.dpi) ** 2  # in square points, as sizes of marks are
    size = float(np.clip(0.2 * area / n, 1.0, 30.0))
    style: dict[str, Any] = {"s": size, "alpha": float(np.clip(0.5 * area / (n * size), 0.3, 1.0)), "linewidths": 0}
    style["rasterized"] = n > 10_000  # a vector file with a mark for every point of a large map would be slow to show
    if labels.codes is not None:
        style["c"] = labels.colors[labels.codes]
    elif labels.values is not None:
        style.update(c=labels.values, plotnonfinite=True)
        kwargs = {**kwargs, "cmap": _with_unknown(kwargs.get("cmap", "viridis"))}
    else:
        style["c"] = PALETTES[0][0]
    return ax.scatter(*_coordinates(Y), **{**style, **kwargs})


def _with_unknown(scale: Any) -> Any:
    """Return a colour map in which what is no number is grey."""
    from matplotlib import colormaps

    return (colormaps[scale] if isinstance(scale, str) else scale).with_extremes(bad=UNKNOWN)


def _image(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Draw the density of a flat map, or of a strip, which is an image of one row."""
    from matplotlib.colors import LogNorm

    pixels = Pixels(Y)
    style: dict[str, Any] = {
        "extent": pixels.extent,
        "origin": "lower",
        "aspect": "auto" if Y.shape[1] == 1 else "equal",
    }
    empty = pixels.counts == 0
    if labels.classes is not None and labels.codes is not None:
        majority = pixels.majority(labels.codes, len(labels.classes))
        image = labels.colors[majority]
        depth = np.log1p(pixels.counts) / np.log1p(pixels.counts.max())
        image[..., 3] = np.where(empty, 0.0, 0.4 + 0.6 * depth)
    elif labels.values is not None:
        image = np.ma.array(pixels.mean(labels.values), mask=empty)
    else:
        image = np.ma.array(pixels.counts, mask=empty)
        if "norm" not in kwargs:
            limits = kwargs.get("vmin", 1), kwargs.get("vmax", max(2, pixels.counts.max()))
            kwargs = {name: value for name, value in kwargs.items() if name not in ("vmin", "vmax")}
            style["norm"] = LogNorm(*limits)
        style["cmap"] = "viridis_r"  # the fewer points, the nearer to the paper's white
    points = ax.imshow(image, **{**style, **kwargs})
    if Y.shape[1] > 1:
        ax.set_aspect("equal", adjustable="datalim")
    return points


class Pixels:
    """Points sorted into square pixels, the more of them the more points there are.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The points; those with d = 1 go to one row of pixels.

    Attributes
    ----------
    counts : ndarray of shape (n_rows, n_columns)
        Points of each pixel.
    extent : tuple of float
        Where the image lies: left, right, bottom, top.
    """

    def __init__(self, Y: NDArray[Any]) -> None:
        low, high = Y.min(axis=0), Y.max(axis=0)
        side = float((high - low).max()) / float(np.clip(np.sqrt(len(Y)) / 2.0, 50.0, 500.0)) or 1.0
        low = low - 5.0 * side  # a margin
        shape = np.ceil((high - low) / side).astype(np.intp) + 5
        self.extent = (low[0], low[0] + shape[0] * side, 0.0, 1.0)
        places = ((Y - low) / side).astype(np.intp)
        self._place = places[:, 0]
        self._shape = (1, int(shape[0]))
        if Y.shape[1] > 1:
            self._place = self._place + shape[0] * places[:, 1]
            self._shape = (int(shape[1]), int(shape[0]))
            self.extent = (*self.extent[:2], low[1], low[1] + shape[1] * side)
        self.counts = self._sum()

    def _sum(self, weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
        sums = np.bincount(self._place, weights, minlength=self._shape[0] * self._shape[1])
        return np.asarray(sums).reshape(self._shape)

    def majority(self, codes: NDArray[np.intp], n_classes: int) -> NDArray[np.intp]:
        """Return the class that most points of each pixel are of."""
        counts = np.bincount(self._place * n_classes + codes, minlength=self.counts.size * n_classes)
        return np.asarray(counts.reshape(*self._shape, n_classes).argmax(axis=-1))

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the values in each pixel, NaN where there are none."""
        known = np.isfinite(values)
        counts = self._sum(known.astype(np.float64))
        return np.asarray(self._sum(np.where(known, values, 0.0)) / np.where(counts > 0, counts, np.nan))


def _legend(ax: Any, labels: Labels) -> Any:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle="", marker="o", color=color) for color in labels.colors]
    # matplotlib leaves out names that begin with an underscore.
    names = [f" {name}" if name.startswith("_") else name or "(empty)" for name in labels.classes or ()]
    style = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "handletextpad": 0.2}
    legend = ax.legend(marks, names, title=labels.name or None, **style)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a label may hold a dollar sign
    return legend


def _aligned(maps: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """Centre the maps, turn each to fit the next, and scale it to reach from -1 to 1."""
    frames = [Y - Y.mean(axis=0, dtype=np.float64) for Y in maps]
    frames = [Y / (np.abs(Y).max() or 1.0) for Y in frames]
    for place in reversed(range(len(frames) - 1)):
        turned = frames[place] @ orthogonal_procrustes(frames[place], frames[place + 1])[0]
        frames[place] = turned / (np.abs(turned).max() or 1.0)
    return frames
