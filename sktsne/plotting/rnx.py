"""The display of how well a map keeps neighborhoods of all sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._pipeline import embedder_of
from ..metrics import rnx_curve
from .drawing import new_figure
from .labels import PALETTES


class RNXDisplay:
    """A plot of how well a map keeps neighborhoods of all sizes: the curve R_NX(k) over the logarithm of k.

    Use `from_estimator` or `from_embedding` to make a display and draw it. To compare another map in the same plot,
    pass ``ax=display.ax_``.

    Parameters
    ----------
    curve : array-like of shape (n_samples - 2,)
        The values of R_NX(k) for k = 1, 2, …, as :func:`sktsne.metrics.rnx_curve` returns them.
    name : str, default=None
        The name of the map in the legend, before the area under its curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the curve.
    figure_ : matplotlib Figure
        The figure of ``ax_``.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sktsne.metrics.rnx_curve : The values of the curve, and how to read them.
    sktsne.metrics.rnx_auc : The area under the curve.

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
        estimator : estimator, Pipeline or search
            A fitted estimator with the attribute ``embedding_``, a pipeline that contains one, or a search over its
            parameters.
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows of the fit, as they enter the estimator or the pipeline.
        name : str, default=None
            The name of the map in the legend; by default the class of the estimator with the attribute ``embedding_``.
        ax, **kwargs
            As for `plot`.
        metric : str or callable, default=None
            The distance between rows; by default the metric of the estimator, or "euclidean" if it has none.
        sample_size, random_state, n_jobs
            As for :func:`sktsne.metrics.rnx_curve`.

        Returns
        -------
        display : RNXDisplay
            The display with the drawn curve.
        """
        estimator = embedder_of(estimator)
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
        """Draw the curve of a map from any method.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
        embedding : array-like of shape (n_samples, n_components)
            The positions of the rows.
        name : str, default=None
            The name of the map in the legend.
        ax, **kwargs
            As for `plot`.
        metric, sample_size, random_state, n_jobs
            As for :func:`sktsne.metrics.rnx_curve`.

        Returns
        -------
        display : RNXDisplay
            The display with the drawn curve.
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
            The axes to draw on; ``None`` makes a new figure.
        **kwargs
            Arguments of matplotlib's ``Axes.plot``, such as ``color``.

        Returns
        -------
        self : RNXDisplay
            The display, with its attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        curve = np.asarray(self.curve, dtype=np.float64)
        k = np.arange(1, len(curve) + 1)
        area = np.sum(curve / k) / np.sum(1.0 / k)
        self.ax_ = new_figure((6.4, 4.0)).subplots() if ax is None else ax
        self.figure_ = self.ax_.figure
        label = f"area {area:.2f}" if self.name is None else f"{self.name} (area {area:.2f})"
        color = PALETTES[0][len(self.ax_.lines) % len(PALETTES[0])]
        (self.line_,) = self.ax_.plot(k, curve, **{"label": label, "color": color, **kwargs})
        self.ax_.set(xscale="log", xlabel="k, neighbors", ylabel="$R_{NX}(k)$", ylim=(min(0.0, curve.min()), 1.0))
        self.ax_.legend(loc="best", frameon=False)
        return self
