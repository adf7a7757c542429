"""Scorers, which let scikit-learn's searches over parameters use the measures."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from .._checks import as_input, check_counted, check_number
from .._pipeline import place_of_embedding
from .ranks import continuity, neighborhood_preservation, rnx_auc, trustworthiness


def knn_accuracy(
    embedding: ArrayLike,
    y: ArrayLike,
    new_embedding: ArrayLike | None = None,
    new_y: ArrayLike | None = None,
    *,
    n_neighbors: int = 10,
    cv: Any = 5,
) -> float:
    """Return the accuracy with which nearest neighbors in a map predict the classes of its rows.

    Without new rows, the accuracy is that of a cross-validation over the points of the map. With new rows, placed by
    ``transform``, their nearest training rows predict: no other measure here compares new rows with training rows.
    Accuracies compare between maps of the same rows, classes and ``cv``, by any method. They tell how well a map
    separates given classes, not how well it shows the data: classes that overlap in the data should do so in the map.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, n_components)
        Positions of the training rows. The fit placed all of them together, so that the cross-validation tells
        nothing about new rows.
    y : array-like of shape (n_samples,)
        The classes.
    new_embedding : array-like of shape (n_new, n_components), default=None
        Positions of other rows in the same map.
    new_y : array-like of shape (n_new,), default=None
        The classes of the other rows.
    n_neighbors : int, default=10
        How many neighbors vote.
    cv : int, cross-validation generator or iterable, default=5
        As for :func:`sklearn.model_selection.cross_val_score`; ignored with new rows.

    Returns
    -------
    accuracy : float
        The fraction of rows with the right class: the mean over the splits, or the fraction of the new rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.metrics import knn_accuracy
    >>> X, y = load_iris(return_X_y=True)
    >>> Y = TSNE(random_state=0).fit_transform(X)
    >>> knn_accuracy(Y, y) > 0.9
    True
    >>> knn_accuracy(Y[::2], y[::2], Y[1::2], y[1::2]) > 0.9
    True
    """
    check_number("n_neighbors", n_neighbors, Integral, 1)
    if (new_embedding is None) != (new_y is None):
        missing = "new_y" if new_y is None else "new_embedding"
        raise ValueError(f"{missing} == None, must be given: new_embedding and new_y go together.")
    Y = _check_positions("embedding", embedding)
    classes = _classes(y=y) if new_y is None else _classes(y=y, new_y=new_y)
    classifier = KNeighborsClassifier(n_neighbors)
    if new_embedding is None:
        return float(np.mean(cross_val_score(classifier, Y, classes[0], cv=cv, error_score="raise")))
    new = _check_positions("new_embedding", new_embedding)
    return float(classifier.fit(Y, classes[0]).score(new, classes[1]))


def _check_positions(name: str, embedding: Any) -> NDArray[np.float64]:
    positions: NDArray[np.float64] = check_array(as_input(name, embedding), dtype=np.float64, input_name=name)
    return positions


def _classes(**given: Any) -> list[NDArray[Any]]:
    """Return labels as scikit-learn takes them: numbers and texts as they are, and an integer for each other class."""
    from ..plotting.columns import as_array, column_of, read_column  # at the call, because displays import the measures

    for name, labels in given.items():
        check_counted(name, labels)
    arrays = [as_array(column_of(labels)) for labels in given.values()]
    if any(array.ndim != 1 for array in arrays):
        return arrays  # scikit-learn tells what is wrong
    joined = np.concatenate(arrays)
    codes = read_column(joined).codes
    ends = np.cumsum(list(map(len, arrays)))
    for name, part in zip(given, np.split(codes, ends[:-1]), strict=True):
        missing = np.flatnonzero(part < 0)
        if len(missing):
            raise ValueError(
                f"{name} is missing the labels of {len(missing)} of {len(part)} rows, the first of them row "
                f"{missing[0]}, must have a label for every row: leave out the rows without one."
            )
    known = joined.dtype.kind in "biuf" or all(isinstance(label, str) for label in joined)
    return arrays if known else np.split(codes, ends[:-1])


class EmbeddingScorer:
    """A measure as ``scoring`` of scikit-learn's searches and cross-validations.

    `~sktsne.metrics.make_embedding_scorer` makes scorers.

    Parameters
    ----------
    measure : callable
        Called with rows, their positions and the parameters; returns a number, larger for better maps.
    parameters : dict
        Keyword arguments of the measure.
    preprocessed : bool, default=False
        Whether the positions are compared with the rows as they reach the embedding estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.metrics import trustworthiness_scorer
    >>> X = load_iris().data
    >>> score = trustworthiness_scorer(TSNE(random_state=0).fit(X), X)
    >>> bool(0.9 < score <= 1.0)
    True
    """

    def __init__(self, measure: Callable[..., float], parameters: dict[str, Any], preprocessed: bool = False) -> None:
        if not callable(measure):
            raise TypeError(f"measure == {measure!r}, must be a function of rows and their positions.")
        self.measure = measure
        self.parameters = parameters
        self.preprocessed = preprocessed

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """Return the measure of the rows and the positions that ``transform`` gives them.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator with ``transform``; in a pipeline the last step that has an ``embedding_``.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Held-out rows, or the training rows, as they enter the estimator.
        y : None
            Ignored.

        Returns
        -------
        score : float
            The value of the measure, larger for better maps.
        """
        rows = X
        if isinstance(estimator, Pipeline):
            place = place_of_embedding(estimator)
            if self.preprocessed and place > 0:
                rows = estimator[:place].transform(X)
            estimator = estimator[: place + 1]
        return float(self.measure(rows, estimator.transform(X), **self.parameters))

    def __repr__(self) -> str:
        parameters = {**({"preprocessed": True} if self.preprocessed else {}), **self.parameters}
        name = getattr(self.measure, "__name__", repr(self.measure))
        return f"make_embedding_scorer({', '.join([name, *(f'{key}={value!r}' for key, value in parameters.items())])})"


def make_embedding_scorer(
    measure: Callable[..., float], *, preprocessed: bool = False, **parameters: Any
) -> EmbeddingScorer:
    """Make a scorer of a measure, for ``scoring`` of :class:`sklearn.model_selection.GridSearchCV` and its like.

    The scorer gives the rows to ``transform``, and compares them with the positions that they get. Held-out rows are
    compared with each other, not with the training rows, which scikit-learn does not hand to a scorer: there must be
    more held-out rows than neighbors, and among few rows neighborhoods reach far. Training rows have the positions of
    the fit, so that with the one split ``cv=[(rows, rows)]`` of all rows the scorer judges the map itself.

    Scores compare between candidates on the same splits. In a pipeline the rows are those that enter the pipeline, so
    that candidates for the steps before the embedding compare, too; changes that these steps make to the distances
    count as errors.

    Parameters
    ----------
    measure : callable
        `trustworthiness`, `continuity`, `neighborhood_preservation`, `rnx_auc` or another function of rows and their
        positions that is larger for better maps. With a function of a module the scorer can be pickled, which
        ``n_jobs`` of a search needs.
    preprocessed : bool, default=False
        Whether to compare the positions with the rows as the steps of a pipeline before the embedding return them, for
        steps that scale columns or encode categories as numbers. Candidates for these steps then do not compare.
    **parameters
        Keyword arguments of the measure.

    Returns
    -------
    scorer : EmbeddingScorer
        Called as ``scorer(estimator, X, y=None)``, with a fitted estimator or a pipeline with one, be it the last step
        or followed by a classifier.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import cross_val_score
    >>> from sktsne.metrics import make_embedding_scorer, trustworthiness
    >>> scorer = make_embedding_scorer(trustworthiness, n_neighbors=5)
    >>> scorer
    make_embedding_scorer(trustworthiness, n_neighbors=5)
    >>> print(np.round(cross_val_score(PCA(n_components=2), load_iris().data, scoring=scorer, cv=3), 2))
    [0.9  0.93 0.94]
    """
    return EmbeddingScorer(measure, parameters, preprocessed)


trustworthiness_scorer = make_embedding_scorer(trustworthiness)
continuity_scorer = make_embedding_scorer(continuity)
neighborhood_preservation_scorer = make_embedding_scorer(neighborhood_preservation)
rnx_scorer = make_embedding_scorer(rnx_auc)

# The tables of the reference show the first sentence, so each scorer has one of its own before the class's docstring.
_REST = (EmbeddingScorer.__doc__ or "").partition("\n\n")[2]
for _scorer, _sentence in (
    (trustworthiness_scorer, "Scores how far the neighbors in a map are neighbors in the data."),
    (continuity_scorer, "Scores how far the neighbors in the data are neighbors in a map."),
    (neighborhood_preservation_scorer, "Scores which fraction of the nearest neighbors a map keeps."),
    (rnx_scorer, "Scores how well a map keeps neighborhoods of all sizes."),
):
    _scorer.__doc__ = f"{_sentence}\n\n{_REST}"
