"""The base class of the estimators: it checks the input, computes affinities and a start, optimizes, and stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checkpoint import fingerprint, load, save
from ._checks import are_single, as_input, dtypes_of, errors_that_name_columns, precision_of, warn, without_rounding
from ._documentation import LinksToDocumentation
from ._memory import check_memory
from ._native import warn_if_not_compiled
from ._parameters import (
    check_parameters,
    choose_affinities,
    choose_method,
    choose_search,
    precomputed,
    takes_all_pairs,
)
from ._reports import CallbackSupportMixin, EmbeddingMixin, Reports, Tasks, with_callbacks
from ._row_arguments import RowArguments, check_row_arguments, count_by_weight
from ._row_errors import numbering
from ._sparse import embedded, freeze, reorder
from ._starts import start_by_affinities, starts_with_components, with_arrays, with_components
from .affinities import (
    Perplexity,
    check_takes_weights,
    conditional_affinities,
    given_affinities,
    given_affinities_of_others,
    mean_bandwidth,
    probabilities_of_new_rows,
)
from .anchors import Anchored
from .conditioning import Conditioning
from .initialization import space_filling_order
from .kernels.contract import GradientKernel, KernelFactory, make_kernel
from .known_rows import KnownRows
from .neighbors import NeighborGraph
from .neighbors.exact import RowSearch
from .objectives import ConditionalKL, JointKL, Matrix
from .optimizer import Phase, State, minimize, phase_at_end
from .parallel import Workers, effective_n_threads
from .placement import FrozenMap, exaggeration_in_balance
from .similarities import similarity_of

# A new row counts as a row of the fit if the distance to its nearest neighbor is at most ROUNDINGS · eps times the
# distance to its farthest neighbor, because an earlier step of a pipeline may round the same row differently in a fit
# and after it, as `PCA.fit_transform` and `PCA.transform` do.
ROUNDINGS = 1000
# A row whose own copies have more than this part of its probability hardly has other neighbors.
MOSTLY_OWN = 0.9
# From this many points on, the points do not fit into the cache of a core, and a new order of them saves time.
POINTS_TO_ARRANGE = 2**17


@dataclass
class InputKind:
    """The kind of data that the ``X`` of a fit holds; the ``X`` of `transform` is read as the same kind.

    Parameters
    ----------
    distances : bool
        Whether ``X`` holds distances in place of rows.
    all_pairs : bool
        Whether the method uses the distances of all pairs of rows.
    sparse : bool
        Whether ``X`` is sparse.
    """

    distances: bool
    all_pairs: bool
    sparse: bool


def differ_by_rounding(graph: NeighborGraph, dtype: Any) -> NDArray[np.bool_]:
    """Return which new rows differ from their nearest neighbors only by rounding."""
    nearest, farthest = graph.distances[:, 0], graph.distances[:, -1]
    return np.asarray(nearest <= ROUNDINGS * np.finfo(dtype).eps * farthest)


class Points:
    """The points of an optimization, in an order in which neighbors are near to each other in memory.

    The attraction gathers the neighbors of every point at each iteration. From some 100,000 points on, they do not fit
    into a processor's cache, and gathering points that are far from each other in memory takes most of the time.

    Parameters
    ----------
    state : State
        The state of the optimization, whose arrays have a row for each point.
    order : ndarray of shape (n,)
        The rows of the data that the points stand for.
    objective_of : callable
        ``objective_of(order)`` returns the objective of points in an order.
    """

    def __init__(
        self,
        state: State,
        order: NDArray[np.intp],
        objective_of: Callable[[NDArray[np.intp]], JointKL | ConditionalKL | Anchored],
    ) -> None:
        self.state, self.order, self._objective_of = state, order, objective_of

    @cached_property
    def objective(self) -> JointKL | ConditionalKL | Anchored:
        """The objective of the points in their order."""
        return self._objective_of(self.order)

    def arrange(self) -> None:
        """Order the points along a curve through the map as it is now."""
        order = space_filling_order(self.state.Y)
        for name in "Y", "velocity", "gain":
            setattr(self.state, name, getattr(self.state, name)[order])
        self.order = self.order[order]
        del self.objective  # frees the affinities in the old order before those in the new one take memory


class BaseEmbedding(
    EmbeddingMixin,
    LinksToDocumentation,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Base class of the embedding estimators.

    A subclass has the parameters of `TSNE`. Its class attributes state the cost that it minimizes (`_objective`), the
    name of the method in messages (`_label`), and the rate and the largest gain of ``learning_rate="auto"``
    (`_relative_rate`, `_largest_gain`).
    """

    _objective: ClassVar[type[JointKL] | type[ConditionalKL]]
    # `transform` places at most `_rows_at_once` rows at once, with at most `_pairs_at_once` pairs of a row and a
    # neighbor: together, these limits bound the memory that the affinities of new rows take.
    _rows_at_once: ClassVar[int] = 2**14
    _pairs_at_once: ClassVar[int] = 2**22
    _label: ClassVar[str]
    _relative_rate: ClassVar[float]
    _largest_gain: ClassVar[float]
    embedding_: NDArray[np.floating]
    _affinity_rule: Any
    _largest_distance: float
    _map: FrozenMap
    _conditioning: Conditioning
    _search: Any

    def _phases(self) -> list[Phase]:
        """Return the phases of a fit: early exaggeration, its geometric release, and all later iterations."""
        relative = isinstance(self.learning_rate, str)
        rate = self._relative_rate if relative else self.learning_rate
        largest = self._largest_gain if relative else math.inf
        early, late = self.early_exaggeration, self.exaggeration
        held = self.early_exaggeration_iter - self.early_exaggeration_iter // 2
        fading = self.early_exaggeration_iter - held
        factors = [early] * held + [late * (early / late) ** (1.0 - t / fading) for t in range(fading)]
        factors = factors[: self.max_iter]
        return [
            *(Phase(1, factor, self.momentum, rate, relative, largest) for factor in factors),
            Phase(self.max_iter - len(factors), late, self.momentum, rate, relative, largest),
        ]

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        targets: ArrayLike | None = None,
        target_strength: ArrayLike = math.inf,
    ) -> BaseEmbedding:
        """Embed the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows to embed. With ``metric="precomputed"``, the distances between the rows: all of them in a dense
            matrix, or those from every row to enough neighbors in a sparse graph. With ``affinities="precomputed"``,
            the affinities between the rows.
        y : None
            Ignored.
        sample_weight : float or array-like of shape (n_samples,), default=None
            The weights of the rows, not negative: a row of weight 2 counts as two equal rows. A row of weight 0 is
            placed after the fit as `transform` places new rows, and does not change the map. See
            :doc:`/guide/weights`.
        targets : array-like of shape (n_samples, n_components), default=None
            Places in the map to which rows are tied, NaN for rows that are free. Rows with a target start there, and
            the others at ``init`` if it is an array, otherwise where most of their neighbors are. The map is not
            centered. See :doc:`/guide/anchors`.
        target_strength : float or array-like of shape (n_samples,), default=inf
            How strongly rows are tied to their targets, as one number or one for each row: the cost grows by
            ``target_strength / n_samples`` times the squared distance of a row from its target (for SNE, by
            ``target_strength`` times this distance). With ``inf``, rows do not move.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or ``X`` is not accepted.
        MemoryError
            If the fit needs more memory than is available.
        FloatingPointError
            If the optimization diverges.
        """
        self._fit(X, y, sample_weight, targets, target_strength)
        return self

    def fit_transform(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        targets: ArrayLike | None = None,
        target_strength: ArrayLike = math.inf,
    ) -> NDArray[np.floating]:
        """Embed the rows of X and return their positions.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows to embed. With ``metric="precomputed"``, the distances between the rows: all of them in a dense
            matrix, or those from every row to enough neighbors in a sparse graph. With ``affinities="precomputed"``,
            the affinities between the rows.
        y : None
            Ignored.
        sample_weight : float or array-like of shape (n_samples,), default=None
            The weights of the rows, not negative: a row of weight 2 counts as two equal rows. A row of weight 0 is
            placed after the fit as `transform` places new rows, and does not change the map. See
            :doc:`/guide/weights`.
        targets : array-like of shape (n_samples, n_components), default=None
            Places in the map to which rows are tied, NaN for rows that are free. Rows with a target start there, and
            the others at ``init`` if it is an array, otherwise where most of their neighbors are. The map is not
            centered. See :doc:`/guide/anchors`.
        target_strength : float or array-like of shape (n_samples,), default=inf
            How strongly rows are tied to their targets, as one number or one for each row: the cost grows by
            ``target_strength / n_samples`` times the squared distance of a row from its target (for SNE, by
            ``target_strength`` times this distance). With ``inf``, rows do not move.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The positions: float32 for float32 input, float64 for any other input.

        Raises
        ------
        TypeError, ValueError, MemoryError, FloatingPointError
            As for `fit`.
        """
        self._fit(X, y, sample_weight, targets, target_strength)
        return self.embedding_

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Place rows in the fitted map, which does not change.

        A row of the fit, or a row that differs from one of them only by rounding, gets the position of that row. Every
        other row gets probabilities over its neighbors among the rows of the fit, at the perplexity of the fit, and is
        placed where its own part of the cost is least. Its position does not depend on the other rows of ``X``. See
        :doc:`/guide/new_points`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_new, n_features) or (n_new, n_samples)
            The rows to place. With ``metric="precomputed"``, the distances from these rows to the rows of the fit: all
            of them in a dense matrix, or those to enough neighbors in a sparse one. With ``affinities="precomputed"``,
            the affinities between these rows and the rows of the fit.

        Returns
        -------
        X_new : ndarray of shape (n_new, n_components)
            The positions: float32 for float32 input, float64 for any other input.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If ``X`` is not accepted, for example because it does not have the columns of the fit.
        """
        check_is_fitted(self, "embedding_")
        rows = self._validate(X, reset=False)
        if self._known_rows.match(rows):
            return self.embedding_.astype(rows.dtype)
        known, places = self._known_rows.find(rows)
        positions = np.empty((rows.shape[0], self.embedding_.shape[1]), dtype=rows.dtype)
        positions[known] = self.embedding_[places]

        def place(some: NDArray[np.intp]) -> None:
            positions[some] = self._place(rows[some], self._map)

        self._in_blocks(place, np.flatnonzero(~known), rows)
        return positions

    def _find(self, rows: Any) -> NDArray[np.intp]:
        """Return which row of the fit each row is, or -1 for a new row, as `transform` recognizes them."""
        if self._known_rows.match(rows):
            return np.arange(rows.shape[0])
        known, found = self._known_rows.find(rows)
        places = np.full(rows.shape[0], -1, dtype=np.intp)
        places[known] = found
        if len(np.unique(found)) == self._known_rows.groups.max() + 1:  # all rows of the fit are there, unrounded
            return places

        def find(some: NDArray[np.intp]) -> None:
            graph = self._neighbors_of(rows[some], self._map.workers)
            same = differ_by_rounding(graph, rows.dtype)
            equal = graph.indices[same, 0]
            places[some[same]] = equal if self._counted is None else self._counted[equal]

        self._in_blocks(find, np.flatnonzero(~known), rows)
        return places

    def _in_blocks(self, function: Callable[[NDArray[np.intp]], None], new: NDArray[np.intp], rows: Any) -> None:
        """Call ``function`` with the indices of some new rows at a time, with the threads of the map."""
        workers = self._map.workers
        workers.n_threads = effective_n_threads(self.n_jobs)
        with workers:
            n_rows = min(self._rows_at_once, max(1, self._pairs_at_once // self._count_neighbors_of(rows)))
            for first in range(0, len(new), n_rows):
                some = new[first : first + n_rows]
                with numbering(some, self._counted):
                    function(some)

    def _count_neighbors_of(self, rows: Any) -> int:
        """Return the largest number of rows of the fit with which one new row is compared when it is placed."""
        n = len(self._known_rows.hashes) if self._counted is None else len(self._counted)
        if self._search is None and issparse(rows):
            return max(1, int(np.diff(rows.indptr).max()))
        if self._search is None or self._input_kind.all_pairs or (self._input_kind.distances and not issparse(rows)):
            return n
        return int(self._affinity_rule.count_neighbors(n))

    def _to_counted(self, X: Any) -> Any:
        """Return new rows, without the columns that stand for rows of weight 0 if X holds distances or affinities."""
        of_pairs = self._search is None or self._input_kind.distances
        return X[:, self._counted] if of_pairs and self._counted is not None else X

    def _neighbors_of(self, X: Any, workers: Workers) -> NeighborGraph:
        """Return the neighbors of new rows among the rows that count in the fit."""
        graph: NeighborGraph = self._search.neighbors_of(self._conditioning(self._to_counted(X)), workers)
        return graph

    def _place(self, X: Any, frozen: FrozenMap) -> NDArray[np.floating]:
        """Return the positions in a map of rows whose values differ from those of all rows of the map."""
        workers, weights, rule = frozen.workers, frozen.weights, self._affinity_rule
        if self._search is None:
            return frozen.place(*given_affinities_of_others(self._to_counted(X), weights))
        graph = self._neighbors_of(X, workers)
        if weights is None:
            probabilities = rule.probabilities(graph.distances, workers)
        else:
            count = self._count_of_weight(weights)
            probabilities = probabilities_of_new_rows(rule, graph.distances, graph.indices, weights, count, workers)
        positions = frozen.place(probabilities, graph.indices)
        same = differ_by_rounding(graph, X.dtype)
        positions[same] = frozen.points[graph.indices[same, 0]]
        return positions

    def _fit(self, X: Any, y: Any, *of_rows: Any) -> None:
        before = self.__dict__.copy()
        try:
            with numbering():
                self._fit_rows(X, y, *of_rows)
        except BaseException:
            resumable = self.__dict__.get("_resumable")
            self.__dict__.clear()
            self.__dict__.update(before)  # a fit that fails or is interrupted leaves the estimator as it was
            if self.warm_start and resumable is not None:
                self._resumable = resumable
            raise

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit_rows(self, rows: Any, y: Any, *of_rows: Any) -> None:
        X = self._validate(rows)
        check_parameters(self)
        random_state = check_random_state(self.random_state)
        arguments = check_row_arguments(X.shape[0], self.n_components, *of_rows)
        arguments = with_arrays(self, arguments, random_state)
        self._counted, identify, every = arguments.counted, arguments.identify, X
        X, left_out = self._parted(X)
        arguments = arguments.take(self._counted)
        dtype, n_samples = X.dtype, X.shape[0]
        given = isinstance(self.affinities, str) and self.affinities == "precomputed"
        # The rule is copied, because the user may change its parameters later.
        rule = self._affinity_rule = None if given else deepcopy(choose_affinities(self, arguments.total))
        self._search, n_neighbors = None, 0
        if rule is not None:
            if arguments.weights is not None:
                check_takes_weights(rule)
            n_neighbors = arguments.count_rows(rule)
            name, self._search = choose_search(self, X, n_neighbors, arguments.weights)
        self._check_memory(X, n_neighbors)
        warn_if_not_compiled()

        self.timings_: dict[str, float] = {}
        self.__dict__.pop("anchor_cost_", None)  # of an earlier fit
        starts_early = starts_with_components(self, arguments)
        uses_rows = starts_early or isinstance(self.anchors, str)
        starts_late = arguments.start is None and not starts_early
        self._tasks = Tasks(self, (1 if given else 2) + uses_rows + starts_late + 1, rows, y)
        with numbering(self._counted, self._counted), Workers(effective_n_threads(self.n_jobs)) as workers:
            self.method_, factory = choose_method(self, n_samples)
            kernel = make_kernel(factory, similarity_of(self.dof), workers)
            if rule is None:
                with self._stage("affinities"):
                    resumed = self._recognized(every, identify)
                    affinities = self._objective.from_given(given_affinities(X, arguments.weights), arguments.weights)
            else:
                with self._stage("neighbors"):
                    resumed = self._recognized(every, identify)
                    del every
                    # The user's transformer gets the rows without conditioning.
                    metric = self.metric if isinstance(self.neighbors, str) else "precomputed"
                    self._conditioning = Conditioning(X, metric, rescale=not rule.uses_scale)
                    X = self._conditioning(X)
                    if not self._input_kind.all_pairs:
                        self._log(f"Computing {n_neighbors} nearest neighbors... ({name})")
                    graph = self._search.fit(X, workers)
                    if (
                        arguments.weights is not None
                        and n_neighbors == arguments.n - 1
                        and isinstance(self._search, RowSearch)
                    ):
                        # If rows were repeated, all rows but one would be neighbors of a new row.
                        self._search.take_all()
                if uses_rows:
                    with self._stage("initialization"):
                        arguments = with_components(self, arguments, X, self._groups, random_state)
                del X  # this matrix, and each one deleted below, takes gigabytes for a million rows
                with self._stage("affinities"):
                    # A kernel in single precision would round the affinities of float32 rows in any case.
                    precision = np.result_type(dtype, kernel.dtype).type
                    conditional = self._conditional(graph, arguments, precision, workers)
                    del graph
                    affinities = self._objective.from_conditional(conditional, workers, arguments.weights)
                    del conditional
            start = arguments.start
            if start is None:
                with self._stage("initialization"):
                    start = start_by_affinities(self, affinities, arguments, self._groups, random_state, workers)
            self.affinities_ = affinities
            done = 0 if resumed is None else resumed[0].iteration
            stretches = (self.max_iter - 1) // self.callback_every - done // self.callback_every + 1
            with self._stage("optimization", max(stretches, 1)):
                self._optimize(start, affinities, arguments, resumed, dtype, factory, kernel, workers)
            if self._counted is not None:
                self._add(left_out, self._counted)
        self._tasks.end(dict)  # the estimator has all of its attributes by now
        del self._tasks

    def _parted(self, X: Any) -> tuple[Any, Any]:
        """Return the rows that count, and those of weight 0, or None if there are none."""
        if self._counted is None:
            return X, None
        others = np.delete(np.arange(X.shape[0]), self._counted)
        rows = X[self._counted]
        return (rows[:, self._counted] if precomputed(self) else rows), X[others]

    def _add(self, left_out: Any, counted: NDArray[np.intp]) -> None:
        """Place the rows of weight 0 in the map, and give them rows in ``embedding_`` and ``affinities_``."""
        n = len(self._known_rows.hashes)
        embedding = np.empty((n, self.embedding_.shape[1]), dtype=self.embedding_.dtype)
        others = np.delete(np.arange(n), counted)
        with numbering(others, counted):
            embedding[counted], embedding[others] = self.embedding_, self._place(left_out, self._map)
        self.embedding_ = embedding
        self.affinities_ = embedded(self.affinities_, counted, n)

    def _groups(self) -> NDArray[np.intp] | None:
        """Return the groups of equal rows among the rows that count; None for distances and affinities.

        Rows of affinities may be equal although their points repel each other, as those of the leaves of a star.
        """
        if self._search is None or self._input_kind.distances:
            return None
        groups: NDArray[np.intp] = self._known_rows.groups
        return groups if self._counted is None else np.unique(groups[self._counted], return_inverse=True)[1]

    def _conditional(self, graph: Any, arguments: RowArguments, dtype: type[np.floating], workers: Workers) -> Matrix:
        """Return the conditional probabilities of the rows whose neighbors a graph holds."""
        rule, weights, count = self._affinity_rule, arguments.weights, self._count_of_weight(arguments.weights)
        conditional = conditional_affinities(graph, rule, workers, dtype, weights, count)
        self._log(f"Computed conditional probabilities for {arguments.n} samples")
        if self.verbose and isinstance(rule, Perplexity):
            self._log(f"Mean sigma: {mean_bandwidth(graph, conditional, weights, count):f}")
        if weights is not None and np.median(conditional.diagonal()) > MOSTLY_OWN:
            warn(
                "sample_weight gives most rows so many copies that their nearest neighbors are copies of themselves: "
                f"the weights sum to {arguments.total:.6g} for {arguments.n} rows. Divide the weights by a number, or "
                "raise the perplexity or the number of neighbors."
            )
        return conditional

    def _count_of_weight(self, weights: NDArray[np.float64] | None) -> float | None:
        """Return the total weight of the neighbors that a row has, or None if all rows are neighbors."""
        if weights is None or self._input_kind.all_pairs:
            return None
        return count_by_weight(self._affinity_rule, float(weights.sum()))

    def _validate(self, X: Any, reset: bool = True) -> Any:
        """Return X as an array or a CSR matrix of float32 or float64, of the same kind as the X of the fit."""
        X = as_input("X", X)
        precision = precision_of(X)
        # scikit-learn converts some data frames of float32 to float64.
        dtypes = [np.float32] if are_single(dtypes_of(X)) else [np.float64, np.float32]
        # scikit-learn finds NaN by a sum, which may overflow, and must do so even if the user has set assume_finite.
        quietly = np.errstate(over="ignore", invalid="ignore")
        with config_context(assume_finite=False), quietly, errors_that_name_columns("X", X):
            X = validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csr",
                dtype=dtypes,
                order="C",
                ensure_min_samples=2 if reset else 1,
            )
        if reset:  # the kind is kept, because the user may change the parameters after the fit
            distances = isinstance(self.metric, str) and self.metric == "precomputed"
            self._input_kind = InputKind(distances, all_pairs=takes_all_pairs(self), sparse=issparse(X))
        kind = self._input_kind
        if kind.distances:
            if reset and X.shape[0] != X.shape[1]:
                raise ValueError(f"With metric='precomputed' X must be a square distance matrix, got shape {X.shape}.")
            if issparse(X) and kind.all_pairs:
                raise TypeError(
                    "method == 'exact' needs the distances of all pairs of rows, and a sparse precomputed X has only "
                    "some of them: set method='auto', or pass a dense X."
                )
            largest = 0.0 if reset else self._largest_distance
            X = without_rounding("With metric='precomputed' X must hold distances", X, precision, largest)
            if reset:
                self._largest_distance = float((X.data if issparse(X) else X).max(initial=0.0))
        elif issparse(X) != kind.sparse:
            X = X.toarray() if issparse(X) else csr_array(X)
        return X

    def _check_memory(self, X: Any, n_neighbors: int) -> None:
        """Raise a MemoryError if the fit of X with so many neighbors of each row needs more than there is."""
        n_samples = X.shape[0]
        n_features = 0 if issparse(X) else X.shape[1]
        if self._affinity_rule is None and issparse(X):
            n_neighbors = X.nnz // n_samples
        elif self._affinity_rule is None:
            # A fit symmetrizes affinities and multiplies them by their logarithms, which takes 1.5 times the memory
            # that it takes for rows of the same shape.
            n_features = 3 * n_features // 2
        all_pairs = self._input_kind.all_pairs and not precomputed(self)
        check_memory(n_samples, n_features, n_neighbors, all_pairs, X.dtype.itemsize)

    def _recognized(
        self, X: Any, identify: Callable[[NDArray[np.bytes_]], NDArray[np.bytes_]]
    ) -> tuple[State, NDArray[np.intp]] | None:
        """Store the rows X for `transform`; return the state and the order of an earlier fit of these rows, if any.

        ``identify`` returns the hashes by which a fit is recognized, from those of its rows.
        """
        self._known_rows = KnownRows(X, explicit_zeros=self._input_kind.distances)
        self._identity = identify(self._known_rows.hashes)
        found = None
        if self.checkpoint is not None:
            found = load(Path(self.checkpoint), fingerprint(self, self._identity))
        elif self.warm_start and "_resumable" in vars(self):
            state, order, identity = self._resumable
            if np.array_equal(identity, self._identity) and state.Y.shape[1] == self.n_components:
                found = state.copy(), order
        if found is not None:
            self._log(f"Continuing after {found[0].iteration} iterations")
        return found

    def _optimize(
        self,
        start: NDArray[np.float64],
        affinities: Matrix,
        arguments: RowArguments,
        resumed: tuple[State, NDArray[np.intp]] | None,
        dtype: Any,
        factory: KernelFactory,
        kernel: GradientKernel,
        workers: Workers,
    ) -> None:
        similarity = similarity_of(self.dof)
        phases = self._phases()
        self.learning_rate_ = phases[-1].learning_rate
        sparse, n_distributions = issparse(affinities), self._objective.count_distributions(arguments.total)

        def objective_of(order: NDArray[np.intp]) -> JointKL | ConditionalKL | Anchored:
            ordered = freeze(reorder(affinities, order, kernel.dtype, workers)) if sparse else affinities
            in_order = arguments.take(order)
            objective = self._objective(ordered, similarity, kernel, workers, in_order.weights)
            anchors = in_order.anchors(n_distributions, self.anchor_strength)
            return Anchored(objective, anchors) if anchors else objective

        if resumed is not None:
            state, order = resumed
        else:
            order = space_filling_order(start) if sparse else np.arange(arguments.n)
            state = State.at(start[order], arguments.take(order).frame)
        points = Points(state, order, objective_of)
        reports = Reports(
            points,
            partial(self._fitted, dtype, factory, arguments.weights, phases, points),
            tasks=self._tasks,
            log=self._log,
            save=partial(self._save, points),
            callback=self.callback,
            callback_every=self.callback_every,
            n_early=self.early_exaggeration_iter,
        )
        run = partial(
            minimize,
            phases=phases,
            n_iter_without_progress=self.n_iter_without_progress,
            tol=self.tol,
            min_grad_norm=self.min_grad_norm,
            max_step_norm=math.inf if self.max_step_norm is None else self.max_step_norm,
            workers=workers,
            report=reports,
            report_every=self.callback_every,
            tick=reports.tick,
        )
        # When early exaggeration has ended, the groups of the map are at their places: then a new order lasts.
        settled = sum(phase.n_iter for phase in phases[:-1])
        arranges = sparse and arguments.n >= POINTS_TO_ARRANGE and state.iteration <= settled < self.max_iter
        result = run(points.objective, state, until=settled if arranges else None)
        if arranges and result.reason == "max_iter":
            points.arrange()
            result = run(points.objective, state)
        self.__dict__.update(reports.end(result))
        if self.checkpoint is not None:
            Path(self.checkpoint).unlink(missing_ok=True)
        if self.warm_start:
            self._resumable = state, points.order, self._identity
        if result.reason == "n_iter_without_progress":
            self._log(
                f"Iteration {result.n_iter}: did not make any progress during the last {self.n_iter_without_progress} "
                "episodes. Finished."
            )
        elif result.reason == "min_grad_norm":
            self._log(f"Iteration {result.n_iter}: gradient norm {result.gradient_norm:f}. Finished.")
        self._log(
            f"KL divergence after {result.n_iter} iterations: {self.kl_divergence_:f} (stopped by {result.reason})"
        )

    def _save(self, points: Points) -> None:
        """Save the state of the optimization, so that a later fit can continue from it."""
        if self.warm_start:
            self._resumable = points.state.copy(), points.order, self._identity
        if self.checkpoint is not None:
            save(Path(self.checkpoint), points.state, points.order, fingerprint(self, self._identity))

    def _fitted(
        self,
        dtype: Any,
        factory: KernelFactory,
        weights: NDArray[np.float64] | None,
        phases: list[Phase],
        points: Points,
        n_iter: int,
        cost: float,
        Y: NDArray[np.float64],
    ) -> dict[str, Any]:
        """Return the attributes of a fit that ends with the map ``Y``."""
        # In a map whose fit ended with exaggeration, new rows feel the same exaggeration, which holds the map together.
        last = phase_at_end(phases, n_iter)
        objective, order = points.objective, points.order
        exaggeration = exaggeration_in_balance(objective, Y[order], last.exaggeration)
        # scikit-learn's n_iter_ is the number of the last iteration, counted from 0.
        attributes = {"kl_divergence_": cost, "n_iter_": n_iter - 1}
        if isinstance(objective, Anchored):
            attributes["anchor_cost_"] = objective.anchor_cost(Y[order])
            attributes["kl_divergence_"] -= attributes["anchor_cost_"]
        Y = Y.astype(dtype, copy=False)
        frozen = FrozenMap(Y, self.dof, factory, exaggeration, weights)
        return {**attributes, "embedding_": Y, "_map": frozen}

    @contextmanager
    def _stage(self, name: str, n_subtasks: int = 0) -> Iterator[None]:
        self._tasks.begin(name, n_subtasks)
        with super()._stage(name):
            yield
        self._tasks.end()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = bool(precomputed(self))
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
