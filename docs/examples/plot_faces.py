"""
Faces as the points of a map
============================

This example draws every image at the place of its point. If scikit-learn has already downloaded the Olivetti faces to
this computer, the images are these 400 photographs, ten of each of 40 people. Otherwise they are 200 small images
that come with scikit-image: 100 of them show a face, and the other 100 show something else.
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
# Each image is one row of ``X``, with a column for each pixel. The rows are first scaled to mean 0 and standard
# deviation 1, so that neither the brightness nor the contrast of a photograph matters. With only a few hundred rows,
# we choose a perplexity of 10, which is less than the default of 30.
X = images.reshape(len(images), -1)
X = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
model = TSNE(perplexity=10, random_state=0).fit(X)

# %%
# :class:`~sktsne.EmbeddingDisplay` draws on axes of matplotlib, to which we add each image at the position of its
# point:
figure, ax = plt.subplots(figsize=(10, 7.5), layout="constrained")
display = EmbeddingDisplay.from_estimator(model, ax=ax)
zoom = 18 / images.shape[1]
for position, image in zip(model.embedding_, images, strict=True):
    picture = OffsetImage(image, zoom=zoom, cmap="gray")
    ax.add_artist(AnnotationBbox(picture, position, frameon=False))
ax.set_title(name)

# %%
# The same map, with the points colored by label. The fit did not use the labels.
EmbeddingDisplay.from_estimator(model, y=labels, label_name=label_name)
