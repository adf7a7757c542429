"""Maps of a sequence side by side, with the same limits and colors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from .._checks import as_input, check_counted, check_number
from .._keys import in_common, read_keys
from .columns import as_array, column_of
from .drawing import import_pyplot, new_figure, set_ticks
from .embedding import EmbeddingDisplay, embedding_of, side_by_side, size_of_panels
from .labels import Labels, read_labels

LINES: dict[str, Any] = {"colors": "0.7", "linewidths": 0.5, "zorder": 0.5}  # below the points, whose order is 1


def plot_sequence(
    maps: Any,
    y: Any = None,
    *,
    names: Any = None,
    keys: Any = None,
    lines: bool = False,
    n_columns: int = 3,
    label_name: str | None = None,
    **kwargs: Any,
) -> list[EmbeddingDisplay]:
    """Draw the maps of a sequence side by side, with the same limits, and with the same color for the same label.

    Parameters
    ----------
    maps : sequence of estimators or of array-like of shape (n_samples, n_components)
        The maps, at least one, all with the same number of components: fitted estimators, pipelines with one, or
        positions, for example the list that :func:`sktsne.sequences.fit_sequence` returns.
    y : array-like of shape (n_samples,) or sequence of array-like, default=None
        Labels or values that give the colors: one column for all maps, or a list with a column for each map.
    names : sequence of str, default=None
        The titles of the maps; by default "map 1", "map 2" and so on.
    keys : sequence of array-like of shape (n_samples,), default=None
        For each map, labels that name its rows, as for ``fit_sequence``. Only ``lines`` uses them. By default all maps
        have the same rows in the same order.
    lines : bool, default=False
        Whether to draw a thin gray line to each point from its place in the map before. Only maps with two components
        can have lines.
    n_columns : int, default=3
        The number of maps in each row of the figure.
    label_name : str, default=None
        The name of the labels; by default the name of ``y``, if ``y`` is a pandas Series.
    **kwargs
        Arguments of :meth:`sktsne.EmbeddingDisplay.plot`.

    Returns
    -------
    displays : list of EmbeddingDisplay
        The displays of the maps, all in one figure. Only one of them has the legend or the color bar, which holds for
        all maps.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If an estimator is not fitted.
    TypeError, ValueError
        If there are no maps, or they differ in their numbers of components; or if ``y``, ``names`` or ``keys`` do not
        have an item for each map or row.

    See Also
    --------
    sktsne.sequences.fit_sequence : Fits the maps of a sequence.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.plotting import plot_sequence
    >>> from sktsne.sequences import fit_sequence
    >>> X, y = load_iris(return_X_y=True)
    >>> maps = fit_sequence(TSNE(random_state=0), [X[:, :2], X[:, :3], X])
    >>> displays = plot_sequence(maps, y, names=["2 columns", "3 columns", "4 columns"], lines=True)
    >>> [display.ax_.get_title() for display in displays]
    ['2 columns', '3 columns', '4 columns']
    """
    check_number("n_columns", n_columns, Integral, 1)
    embeddings = _read_maps(maps)
    counts = list(map(len, embeddings))
    titles = _read_names(names, len(embeddings))
    labels = _read_labels(y, counts, label_name)
    if not isinstance(lines, bool | np.bool_):
        raise TypeError(f"lines == {lines!r}, must be True or False.")
    n_components = embeddings[0].shape[1]
    if lines and n_components != 2:
        raise ValueError(
            f"lines == True, must be False for maps with {n_components} component{'s' * (n_components > 1)}."
        )
    rows = read_keys(keys, counts, "maps") if lines or keys is not None else []
    import_pyplot()
    n_columns = min(n_columns, len(embeddings))
    displays = side_by_side(
        new_figure(size_of_panels(len(embeddings), n_columns)),
        _panels(titles, embeddings, labels),
        len(embeddings),
        n_columns,
        n_columns,  # one legend, at the upper right corner
        **kwargs,
    )
    if lines:
        _draw_lines(displays, embeddings, rows)
    _share_limits(displays)
    if labels is None or labels[0].codes is None:
        _share_colors(displays)
    return displays


def _read_maps(maps: Any) -> list[NDArray[Any]]:
    """Return the positions of each map; raise a TypeError or ValueError unless there are maps of one dimension."""
    if hasattr(maps, "get_params") or hasattr(maps, "columns") or (isinstance(maps, np.ndarray) and maps.ndim < 3):
        raise TypeError(f"maps is a {type(maps).__name__}, must be a list of fitted estimators or of positions.")
    check_counted("maps", maps)
    embeddings = [_read_map(f"maps[{k}]", one) for k, one in enumerate(maps)]
    if not embeddings:
        raise ValueError(f"maps == {maps!r}, must hold at least one map.")
    dimensions = [Y.shape[1] for Y in embeddings]
    if len(set(dimensions)) > 1:
        raise ValueError(f"maps have {', '.join(map(str, dimensions))} components, must all have the same number.")
    return embeddings


def _read_map(name: str, one: Any) -> NDArray[Any]:
    """Return the positions of a map, which is a fitted estimator or the positions themselves."""
    Y = embedding_of(one) if hasattr(one, "get_params") else one
    checked: NDArray[Any] = check_array(as_input(name, Y), dtype=[np.float64, np.float32], input_name=name)
    return checked


def _read_names(names: Any, n: int) -> list[str]:
    """Return the titles of n maps."""
    if names is None:
        return [f"map {k}" for k in range(1, n + 1)]
    check_counted("names", names)
    if isinstance(names, str) or len(names) != n:
        raise ValueError(f"names == {names!r}, must hold {n} titles, one for each map.")
    return list(map(str, names))


def _read_labels(y: Any, counts: Sequence[int], label_name: str | None) -> list[Labels] | None:
    """Return the labels of each map, which have the same classes or the same scale in all maps; None without labels."""
    if y is None:
        return None
    check_counted("y", y)
    columns = list(y) if _has_columns(y, len(counts)) else None
    for k, n in enumerate(counts):
        name, column = ("y", y) if columns is None else (f"y[{k}]", columns[k])
        shape = as_array(column_of(column)).shape
        if shape != (n,):
            others = " or be a list with a column for each map" if columns is None else ""
            raise ValueError(f"{name} has shape {shape}, must have {(n,)}, a label for each row of maps[{k}]{others}.")
    if columns is None:
        labels, first = read_labels(y, label_name), [0] * len(counts)
    else:
        label_name = getattr(columns[0], "name", None) if label_name is None else label_name
        labels, first = read_labels(_joined(columns), label_name), (np.cumsum(counts) - counts).tolist()
    if labels.values is not None:
        labels = labels._replace(values=labels.finite_values)
    return [labels.of(np.arange(start, start + n)) for start, n in zip(first, counts, strict=True)]


def _has_columns(y: Any, n: int) -> bool:
    """Return whether the labels are a column for each of n maps, and not one column for all."""
    is_list = isinstance(y, list | tuple) or np.ndim(y) == 2
    return is_list and len(y) == n and all(hasattr(column, "__len__") and not isinstance(column, str) for column in y)


def _joined(columns: Sequence[Any]) -> NDArray[Any]:
    """Return the values of several columns as one array, in which no number becomes a text."""
    arrays = [as_array(column_of(column)) for column in columns]
    same = len({array.dtype.kind for array in arrays}) == 1
    return np.concatenate(arrays if same else [array.astype(object) for array in arrays])


def _panels(
    titles: list[str], embeddings: list[NDArray[Any]], labels: list[Labels] | None
) -> Iterator[tuple[str, EmbeddingDisplay]]:
    """Yield the title and the display of each map."""
    for k, (title, embedding) in enumerate(zip(titles, embeddings, strict=True)):
        display = EmbeddingDisplay(embedding)
        display._labels = None if labels is None else labels[k]
        yield title, display


def _draw_lines(displays: list[EmbeddingDisplay], embeddings: list[NDArray[Any]], rows: list[Any]) -> None:
    """Draw a line to each point from its place in the map before."""
    from matplotlib.collections import LineCollection

    for k in range(1, len(displays)):
        before, after = in_common(rows[k - 1], rows[k])
        segments = np.stack([embeddings[k - 1][before], embeddings[k][after]], axis=1)
        drawn = LineCollection(list(segments), rasterized=len(segments) > 10_000, **LINES)
        displays[k].ax_.add_collection(drawn, autolim=False)


def _share_limits(displays: list[EmbeddingDisplay]) -> None:
    """Give all axes the limits that hold the points of every map."""
    for axis in displays[0].ax_._axis_names:
        low, high = zip(*(getattr(display.ax_, f"get_{axis}lim")() for display in displays), strict=True)
        for display in displays:
            display.ax_.set(**{f"{axis}lim": (min(low), max(high))})
    for display in displays:
        display.ax_.set_adjustable("box")  # otherwise each picture would widen its own limits to fill its place


def _share_colors(displays: list[EmbeddingDisplay]) -> None:
    """Give all scales of colors the limits that hold the values of every map."""
    scaled = [display.points_ for display in displays if display.points_.get_array() is not None]
    limits = [limit for points in scaled for limit in points.get_clim() if limit is not None and np.isfinite(limit)]
    for points in scaled:
        if limits:
            points.set_clim(min(limits), max(limits))
    for display in displays:
        if display.colorbar_ is not None:
            set_ticks(display.colorbar_, display._labels or Labels(None))
