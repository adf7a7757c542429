"""
Weights for a sample in which groups have unequal rates
=======================================================

The area that a group has in a map of t-SNE grows with the number of its rows. In a sample in which some groups were
drawn more often than others, the areas are therefore those of the sample. Weights make them those of the population:
``fit(X, sample_weight=weights)`` counts a row as often as it stands for rows of the population. The page
:doc:`/guide/weights` has the details.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial import cKDTree
from sklearn.datasets import load_digits

from sktsne import TSNE, EmbeddingDisplay

X, digit = load_digits(return_X_y=True)

# %%
# The population are all 1,797 images of digits. The sample has all images of the digits 0 to 4, and each of the other
# images with the probability 1/6. The weight of a row is 1 divided by its rate.
rate = np.where(digit < 5, 1.0, 1.0 / 6.0)
sample = np.flatnonzero(np.random.default_rng(0).random(len(X)) < rate)
weights = 1.0 / rate[sample]
print(f"{len(sample)} rows, which stand for {weights.sum():.0f}")

population = TSNE(random_state=0).fit_transform(X)
unweighted = TSNE(random_state=0).fit_transform(X[sample])
weighted = TSNE(random_state=0).fit_transform(X[sample], sample_weight=weights)

# %%
# In the map of the sample, the digits 5 to 9 have small groups. With weights, these groups are as large as in the map
# of the population. The areas of the points are in proportion to the weights.
maps = {
    "population": (population, digit, 5.0),
    "sample": (unweighted, digit[sample], 5.0),
    "sample with weights": (weighted, digit[sample], 5.0 * weights),
}
figure, axes = plt.subplots(1, 3, figsize=(13.2, 4.4), layout="constrained")
for ax, (name, (Y, labels, sizes)) in zip(axes, maps.items(), strict=True):
    EmbeddingDisplay.from_embedding(Y, labels, label_name="digit", ax=ax, legend=ax is axes[-1], s=sizes)
    ax.set_title(name)


# %%
# To measure the areas, lay a fine grid of places over each map, and give each place that is near a point the digit of
# the nearest point.
def shares(Y, labels, n=300, near=3.0):
    sides = (np.linspace(low, high, n) for low, high in zip(Y.min(axis=0), Y.max(axis=0), strict=True))
    places = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    distances, nearest = cKDTree(Y).query(places)
    counts = np.bincount(labels[nearest[distances < near]], minlength=10)
    return counts / counts.sum()


figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
for place, (name, (Y, labels, _)) in enumerate(maps.items()):
    parts = shares(Y, labels)
    print(f"{name}: the digits 5 to 9 have {parts[5:].sum():.0%} of the area")
    ax.bar(np.arange(10) + 0.27 * (place - 1), parts, width=0.25, label=name)
ax.set(xticks=range(10), xlabel="digit", ylabel="part of the area of the map", ylim=(0.0, 0.2))
ax.legend(frameon=False, loc="upper center", ncols=3)
