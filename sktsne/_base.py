"""What the estimators share: validate, affinities, start, optimise, store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from ._faiss import approximate_neighbors
from ._native import warn_if_not_compiled
from ._native.parallel import Workers, effective_n_threads
from ._parameters import check_parameters, check_start, choose_method, choose_neighbors, effective_perplexity
from .affinities import conditional_affinities, reorder
from .initialization import pca_start, random_start, space_filling_order
from .neighbors import all_distances, condition, nearest_neighbors, neighbors_by_transformer
from .optimizer import Objective, Phase, Progress, minimize
from .similarities import Similarity

# Chosen together with the rates; the documentation's page on the optimiser has the curves and the maps.
HELD_ITERATIONS = 50
RELEASED_ITERATIONS = 50
MOMENTUM = 0.9


class BaseEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Template of an embedding estimator.

    A subclass has the parameters of `TSNE`, and says what it minimises (`_affinities`, `_objective`) and how
    fast (`_relative_rate`).
    """

    _label: ClassVar[str]
    _similarity: ClassVar[Similarity]
    _relative_rate: ClassVar[float]
    embedding_: NDArray[np.floating]

    def _affinities(self, conditional: Any) -> Any:
        """Return the affinities that the method compares with, from conditional probabilities."""
        raise NotImplementedError

    def _objective(self, affinities: Any, kernel: Any, workers: Workers) -> Objective:
        raise NotImplementedError

    def _phases(self) -> list[Phase]:
        """Return early exaggeration, held and then released to 1 geometrically, and what follows it."""
        relative = isinstance(self.learning_rate, str)
        rate = self._relative_rate if relative else self.learning_rate
        held = min(HELD_ITERATIONS, self.max_iter)
        released = min(RELEASED_ITERATIONS, self.max_iter - held)
        factors = [self.early_exaggeration ** (1.0 - t / RELEASED_ITERATIONS) for t in range(released)]
        return [
            Phase(held, self.early_exaggeration, MOMENTUM, rate, relative),
            *(Phase(1, factor, MOMENTUM, rate, relative) for factor in factors),
            Phase(self.max_iter - held - released, 1.0, MOMENTUM, rate, relative),
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
        self._fit(X)
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
        self._fit(X)
        return self.embedding_

    def _fit(self, X: Any) -> None:
        X = self._validate(X)
        check_parameters(self)
        random_state = check_random_state(self.random_state)
        dtype, n_samples = X.dtype, X.shape[0]
        perplexity = effective_perplexity(self.perplexity, n_samples)
        start = None
        if not isinstance(self.init, str):
            start = check_start(self.init, n_samples, self.n_components)
        search = choose_neighbors(self, X)
        warn_if_not_compiled()

        self.timings_: dict[str, float] = {}
        with Workers(effective_n_threads(self.n_jobs)) as workers:
            given, X = X, condition(X, self.metric)
            graph = self._neighbors(search, given, X, perplexity, workers)
            if start is None:
                start = self._start(X, random_state)
            del given, X  # a million rows make gigabytes of each matrix here
            with self._stage("affinities"):
                conditional = conditional_affinities(graph, perplexity, workers)
                del graph
                self.affinities_ = self._affinities(conditional)
                del conditional
            with self._stage("optimization"):
                self._optimize(start, workers)
        self.embedding_ = self.embedding_.astype(dtype, copy=False)

    def _validate(self, X: Any) -> Any:
        """Return X as a float32 or float64 array, or CSR matrix."""
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", ensure_min_samples=2)
        if isinstance(self.metric, str) and self.metric == "precomputed":
            if X.shape[0] != X.shape[1]:
                raise ValueError(
                    f"With metric='precomputed' X must be a square matrix of distances, got shape {X.shape}."
                )
            if issparse(X) and isinstance(self.method, str) and self.method == "exact":
                raise TypeError(
                    "method == 'exact' uses the distances of all pairs, and a sparse precomputed X has only some; "
                    "method must be 'auto', or X dense."
                )
            if (X.data if issparse(X) else X).min(initial=0.0) < 0.0:
                raise ValueError("With metric='precomputed' X must hold distances, got negative values.")
        return X

    def _neighbors(self, search: Any, given: Any, X: Any, perplexity: float, workers: Workers) -> Any:
        """Return the distances of all pairs where the method is exact by the user's wish, of neighbours otherwise."""
        if isinstance(self.method, str) and self.method == "exact":
            with self._stage("neighbors"):
                return all_distances(X, self.metric, self.metric_params, workers.n_threads)
        n_neighbors = min(X.shape[0] - 1, int(3.0 * perplexity + 1))
        name = search if isinstance(search, str) else type(search).__name__
        self._log(f"Computing {n_neighbors} nearest neighbors ({name})...")
        with self._stage("neighbors"):
            if not isinstance(search, str):
                return neighbors_by_transformer(search, given, n_neighbors)
            if search == "faiss":
                graph = approximate_neighbors(X, n_neighbors, self.metric, workers)
                if graph is not None:
                    return graph
                self._log("faiss does not serve these rows: searching exactly...")
            return nearest_neighbors(X, n_neighbors, self.metric, self.metric_params, workers.n_threads)

    def _start(self, X: Any, random_state: np.random.RandomState) -> NDArray[np.float64]:
        with self._stage("initialization"):
            if self.init == "pca":
                return pca_start(X, self.n_components, random_state)
            return random_start(X.shape[0], self.n_components, random_state)

    def _optimize(self, start: NDArray[np.float64], workers: Workers) -> None:
        n_samples, n_components = start.shape
        self.method_, factory = choose_method(self.method, n_samples, n_components)
        kernel = factory(self._similarity, workers)
        phases = self._phases()
        affinities, order = self.affinities_, np.arange(n_samples)
        if issparse(affinities):
            order = space_filling_order(start)
            affinities = reorder(affinities, order, kernel.dtype)
        result = minimize(
            self._objective(affinities, kernel, workers),
            start[order],
            phases,
            n_iter_without_progress=self.n_iter_without_progress,
            tol=self.tol,
            min_grad_norm=self.min_grad_norm,
            workers=workers,
            report=self._report if self.verbose else None,
        )
        self._log(f"KL divergence after {result.n_iter} iterations: {result.cost:f} (stopped by {result.reason})")
        self.embedding_ = np.empty_like(result.Y)
        self.embedding_[order] = result.Y
        self.kl_divergence_ = result.cost
        self.n_iter_ = result.n_iter
        self.learning_rate_ = phases[-1].learning_rate

    def _report(self, progress: Progress) -> None:
        self._log(
            f"Iteration {progress.iteration}: error = {progress.cost:.7f}, "
            f"gradient norm = {progress.gradient_norm:.7f}",
            level=2,
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
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
        tags.input_tags.pairwise = isinstance(self.metric, str) and self.metric == "precomputed"
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
