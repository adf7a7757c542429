"""
A million points
================

This example fits a million images at once. Each of them is one of the 1,797 digits of scikit-learn, rotated, shifted
and stretched at random. The fit takes minutes, so the script does not run when this documentation is built. The
picture below was made beforehand.
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
    """Return the images with the numbers ``sources``, each with a random rotation, stretch and shift."""
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
# With ``verbose=2`` the fit prints its progress.
start = time.perf_counter()
model = TSNE(random_state=0, verbose=2).fit(X)
print(f"{time.perf_counter() - start:.0f} s, {model.n_iter_ + 1} iterations")
print(model.timings_)

# %%
# A million markers would hide each other. For more than 200,000 points, the display draws an image instead, in which
# each pixel has the color of the most frequent digit of its points.
figure, ax = plt.subplots(figsize=(8, 7), layout="constrained")
EmbeddingDisplay.from_estimator(model, y=digits.target[sources], label_name="digit", ax=ax)
figure.savefig("million.png", dpi=100)

# %%
# .. image:: /images/million.png
#    :alt: The map of a million deformed digits, as an image colored by the most frequent digit of each pixel.
#
# The fit ended after 750 iterations. It took 406 seconds of processor time, summed over two threads, and 4.6 GB of
# memory.
