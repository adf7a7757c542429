"""The relative error of the FFT kernel's repulsive force for several spacings of its mesh, on final maps.

    python benchmarks/fft_error.py
    python benchmarks/fft_error.py --mnist mnist.npz --n 2000 10000 70000
    python benchmarks/fft_error.py --d 2 3

The first command takes maps of digits, and the second command takes maps of the first rows of MNIST, reduced to 50
dimensions. For t-SNE the force is the gradient of the potential, and for SNE it is the sum of its two terms. Above
20,000 points, the error is that of 5,000 points drawn at random, because the time of exact forces grows with the square
of n. In three components, only maps of SNE are swept, because those of t-SNE are too wide for the mesh. Times are
medians of ten evaluations for all points, with as many threads as there are cores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from data import load_mnist, reduction
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from sktsne import SNE, TSNE
from sktsne.kernels import ExactKernel, FFTKernel, GradientKernel
from sktsne.parallel import Workers, effective_n_threads
from sktsne.similarities import Gaussian, Similarity, StudentT

SPACINGS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7)
MAX_ALL_POINTS, SAMPLE = 20_000, 5_000


def repulsion(kernel: GradientKernel, Y: NDArray, similarity: Similarity) -> NDArray:
    """Return the repulsive part of the gradient: of SNE for the Gaussian, and else of t-SNE without its factor."""
    kernel.set_points(Y)
    phi, gradient = kernel.potential()
    if isinstance(similarity, Gaussian):
        return gradient / phi[:, None] + kernel.potential(1.0 / phi)[1]
    return gradient


def repulsion_at(rows: NDArray, kernel: GradientKernel, Y: NDArray, similarity: Similarity) -> NDArray:
    """Return rows of the `repulsion`. Reading ``at`` a point includes the point itself, whose term has no gradient."""
    kernel.set_points(Y)
    if isinstance(similarity, Gaussian):
        phi, gradient = kernel.potential()  # of all points, because their inverses are the charges of the second term
        return gradient[rows] / phi[rows, None] + kernel.potential(1.0 / phi, Y[rows])[1]
    return kernel.potential(None, Y[rows])[1]


def sweep(name: str, Y: NDArray, similarity: Similarity, workers: Workers) -> None:
    """Print the error and the time for every spacing."""
    n = len(Y)
    rows = np.arange(n) if n <= MAX_ALL_POINTS else np.random.default_rng(0).choice(n, SAMPLE, replace=False)
    exact = repulsion_at(rows, ExactKernel(similarity, workers), Y, similarity)
    print(f"{name}, span {np.ptp(Y, axis=0).max():.1f}")
    for spacing in SPACINGS:
        kernel = FFTKernel(similarity, workers, spacing)
        seconds = []
        for _ in range(10):
            begin = time.perf_counter()
            force = repulsion(kernel, Y, similarity)
            seconds.append(time.perf_counter() - begin)
        error = np.linalg.norm(force[rows] - exact) / np.linalg.norm(exact)
        print(f"  spacing {spacing:.2f}: error {error:.1e}, {1e3 * statistics.median(seconds):.2f} ms", flush=True)


def data_sets(mnist: Path | None, sizes: list[int]) -> Iterator[tuple[str, NDArray]]:
    """Yield the name and the rows of each data set."""
    if mnist is None:
        yield "digits", load_digits(return_X_y=True)[0]
        return
    images, _ = load_mnist(mnist)
    X = reduction(images).transform(images.astype(np.float32))
    for n in sizes:
        yield f"MNIST {n:,}", X[:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: digits")
    parser.add_argument("--n", type=int, nargs="+", default=[2000, 10_000], help="numbers of rows of MNIST")
    parser.add_argument("--d", type=int, nargs="+", default=[2], help="numbers of components")
    arguments = parser.parse_args()
    with Workers(effective_n_threads(None)) as workers:
        for name, X in data_sets(arguments.mnist, arguments.n):
            for d, (estimator, similarity) in product(arguments.d, ((TSNE, StudentT()), (SNE, Gaussian()))):
                if d == 3 and estimator is TSNE:
                    continue
                # Kernels take float64, and the map of float32 rows is float32.
                Y = estimator(d, random_state=0).fit_transform(X).astype(np.float64)
                sweep(f"{estimator.__name__}, {d}-D, {name}", Y, similarity, workers)


if __name__ == "__main__":
    main()
