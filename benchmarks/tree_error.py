"""Time and error of the repulsive force by a tree: the Barnes-Hut kernels of sktsne, openTSNE and scikit-learn.

    python benchmarks/tree_error.py --threads 2
    python benchmarks/tree_error.py --mnist mnist.npz --n 10000 --threads 2

The maps are final maps of sktsne in two and three dimensions, of digits or of the first rows of MNIST (reduced to 50
dimensions). Each evaluation builds its tree, as an iteration does. Times are medians of ``--repeats`` evaluations, in
which the libraries take turns. The error is that of the t-SNE force against exact sums, relative to their norm, after
the force of each library has been scaled to fit best. The kernels of openTSNE and scikit-learn are private functions;
this script was written for openTSNE 1.0 and scikit-learn 1.9.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fft_error import data_sets
from numpy.typing import NDArray

from sktsne import TSNE
from sktsne.kernels import BarnesHutKernel, ExactKernel
from sktsne.parallel import Workers
from sktsne.similarities import StudentT

ANGLES = (0.2, 0.3, 0.5, 0.7, 0.9)
Force = Callable[[NDArray, float], NDArray]


def libraries(workers: Workers) -> dict[str, Force]:
    """Return for each library a function of a map and an angle that returns the repulsive force."""
    import openTSNE._tsne as opentsne
    from openTSNE.quad_tree import QuadTree
    from sklearn.manifold import _barnes_hut_tsne

    def ours(Y: NDArray, angle: float) -> NDArray:
        kernel = BarnesHutKernel(StudentT(), workers, angle)
        kernel.set_points(Y)
        phi, gradient = kernel.potential()
        return gradient / phi.sum()

    def theirs(Y: NDArray, angle: float) -> NDArray:
        gradient = np.zeros_like(Y)
        opentsne.estimate_negative_gradient_bh(
            QuadTree(Y), Y, gradient, theta=angle, dof=1.0, num_threads=workers.n_threads, pairwise_normalization=True
        )
        return gradient

    def sklearns(Y: NDArray, angle: float) -> NDArray:
        n, d = Y.shape
        forces = np.zeros((n, d), dtype=np.float32)
        nothing = np.zeros(1, dtype=np.float32)
        _barnes_hut_tsne.gradient(
            nothing, Y.astype(np.float32), np.zeros(1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64), forces, angle,
            d, 0, dof=1, compute_error=False, num_threads=workers.n_threads,
        )  # fmt: skip
        return forces

    return {"sktsne": ours, "openTSNE": theirs, "scikit-learn": sklearns}


def error_of(force: NDArray, exact: NDArray) -> float:
    """Return the relative error after the force has been scaled to fit best."""
    unit = np.vdot(force, exact) / np.vdot(force, force)
    return float(np.linalg.norm(unit * force - exact) / np.linalg.norm(exact))


def sweep(name: str, Y: NDArray, repeats: int, workers: Workers) -> None:
    """Print the error and the time of every library at every angle."""
    kernel = ExactKernel(StudentT(), workers)
    kernel.set_points(Y)
    exact = kernel.potential()[1]
    functions: dict[str, Any] = libraries(workers)
    print(f"{name}, span {np.ptp(Y, axis=0).max():.1f}")
    for angle in ANGLES:
        seconds: dict[str, list[float]] = {library: [] for library in functions}
        errors = {}
        for _ in range(repeats):
            for library, force in functions.items():
                begin = time.perf_counter()
                result = force(Y, angle)
                seconds[library].append(time.perf_counter() - begin)
                errors[library] = error_of(result, exact)
        line = ", ".join(f"{k} {errors[k]:.1e} {1e3 * statistics.median(v):.1f} ms" for k, v in seconds.items())
        print(f"  angle {angle}: {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: digits")
    parser.add_argument("--n", type=int, nargs="+", default=[10_000], help="numbers of rows of MNIST")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with Workers(arguments.threads) as workers:
        for name, X in data_sets(arguments.mnist, arguments.n):
            for d in (2, 3):
                model = TSNE(d, method="barnes_hut", angle=0.3, random_state=0)
                sweep(f"{name}, {d}-D", model.fit_transform(X).astype(np.float64), arguments.repeats, workers)


if __name__ == "__main__":
    main()
