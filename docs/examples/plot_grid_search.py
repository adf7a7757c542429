"""
Which perplexity? A grid search
===============================

A map is chosen by a score like any other model. Here the perplexity is, twice: for a classifier that works on the
map, and for the map itself.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sktsne import TSNE
from sktsne.metrics import make_embedding_scorer, rnx_auc
from sktsne.plotting import plot_perplexities

X, digit = load_digits(return_X_y=True)
perplexities = [2, 10, 30, 100]

# %%
# With a step behind the map, cross-validation is what it always is: the map is made of the rows of the training
# folds, those of the other fold are placed in it, and their neighbors vote for the label.
classifier = make_pipeline(PCA(30, random_state=0), TSNE(random_state=0), KNeighborsClassifier(5))
by_label = GridSearchCV(classifier, {"tsne__perplexity": perplexities}, cv=3).fit(X, digit)
print(f"accuracy {by_label.best_score_:.3f} with {by_label.best_params_}")

# %%
# Without labels, a scorer compares the map with the data: here by the area under the :math:`R_{NX}` curve, which
# counts the neighbors that were kept, over neighborhoods of all sizes. The map of all rows is judged, so that the
# one "split" has them on both sides.
rows = np.arange(len(X))
by_map = GridSearchCV(
    TSNE(random_state=0),
    {"perplexity": perplexities},
    scoring=make_embedding_scorer(rnx_auc),
    cv=[(rows, rows)],
).fit(X)
print(f"area {by_map.best_score_:.3f} with {by_map.best_params_}")

for search in (by_label, by_map):
    print(search.cv_results_["mean_test_score"].round(3))

# %%
# The classifier hardly cares: its accuracies differ by a hundredth. The area falls on both sides of its best, by a
# tenth of it and more.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
titles = ("accuracy of held-out rows", "area under the curve")
for ax, search, title in zip(axes, (by_label, by_map), titles, strict=True):
    ax.plot(perplexities, search.cv_results_["mean_test_score"], "o-")
    ax.set(xscale="log", xlabel="perplexity", title=title)
    ax.set_xticks(perplexities, perplexities)
    ax.minorticks_off()

# %%
# The maps of three of them tell why. With the smallest, groups are torn into strings, whose points still have their
# like beside them; with the largest, what is within a group is lost.
plot_perplexities(TSNE(random_state=0), X, [2, 30, 100], digit, label_name="digit")
