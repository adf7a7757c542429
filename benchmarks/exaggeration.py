"""What exaggeration does to maps of very many rows: seconds, all measures, and a picture.

    python benchmarks/exaggeration.py --data deformed --mnist mnist.npz --n 100000 1000000
    python benchmarks/exaggeration.py --data hierarchy --n 100000 1000000

The script fits each number of rows with each exaggeration of ``--exaggerations``. It prints the seconds of the fit, the
measures of `sktsne.metrics` as ``n_neighbors.py`` does, and the mean silhouette of the labels in the map, which is 1
for groups far from each other and 0 or less for groups that touch or mix. The folder of ``--output`` receives the maps
and, for each number of rows, a picture of all maps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from data import DEFAULT_SIZES, prepare
from n_neighbors import SAMPLE, measures
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from sktsne import TSNE, EmbeddingDisplay

PANEL = 4.5  # inches


def draw(maps: dict[float, NDArray], labels: NDArray, path: Path) -> None:
    """Write a picture with a panel for each exaggeration."""
    figure, axes = plt.subplots(1, len(maps), figsize=(PANEL * len(maps), PANEL), layout="constrained", squeeze=False)
    for ax, (exaggeration, Y) in zip(axes[0], maps.items(), strict=True):
        EmbeddingDisplay.from_embedding(Y, labels, ax=ax, legend=False)
        ax.set_title(f"exaggeration {exaggeration:g}")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DEFAULT_SIZES), default="deformed")
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, nargs="+", default=[100_000], help="numbers of rows")
    parser.add_argument("--exaggerations", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    arguments = parser.parse_args()
    plt.switch_backend("Agg")
    files, labels = prepare(arguments.data, sorted(arguments.n), arguments.output / "data", arguments.mnist)
    for n, file in files.items():
        X, maps = np.load(file), {}
        print(f"{arguments.data}, {n:,} rows", flush=True)
        for exaggeration in arguments.exaggerations:
            begin = time.perf_counter()
            model = TSNE(exaggeration=exaggeration, random_state=0).fit(X)
            seconds, Y = time.perf_counter() - begin, model.embedding_
            maps[exaggeration] = Y
            np.save(arguments.output / f"{arguments.data}-{n}-exaggeration-{exaggeration:g}.npy", Y)
            values = measures(X, model.affinities_, Y, labels[:n])
            values["silhouette"] = float(silhouette_score(Y, labels[:n], **SAMPLE))
            words = ", ".join(f"{key} {value:.4f}" for key, value in values.items())
            print(
                f"  exaggeration {exaggeration:g}: {seconds:.1f} s, {model.n_iter_ + 1} iterations, {words}", flush=True
            )
        draw(maps, labels[:n], arguments.output / f"{arguments.data}-{n}-exaggeration.png")


if __name__ == "__main__":
    main()
