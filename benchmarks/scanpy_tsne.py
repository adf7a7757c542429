"""scanpy's ``sc.tl.tsne`` with scikit-learn's TSNE, and with sktsne's in its place: seconds, and quality of the maps.

    python benchmarks/scanpy_tsne.py --mnist mnist.npz --repeats 3

The data are the 700 cells that come with scanpy, and the first rows of MNIST as an AnnData object with 50 principal
components. Within a repeat the two classes take turns; the number of the repeat is the random state. First each class
is called once on 200 cells, which is not counted. Both have ``learning_rate="auto"`` in place of scanpy's 1000.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import scanpy as sc
import sklearn.manifold
from data import load_mnist, reduction
from numpy.typing import NDArray
from record import circumstances

import sktsne
from sktsne.metrics import knn_accuracy, trustworthiness

CLASSES = {"scikit-learn": sklearn.manifold.TSNE, "sktsne": sktsne.TSNE}


def cells() -> tuple[sc.AnnData, NDArray]:
    adata = sc.datasets.pbmc68k_reduced()
    return adata, adata.obs["bulk_labels"].cat.codes.to_numpy()


def digits(path: Path, n: int) -> tuple[sc.AnnData, NDArray]:
    images, labels = load_mnist(path)
    components = reduction(images).transform(images[:n].astype(np.float32))
    return sc.AnnData(components, obsm={"X_pca": components}), labels[:n]


def call(adata: sc.AnnData, name: str, seed: int, n_jobs: int) -> tuple[float, NDArray]:
    """Return the seconds of a call, and its map."""
    with warnings.catch_warnings(), patch("sklearn.manifold.TSNE", CLASSES[name]):
        warnings.simplefilter("ignore", UserWarning)  # scanpy says that n_jobs once had another meaning
        begin = time.perf_counter()
        sc.tl.tsne(adata, learning_rate="auto", random_state=seed, n_jobs=n_jobs)
        return time.perf_counter() - begin, adata.obsm["X_tsne"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="an npz file with X and y; without it only the cells are measured")
    parser.add_argument("--n", type=int, default=10_000, help="rows of MNIST")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--n-jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    print(circumstances())
    data = {"cells": cells()}
    if arguments.mnist:
        data["MNIST"] = digits(arguments.mnist, arguments.n)
    for name in CLASSES:
        call(data["cells"][0][:200].copy(), name, 0, arguments.n_jobs)
    for what, (adata, labels) in data.items():
        seconds: dict[str, list[float]] = {name: [] for name in CLASSES}
        for seed in range(arguments.repeats):
            for name in CLASSES:
                duration, embedding = call(adata, name, seed, arguments.n_jobs)
                seconds[name].append(duration)
                quality = trustworthiness(adata.obsm["X_pca"], embedding), knn_accuracy(embedding, labels)
                scores = f"trustworthiness {float(quality[0]):.4f}, 10-NN accuracy {quality[1]:.4f}"
                print(f"{what}, {adata.n_obs} rows, {name}, repeat {seed}: {duration:.2f} s, {scores}", flush=True)
        print(f"{what}: medians " + ", ".join(f"{name} {median(times):.2f} s" for name, times in seconds.items()))


if __name__ == "__main__":
    main()
