"""What ``anchors="pca"`` buys and costs: R_NX at small and large neighborhoods, for several strengths.

    python benchmarks/anchors.py --mnist mnist.npz --n 10000 --threads 2

The script fits rows of the hierarchy and of MNIST with each strength, and prints R_NX(k) at k = 10, 100, n/4 and n/2,
the accuracy of ten nearest neighbors in the map, the cost, and the squared correlation of the map with its anchors. The
first line of each data set is the fit without anchors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from data import prepare
from numpy.typing import NDArray

from sktsne import TSNE
from sktsne.initialization import pca_arrangement
from sktsne.metrics import knn_accuracy, rnx_curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, default=10_000, help="number of rows")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.1, 0.3, 1.0, 3.0, 10.0])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    arguments = parser.parse_args()
    n = arguments.n
    columns = ["10", "100", f"{n // 4}", f"{n // 2}", "accuracy", "cost", "r²", "iterations"]
    for name in ("hierarchy", "mnist"):
        files, labels = prepare(name, [n], arguments.output / "data", arguments.mnist)
        X = np.load(files[n])
        components = pca_arrangement(X, 2, np.random.RandomState(0))
        print(f"{name}, {n:,} rows: R_NX\n  strength  " + "".join(f"{column:>11}" for column in columns), flush=True)
        for strength in (None, *arguments.strengths):
            anchors = {} if strength is None else {"anchors": "pca", "anchor_strength": strength}
            model = TSNE(random_state=0, n_jobs=arguments.threads, **anchors).fit(X)
            Y = model.embedding_
            rnx = rnx_curve(X, Y, n_jobs=arguments.threads)
            values = [rnx[k - 1] for k in (10, 100, n // 4, n // 2)]
            values += [knn_accuracy(Y, labels[:n]), model.kl_divergence_, correlation(Y, components) ** 2]
            print(f"  {strength or 'none':>8}  " + "".join(f"{value:11.4f}" for value in values), model.n_iter_ + 1)


def correlation(Y: NDArray[np.floating], targets: NDArray[np.floating]) -> float:
    """Return the correlation of a map with targets, up to the scale and the center of the targets."""
    y, t = Y - Y.mean(axis=0), targets - targets.mean(axis=0)
    return float(np.sum(y * t) / np.sqrt(np.sum(y * y) * np.sum(t * t)))


if __name__ == "__main__":
    main()
