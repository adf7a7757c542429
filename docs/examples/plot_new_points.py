"""
New rows in a finished map
==========================

``transform`` places rows that the fit has not seen, each on its own, and changes nothing of the map. Here 1,200
images of digits make the map, and 597 others are placed in it.
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

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
EmbeddingDisplay.from_estimator(model, y=digit, ax=axes[0], legend=False)
EmbeddingDisplay.from_embedding(placed, digit_new, label_name="digit", ax=axes[1])
axes[1].set(xlim=axes[0].get_xlim(), ylim=axes[0].get_ylim(), adjustable="box")
axes[0].set_title("the map")
axes[1].set_title("new rows, placed in it")

# %%
# How many of the new rows lie among their like?
print(f"{knn_accuracy(model.embedding_, digit, placed, digit_new):.3f}")

# %%
# A map has no place for what it has never seen. Rows of noise are placed among the digits, too; what gives them
# away are the distances to their nearest neighbors in the data.
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
