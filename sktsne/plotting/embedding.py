"""The display of a map, and maps side by side: at several perplexities, or colored by several scores."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length

from .._checks import as_input, check_choice, check_counted, check_number, columns_of
from .._pipeline import embedder_of, place_of_embedding
from .columns import as_array, as_typed, column_of, read_column
from .drawing import (
    axes_for,
    draw_colorbar,
    draw_image,
    draw_legend,
    draw_marks,
    draw_names,
    fit,
    import_pyplot,
    legend_marks,
    make_room,
    new_figure,
    prepare,
)
from .interactive import Column, make_page
from .labels import FEW_CLASSES, Labels, check_highlight, read_labels, read_scores

# More than MAX_MARKS points hide one another, even with very small marks.
MAX_MARKS = 200_000

# The limits of the colors of scores whose values mean the same in every map, as their docstrings say. Limits that were
# found from the values themselves would show outliers in every map, and no noise in a map of noise.
LIMITS = {
    "perturbation": (1.0, 4.0),
    "significance": (0.05, 1.0),
    "instability": (0.2, 1.0),
    "outliers": (1.5, 3.0),
}


class EmbeddingDisplay:
    """A picture of a map, drawn by matplotlib as points or as their density.

    Use `from_estimator` or `from_embedding` to make a display and draw it.

    Up to 50 different labels are classes, and each class has its own color; up to ten colors are safe for readers with
    color blindness. The names of more than 20 classes are also written into the map, each in the middle of its class.
    More than 20 different numbers, dates or durations are values on a color scale, unless they are categories of
    pandas, polars or pyarrow. Different labels are different classes, even if they look like the same number. The
    legend has texts in the order of the numbers in them, and categories in their own order. Missing labels (None, NaN,
    NaT, ``pandas.NA`` or masked) are gray, and come last in the legend.

    Marks get smaller and more transparent as the number of points grows. A map of more than 200,000 points with one or
    two components is drawn as an image. Each of its pixels shows the mean of the values of its points; or the most
    frequent class, in a deeper color for more points; or, without labels, the number of points on a logarithmic scale.

    With ``highlight``, the numbers in ``y`` are scores of which the high ones matter, such as those of a map's
    reliability. Points with unremarkable scores are pale gray; those with higher scores are yellow, orange, red and
    nearly black, which readers with color blindness can tell apart, too. Points with high scores lie on top of the
    others, except in a map with three components, where near points hide far ones. A pixel of a density shows its
    highest score in place of the mean; the scores of the pixels then take the place of those of the points in the
    choice of colors. Missing scores are of a darker gray, and infinite ones have the last color.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, n_components)
        The positions of the points. A map with one component is drawn as a strip, across which the points are
        scattered. If there are more than three components, the first two are drawn.
    y : array-like of shape (n_samples,), default=None
        Labels or values that give the colors: a list, an array, or a column of pandas, polars or pyarrow. Majorities
        and means of pixels leave out missing ones.
    label_name : str, default=None
        The name of the labels; by default the name of ``y``, if ``y`` is a pandas Series.
    highlight : bool or tuple of two floats, default=False
        Whether ``y`` holds scores of which the high ones are highlighted, however few different ones there are. The
        limits of the colors are the score up to which points are pale gray and the score from which points have the
        last color. True finds them from the scores: half of the rows may be remarkable, and a few huge scores do not
        hide the others. ``(low, high)`` sets the limits, for example to compare maps, or to ``(0.05, 1.0)`` for
        p-values. Scores that lie beyond the limits are shown by arrows at the ends of the color bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the map.
    figure_ : matplotlib Figure
        The figure of ``ax_``.
    points_ : matplotlib PathCollection or AxesImage
        The points, or their density.
    legend_ : matplotlib Legend or None
        The legend of the classes, at the right of the map. Long names are broken into lines and shortened. Beside axes
        that were passed as ``ax``, a legend of more than 20 classes is left out if it needs more room than there is.
    colorbar_ : matplotlib Colorbar or None
        The color scale of values or of numbers of points.
    names_ : list of matplotlib Text
        The names in the map, if there are more than 20 classes. Long names are shortened.

    See Also
    --------
    sktsne.plotting.plot_perplexities : Maps at several perplexities, side by side.
    sktsne.plotting.plot_reliability : A map colored by each of several scores, side by side.
    sktsne.plotting.RNXDisplay : A plot of how well a map keeps neighborhoods of all sizes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE, EmbeddingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> tsne = TSNE(random_state=0).fit(X)
    >>> display = EmbeddingDisplay.from_estimator(tsne, y=load_iris().target_names[y])
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['setosa', 'versicolor', 'virginica']

    The points that cost the most are highlighted:

    >>> from sktsne.metrics import point_costs
    >>> display = EmbeddingDisplay.from_estimator(tsne, y=point_costs(tsne), label_name="cost", highlight=True)
    >>> display.colorbar_.extend
    'both'
    """

    ax_: Any
    figure_: Any
    points_: Any
    legend_: Any
    colorbar_: Any
    names_: list[Any]
    # Whether the map is one of several in a figure, which has room for one legend, but not for names in the maps.
    _in_panel: bool = False
    # Labels that were read before, together with those of other maps, in place of ``y``.
    _labels: Labels | None = None
    # Scores that may give the colors of the points of a page, in place of the labels, if the reader chooses so.
    _scores: Mapping[str, NDArray[np.float64]] = MappingProxyType({})

    def __init__(
        self,
        embedding: ArrayLike,
        y: Any = None,
        *,
        label_name: str | None = None,
        highlight: bool | tuple[float, float] = False,
    ) -> None:
        self.embedding = embedding
        self.y = y
        self.label_name = label_name
        self.highlight = highlight

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        label_name: str | None = None,
        highlight: bool | tuple[float, float] = False,
        ax: Any = None,
        density: bool | str = "auto",
        legend: bool = True,
        **kwargs: Any,
    ) -> EmbeddingDisplay:
        """Draw the map of a fitted estimator.

        Parameters
        ----------
        estimator : estimator, Pipeline or search
            A fitted estimator with the attribute ``embedding_``, a pipeline that contains one, or a search over its
            parameters.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows to place by ``transform`` and draw. ``None`` draws the rows of the fit at their positions in
            ``embedding_``.
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colors.
        label_name : str, default=None
            The name of the labels; by default the name of ``y``, if ``y`` is a pandas Series.
        highlight : bool or tuple of two floats, default=False
            Whether ``y`` holds scores of which the high ones are highlighted, or the limits of their colors; see
            `EmbeddingDisplay`.
        ax, density, legend, **kwargs
            As for `plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The display with the drawn map.

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
        embedding = embedding_of(estimator, X)
        display = cls(embedding, y, label_name=label_name, highlight=highlight)
        return display.plot(ax, density=density, legend=legend, **kwargs)

    @classmethod
    def from_embedding(
        cls,
        embedding: ArrayLike,
        y: Any = None,
        *,
        label_name: str | None = None,
        highlight: bool | tuple[float, float] = False,
        ax: Any = None,
        density: bool | str = "auto",
        legend: bool = True,
        **kwargs: Any,
    ) -> EmbeddingDisplay:
        """Draw a map from any method.

        Parameters
        ----------
        embedding : array-like of shape (n_samples, n_components)
            The positions of the points.
        y : array-like of shape (n_samples,), default=None
            Labels or values that give the colors.
        label_name : str, default=None
            The name of the labels; by default the name of ``y``, if ``y`` is a pandas Series.
        highlight : bool or tuple of two floats, default=False
            Whether ``y`` holds scores of which the high ones are highlighted, or the limits of their colors; see
            `EmbeddingDisplay`.
        ax, density, legend, **kwargs
            As for `plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The display with the drawn map.

        Examples
        --------
        >>> import numpy as np
        >>> from sktsne import EmbeddingDisplay
        >>> display = EmbeddingDisplay.from_embedding(np.random.default_rng(0).normal(size=(300_000, 2)))
        >>> display.colorbar_.ax.get_ylabel()
        'points per pixel'
        """
        display = cls(embedding, y, label_name=label_name, highlight=highlight)
        return display.plot(ax, density=density, legend=legend, **kwargs)

    def plot(
        self, ax: Any = None, *, density: bool | str = "auto", legend: bool = True, **kwargs: Any
    ) -> EmbeddingDisplay:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on; ``None`` makes a new figure. For three components, the axes must have
            ``projection="3d"``.
        density : bool or "auto", default="auto"
            Whether to draw an image of the density in place of the points. "auto" draws an image for more than 200,000
            points. With three components there is no such image; for more than 200,000 points, "auto" then draws a
            random sample of 200,000 points, with a warning.
        legend : bool, default=True
            Whether to draw the legend and the names in the map, or the color bar.
        **kwargs
            Arguments of matplotlib's ``scatter``, or of ``imshow`` for a density, that override those of the display:
            for example ``s``, ``marker``, ``alpha``, ``cmap``, ``vmin``, ``vmax`` or ``norm``. A ``cmap`` with few
            colors, such as "tab10", gives classes its first colors; any other ``cmap`` gives them colors at equal
            distances. With ``c``, the legend shows the colors of the points, and is left out if points of one class
            differ in color.

        Returns
        -------
        self : EmbeddingDisplay
            The display, with its attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        TypeError
            If ``highlight`` is neither a bool nor two numbers, or ``y`` holds other scores than numbers.
        ValueError
            If the projection of ``ax`` does not fit the number of components, or ``density`` is True for a map with
            three components, or ``highlight`` has no ``y`` or has limits that are not finite and increasing.

        Warns
        -----
        UserWarning
            If the picture leaves out components, classes or points.
        """
        if not isinstance(density, bool | np.bool_):
            check_choice("density", density, ("auto",), " or a bool")
        embedding, labels = self._check()
        n, d = embedding.shape
        if density is True and d == 3:
            raise ValueError("density == True, must be False or 'auto' for a map with 3 components.")
        if not (ax is None or hasattr(ax, "scatter")):
            raise TypeError(f"ax is a {type(ax).__name__}, must be matplotlib Axes, as plt.subplots returns them.")
        self.ax_ = axes_for(d) if ax is None else ax
        self.figure_ = self.ax_.figure
        if (self.ax_.name == "3d") != (d == 3):
            raise ValueError(
                f"ax has the projection {self.ax_.name!r}, must have {'3d' if d == 3 else 'rectilinear'!r}."
            )
        prepare(self.ax_, d)
        as_image = density is True or (density == "auto" and d < 3 and n > MAX_MARKS)
        if density == "auto" and d == 3 and n > MAX_MARKS:
            rows = _sample(n)
            embedding, labels = embedding[rows], labels.of(rows)
        self.points_ = (draw_image if as_image else draw_marks)(self.ax_, embedding, labels, kwargs)
        self._add_legend(labels, kwargs, legend, ax is None or self._in_panel)
        self.names_ = draw_names(self.ax_, embedding, labels) if legend and not self._in_panel else []
        if ax is None and self.legend_ is not None:
            make_room(self.figure_, self.legend_)
        return self

    def to_html(
        self, path: str | os.PathLike[str], *, names: Any = None, features: Any = None, title: str | None = None
    ) -> None:
        """Write a map with two components to a page for a browser, on which readers hover, zoom and search.

        The page is one file, which needs no network. Tooltips show the row, the label and the features of a point. A
        label or the name of a row that is typed into the fields above the map fades all other points; so does a click
        on a class in the legend. Bokeh draws the page, so that ``EmbeddingDisplay(embedding, y).to_html(path)`` does
        not need matplotlib.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        names : array-like of shape (n_samples,), default=None
            The names of the rows; names that are numbers are shown with all digits. By default, the names are the
            numbers of the rows, counted from 0.
        features : DataFrame, pyarrow.Table or dict of str to array-like of shape (n_samples,), default=None
            Columns whose values the tooltips show. Integers are shown with all digits, other numbers with six digits,
            or with two decimals if they have more than four digits before the decimal point.
        title : str, default=None
            The heading of the page.

        Raises
        ------
        ImportError
            If Bokeh is not installed.
        ValueError
            If the map has one or three components. If it has more than three, the page shows the first two.
            Also for the errors of ``highlight`` that `plot` raises.

        Warns
        -----
        UserWarning
            If the page leaves out components, the colors of more than 50 classes, or points: if there are more than
            200,000 points, the page shows a random sample of 200,000.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktsne import TSNE, EmbeddingDisplay
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> tsne = TSNE(random_state=0).fit(X)
        >>> EmbeddingDisplay(tsne.embedding_, y).to_html("iris.html", features=X)  # doctest: +SKIP
        """
        embedding, labels = self._check()
        n, d = embedding.shape
        if d != 2:
            raise ValueError(f"embedding has {d} component{'s' * (d > 1)}, must have 2 for a page.")
        columns = {"row": _column("row", np.arange(n) if names is None else names, n, "names", exact=True)}
        if labels.classes is not None and labels.codes is not None:
            columns["label"] = Column(labels.name or "label", labels.codes.astype(np.uint8), labels.classes)
        elif labels.column is not None:
            columns["label"] = Column.of(labels.name or "label", labels.column)
        choices: dict[str, Labels] = {}
        for k, (name, values) in enumerate(self._scores.items()):
            choices[f"score_{k}"] = read_labels(values, name, _highlight_of(name))
            columns[f"score_{k}"] = Column.of(name, choices[f"score_{k}"].column)
        for k, (name, values) in enumerate(_columns_of(features)):
            columns[f"feature_{k}"] = _column(str(name), values, n, f"features[{name!r}]")
        if n > MAX_MARKS:
            rows = _sample(n)
            embedding, labels = embedding[rows], labels.of(rows)
            choices = {key: choice.of(rows) for key, choice in choices.items()}
            columns = {key: column._replace(values=column.values[rows]) for key, column in columns.items()}
        Path(path).write_text(make_page(embedding, labels, columns, title, choices), encoding="utf-8")

    def _check(self) -> tuple[NDArray[Any], Labels]:
        """Return the components to draw, and the labels."""
        Y = check_array(as_input("embedding", self.embedding), dtype=[np.float64, np.float32], input_name="embedding")
        if Y.shape[1] > 3:
            message = f"the plot shows only the first two of {Y.shape[1]} components"
            warnings.warn(message, UserWarning, stacklevel=3)
            Y = Y[:, :2]
        if self._labels is not None:
            return Y, self._labels
        highlight = check_highlight(self.highlight, has_scores=self.y is not None)
        if self.y is None:
            return Y, Labels(None)
        labels = read_labels(self.y, self.label_name, highlight)
        check_consistent_length(Y, labels.column.codes)
        return Y, labels

    def _add_legend(self, labels: Labels, kwargs: dict[str, Any], wanted: bool, wide: bool) -> None:
        """Add the legend, if the colors of the points are those of the classes, or the color bar."""
        self.legend_ = self.colorbar_ = None
        marks = legend_marks(self.points_, labels, kwargs) if wanted and labels.classes else None
        if marks is not None:
            self.legend_ = draw_legend(self.ax_, labels, marks, wide)
        elif wanted and self.points_.get_array() is not None:
            is_count = hasattr(self.points_, "get_extent") and labels.values is None
            name = self.label_name if "c" in kwargs else "points per pixel" if is_count else labels.name
            if "c" in kwargs:  # the color bar is that of other numbers than the scores
                labels = labels._replace(highlight=False)
            inset = self._in_panel and self.ax_.name != "3d"
            self.colorbar_ = draw_colorbar(self.ax_, self.points_, labels, name, inset)


def _sample(n: int) -> NDArray[np.intp]:
    """Return the numbers of ``MAX_MARKS`` rows, drawn at random from n rows, and warn."""
    warnings.warn(f"the plot shows a random sample of {MAX_MARKS} of the {n} points", UserWarning, stacklevel=3)
    return np.sort(np.random.default_rng(0).choice(n, MAX_MARKS, replace=False))


def _columns_of(features: Any) -> list[tuple[Any, Any]]:
    """Return the names and the columns of a data frame, a table of pyarrow or a dict; none of ``None``."""
    if features is None:
        return []
    check_counted("features", features)
    columns = list(features.items()) if isinstance(features, Mapping) else columns_of(features)
    if columns is None:
        raise TypeError(f"features is a {type(features).__name__}, must be a DataFrame or a dict of columns.")
    return columns


def _column(heading: str, values: Any, n: int, name: str, *, exact: bool = False) -> Column:
    """Return a column for the tooltips; raise a ValueError unless it has a value for each of n rows."""
    array = as_array(values)
    if array.shape != (n,):
        raise ValueError(f"{name} has the shape {array.shape}, must have {(n,)}, a value for each point.")
    return Column.of(heading, read_column(values, array), exact=exact)


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
        The estimator, of which a clone is fitted for each perplexity. In a pipeline, the perplexity of the last step
        with this parameter is set.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows to embed.
    perplexities : iterable of float
        The perplexities, at least one.
    y : array-like of shape (n_samples,), default=None
        Labels or values that give the colors.
    n_columns : int, default=3
        The number of maps in each row of the figure.
    label_name : str, default=None
        The name of the labels.
    **kwargs
        Arguments of :meth:`sktsne.EmbeddingDisplay.plot`.

    Returns
    -------
    displays : list of EmbeddingDisplay
        The displays of the maps, all in one figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If ``estimator`` has no parameter ``perplexity``, or there are no perplexities.

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
        raise ValueError(f"estimator == {estimator!r}, must have the parameter perplexity, or a step with it.")
    values = list(perplexities)
    if not values:
        raise ValueError("perplexities == [], must hold at least one perplexity.")
    check_number("n_columns", n_columns, Integral, 1)

    def panels() -> Iterator[tuple[str, EmbeddingDisplay]]:
        for value in values:
            Y = embedding_of(clone(estimator).set_params(**{names[-1]: value}).fit(X))
            yield f"perplexity {value:g}", EmbeddingDisplay(Y, y, label_name=label_name)

    n_columns = min(n_columns, len(values))
    figure = new_figure(size_of_panels(len(values), n_columns))
    one_legend = n_columns  # at the upper right corner, because all maps have the same labels
    return side_by_side(figure, panels(), len(values), n_columns, one_legend, **kwargs)


def plot_reliability(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    scores: Mapping[str, ArrayLike] | None = None,
    n_columns: int = 3,
    label_name: str | None = None,
    **kwargs: Any,
) -> list[EmbeddingDisplay]:
    """Draw a map, and beside it the same map once for each score of its reliability.

    In the maps of the scores, points with unremarkable scores are pale gray, and the higher a score, the darker its
    point, as with ``highlight`` in :class:`sktsne.EmbeddingDisplay`. Each of these maps has a color bar of its own.

    Parameters
    ----------
    estimator : estimator, Pipeline or search
        A fitted estimator with the attribute ``embedding_``, a pipeline that contains one, or a search over its
        parameters.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows of the fit, in their order. Ignored if ``scores`` is given.
    y : array-like of shape (n_samples,), default=None
        Labels or values that give the colors of the first map.
    scores : mapping of str to array-like of shape (n_samples,), default=None
        The scores by their names, low ones for unremarkable rows. ``None`` computes
        ``sktsne.reliability.reliability_scores(estimator, X)``, which takes the time of several fits. The colors of
        scores with the names "perturbation" (1 to 4), "significance" (0.05 to 1), "instability" (0.2 to 1) and
        "outliers" (1.5 to 3) have these limits, those of others are relative to the scores of the map.
    n_columns : int, default=3
        The number of maps in each row of the figure.
    label_name : str, default=None
        The name of the labels, which is the title of the first map; by default the name of ``y``, if ``y`` is a pandas
        Series, otherwise "map".
    **kwargs
        Arguments of :meth:`sktsne.EmbeddingDisplay.plot`. They apply to all maps, so leave out ``cmap``, ``vmin`` and
        ``vmax``, unless they suit the labels and all scores.

    Returns
    -------
    displays : list of EmbeddingDisplay
        The display of the map, followed by those of the scores, all in one figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If ``scores`` is not a mapping, or a score is not a number.
    ValueError
        If there are no scores, or if they or ``y`` do not have one item for each point.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.metrics import point_costs
    >>> from sktsne.plotting import plot_reliability
    >>> X, y = load_iris(return_X_y=True)
    >>> tsne = TSNE(random_state=0).fit(X)
    >>> displays = plot_reliability(tsne, X, y, scores={"cost": point_costs(tsne)}, label_name="species")
    >>> [display.ax_.get_title() for display in displays]
    ['species', 'cost']
    """
    check_number("n_columns", n_columns, Integral, 1)
    embedding = embedding_of(estimator)
    if y is not None:
        check_consistent_length(embedding, as_array(column_of(y)))
    import_pyplot()
    if scores is None:  # after the checks, because the scores take long
        from ..reliability import reliability_scores

        scores = reliability_scores(estimator, X)
    checked = _check_scores(scores, len(embedding))
    n_panels = 1 + len(checked)
    n_columns = min(n_columns, n_panels)
    figure = new_figure(size_of_panels(n_panels, n_columns))
    return side_by_side(figure, _panels_of(embedding, y, label_name, checked), n_panels, n_columns, **kwargs)


def _check_scores(scores: Any, n: int) -> dict[str, NDArray[np.float64]]:
    """Return scores as numbers, by their names; raise a TypeError or ValueError unless there are n of each."""
    if not isinstance(scores, Mapping):
        raise TypeError(f"scores is a {type(scores).__name__}, must be a mapping of names to scores.")
    if not scores:
        raise ValueError(f"scores == {scores!r}, must hold at least one score.")
    checked = {}
    for name, values in scores.items():
        shape = as_array(values).shape
        if shape != (n,):
            raise ValueError(f"scores[{name!r}] has the shape {shape}, must have {(n,)}, a score for each point.")
        checked[str(name)] = read_scores(f"scores[{name!r}]", values)[1]
    return checked


def _highlight_of(name: str) -> bool | tuple[float, float]:
    """Return the parameter ``highlight`` for a score."""
    return LIMITS.get(name, True)


def _panels_of(
    embedding: NDArray[Any], y: Any, label_name: str | None, scores: Mapping[str, NDArray[np.float64]]
) -> Iterator[tuple[str, EmbeddingDisplay]]:
    """Yield the titles and the displays of a map, and of the same map with the colors of each score."""
    name = getattr(column_of(y), "name", None) if label_name is None else label_name
    yield "map" if name is None else str(name), EmbeddingDisplay(embedding, y, label_name="")
    for title, values in scores.items():
        yield title, EmbeddingDisplay(embedding, values, label_name="", highlight=_highlight_of(title))


def size_of_panels(n_panels: int, n_columns: int) -> tuple[float, float]:
    """Return the width and height of a figure for maps side by side, in inches."""
    return 3.2 * n_columns + 1.0, 3.4 * math.ceil(n_panels / n_columns)


def side_by_side(
    figure: Any,
    panels: Iterable[tuple[str, EmbeddingDisplay]],
    n_panels: int,
    n_columns: int,
    place_of_legend: int | None = None,
    *,
    legend: bool = True,
    **kwargs: Any,
) -> list[EmbeddingDisplay]:
    """Draw displays side by side in a figure, each with a title, and return them.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure.
    panels : iterable of (str, EmbeddingDisplay)
        The titles and the displays, which are drawn one after the other.
    n_panels, n_columns : int
        The number of displays, and that of displays in each row of the figure.
    place_of_legend : int, default=None
        The number of the only display with a legend or color bar, counted from 1. ``None`` gives one to every display.
    legend : bool, default=True
        Whether there are legends and color bars at all.
    **kwargs
        Arguments of `EmbeddingDisplay.plot`.
    """
    displays = []
    for place, (title, display) in enumerate(panels, start=1):
        projection = "3d" if np.shape(display.embedding)[1] == 3 else None
        ax = figure.add_subplot(math.ceil(n_panels / n_columns), n_columns, place, projection=projection)
        ax.set_title(fit(title, 40, 2), parse_math=False)  # a name may hold a dollar sign
        display._in_panel = True
        displays.append(display.plot(ax, legend=legend and place_of_legend in (None, place), **kwargs))
    for display in displays:
        if display.legend_ is not None:
            make_room(figure, display.legend_)
    return displays


def draw(path: Path, embedding: NDArray[Any], labels: NDArray[Any] | None = None, label_name: str = "label") -> None:
    """Write a picture of a map to a file, without a figure or window of pyplot.

    Parameters
    ----------
    path : Path
        The file to write; its extension names one of matplotlib's formats.
    embedding : ndarray of shape (n, d)
        The positions of the points.
    labels : ndarray of shape (n,), default=None
        Labels or values that give the colors. More than 20 different texts are values if all of them are numbers, or
        all are dates.
    label_name : str, default="label"
        The name of the labels.

    Warns
    -----
    UserWarning
        If the picture leaves out components, classes or points; see `EmbeddingDisplay.plot`.
    """
    n_components = embedding.shape[1]
    figure = _figure_for_file((8, 2) if n_components == 1 else (8, 8))
    ax = figure.add_subplot(projection="3d" if n_components == 3 else None)
    EmbeddingDisplay(embedding, _typed(labels), label_name=label_name).plot(ax)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def draw_reliability(
    path: Path,
    embedding: NDArray[Any],
    labels: NDArray[Any] | None,
    label_name: str,
    scores: Mapping[str, NDArray[np.float64]],
) -> None:
    """Write a picture of a map and of its scores to a file, as `plot_reliability` draws it, but without pyplot.

    Parameters
    ----------
    path, embedding, labels, label_name
        As for `draw`.
    scores : mapping of str to ndarray of shape (n,)
        The scores by their names.

    Warns
    -----
    UserWarning
        If the picture leaves out components, classes or points; see `EmbeddingDisplay.plot`.
    """
    panels = _panels_of(embedding, _typed(labels), None if labels is None else label_name, scores)
    n_panels = 1 + len(scores)
    n_columns = min(3, n_panels)
    figure = _figure_for_file(size_of_panels(n_panels, n_columns), layout="constrained")
    side_by_side(figure, panels, n_panels, n_columns)
    figure.savefig(path, dpi=150)


def _figure_for_file(size: tuple[float, float], **kwargs: Any) -> Any:
    """Return a figure that pyplot does not know, with its width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, **kwargs)
    FigureCanvasAgg(figure)
    return figure


def _typed(labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return the labels of a file, in which many different numbers or dates are values."""
    return None if labels is None else as_typed(labels, FEW_CLASSES)


def draw_page(
    path: Path,
    embedding: NDArray[Any],
    labels: Any,
    label_name: str,
    names_of_rows: Mapping[str, NDArray[Any]],
    scores: Mapping[str, NDArray[np.float64]] | None = None,
) -> None:
    """Write a map to a file as a page for a browser.

    Parameters
    ----------
    path : Path
        The file.
    embedding : ndarray of shape (n, d)
        The positions, with d = 2, or d > 3, of which the page shows the first two.
    labels : ndarray of shape (n,) or None
        Labels or values that give the colors, as for `draw`.
    label_name : str
        The name of the labels.
    names_of_rows : dict of str to ndarray of shape (n,)
        Columns with names of the rows. The page finds rows by the first column, and shows all of them.
    scores : mapping of str to ndarray of shape (n,), default=None
        Scores by their names. A field above the map chooses what gives the colors: the labels or one of the scores.

    Warns
    -----
    UserWarning
        If the page leaves something out; see `EmbeddingDisplay.to_html`.
    """
    names, *others = names_of_rows.items() or [("", None)]
    display = EmbeddingDisplay(embedding, _typed(labels), label_name=label_name)
    display._scores = scores or {}
    display.to_html(path, names=names[1], features=dict(others))


def embedding_of(estimator: Any, X: Any = None) -> Any:
    """Return the map of an estimator, a pipeline or a search, or the positions of the rows ``X`` in this map."""
    if X is None:
        return embedder_of(estimator).embedding_
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        estimator = estimator[: place_of_embedding(estimator) + 1]
    try:
        return estimator.transform(X)
    except (TypeError, ValueError) as error:
        if np.ndim(X) == 1:
            raise ValueError(f"X has one dimension, must be rows to place; pass labels as y ({error}).") from error
        raise
