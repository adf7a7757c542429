"""How much points move from map to map in a sequence of deforming sets, and what that costs, for several strengths.

    python benchmarks/sequences.py --mnist mnist.npz --n 5000 --threads 2

Five sets of the same rows get more and more noise, whose standard deviation is up to that of the rows. The first line
is that of independent fits, which all begin at the principal components of the first set. The script prints the mean
distance by which a point moves from one map to the next, in units of the standard deviation of the first map, and the
mean excess of the costs of the four later maps over those of the independent fits.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from data import prepare

from sktsne import TSNE
from sktsne.initialization import pca_start
from sktsne.sequences import fit_sequence

SETS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, default=5000, help="number of rows of MNIST; all 1,797 digits are used, too")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.001, 0.01, 0.1, np.inf])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    arguments = parser.parse_args()
    for name, n in ("digits", 1797), ("mnist", arguments.n):
        files, _ = prepare(name, [n], arguments.output / "data", arguments.mnist)
        X = np.load(files[n])
        noise = np.random.default_rng(0).normal(scale=X.std() / (SETS - 1), size=X.shape).astype(X.dtype)
        sets = [X + k * noise for k in range(SETS)]
        start = pca_start(X, 2, np.random.RandomState(0))
        alone = [TSNE(init=start, random_state=0, n_jobs=arguments.threads).fit(rows) for rows in sets]
        print(f"{name}, {n:,} rows\n  strength       mean move   excess cost", flush=True)
        for strength in (None, *arguments.strengths):
            model = TSNE(random_state=0, n_jobs=arguments.threads)
            maps = alone if strength is None else fit_sequence(model, sets, strength=strength)
            moves = [np.linalg.norm(b.embedding_ - a.embedding_, axis=1).mean() for a, b in pairwise(maps)]
            excess = [a.kl_divergence_ / b.kl_divergence_ - 1.0 for a, b in zip(maps[1:], alone[1:], strict=True)]
            label = "independent" if strength is None else f"{strength:g}"
            move = np.mean(moves) / maps[0].embedding_.std()
            print(f"  {label:<12}{move:12.4f}{100.0 * np.mean(excess):12.1f} %", flush=True)


if __name__ == "__main__":
    main()
