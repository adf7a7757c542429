"""What the estimators share: validate, affinities, start, optimize, store."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
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
from ._checks import are_single, as_input, dtypes_of, errors_that_name_columns, precision_of, without_rounding
from ._documentation import LinksToDocumentation
from ._memory import check_memory
from ._native import warn_if_not_compiled
from ._parameters import (
    check_parameters,
    check_start,
    choose_affinities,
    choose_method,
    choose_search,
    precomputed,
    takes_all_pairs,
)
from ._reports import CallbackSupportMixin, Reports, Tasks, stages_of, with_callbacks
from ._row_errors import numbering
from .affinities import (
    Perplexity,
    conditional_affinities,
    given_affinities,
    given_affinities_of_others,
    mean_bandwidth,
    reorder,
)
from .conditioning import Conditioning
from .initialization import pca_start, random_start, separate, space_filling_order, spectral_start
from .kernels.contract import KernelFactory, make_kernel
from .known_rows import KnownRows
from .objectives import ConditionalKL, JointKL
from .optimizer import Objective, Phase, State, minimize
from .parallel import Workers, effective_n_threads
from .placement import FrozenMap, exaggeration_in_balance
from .similarities import similarity_of

# `PCA.transform` and `PCA.fit_transform` round differently. A new row counts as a training row if its nearest distance
# is below ROUNDINGS · eps times the distance to its k-th neighbor.
ROUNDINGS = 1000


@dataclass
class InputKind:
    """What the X of a fit holds, which the X of `transform` has to hold, too.

    Parameters
    ----------
    distances : bool
        Whether X holds distances in place of rows.
    all_pairs : bool
        Whether the method takes the distances of all pairs of rows.
    sparse : bool
        Whether X is sparse.
    """

    distances: bool
    all_pairs: bool
    sparse: bool


class BaseEmbedding(
    LinksToDocumentation, CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Template of an embedding estimator.

    A subclass has the parameters of `TSNE`, and states what it minimizes (`_objective`) and how fast
    (`_relative_rate`, `_largest_gain`).
    """

    _objective: ClassVar[type[JointKL] | type[ConditionalKL]]
    # The most rows that `transform` places at once, and the most pairs of such rows with neighbors: together they bound
    # the memory of the new rows' affinities.
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
        """Return early exaggeration, held and then released geometrically, and what follows it."""
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

    def fit(self, X: ArrayLike, y: Any = None) -> BaseEmbedding:
        """Embed X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows to embed, or with ``metric="precomputed"`` their distances: all of them (dense), or a sparse graph
            with those to enough neighbors of every row.
        y : None
            Ignored.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> NDArray[np.floating]:
        """Embed X and return its embedding.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
            The rows to embed, or with ``metric="precomputed"`` their distances: all of them (dense), or a sparse graph
            with those to enough neighbors of every row.
        y : None
            Ignored.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_components)
            The embedding: float32 for float32 input, float64 for any other.
        """
        self._fit(X, y)
        return self.embedding_

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Place rows in the map, which stays as it is.

        A row of the fit, or one that differs from it by rounding only, gets its position in the map. Any other is
        placed where one row of the cost, with its probabilities at the perplexity of the fit, is least; the positions
        of the other rows of ``X`` do not matter.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_new, n_features) or (n_new, n_samples)
            The rows, or with ``metric="precomputed"`` their distances to the rows of the fit, all (dense) or those to
            enough neighbors (sparse); with ``affinities="precomputed"`` their affinities to them.

        Returns
        -------
        X_new : ndarray of shape (n_new, n_components)
            The positions: float32 for float32 input, float64 for any other.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "embedding_")
        rows = self._validate(X, reset=False)
        if self._known_rows.match(rows):
            return self.embedding_.astype(rows.dtype)
        known, places = self._known_rows.find(rows)
        positions = np.empty((rows.shape[0], self.embedding_.shape[1]), dtype=rows.dtype)
        positions[known] = self.embedding_[places]
        new = np.flatnonzero(~known)
        workers = self._map.workers
        workers.n_threads = effective_n_threads(self.n_jobs)
        with workers:
            n_rows = min(self._rows_at_once, max(1, self._pairs_at_once // self._count_neighbors_of(rows)))
            for first in range(0, len(new), n_rows):
                some = new[first : first + n_rows]
                with numbering(some):
                    positions[some] = self._place(rows[some], workers)
        return positions

    def _count_neighbors_of(self, rows: Any) -> int:
        """Return how many rows of the fit a new row is compared with when it is placed, at most."""
        n = len(self.embedding_)
        if self._search is None and issparse(rows):
            return max(1, int(np.diff(rows.indptr).max()))
        if self._search is None or self._input_kind.all_pairs or (self._input_kind.distances and not issparse(rows)):
            return n
        return int(self._affinity_rule.count_neighbors(n))

    def _place(self, X: Any, workers: Workers) -> NDArray[np.floating]:
        """Return the positions of rows of other values than those of the fit."""
        if self._search is None:
            return self._map.place(*given_affinities_of_others(X))
        graph = self._search.neighbors_of(self._conditioning(X), workers)
        positions = self._map.place(self._affinity_rule.probabilities(graph.distances, workers), graph.indices)
        nearest, farthest = graph.distances[:, 0], graph.distances[:, -1]
        same = nearest <= ROUNDINGS * np.finfo(X.dtype).eps * farthest
        positions[same] = self.embedding_[graph.indices[same, 0]]
        return positions

    def _fit(self, X: Any, y: Any) -> None:
        before = self.__dict__.copy()
        try:
            with numbering():
                self._fit_rows(X, y)
        except BaseException:
            resumable = self.__dict__.get("_resumable")
            self.__dict__.clear()
            self.__dict__.update(before)  # a fit that fails, or is interrupted, leaves what there was before
            if self.warm_start and resumable is not None:
                self._resumable = resumable
            raise

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit_rows(self, rows: Any, y: Any) -> None:
        X = self._validate(rows)
        check_parameters(self)
        random_state = check_random_state(self.random_state)
        dtype, n_samples = X.dtype, X.shape[0]
        start = None
        if not isinstance(self.init, str):
            start = check_start(self.init, n_samples, self.n_components)
            start = separate(start, random_state, precision=precision_of(self.init))
        given = isinstance(self.affinities, str) and self.affinities == "precomputed"
        # A copy, because the user may set the parameters of the rule later.
        rule = self._affinity_rule = None if given else deepcopy(choose_affinities(self, n_samples))
        self._search = None
        if rule is not None:
            n_neighbors = rule.count_neighbors(n_samples)
            name, self._search = choose_search(self, X, n_neighbors)
        self._check_memory(X)
        warn_if_not_compiled()

        self.timings_: dict[str, float] = {}
        self._tasks = Tasks(self, (1 if given else 2) + (start is None) + 1, rows, y)
        with Workers(effective_n_threads(self.n_jobs)) as workers:
            if rule is None:
                with self._stage("affinities"):
                    resumed = self._recognized(X)
                    self.affinities_ = self._objective.from_given(given_affinities(X))
            else:
                with self._stage("neighbors"):
                    resumed = self._recognized(X)
                    # A transformer of the user's gets the rows as they are.
                    metric = self.metric if isinstance(self.neighbors, str) else "precomputed"
                    self._conditioning = Conditioning(X, metric, rescale=not rule.uses_scale)
                    X = self._conditioning(X)
                    if not self._input_kind.all_pairs:
                        self._log(f"Computing {n_neighbors} nearest neighbors... ({name})")
                    graph = self._search.fit(X, workers)
                if isinstance(self.init, str) and self.init == "pca":
                    with self._stage("initialization"):
                        start = pca_start(X, self.n_components, random_state)
                        start = separate(start, random_state, self._known_rows.groups)
                del X  # a million rows make gigabytes of each matrix here
                with self._stage("affinities"):
                    conditional = conditional_affinities(graph, rule, workers)
                    self._log(f"Computed conditional probabilities for {n_samples} samples")
                    if self.verbose and isinstance(rule, Perplexity):
                        self._log(f"Mean sigma: {mean_bandwidth(graph, conditional):f}")
                    del graph
                    self.affinities_ = self._objective.from_conditional(conditional)
                    del conditional
            if start is None:
                start = self._start(n_samples, random_state)
            done = 0 if resumed is None else resumed[0].iteration
            stretches = (self.max_iter - 1) // self.callback_every - done // self.callback_every + 1
            with self._stage("optimization", max(stretches, 1)):
                self._optimize(start, resumed, dtype, workers)
        self._tasks.end(dict)  # the estimator has all attributes
        del self._tasks

    def _validate(self, X: Any, reset: bool = True) -> Any:
        """Return X as a float32 or float64 array, or CSR matrix, of the kind that the fit had."""
        X = as_input("X", X)
        precision = precision_of(X)
        # scikit-learn makes float64 of some frames of float32.
        dtypes = [np.float32] if are_single(dtypes_of(X)) else [np.float64, np.float32]
        # A sum tells scikit-learn whether X has NaN, also where the user has told it to assume that there is none.
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
        if reset:  # kept, because the user may set the parameters after the fit
            distances = isinstance(self.metric, str) and self.metric == "precomputed"
            self._input_kind = InputKind(distances, all_pairs=takes_all_pairs(self), sparse=issparse(X))
        kind = self._input_kind
        if kind.distances:
            if reset and X.shape[0] != X.shape[1]:
                raise ValueError(f"With metric='precomputed' X must be a square distance matrix, got shape {X.shape}.")
            if issparse(X) and kind.all_pairs:
                raise TypeError(
                    "method == 'exact' uses the distances of all pairs, and a sparse precomputed X has only some; "
                    "method must be 'auto', or X dense."
                )
            largest = 0.0 if reset else self._largest_distance
            X = without_rounding("With metric='precomputed' X must hold distances", X, precision, largest)
            if reset:
                self._largest_distance = float((X.data if issparse(X) else X).max(initial=0.0))
        elif issparse(X) != kind.sparse:
            X = X.toarray() if issparse(X) else csr_array(X)
        return X

    def _check_memory(self, X: Any) -> None:
        n_samples = X.shape[0]
        n_features = 0 if issparse(X) else X.shape[1]
        if self._affinity_rule is not None:
            n_neighbors = self._affinity_rule.count_neighbors(n_samples)
        elif issparse(X):
            n_neighbors = X.nnz // n_samples
        else:  # affinities are symmetrized and multiplied by their logarithms: half as much again as for rows
            n_neighbors, n_features = 0, 3 * n_features // 2
        check_memory(n_samples, n_features, n_neighbors, self._input_kind.all_pairs and not precomputed(self))

    def _start(self, n_samples: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
        """Return a start that needs no rows."""
        with self._stage("initialization"):
            if self.init == "spectral":
                return spectral_start(self.affinities_, self.n_components, random_state)
            return random_start(n_samples, self.n_components, random_state)

    def _recognized(self, X: Any) -> tuple[State, NDArray[np.intp]] | None:
        """Keep what knows the rows X again; return where an earlier fit of them ended, and the order of its points."""
        self._known_rows = KnownRows(X, explicit_zeros=self._input_kind.distances)
        found = None
        if self.checkpoint is not None:
            found = load(Path(self.checkpoint), fingerprint(self, self._known_rows.hashes))
        elif self.warm_start and "_resumable" in vars(self):
            state, order, hashes = self._resumable
            if np.array_equal(hashes, self._known_rows.hashes) and state.Y.shape[1] == self.n_components:
                found = state.copy(), order
        if found is not None:
            self._log(f"Going on after {found[0].iteration} iterations")
        return found

    def _optimize(
        self, start: NDArray[np.float64], resumed: tuple[State, NDArray[np.intp]] | None, dtype: Any, workers: Workers
    ) -> None:
        n_samples = len(start)
        self.method_, factory = choose_method(self, n_samples)
        similarity = similarity_of(self.dof)
        kernel = make_kernel(factory, similarity, workers)
        phases = self._phases()
        self.learning_rate_ = phases[-1].learning_rate
        affinities, order = self.affinities_, np.arange(n_samples)
        if issparse(affinities):
            order = space_filling_order(start) if resumed is None else resumed[1]
            affinities = reorder(affinities, order, kernel.dtype)
        state = State.at(start[order]) if resumed is None else resumed[0]
        objective = self._objective(affinities, similarity, kernel, workers)
        reports = Reports(
            order,
            state,
            partial(self._fitted, dtype, factory, phases, objective, order),
            tasks=self._tasks,
            log=self._log,
            save=partial(self._save, state, order),
            callback=self.callback,
            callback_every=self.callback_every,
            n_early=self.early_exaggeration_iter,
        )
        result = minimize(
            objective,
            state,
            phases,
            n_iter_without_progress=self.n_iter_without_progress,
            tol=self.tol,
            min_grad_norm=self.min_grad_norm,
            max_step_norm=math.inf if self.max_step_norm is None else self.max_step_norm,
            workers=workers,
            report=reports,
            report_every=self.callback_every,
            tick=reports.tick,
        )
        self.__dict__.update(reports.end(result))
        if self.checkpoint is not None:
            Path(self.checkpoint).unlink(missing_ok=True)
        if self.warm_start:
            self._resumable = state, order, self._known_rows.hashes
        if result.reason == "n_iter_without_progress":
            self._log(
                f"Iteration {result.n_iter}: did not make any progress during the last {self.n_iter_without_progress} "
                "episodes. Finished."
            )
        elif result.reason == "min_grad_norm":
            self._log(f"Iteration {result.n_iter}: gradient norm {result.gradient_norm:f}. Finished.")
        self._log(f"KL divergence after {result.n_iter} iterations: {result.cost:f} (stopped by {result.reason})")

    def _save(self, state: State, order: NDArray[np.intp]) -> None:
        """Keep the state of the optimization where a later fit looks for a state to resume."""
        if self.warm_start:
            self._resumable = state.copy(), order, self._known_rows.hashes
        if self.checkpoint is not None:
            save(Path(self.checkpoint), state, order, fingerprint(self, self._known_rows.hashes))

    def _fitted(
        self,
        dtype: Any,
        factory: KernelFactory,
        phases: list[Phase],
        objective: Objective,
        order: NDArray[np.intp],
        n_iter: int,
        cost: float,
        Y: NDArray[np.float64],
    ) -> dict[str, Any]:
        """Return the attributes of a fit that ends with the map ``Y``."""
        # A map that is still exaggerated is held together by that: new rows feel the forces of the last iteration.
        ends = np.cumsum([phase.n_iter for phase in phases])
        last = phases[min(int(np.searchsorted(ends, n_iter)), len(phases) - 1)]
        exaggeration = exaggeration_in_balance(objective, Y[order], last.exaggeration)
        Y = Y.astype(dtype, copy=False)
        frozen = FrozenMap(Y, self.dof, factory, exaggeration)
        # scikit-learn's n_iter_ is the number of the last iteration, counted from 0.
        return {"embedding_": Y, "kl_divergence_": cost, "n_iter_": n_iter - 1, "_map": frozen}

    @contextmanager
    def _stage(self, name: str, n_subtasks: int = 0) -> Iterator[None]:
        begin = time.perf_counter()
        self._tasks.begin(name, n_subtasks)
        with stages_of(self.callback, name, self):
            yield
        self._tasks.end()
        self.timings_[name] = time.perf_counter() - begin
        self._log(f"{name.capitalize()} done in {self.timings_[name]:.3f}s")

    def _log(self, message: str, level: int = 1) -> None:
        if self.verbose >= level:
            print(f"[{self._label}] {message}")

    @property
    def _n_features_out(self) -> int:
        return int(self.embedding_.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = bool(precomputed(self))
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
