"""
A map that grows
================

A map of half of the digits has been made and shown; then the other half arrives. ``transform`` places the new rows in
the map one by one, and the map does not change. :func:`sktsne.growth.extend` fits the new rows together with the old
ones, which are held near their places.
"""

import numpy as np
from sklearn.datasets import load_digits

from sktsne import TSNE
from sktsne.growth import extend
from sktsne.metrics import knn_accuracy, trustworthiness
from sktsne.plotting import plot_sequence

X, digit = load_digits(return_X_y=True)
n_old = len(X) // 2
old = TSNE(random_state=0).fit(X[:n_old])
extended = extend(old, X)

plot_sequence(
    [old, extended],
    [digit[:n_old], digit],
    names=["the first half", "extended by the second half"],
    label_name="digit",
    n_columns=2,
)

# %%
# The old rows before and after, with a line from the old place of each row to its new one:
before, after = old.embedding_, extended.embedding_[:n_old]
plot_sequence([before, after], digit[:n_old], names=["before", "after"], label_name="digit", lines=True, n_columns=2)
moves = np.linalg.norm(after - before, axis=1) / before.std()
print(f"mean move {moves.mean():.3f}, largest move {moves.max():.2f}, where 1 is the standard deviation of the map")

# %%
# How good are the maps of all rows: the extended map, the old map with the new rows placed in it, and a new map of all
# rows, in which every row may be anywhere else than before?
placed = np.vstack([before, old.transform(X[n_old:])])
new = TSNE(random_state=0).fit(X)
for name, Y in (("extended", extended.embedding_), ("placed", placed), ("fitted anew", new.embedding_)):
    accuracy = knn_accuracy(Y[:n_old], digit[:n_old], Y[n_old:], digit[n_old:])
    print(f"{name:>11}: trustworthiness {trustworthiness(X, Y):.4f}, new rows near their digit {accuracy:.3f}")

# %%
# **Groups that the old map does not know.** The first map has no zeros and no ones. ``transform`` must place these
# digits among other digits. In the extended map, they have groups of their own.
known = digit >= 2
old = TSNE(random_state=0).fit(X[known])
extended = extend(old, X)
placed = old.transform(X)
plot_sequence(
    [old.embedding_, placed, extended],
    [digit[known], digit, digit],
    names=["without 0 and 1", "0 and 1 placed", "extended by 0 and 1"],
    label_name="digit",
)
