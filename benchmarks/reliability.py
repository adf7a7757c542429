"""What the scores of reliability cost: seconds of a fit, and of each score of its points.

    python benchmarks/reliability.py --mnist mnist.npz --n 10000 70000 --threads 2 --repeats 3

Each repeat fits the rows and then computes the scores, so that a fit and its scores meet the same load of the machine.
The script prints the median seconds, the scores' seconds divided by those of the fit of the same repeat, and the
largest memory of the process so far. ``--all`` adds the scores that fit the rows again several times.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from data import prepare
from fit import peak_memory

from sktsne import TSNE
from sktsne.reliability import reliability_scores

QUICK, SLOW = ("singularity", "perturbation", "outliers"), ("significance", "instability")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 70_000], help="numbers of rows")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="also the scores that fit the rows again")
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    arguments = parser.parse_args()
    files, _ = prepare("mnist", sorted(arguments.n), arguments.output / "data", arguments.mnist)
    names = QUICK + SLOW * arguments.all
    for n, file in files.items():
        X, seconds = np.load(file), {"fit": [], **{name: [] for name in names}}
        for _ in range(arguments.repeats):
            begin = time.perf_counter()
            model = TSNE(random_state=0, n_jobs=arguments.threads).fit(X)
            seconds["fit"].append(time.perf_counter() - begin)
            for name in names:
                begin = time.perf_counter()
                reliability_scores(model, X, names=[name], random_state=0)
                seconds[name].append(time.perf_counter() - begin)
        print(f"mnist, {n:,} rows, peak memory {peak_memory() / 1e9:.2f} GB", flush=True)
        for name, values in seconds.items():
            ratio = np.median(np.divide(values, seconds["fit"]))
            print(f"  {name:<14} {np.median(values):8.2f} s  {ratio:6.2f} of the fit", flush=True)


if __name__ == "__main__":
    main()
