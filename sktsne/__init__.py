"""SNE and t-SNE as scikit-learn estimators."""

from ._sne import SNE
from ._tsne import TSNE
from ._version import __version__
from .plotting import EmbeddingDisplay

__all__ = ["SNE", "TSNE", "EmbeddingDisplay", "__version__"]
