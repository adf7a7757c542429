"""
Anchors that keep the arrangement of groups
===========================================

In this data set there are four groups. Each of them has three groups, and each of these has three small groups of 30
rows. A map of t-SNE keeps the small groups, but the perplexity of 30 does not reach beyond them. With
``anchors="pca"``, the map also keeps the arrangement of the first two principal components. The page
:doc:`/guide/anchors` explains how.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from sktsne import TSNE
from sktsne.plotting import RNXDisplay

rng = np.random.default_rng(0)
centers = np.zeros((1, 50))
for number, spread in ((4, 8.0), (3, 2.5), (3, 1.0)):
    centers = np.repeat(centers, number, axis=0)
    centers += spread * rng.normal(size=centers.shape)
X = np.repeat(centers, 30, axis=0) + rng.normal(size=(1080, 50))
group = np.arange(1080) // 90  # which of the twelve groups of the second level

maps = {
    "principal components": PCA(2, random_state=0).fit_transform(X),
    "without anchors": TSNE(random_state=0).fit_transform(X),
    "anchors, strength 1": TSNE(anchors="pca", random_state=0).fit_transform(X),
    "anchors, strength 100": TSNE(anchors="pca", anchor_strength=100, random_state=0).fit_transform(X),
}

# %%
# The four colors are the large groups, and the shades of a color are the three groups within each of them. The
# principal components separate two of the large groups and mix the small ones. Without anchors, all small groups are
# separate, but a gap between two large groups is hardly wider than a gap within one. With the strength 1, the map has
# both. The strength 100 follows the principal components so closely that the groups within a large group mix.
shades = np.concatenate([plt.get_cmap(name)([0.45, 0.65, 0.85]) for name in ("Blues", "Oranges", "Greens", "Purples")])
figure, axes = plt.subplots(2, 2, figsize=(9, 8.4), layout="constrained")
for ax, (name, Y) in zip(axes.flat, maps.items(), strict=True):
    ax.scatter(*Y.T, c=shades[group], s=5)
    ax.set(title=name, aspect="equal", adjustable="datalim", xticks=[], yticks=[])

# %%
# :math:`R_{NX}(k)` is the part of the :math:`k` nearest neighbors that a map keeps, corrected for chance. The peaks are
# at the sizes of the groups. Up to the groups of 90 rows, the map with the strength 1 is as good as the map without
# anchors. Beyond them, where the neighborhood of a row is a large group or more, it is nearly as good as the principal
# components.
ax = plt.figure(figsize=(7, 4.8), layout="constrained").gca()
for name, Y in maps.items():
    RNXDisplay.from_embedding(X, Y, name=name, ax=ax)

# %%
# The page :doc:`/guide/anchors` also shows digits, whose first two principal components show little: there anchors buy
# less. Compare the curves with and without anchors for your own data.
