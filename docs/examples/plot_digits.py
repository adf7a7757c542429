"""
Handwritten digits with TSNE and SNE
====================================

This example draws two maps of the 1,797 images of digits that come with scikit-learn. Each image has 8 by 8 pixels
and becomes one point of a map. Similar images become points that are near each other. In the map of t-SNE there are
gaps between the groups of points; in the map of SNE most groups touch.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sktsne import SNE, TSNE, EmbeddingDisplay

X, digit = load_digits(return_X_y=True)
tsne = TSNE(random_state=0).fit(X)
sne = SNE(random_state=0).fit(X)

for model in (tsne, sne):
    display = EmbeddingDisplay.from_estimator(model, y=digit, label_name="digit")
    display.ax_.set_title(type(model).__name__)

# %%
# The digits only color the points: neither fit used them. The following numbers measure how well each map keeps the
# neighborhoods of the images. All of them are at most 1, and larger is better. :doc:`/guide/quality` explains them.
from sktsne.metrics import continuity, knn_accuracy, trustworthiness

for model in (tsne, sne):
    Y = model.embedding_
    print(type(model).__name__)
    print(f"  trustworthiness             {trustworthiness(X, Y):.3f}")
    print(f"  continuity                  {continuity(X, Y):.3f}")
    print(f"  accuracy of ten neighbors   {knn_accuracy(Y, digit):.3f}")

# %%
# Which points does the map show badly? The cost of a map is a sum over its points, and ``point_costs`` returns the
# part of each point. Many of the largest costs are between the groups.
from sktsne.metrics import point_costs

costs = point_costs(tsne)
EmbeddingDisplay.from_estimator(tsne, y=costs, label_name="cost of the point")

# %%
# These are the ten images with the largest costs, with their digits. Many of them look like another digit.
figure, axes = plt.subplots(1, 10, figsize=(11, 1.6), layout="constrained")
for ax, row in zip(axes, costs.argsort()[:-11:-1], strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(digit[row])
    ax.set_axis_off()
