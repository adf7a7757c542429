"""
Choosing the perplexity by a grid search
========================================

This example chooses the perplexity with :class:`sklearn.model_selection.GridSearchCV`, in two ways. The first search
maximizes the accuracy of a classifier that works on the map. The second search maximizes a measure of the map itself
and needs no labels.
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
# In the first search, ``TSNE`` is a step in front of a classifier. In each split of the cross-validation, the map is
# fitted to the training rows, and ``transform`` places the test rows in this map. The classifier then predicts the
# label of each test row from the nearest training rows in the map.
classifier = make_pipeline(PCA(30, random_state=0), TSNE(random_state=0), KNeighborsClassifier(5))
by_label = GridSearchCV(classifier, {"tsne__perplexity": perplexities}, cv=3).fit(X, digit)
print(f"accuracy {by_label.best_score_:.3f} with {by_label.best_params_}")

# %%
# The second search scores a map by the area under its :math:`R_{NX}` curve. This measure counts how many neighbors
# the map keeps, for neighborhoods of all sizes. The map of all rows is scored, so ``cv`` is a single split with all
# rows in the training set and in the test set.
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
# The accuracy depends little on the perplexity: the largest and the smallest accuracy differ by about 0.01. The area
# under the curve has a clear maximum.
figure, axes = plt.subplots(2, 1, figsize=(6.4, 4.8), layout="constrained")
titles = ("accuracy of the classifier on test rows", "area under the curve of the map")
for ax, search, title in zip(axes, (by_label, by_map), titles, strict=True):
    ax.plot(perplexities, search.cv_results_["mean_test_score"], "o-")
    ax.set(xscale="log", xlabel="perplexity", title=title)
    ax.set_xticks(perplexities, perplexities)
    ax.minorticks_off()

# %%
# The maps of three perplexities show the reason. With perplexity 2, the groups are torn into strings. Nearest
# neighbors are still together, which is sufficient for the classifier. With perplexity 100, the map loses detail
# within the groups.
plot_perplexities(TSNE(random_state=0), X, [2, 30, 100], digit, label_name="digit")
