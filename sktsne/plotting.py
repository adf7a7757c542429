"""Pictures of an embedding. matplotlib is an optional extra, imported when something is drawn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_CLASSES = 20


def draw(path: Path, embedding: NDArray[Any], labels: NDArray[Any] | None = None, label_name: str = "label") -> None:
    """Draw the embedding.

    Parameters
    ----------
    path : Path
        The file; its extension is a format of matplotlib.
    embedding : ndarray of shape (n, d)
        One component is drawn as a strip, with the points scattered across; of more than three, the first two.
    labels : ndarray of shape (n,), default=None
        Give the colours: up to 20 classes, or a scale for numbers.
    label_name : str, default="label"
        What they are called.

    Warns
    -----
    UserWarning
        Where the picture leaves something out: components, or classes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_rows, n_components = embedding.shape
    figure = Figure(figsize=(8, 2) if n_components == 1 else (8, 8))
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(projection="3d" if n_components == 3 else None)
    coordinates = [embedding[:, axis] for axis in range(n_components if n_components <= 3 else 2)]
    if n_components == 1:
        coordinates.append(np.random.default_rng(0).uniform(size=(n_rows,)))
    else:
        axes.set_aspect("equal", adjustable="box" if n_components == 3 else "datalim")
    if n_components > 3:
        warnings.warn(f"of {n_components} components, the plot shows the first two", UserWarning, stacklevel=2)
    for axis in "xyz" if n_components == 3 else "xy":
        axes.set(**{f"{axis}ticks": []})
    # A vector file with a mark for every point of a large map would be slow to show.
    style = {"s": float(np.clip(40000 / n_rows, 1.5, 30)), "linewidths": 0, "rasterized": n_rows > 10000}
    _scatter(axes, coordinates, style, labels, label_name)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _scatter(
    axes: Any,
    coordinates: list[NDArray[Any]],
    style: dict[str, Any],
    labels: NDArray[Any] | None,
    label_name: str,
) -> None:
    """Scatter the points in the order of the rows, so that no class hides the others."""
    if labels is None:
        axes.scatter(*coordinates, **style)
        return
    numbers = _as_numbers(labels)
    values = labels if numbers is None else numbers
    classes, examples, codes = np.unique(values, return_index=True, return_inverse=True)
    if len(classes) <= MAX_CLASSES:
        colors = _class_colors(len(classes))
        axes.scatter(*coordinates, c=colors[codes], **style)
        names = [f"{label:g}" if isinstance(label, float) else str(label) for label in labels[examples].tolist()]
        _legend(axes, colors, names, label_name)
    elif numbers is not None:
        points = axes.scatter(*coordinates, c=numbers, cmap="viridis", **style)
        bar = axes.figure.colorbar(points, ax=axes, shrink=0.7)
        bar.set_label(label_name, parse_math=False)
    else:
        axes.scatter(*coordinates, **style)
        message = f"{len(classes)} classes are too many to colour; the plot can show {MAX_CLASSES}, or numbers"
        warnings.warn(message, UserWarning, stacklevel=3)


def _as_numbers(labels: NDArray[Any]) -> NDArray[np.float64] | None:
    try:
        numbers = np.asarray(labels, dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def _class_colors(n_classes: int) -> NDArray[Any]:
    from matplotlib import colormaps

    return np.array(colormaps["tab10" if n_classes <= 10 else "tab20"](range(n_classes)))


def _legend(axes: Any, colors: NDArray[Any], names: list[str], title: str) -> None:
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], linestyle="", marker="o", color=color) for color in colors]
    # matplotlib leaves out names that begin with an underscore.
    names = [f" {name}" if name.startswith("_") else name or "(empty)" for name in names]
    legend = axes.legend(marks, names, title=title, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a label may hold a dollar sign
