"""Scorers, by which scikit-learn's searches over parameters use the measures."""

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
    """Return the accuracy with which the nearest neighbors in a map predict the classes of its rows.

    Without new rows, the accuracy is the result of a cross-validation over the points of the map. With new rows, which
    ``transform`` has placed, their nearest training rows predict their classes; no other measure here compares new rows
    with training rows. Compare accuracies only between maps of the same rows, classes and ``cv``; the maps may come
    from any method. The accuracy tells how well a map separates the given classes, not how well it shows the data:
    classes that overlap in the data should overlap in the map.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, n_components)
        The positions of the training rows. The fit placed all of them together, so that a cross-validation over them
        tells nothing about new rows.
    y : array-like of shape (n_samples,)
        The classes of the training rows: numbers, texts or other labels, without missing ones.
    new_embedding : array-like of shape (n_new, n_components), default=None
        The positions of new rows in the same map.
    new_y : array-like of shape (n_new,), default=None
        The classes of the new rows.
    n_neighbors : int, default=10
        The number of neighbors that vote on the class of a row.
    cv : int, cross-validation generator or iterable, default=5
        The splits, as for :func:`sklearn.model_selection.cross_val_score`. Ignored with new rows.

    Returns
    -------
    accuracy : float
        The fraction of rows whose class is predicted correctly: the mean over the splits, or of the new rows.

    Raises
    ------
    ValueError
        If only one of ``new_embedding`` and ``new_y`` is given, or a row has no class.

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
    """Return labels that scikit-learn accepts: numbers and texts as they are, other labels as integers."""
    # The import is here, because the displays import the measures.
    from ..plotting.columns import as_array, column_of, read_column

    for name, labels in given.items():
        check_counted(name, labels)
    arrays = [as_array(column_of(labels)) for labels in given.values()]
    if any(array.ndim != 1 for array in arrays):
        return arrays  # scikit-learn raises the error
    joined = np.concatenate(arrays)
    codes = read_column(joined).codes
    ends = np.cumsum(list(map(len, arrays)))
    for name, part in zip(given, np.split(codes, ends[:-1]), strict=True):
        missing = np.flatnonzero(part < 0)
        if len(missing):
            raise ValueError(
                f"{name} has no labels for {len(missing)} of {len(part)} rows, the first of them row {missing[0]}, "
                "must have a label for every row: leave out the rows without a label."
            )
    known = joined.dtype.kind in "biuf" or all(isinstance(label, str) for label in joined)
    return arrays if known else np.split(codes, ends[:-1])


class EmbeddingScorer:
    """A scorer that applies a measure to a map: the ``scoring`` of scikit-learn's searches and cross-validations.

    Use `~sktsne.metrics.make_embedding_scorer` to make scorers.

    Parameters
    ----------
    measure : callable
        A function that is called with the rows, their positions and the keyword arguments ``parameters``. It returns a
        number that is larger for better maps.
    parameters : dict
        Keyword arguments of the measure.
    preprocessed : bool, default=False
        Whether to compare the positions with the rows as they reach the embedding step of a pipeline, instead of the
        rows as they enter the pipeline.

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
        """Return the measure of rows and of the positions that ``transform`` gives them.

        Parameters
        ----------
        estimator : estimator or Pipeline
            A fitted estimator with the method ``transform``. In a pipeline, the last step with the attribute
            ``embedding_`` gives the positions.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The held-out rows or the training rows, as they enter the estimator.
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
    """Make a scorer of a measure, for the parameter ``scoring`` of :class:`sklearn.model_selection.GridSearchCV`.

    The scorer passes rows to ``transform`` and compares the rows with the positions that it returns. Held-out rows are
    compared with one another, because scikit-learn does not pass the training rows to a scorer. So there must be more
    held-out rows than neighbors, and the neighborhoods of few held-out rows reach far. Training rows have the positions
    of the fit. To judge the map itself, use one split of all rows, ``cv=[(rows, rows)]``.

    Scores can be compared between candidates on the same splits. In a pipeline, the scorer uses the rows as they enter
    the pipeline, so that candidates for the steps before the embedding can be compared, too. Changes that these steps
    make to the distances count as errors.

    Parameters
    ----------
    measure : callable
        `trustworthiness`, `continuity`, `neighborhood_preservation`, `rnx_auc` or another function of rows and their
        positions that is larger for better maps. If the function is defined in a module, the scorer can be pickled,
        which ``n_jobs`` of a search needs.
    preprocessed : bool, default=False
        Whether to compare the positions with the rows as they reach the embedding step of a pipeline. Use this for
        pipelines that scale columns or encode categories as numbers. Candidates for the steps before the embedding
        can then not be compared.
    **parameters
        Keyword arguments of the measure.

    Returns
    -------
    scorer : EmbeddingScorer
        The scorer, which is called as ``scorer(estimator, X, y=None)``, with a fitted estimator or a pipeline that
        contains one. The estimator may be the last step or be followed by a classifier.

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
