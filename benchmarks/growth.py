"""What it takes to extend a map, and how good the extended map is, beside `transform` and beside a fit of all rows.

    python benchmarks/growth.py --mnist mnist.npz --threads 2 --repeats 3

Each repeat fits the first 60,000 rows of MNIST (50 components), places the last 10,000 rows by `transform`, extends the
map by them with each strength, and fits all 70,000 rows from the start. The accuracy is that of ten nearest neighbors
among the points of the first 60,000 rows for the last 10,000; the moves are those of the first 60,000 points, in units
of the standard deviation of their coordinates.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import prepare
from numpy.typing import NDArray

from sktsne import TSNE
from sktsne.growth import extend
from sktsne.metrics import knn_accuracy

WHOLE = "fit of all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, default=70_000, help="number of rows, of which six of seven are old")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.01, 0.1, 1.0, np.inf])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    arguments = parser.parse_args()
    n = arguments.n
    files, labels = prepare("mnist", [n], arguments.output / "data", arguments.mnist)
    X, y = np.load(files[n]), labels[:n]
    repeats = [measure(X, y, arguments.strengths, arguments.threads) for _ in range(arguments.repeats)]
    print(f"{'':<14}{'seconds':>9}{'of a fit':>9}{'accuracy':>10}{'mean move':>11}{'largest':>9}")
    for name in repeats[0]:
        ratio = np.median([repeat[name][0] / repeat[WHOLE][0] for repeat in repeats])
        seconds, accuracy, mean, largest = np.median([repeat[name] for repeat in repeats], axis=0)
        print(f"{name:<14}{seconds:9.2f}{ratio:9.2f}{accuracy:10.4f}{mean:11.4f}{largest:9.3f}")


def measure(
    X: NDArray[np.floating], y: NDArray[np.integer], strengths: list[float], threads: int | None
) -> dict[str, tuple[float, float, float, float]]:
    """Return seconds, accuracy, and the mean and the largest move of old points, for each way to a map of all rows."""
    old, measured = 6 * len(X) // 7, {}
    fitted = TSNE(random_state=0, n_jobs=threads).fit(X[:old])
    before = fitted.embedding_

    def record(name: str, seconds: float, Y: NDArray[np.floating], moves: Any) -> None:
        accuracy, moves = knn_accuracy(Y[:old], y[:old], Y[old:], y[old:]), moves / before.std()
        measured[name] = seconds, accuracy, float(np.mean(moves)), float(np.max(moves))

    seconds, placed = timed(fitted.transform, X[old:])
    record("transform", seconds, np.concatenate([before, placed]), 0.0)
    for strength in strengths:
        seconds, extended = timed(partial(extend, fitted, strength=strength), X)
        moves = np.linalg.norm(extended.embedding_[:old] - before, axis=1)
        record(f"extend {strength:g}", seconds, extended.embedding_, moves)
    seconds, whole = timed(TSNE(random_state=0, n_jobs=threads).fit, X)
    record(WHOLE, seconds, whole.embedding_, np.nan)
    return measured


def timed(function: Callable[[Any], Any], X: NDArray[np.floating]) -> tuple[float, Any]:
    """Return the seconds that a function of the rows took, and its result."""
    begin = time.perf_counter()
    result = function(X)
    return time.perf_counter() - begin, result


if __name__ == "__main__":
    main()
