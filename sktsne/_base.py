"""What the estimators share: validate, affinities, start, optimise, store."""

from __future__ import annotations

import math
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
from ._parameters import (
    check_parameters,
    check_start,
    choose_affinities,
    choose_method,
    choose_neighbors,
    precomputed,
    takes_all_pairs,
)
from .affinities import conditional_affinities, given_affinities, reorder
from .initialization import pca_start, random_start, separate, space_filling_order, spectral_start
from .kernels import GradientKernel
from .neighbors import all_distances, condition, nearest_neighbors, neighbors_by_transformer
from .optimizer import Objective, Phase, Progress, minimize
from .similarities import Similarity, similarity_of


class BaseEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Template of an embedding estimator.

    A subclass has the parameters of `TSNE`, and says what it minimises (`_affinities`, `_objective`) and how
    fast (`_relative_rate`).
    """

    _label: ClassVar[str]
    _relative_rate: ClassVar[float]
    embedding_: NDArray[np.floating]

    def _affinities(self, conditional: Any) -> Any:
        """Return the affinities that the method compares with, from conditional probabilities."""
        raise NotImplementedError

    def _normalize(self, affinities: Any) -> Any:
        """Return the affinities that the method compares with, from a user's."""
        raise NotImplementedError

    def _objective(
        self, affinities: Any, similarity: Similarity, kernel: GradientKernel, workers: Workers
    ) -> Objective:
        raise NotImplementedError

    def _phases(self) -> list[Phase]:
        """Return early exaggeration, held and then released geometrically, and what follows it."""
        relative = isinstance(self.learning_rate, str)
        rate = self._relative_rate if relative else self.learning_rate
        early, late = self.early_exaggeration, self.exaggeration
        held = self.early_exaggeration_iter - self.early_exaggeration_iter // 2
        fading = self.early_exaggeration_iter - held
        factors = [early] * held + [late * (early / late) ** (1.0 - t / fading) for t in range(fading)]
        factors = factors[: self.max_iter]
        return [
            *(Phase(1, factor, self.momentum, rate, relative) for factor in factors),
            Phase(self.max_iter - len(factors), late, self.momentum, rate, relative),
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
        kind = choose_affinities(self, n_samples)
        start = None
        if not isinstance(self.init, str):
            start = separate(check_start(self.init, n_samples, self.n_components), random_state)
        search = choose_neighbors(self, X)
        warn_if_not_compiled()

        self.timings_: dict[str, float] = {}
        with Workers(effective_n_threads(self.n_jobs)) as workers:
            if isinstance(self.affinities, str) and self.affinities == "precomputed":
                with self._stage("affinities"):
                    self.affinities_ = self._normalize(given_affinities(X))
            else:
                given, X = X, condition(X, self.metric, rescale=not kind.uses_scale)
                graph = self._neighbors(search, given, X, kind.count_neighbors(n_samples), workers)
                if isinstance(self.init, str) and self.init == "pca":
                    with self._stage("initialization"):
                        start = pca_start(X, self.n_components, random_state)
                del given, X  # a million rows make gigabytes of each matrix here
                with self._stage("affinities"):
                    conditional = conditional_affinities(graph, kind, workers)
                    del graph
                    self.affinities_ = self._affinities(conditional)
                    del conditional
            if start is None:
                start = self._start(n_samples, random_state)
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
            if issparse(X) and takes_all_pairs(self):
                raise TypeError(
                    "method == 'exact' uses the distances of all pairs, and a sparse precomputed X has only some; "
                    "method must be 'auto', or X dense."
                )
            if (X.data if issparse(X) else X).min(initial=0.0) < 0.0:
                raise ValueError("With metric='precomputed' X must hold distances, got negative values.")
        return X

    def _neighbors(self, search: Any, given: Any, X: Any, n_neighbors: int, workers: Workers) -> Any:
        """Return the distances of all pairs where the method is exact by the user's wish, of neighbours otherwise."""
        if takes_all_pairs(self):
            with self._stage("neighbors"):
                return all_distances(X, self.metric, self.metric_params, workers.n_threads)
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

    def _start(self, n_samples: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
        """Return a start that needs no rows."""
        with self._stage("initialization"):
            if self.init == "spectral":
                return spectral_start(self.affinities_, self.n_components, random_state)
            return random_start(n_samples, self.n_components, random_state)

    def _optimize(self, start: NDArray[np.float64], workers: Workers) -> None:
        n_samples = len(start)
        self.method_, factory = choose_method(self, n_samples)
        similarity = similarity_of(self.dof)
        kernel = factory(similarity, workers)
        phases = self._phases()
        affinities, order = self.affinities_, np.arange(n_samples)
        if issparse(affinities):
            order = space_filling_order(start)
            affinities = reorder(affinities, order, kernel.dtype)
        result = minimize(
            self._objective(affinities, similarity, kernel, workers),
            start[order],
            phases,
            n_iter_without_progress=self.n_iter_without_progress,
            tol=self.tol,
            min_grad_norm=self.min_grad_norm,
            max_step_norm=math.inf if self.max_step_norm is None else self.max_step_norm,
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
        tags.input_tags.pairwise = bool(precomputed(self))
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
