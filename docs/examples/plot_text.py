"""
A map of texts
==============

This example draws a map of texts, in which texts with similar words are near each other. If scikit-learn has already
downloaded the 20 newsgroups to this computer, the texts are the messages of these groups. Otherwise they are the
docstrings of more than a thousand functions and classes of SciPy and scikit-learn.
"""

import importlib
import inspect

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_20newsgroups
from sklearn.feature_extraction.text import TfidfVectorizer

from sktsne import TSNE, EmbeddingDisplay
from sktsne.metrics import knn_accuracy

MODULES = [
    "scipy.fft", "scipy.linalg", "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.sparse",
    "scipy.spatial", "scipy.special", "scipy.stats", "sklearn.datasets", "sklearn.ensemble",
    "sklearn.linear_model", "sklearn.metrics", "sklearn.preprocessing",
]  # fmt: skip


def docstrings():
    """Return names, docstrings and modules of the public functions and classes."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for entry in module.__all__:
            thing = getattr(module, entry)
            text = None if inspect.ismodule(thing) else inspect.getdoc(thing)
            if text and len(text) > 200:
                found.setdefault(text, (f"{name}.{entry}", name))
    names, modules = zip(*found.values(), strict=True)
    return list(names), list(found), np.array(modules)


try:
    news = fetch_20newsgroups(remove=("headers", "footers", "quotes"), download_if_missing=False)
    names, texts, topics = None, news.data, np.array(news.target_names)[news.target]
except OSError:
    names, texts, topics = docstrings()
print(f"{len(texts)} texts with {len(set(topics))} topics")

# %%
# ``TfidfVectorizer`` makes a row of each text, with a column for each word. Words that occur in many texts get small
# weights. ``X`` is a sparse matrix, which ``TSNE`` does not convert to a dense one. The cosine metric compares the
# angles between rows.
words = TfidfVectorizer(stop_words="english", max_features=10_000, min_df=3, sublinear_tf=True)
X = words.fit_transform(texts)
has_words = X.getnnz(axis=1) > 0
X, topics = X[has_words], topics[has_words]
model = TSNE(metric="cosine", random_state=0).fit(X)
print(X.shape, f"{X.nnz / np.prod(X.shape):.1%} of the numbers are not zero")
accuracy = knn_accuracy(model.embedding_, topics)
print(f"accuracy of topics predicted from ten neighbors in the map: {accuracy:.2f}")

# %%
figure, ax = plt.subplots(figsize=(10, 7.5), layout="constrained")
EmbeddingDisplay.from_estimator(model, y=topics, ax=ax)

# %%
# With the docstrings, the small dense groups are families of functions whose docstrings use the same words, such as
# the distributions of ``scipy.stats``. For two functions and a class, we print the nearest points of the map.
if names is not None:
    names = np.array(names)[has_words]
    for name in ("scipy.linalg.qr", "sklearn.linear_model.Lasso", "scipy.signal.butter"):
        place = model.embedding_[names == name][0]
        nearest = np.argsort(np.linalg.norm(model.embedding_ - place, axis=1))[1:5]
        print(name, *names[nearest], sep="\n    ")
