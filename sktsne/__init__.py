"""SNE and t-SNE for scikit-learn, which show high-dimensional data as a map.

`TSNE` and `SNE` are the estimators, and `EmbeddingDisplay` draws their maps. `sktsne.metrics` measures how good a map
is, `sktsne.plotting` has further pictures, and `sktsne.progress` has a progress bar for fits.
The documentation is at https://sktsne.readthedocs.io/en/stable/.
"""

from ._sne import SNE
from ._tsne import TSNE
from ._version import __version__
from .plotting import EmbeddingDisplay

__all__ = ["SNE", "TSNE", "EmbeddingDisplay", "__version__"]
