"""
Faces, shown in the map itself
==============================

Where the rows are pictures, the best labels are the pictures. The data are the 400 Olivetti faces, ten of each of
40 people, if scikit-learn has downloaded them on this machine before. Otherwise they are 200 small pictures that
come with scikit-image, of which one half are faces and the other are not.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from sklearn.datasets import fetch_olivetti_faces

from sktsne import TSNE, EmbeddingDisplay

try:
    faces = fetch_olivetti_faces(download_if_missing=False)
    images, labels, label_name = faces.images, faces.target, "person"
    name = "Olivetti faces"
except OSError:
    from skimage.data import lfw_subset

    images, label_name = lfw_subset(), None
    labels = np.where(np.arange(len(images)) < 100, "face", "no face")
    name = "scikit-image's faces and other pictures"

print(f"{name}: {images.shape[0]} pictures of {images.shape[1]} x {images.shape[2]} pixels")

# %%
# A row is a picture. Every picture is brought to the same mean and contrast first, so that they are compared by
# what is on them, not by the light. With so few rows, a perplexity below the default is enough.
X = images.reshape(len(images), -1)
X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
model = TSNE(perplexity=10, random_state=0).fit(X)

# %%
# :class:`~sktsne.EmbeddingDisplay` gives the axes, on which anything can be drawn. Here every point is covered by
# its picture:
figure, ax = plt.subplots(figsize=(9, 9), layout="constrained")
display = EmbeddingDisplay.from_estimator(model, ax=ax)
zoom = 18 / images.shape[1]
for position, image in zip(model.embedding_, images, strict=True):
    ax.add_artist(AnnotationBbox(OffsetImage(image, zoom=zoom, cmap="gray"), position, frameon=False))
ax.set_title(name)

# %%
# By their labels, which the map has not seen:
EmbeddingDisplay.from_estimator(model, y=labels, label_name=label_name)
