"""The SNE estimator."""

from __future__ import annotations

from typing import Any

from ._base import BaseEmbedding
from ._native.parallel import Workers
from .kernels import KernelFactory
from .objectives import ConditionalKL
from .optimizer import Objective, Phase
from .similarities import Gaussian


class SNE(BaseEmbedding):
    """S"""

    _label = "SNE"

    def __init__(
        self,
        n_components: int = 2,
        *,
        perplexity: float = 30.0,
        early_exaggeration: float = 4.0,
        learning_rate: float | str = "auto",
        max_iter: int = 1000,
        n_iter_without_progress: int = 300,
        min_grad_norm: float = 1e-7,
        metric: Any = "euclidean",
        metric_params: dict[str, Any] | None = None,
        init: Any = "pca",
        verbose: int = 0,
        random_state: Any = None,
        method: str | KernelFactory = "auto",
        angle: float = 0.5,
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.perplexity = perplexity
        self.early_exaggeration = early_exaggeration
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.n_iter_without_progress = n_iter_without_progress
        self.min_grad_norm = min_grad_norm
        self.metric = metric
        self.metric_params = metric_params
        self.init = init
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.angle = angle
        self.n_jobs = n_jobs

    def _affinities(self, conditional: Any) -> Any:
        return conditional

    def _objective(self, affinities: Any, kernel: KernelFactory, workers: Workers) -> Objective:
        similarity = Gaussian()
        return ConditionalKL(affinities, similarity, kernel(similarity, workers), workers)

    def _phases(self, n_samples: int) -> list[Phase]:
        exploring = min(50, self.max_iter)
        rate = 0.1 if isinstance(self.learning_rate, str) else self.learning_rate
        return [
            Phase(exploring, self.early_exaggeration, 0.8, rate / self.early_exaggeration),
            Phase(self.max_iter - exploring, 1.0, 0.8, rate),
        ]
