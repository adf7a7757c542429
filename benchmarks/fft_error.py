"""The FFT kernel's relative error of the repulsive force against its spacing, on final maps of digits.

    python benchmarks/fft_error.py

For t-SNE the force is the gradient of the potential, for SNE the sum of its two terms. Times are medians of one
evaluation, with as many threads as there are cores.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from sktsne import SNE, TSNE
from sktsne._native.parallel import Workers, effective_n_threads
from sktsne.kernels import ExactKernel, FFTKernel, GradientKernel
from sktsne.similarities import Gaussian, Similarity, StudentT


def repulsion(kernel: GradientKernel, Y: NDArray, similarity: Similarity) -> NDArray:
    """Return the repulsive part of the gradient: of SNE for the Gaussian, of t-SNE without its factor otherwise."""
    kernel.set_points(Y)
    phi, gradient = kernel.potential()
    if isinstance(similarity, Gaussian):
        return gradient / phi[:, None] + kernel.potential(1.0 / phi)[1]
    return gradient


def main() -> None:
    X, _ = load_digits(return_X_y=True)
    with Workers(effective_n_threads(None)) as workers:
        for estimator, similarity in ((TSNE(random_state=0), StudentT()), (SNE(random_state=0), Gaussian())):
            Y = estimator.fit_transform(X)
            exact = repulsion(ExactKernel(similarity, workers), Y, similarity)
            print(f"{type(estimator).__name__}, digits, span {np.ptp(Y, axis=0).max():.1f}")
            for spacing in (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7):
                kernel = FFTKernel(similarity, workers, spacing)
                seconds = []
                for _ in range(10):
                    begin = time.perf_counter()
                    force = repulsion(kernel, Y, similarity)
                    seconds.append(time.perf_counter() - begin)
                error = np.linalg.norm(force - exact) / np.linalg.norm(exact)
                print(f"  spacing {spacing:.2f}: error {error:.1e}, {1e3 * statistics.median(seconds):.2f} ms")


if __name__ == "__main__":
    main()
