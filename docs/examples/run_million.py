"""
A million points
================

A million images, each one of scikit-learn's 1,797 digits, turned, moved and stretched at random, and all of them in
one fit. It takes minutes, so that this script is not run when the documentation is built.
"""

# sphinx_gallery_thumbnail_path = "images/million.png"

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits

from sktsne import TSNE, EmbeddingDisplay

digits = load_digits()
random = np.random.default_rng(0)


def deformed(sources):
    """Return the images with these numbers, each turned, stretched and moved in its own way."""
    n = len(sources)
    angle = np.radians(random.uniform(-12, 12, (n, 1, 1)))
    stretch = random.uniform(0.9, 1.1, (2, n, 1, 1))
    shift = random.uniform(-0.5, 0.5, (2, n, 1, 1))
    down, across = np.mgrid[:8, :8] - 3.5
    rows = stretch[0] * (np.cos(angle) * down - np.sin(angle) * across) + shift[0] + 3.5
    columns = stretch[1] * (np.sin(angle) * down + np.cos(angle) * across) + shift[1] + 3.5
    images = np.broadcast_to(sources[:, None, None], rows.shape)
    pixels = map_coordinates(digits.images.astype(np.float32), [images, rows, columns], order=1)
    return pixels.reshape(n, 64)


sources = random.integers(len(digits.images), size=1_000_000)
X = np.vstack([deformed(batch) for batch in np.array_split(sources, 100)])

# %%
# The neighbors of so many rows are found in lists. ``verbose=2`` tells how the fit comes on.
start = time.perf_counter()
model = TSNE(random_state=0, verbose=2).fit(X)
print(f"{time.perf_counter() - start:.0f} s, {model.n_iter_ + 1} iterations")
print(model.timings_)

# %%
# So many marks would hide each other: the display draws an image, in which each pixel has the color of the digit
# that most of its points are of.
figure, ax = plt.subplots(figsize=(8, 7), layout="constrained")
EmbeddingDisplay.from_estimator(model, y=digits.target[sources], label_name="digit", ax=ax)
figure.savefig("million.png", dpi=100)

# %%
# .. image:: /images/million.png
#    :alt: The map of a million deformed digits, as an image colored by the digit of most points of a pixel.
#
# This fit ended after 750 iterations. It took 406 seconds of processor time, of two threads together, and 4.6 GB of
# memory.
