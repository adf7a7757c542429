"""Seconds of `transform` for new rows in a finished map, and accuracy of the placed rows, for sktsne and openTSNE.

    python benchmarks/placement.py --mnist mnist.npz --threads 2

Each library fits the first 60,000 rows of MNIST (50 components) with its defaults, and places the last 10,000 rows. The
libraries take turns, ``--repeats`` times. The accuracy is that of ten nearest neighbors in the map of the fit; compare
it with the accuracy in a map of all 70,000 rows. ``--results`` names a file that receives the measurements.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import load_mnist
from fft_error import data_sets
from numpy.typing import NDArray
from record import save
from sklearn.neighbors import KNeighborsClassifier


def fit_sktsne(X: NDArray, threads: int) -> Any:
    """Return the fitted estimator and its map."""
    from sktsne import TSNE

    model = TSNE(random_state=0, n_jobs=threads).fit(X)
    return model, model.embedding_


def fit_opentsne(X: NDArray, threads: int) -> Any:
    """Return the map twice, because openTSNE's map has `transform` itself."""
    from openTSNE import TSNE

    embedding = TSNE(random_state=0, n_jobs=threads).fit(X)
    return embedding, np.asarray(embedding)


LIBRARIES = {"sktsne": fit_sktsne, "openTSNE": fit_opentsne}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="NPZ file with X (n, 784) and y")
    parser.add_argument("--train", type=int, default=60_000, help="number of rows of the fit")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES))
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    _, labels = load_mnist(arguments.mnist)
    (_, X), n = next(data_sets(arguments.mnist, [len(labels)])), arguments.train
    models = {name: LIBRARIES[name](X[:n], arguments.threads) for name in arguments.libraries}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    accuracy = {}
    for _ in range(arguments.repeats):
        for name, (model, embedding) in models.items():
            begin = time.perf_counter()
            placed = np.asarray(model.transform(X[n:]))
            seconds[name].append(time.perf_counter() - begin)
            accuracy[name] = KNeighborsClassifier(10).fit(embedding, labels[:n]).score(placed, labels[n:])
    for name, times in seconds.items():
        print(
            f"{name}: {len(X) - n:,} rows in {statistics.median(times):.2f} s (first {times[0]:.2f} s), 10-NN accuracy "
            f"{accuracy[name]:.4f}",
            flush=True,
        )
    if arguments.results is not None:
        placements = [
            {"library": name, "seconds": times, "accuracy": accuracy[name], "n": n, "rows": len(X) - n}
            for name, times in seconds.items()
        ]
        save(arguments.results, {"placements": placements})


if __name__ == "__main__":
    main()
