"""
New rows in a finished map
==========================

This example fits a map to 1,200 images of digits, and then places 597 other images in the map with ``transform``. The
map does not change. The position of a new row does not depend on the other new rows.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sktsne import TSNE, EmbeddingDisplay
from sktsne.metrics import knn_accuracy

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(X, digit, train_size=1200, random_state=0)
model = TSNE(random_state=0).fit(X)
placed = model.transform(X_new)

of_fit = EmbeddingDisplay.from_estimator(model, y=digit, label_name="digit")
of_fit.ax_.set_title("the map of 1,200 rows")
of_new = EmbeddingDisplay.from_embedding(placed, digit_new, label_name="digit")
of_new.ax_.set_title("597 new rows in this map")
limits = {"xlim": of_fit.ax_.get_xlim(), "ylim": of_fit.ax_.get_ylim()}
for display in (of_fit, of_new):
    display.ax_.set(adjustable="box", **limits)

# %%
# What fraction of the new rows has the digit that most of the ten nearest points of the map have?
print(f"{knn_accuracy(model.embedding_, digit, placed, digit_new):.3f}")

# %%
# ``transform`` also places rows that are unlike all rows of the fit, and their positions do not show the difference.
# Here the new rows are random noise. The distance from a new row to the nearest row of the fit shows which rows are
# not digits.
import numpy as np
from sklearn.neighbors import NearestNeighbors

noise = np.random.default_rng(0).uniform(0, 16, size=(200, 64))
near = NearestNeighbors(n_neighbors=1).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
EmbeddingDisplay.from_estimator(model, ax=axes[0])
axes[0].scatter(*model.transform(noise).T, marker="x", color="tab:red", label="noise")
axes[0].legend(loc="upper left", bbox_to_anchor=(0, 0), frameon=False)
for rows, name, color in ((X_new, "new digits", "tab:blue"), (noise, "noise", "tab:red")):
    axes[1].hist(near.kneighbors(rows)[0].ravel(), bins=30, label=name, color=color)
axes[1].set(xlabel="distance to the nearest row of the fit", ylabel="rows")
axes[1].legend(frameon=False)
