"""Drawing points on axes of matplotlib: as marks, or as the density of many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .labels import PALETTES, UNKNOWN, Labels


def new_figure(size: tuple[float, float]) -> Any:
    """Return a figure of pyplot, of a size in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f'Pictures need matplotlib, pip install "sktsne[plot]" gets it ({error}).') from error
    return plt.figure(figsize=size, layout="constrained")


def axes_for(d: int) -> Any:
    """Return the axes of a new figure for a map with d components."""
    return new_figure((6.4, 1.6) if d == 1 else (6.4, 5.4)).add_subplot(projection="3d" if d == 3 else None)


def prepare(ax: Any, d: int) -> None:
    """Remove the ticks, lighten the frame, and make a unit equally long along every axis."""
    for axis in "xyz"[: max(2, d)]:
        ax.set(**{f"{axis}ticks": []})
    if d > 1:
        ax.set_aspect("equal", adjustable="box" if d == 3 else "datalim")
    for spine in ax.spines.values():
        spine.set_color("0.8")
    if d == 3:
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.line.set_color("0.8")


def coordinates(Y: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the coordinates along each axis of the picture; points with one component get random heights."""
    if Y.shape[1] == 1:
        return [Y[:, 0], np.random.default_rng(0).uniform(size=len(Y))]
    return list(Y.T)


def draw_marks(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Scatter the points in the order of the rows, so that no class hides the others."""
    n = len(Y)
    box = ax.get_window_extent()
    area = box.width * box.height * (72.0 / ax.figure.dpi) ** 2  # in square points, the unit of mark sizes
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
    return ax.scatter(*coordinates(Y), **{**style, **kwargs})


def _with_unknown(scale: Any) -> Any:
    """Return a color map in which NaN is gray."""
    from matplotlib import colormaps

    return (colormaps[scale] if isinstance(scale, str) else scale).with_extremes(bad=UNKNOWN)


def draw_image(ax: Any, Y: NDArray[Any], labels: Labels, kwargs: dict[str, Any]) -> Any:
    """Draw the density of a map with two components, or with one, as an image of one row."""
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
        image[..., 3] = np.where(empty, 0.0, 0.5 + 0.5 * depth)
    elif labels.values is not None:
        image = np.ma.array(pixels.mean(labels.values), mask=empty)
    else:
        image = np.ma.array(pixels.counts, mask=empty)
        if "norm" not in kwargs:
            limits = kwargs.get("vmin", 1), kwargs.get("vmax", max(2, pixels.counts.max()))
            kwargs = {name: value for name, value in kwargs.items() if name not in ("vmin", "vmax")}
            style["norm"] = LogNorm(*limits)
        style["cmap"] = "viridis_r"  # fewer points are nearer to white
    points = ax.imshow(image, **{**style, **kwargs})
    if Y.shape[1] > 1:
        ax.set_aspect("equal", adjustable="datalim")
    return points


class Pixels:
    """Counts of points in square pixels; more points get more and smaller pixels.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The points; with d = 1 the pixels form one row.

    Attributes
    ----------
    counts : ndarray of shape (n_rows, n_columns)
        Points in each pixel.
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
        """Return the most frequent class in each pixel."""
        counts = np.bincount(self._place * n_classes + codes, minlength=self.counts.size * n_classes)
        return np.asarray(counts.reshape(*self._shape, n_classes).argmax(axis=-1))

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the finite values in each pixel, NaN in a pixel without any."""
        known = np.isfinite(values)
        counts = self._sum(known.astype(np.float64))
        return np.asarray(self._sum(np.where(known, values, 0.0)) / np.where(counts > 0, counts, np.nan))


def draw_legend(ax: Any, labels: Labels) -> Any:
    """Name the classes, at the right of the map."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle="", marker="o", color=color) for color in labels.colors]
    # matplotlib leaves out names that begin with an underscore.
    names = [f" {name}" if name.startswith("_") else name or "(empty)" for name in labels.classes or ()]
    style = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "handletextpad": 0.2}
    legend = ax.legend(marks, names, title=labels.name or None, **style)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a dollar sign in a label begins no formula
    return legend
