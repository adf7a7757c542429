"""What a fit with ``n_neighbors`` gains and loses against a fit with a perplexity.

    python benchmarks/n_neighbors.py
    python benchmarks/n_neighbors.py --data mnist --mnist mnist.npz --n 10000 70000 --repeats 3

The script fits each data set with the perplexity 30 and with each number of ``--neighbors``, in turn. It prints the
median seconds of a fit and of its optimization, and the measures of `sktsne.metrics` for the last map. Ranks are those
of 2,000 rows, drawn at random, among all rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import DEFAULT_SIZES, prepare
from numpy.typing import NDArray

from sktsne import TSNE
from sktsne.metrics import (
    continuity,
    kl_divergence,
    knn_accuracy,
    neighborhood_preservation,
    rnx_auc,
    trustworthiness,
)

SAMPLE = {"sample_size": 2000, "random_state": 0}


def measures(X: NDArray, P: Any, Y: NDArray, labels: NDArray) -> dict[str, float]:
    """Return the measures of a map, with its cost for the affinities P."""
    sample = SAMPLE if len(X) > SAMPLE["sample_size"] else {}
    return {
        "trustworthiness": trustworthiness(X, Y, n_neighbors=15, **sample),
        "continuity": continuity(X, Y, n_neighbors=15, **sample),
        "preserved": neighborhood_preservation(X, Y, n_neighbors=15, **sample),
        "R_NX": float(rnx_auc(X, Y, **sample)),
        "10-NN": float(knn_accuracy(Y, labels, n_neighbors=10)),
        "cost": kl_divergence(P, Y),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DEFAULT_SIZES), default="digits")
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: openml.org")
    parser.add_argument("--n", type=int, nargs="+", help="numbers of rows; default: all of digits")
    parser.add_argument("--neighbors", type=int, nargs="+", default=[10, 15, 30])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    sizes = arguments.n or [DEFAULT_SIZES[arguments.data]]
    with tempfile.TemporaryDirectory() as folder:
        files, labels = prepare(arguments.data, sizes, Path(folder), arguments.mnist)
        for n, file in files.items():
            X = np.load(file)
            models = {"perplexity 30": TSNE(random_state=0)}
            models |= {f"n_neighbors {k}": TSNE(n_neighbors=k, random_state=0) for k in arguments.neighbors}
            seconds: dict[str, list[float]] = {name: [] for name in models}
            optimizing: dict[str, list[float]] = {name: [] for name in models}
            for _ in range(arguments.repeats):
                for name, model in models.items():
                    begin = time.perf_counter()
                    model.fit(X)
                    seconds[name].append(time.perf_counter() - begin)
                    optimizing[name].append(model.timings_["optimization"])
            print(f"{arguments.data}, {n:,} rows", flush=True)
            P = models["perplexity 30"].affinities_
            for name, model in models.items():
                total, part = statistics.median(seconds[name]), statistics.median(optimizing[name])
                print(f"  {name}: {total:.2f} s, optimization {part:.2f} s", end="")
                for key, value in measures(X, P, model.embedding_, labels[:n]).items():
                    print(f", {key} {value:.4f}", end="")
                print(flush=True)


if __name__ == "__main__":
    main()
