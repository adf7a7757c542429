"""
Handwritten digits, by both methods
===================================

The 1,797 images of digits that scikit-learn ships, 8 by 8 pixels each: every image becomes a point, and like images
near points. t-SNE opens gaps between the groups; SNE fills the map evenly.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sktsne import SNE, TSNE, EmbeddingDisplay

X, digit = load_digits(return_X_y=True)
tsne = TSNE(random_state=0).fit(X)
sne = SNE(random_state=0).fit(X)

figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for model, ax in zip((tsne, sne), axes, strict=True):
    EmbeddingDisplay.from_estimator(model, y=digit, label_name="digit", ax=ax, legend=ax is axes[1])
    ax.set_title(type(model).__name__)

# %%
# Neither method has seen the digits. How well the maps kept the images' neighborhoods tell numbers between 0 and 1,
# which are explained in :doc:`/guide/quality`:
from sktsne.metrics import continuity, knn_accuracy, trustworthiness

for model in (tsne, sne):
    Y = model.embedding_
    print(
        f"{type(model).__name__:4}  trustworthiness {trustworthiness(X, Y):.3f}  continuity {continuity(X, Y):.3f}  "
        f"labels guessed by neighbors in the map {knn_accuracy(Y, digit):.3f}"
    )

# %%
# Which points are where they should not be? Each point's part of the cost shows it: those between the groups.
from sktsne.metrics import point_costs

costs = point_costs(tsne)
EmbeddingDisplay.from_estimator(tsne, y=costs, label_name="cost of the point")

# %%
# The images themselves say why. These ten cost the most:
figure, axes = plt.subplots(1, 10, figsize=(11, 1.6), layout="constrained")
for ax, row in zip(axes, costs.argsort()[:-11:-1], strict=True):
    ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
    ax.set_title(digit[row])
    ax.set_axis_off()
