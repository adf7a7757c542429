"""Pictures of maps: displays in the manner of scikit-learn's, and frames of a fit.

matplotlib is an optional extra, imported when something is drawn: ``pip install "sktsne[plot]"``. So is Bokeh, which
draws maps for a browser: ``pip install "sktsne[interactive]"``.
"""

from .embedding import EmbeddingDisplay, plot_perplexities
from .frames import FrameRecorder
from .rnx import RNXDisplay

__all__ = [
    "EmbeddingDisplay",
    "FrameRecorder",
    "RNXDisplay",
    "plot_perplexities",
]
