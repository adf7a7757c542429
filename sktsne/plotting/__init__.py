"""Pictures of maps: displays like those of scikit-learn, pages for a browser, and animations of a fit.

matplotlib draws the pictures: ``pip install "sktsne[plot]"``. Bokeh draws the pages for a browser:
``pip install "sktsne[interactive]"``. Both are optional, and imported only when something is drawn.
"""

from .embedding import EmbeddingDisplay, plot_perplexities, plot_reliability
from .frames import FrameRecorder
from .rnx import RNXDisplay
from .sequences import plot_sequence

__all__ = [
    "EmbeddingDisplay",
    "FrameRecorder",
    "RNXDisplay",
    "plot_perplexities",
    "plot_reliability",
    "plot_sequence",
]
