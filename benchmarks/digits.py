"""scikit-learn's digits, all defaults: sktsne against scikit-learn and, where it is installed, openTSNE.

    python benchmarks/digits.py --threads 2 --seeds 3

The libraries take turns in one process, seed by seed, after a fit of each that is not counted. Every map is judged by
``evaluate.py``, over the same affinities.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def tsne_fits(threads: int) -> dict[str, Callable[[Any, int], Any]]:
    """Return a function of rows and seed for each library, which returns its map."""
    import sklearn.manifold

    import sktsne

    fits: dict[str, Callable[[Any, int], Any]] = {
        "sktsne": lambda X, seed: sktsne.TSNE(random_state=seed, n_jobs=threads).fit_transform(X),
        "scikit-learn": lambda X, seed: sklearn.manifold.TSNE(random_state=seed, n_jobs=threads).fit_transform(X),
    }
    try:
        import openTSNE

        fits["openTSNE"] = lambda X, seed: np.asarray(openTSNE.TSNE(random_state=seed, n_jobs=threads).fit(X))
    except ImportError:
        pass
    return fits


def compare_tsne(threads: int, seeds: int) -> None:
    """Print a table of seconds, cost and accuracy."""
    from evaluate import conditional_affinities, neighbor_accuracy, tsne_cost
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    conditional = conditional_affinities(X)
    fits = tsne_fits(threads)
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in fits}
    for seed in range(-1, seeds):
        for name, fit in fits.items():
            begin = time.perf_counter()
            Y = fit(X, max(seed, 0))
            seconds = time.perf_counter() - begin
            if seed >= 0:
                results[name].append((seconds, tsne_cost(conditional, Y), neighbor_accuracy(Y, y)))
    print(f"t-SNE, digits {X.shape[0]} x {X.shape[1]}, all defaults, {threads} threads, medians of {seeds} seeds")
    print(f"{'':14s} {'seconds':>8s} {'cost':>8s} {'10-NN':>8s}")
    for name, rows in results.items():
        seconds, cost, accuracy = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:14s} {seconds:8.2f} {cost:8.4f} {accuracy:8.4f}")


def describe_sne(threads: int) -> None:
    """Print what a default fit of SNE reaches; no peer offers the method."""
    from evaluate import conditional_affinities, neighbor_accuracy, sne_cost
    from sklearn.datasets import load_digits

    import sktsne
    from sktsne._native.parallel import Workers
    from sktsne.kernels import ExactKernel
    from sktsne.objectives import ConditionalKL
    from sktsne.similarities import Gaussian

    X, y = load_digits(return_X_y=True)
    begin = time.perf_counter()
    model = sktsne.SNE(random_state=0, n_jobs=threads).fit(X)
    seconds = time.perf_counter() - begin
    start = sktsne.SNE(random_state=0, n_jobs=threads, max_iter=1, learning_rate=1e-300).fit(X).embedding_
    with Workers(threads) as workers:
        similarity = Gaussian()
        objective = ConditionalKL(model.affinities_, similarity, ExactKernel(similarity, workers), workers)
        norms = [float(np.linalg.norm(objective(Y)[0])) for Y in (start, model.embedding_)]
    conditional = conditional_affinities(X)
    print(f"SNE, digits, all defaults, {threads} threads: {seconds:.2f} s, {model.n_iter_} iterations")
    print(f"cost per row {sne_cost(conditional, model.embedding_):.4f}")
    print(f"gradient norm {norms[0]:.2e} at the start, {norms[1]:.2e} at the end: {norms[0] / norms[1]:.1e} to one")
    print(f"10-NN accuracy {neighbor_accuracy(model.embedding_, y):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    # scikit-learn's gradient takes its threads from here alone, and reads it when it is first imported.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    assert "sklearn" not in sys.modules
    compare_tsne(arguments.threads, arguments.seeds)
    describe_sne(arguments.threads)


if __name__ == "__main__":
    main()
