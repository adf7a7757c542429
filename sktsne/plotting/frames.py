"""A callback that records the map during a fit, for an animation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from .drawing import coordinates
from .embedding import EmbeddingDisplay


class FrameRecorder:
    """Record the map during a fit, for an animation: a ``callback`` of the estimators.

    The recorder keeps a copy of the map, called a frame, every ``callback_every`` iterations and at the end of the fit.
    Another fit starts a new recording. A fit that continues an earlier fit (``warm_start``, ``checkpoint``) continues
    the recording. Cloning an estimator, as grid searches do, copies its recorder.

    Attributes
    ----------
    iterations : list of int
        The number of iterations that were done at each frame.
    costs : list of float
        The cost at each frame.
    maps : list of ndarray of shape (n_samples, n_components)
        The map at each frame, in float32.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.plotting import FrameRecorder
    >>> X, y = load_iris(return_X_y=True)
    >>> recorder = FrameRecorder()
    >>> tsne = TSNE(callback=recorder, callback_every=20, max_iter=110, random_state=0).fit(X)
    >>> recorder.iterations
    [20, 40, 60, 80, 100, 110]
    >>> recorder.animation(y).save("iris.gif", writer="pillow")  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._clear()

    def __repr__(self) -> str:
        return "FrameRecorder()"

    def _clear(self) -> None:
        self.iterations: list[int] = []
        self.costs: list[float] = []
        self.maps: list[NDArray[np.float32]] = []

    @contextmanager
    def stage(self, name: str, estimator: Any) -> Iterator[None]:
        """Start a new recording, unless the fit may continue another fit, and record the end of the fit.

        Parameters
        ----------
        name : str
            The name of the stage, as in ``timings_``.
        estimator : TSNE or SNE
            The estimator that is being fitted.

        Returns
        -------
        context : context manager
            The context in which the stage runs.
        """
        last = name == "optimization"
        if last and not estimator.warm_start and estimator.checkpoint is None:
            self._clear()
        yield
        if last:
            self(estimator.n_iter_ + 1, estimator.kl_divergence_, estimator.embedding_)

    def __call__(self, iteration: int, cost: float, embedding: NDArray[Any]) -> None:
        """Record a frame.

        Parameters
        ----------
        iteration : int
            The number of iterations done. If it is smaller than at the last frame, a new recording starts; if it is
            the same, the new frame replaces the last one.
        cost : float
            The cost of the map.
        embedding : ndarray of shape (n_samples, n_components)
            The map.
        """
        if self.iterations and (iteration < self.iterations[-1] or embedding.shape != self.maps[-1].shape):
            self._clear()
        if iteration in self.iterations[-1:]:
            del self.iterations[-1], self.costs[-1], self.maps[-1]
        self.iterations.append(iteration)
        self.costs.append(cost)
        self.maps.append(np.array(embedding, dtype=np.float32))

    def animation(self, y: Any = None, *, interval: float = 100.0, ax: Any = None, **kwargs: Any) -> Any:
        """Return an animation of the recorded frames.

        Each frame is rotated or mirrored to fit the next frame, and scaled to fill the picture, because a map is much
        smaller at the start of a fit than at its end.

        Parameters
        ----------
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colors.
        interval : float, default=100.0
            The time from one frame to the next, in milliseconds.
        ax : matplotlib Axes, default=None
            The axes to draw on; ``None`` makes a new figure.
        **kwargs
            Arguments of matplotlib's ``scatter``.

        Returns
        -------
        animation : matplotlib.animation.FuncAnimation
            The animation, to show or to save: ``animation.save("fit.gif", writer="pillow")``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If nothing was recorded.
        """
        if not self.maps:
            raise ValueError("There are no frames: fit an estimator with the recorder as its callback.")
        frames = _aligned(self.maps)
        display = EmbeddingDisplay(frames[-1], y).plot(ax, density=False, **kwargs)
        for name in display.names_:
            name.remove()  # the names stay where they are while the points move
        display.ax_.set_adjustable("box")  # the axes keep their limits
        n_components = frames[-1].shape[1]
        for axis in "xyz"[:n_components]:
            display.ax_.set(**{f"{axis}lim": (-1.05, 1.05)})
        from matplotlib.animation import FuncAnimation  # after the plot, whose error says how to install matplotlib

        def show(frame: int) -> list[Any]:
            positions = coordinates(frames[frame])
            if len(positions) == 3:
                display.points_._offsets3d = positions
            else:
                display.points_.set_offsets(np.column_stack(positions))
            return [display.points_, display.ax_.set_title(f"iteration {self.iterations[frame]}")]

        return FuncAnimation(display.figure_, show, frames=len(frames), interval=interval)


def _aligned(maps: list[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """Return the maps, each centered, rotated to fit the next one, and scaled to the range from -1 to 1."""
    frames = [Y - Y.mean(axis=0, dtype=np.float64) for Y in maps]
    frames = [Y / (np.abs(Y).max() or 1.0) for Y in frames]
    for place in reversed(range(len(frames) - 1)):
        turned = frames[place] @ orthogonal_procrustes(frames[place], frames[place + 1])[0]
        frames[place] = turned / (np.abs(turned).max() or 1.0)
    return frames
