"""The time of an iteration with each kernel, to find the number of rows from which another kernel is faster.

    python benchmarks/crossover.py --threads 2
    python benchmarks/crossover.py --mnist mnist.npz --n 300 1000 3000 10000 --dof 1 inf --threads 2
    python benchmarks/crossover.py --reference

The script fits digits, or the first rows of MNIST (reduced to 50 dimensions), with every kernel for ``--iterations``
iterations. Whole fits are measured because a map grows during a fit, and the mesh grows with it. The script prints the
milliseconds of a whole iteration, as the median of ``--repeats`` fits in which the kernels take turns, and marks the
kernel that "auto" chooses. Sums over all pairs are left out above ``--exact-up-to`` rows. ``--reference`` measures the
NumPy references in place of the compiled routines.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Any

from fft_error import data_sets
from numpy.typing import NDArray

from sktsne import SNE, TSNE, _native
from sktsne.kernels import KERNELS


def compare(X: NDArray, estimator: Any, d: int, options: dict[str, Any], exact: bool, repeats: int) -> str:
    """Return a line with the time of each kernel that serves ``d`` components."""
    kernels = {
        name: kernel
        for name, kernel in KERNELS.items()
        if d <= (kernel.max_components or d) and (exact or name != "exact")
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(repeats):
        for name, kernel in kernels.items():
            # By its class, "exact" takes the same sparse affinities as the others.
            model = estimator(d, method=kernel, tol=0.0, n_iter_without_progress=1000, **options).fit(X)
            milliseconds[name].append(1e3 * model.timings_["optimization"] / (model.n_iter_ + 1))
    chosen = estimator(d, max_iter=1, dof=options["dof"]).fit(X).method_
    return ", ".join(
        f"{name} {statistics.median(times):.2f}{' (auto)' if name == chosen else ''}"
        for name, times in milliseconds.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: digits")
    parser.add_argument("--n", type=int, nargs="+", default=[300, 1000, 2000, 4000], help="numbers of rows of MNIST")
    parser.add_argument("--d", type=int, nargs="+", default=[1, 2, 3], help="numbers of components")
    parser.add_argument("--dof", type=float, nargs="+", default=[1.0, math.inf], help="degrees of freedom; inf: SNE")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--exact-up-to", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reference", action="store_true")
    arguments = parser.parse_args()
    if arguments.reference:
        _native._MODULES = dict.fromkeys(_native._MODULES)
    for dof in arguments.dof:
        estimator = SNE if math.isinf(dof) else TSNE
        options = {"dof": dof, "max_iter": arguments.iterations, "n_jobs": arguments.threads, "random_state": 0}
        for d in arguments.d:
            for name, X in data_sets(arguments.mnist, arguments.n):
                line = compare(X, estimator, d, options, len(X) <= arguments.exact_up_to, arguments.repeats)
                print(f"{estimator.__name__}, dof {dof:g}, {d}-D, {name}: {line}", flush=True)


if __name__ == "__main__":
    main()
