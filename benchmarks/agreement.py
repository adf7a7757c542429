"""The costs of sktsne's and openTSNE's maps from the same affinities, start and schedule.

    python benchmarks/agreement.py --mnist mnist.npz --n 5000

Each library computes affinities over exact neighbors, and the script prints how much these differ. Both libraries then
minimize the cost of openTSNE's affinities from one PCA start: 250 iterations at exaggeration 12 and momentum 0.5, then
250 iterations at the late exaggeration and momentum 0.8. openTSNE leaves the factor 4 out of its gradient, so that the
same steps need a learning rate four times as large. The cost is the cost of the true affinities, with exact sums over
all pairs. Each library uses its FFT kernel. openTSNE uses its default mesh, whose forces have an error of about 3 %,
and then a mesh of half the spacing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openTSNE
from fft_error import data_sets
from numpy.typing import NDArray
from openTSNE import affinity
from scipy.sparse import csr_array

from sktsne import TSNE
from sktsne.affinities import Uniform
from sktsne.initialization import pca_start
from sktsne.kernels import ExactKernel
from sktsne.objectives import JointKL
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

EARLY = 12.0


class Setting(NamedTuple):
    """Affinities, as each library names them, and the settings that both optimizations share."""

    theirs: Any
    ours: dict[str, Any]
    dof: float = 1.0
    exaggeration: float = 1.0


PERPLEXITY = Setting(lambda X, **options: affinity.PerplexityBasedNN(X, perplexity=30, **options), {"perplexity": 30})
SETTINGS = {
    "default": PERPLEXITY,
    "dof 0.5": PERPLEXITY._replace(dof=0.5),
    "perplexities 5, 50, 500": Setting(
        lambda X, **options: affinity.MultiscaleMixture(X, perplexities=[5, 50, 500], **options),
        {"perplexity": [5, 50, 500]},
    ),
    "uniform, 15 neighbors": Setting(
        lambda X, **options: affinity.Uniform(X, k_neighbors=15, **options), {"affinities": Uniform(15)}
    ),
    "late exaggeration 4": PERPLEXITY._replace(exaggeration=4.0),
}


def opentsnes_map(setting: Setting, affinities: Any, start: NDArray, threads: int, interval: float) -> NDArray:
    """Return openTSNE's map, made with three nodes of its mesh in each interval of this length."""
    embedding = openTSNE.TSNEEmbedding(
        start.copy(),
        affinities,
        dof=setting.dof,
        negative_gradient_method="fft",
        ints_in_interval=interval,
        n_jobs=threads,
    )
    for exaggeration, momentum in ((EARLY, 0.5), (setting.exaggeration, 0.8)):
        embedding = embedding.optimize(
            250, exaggeration=exaggeration, momentum=momentum, learning_rate=len(start) / exaggeration
        )
    return np.asarray(embedding)


def our_map(setting: Setting, P: Any, start: NDArray, threads: int) -> NDArray:
    """Return sktsne's map, made with the same schedule."""
    Y = start
    for exaggeration, momentum in ((EARLY, 0.5), (setting.exaggeration, 0.8)):
        Y = TSNE(
            affinities="precomputed", dof=setting.dof, method="fft", init=Y, exaggeration=exaggeration,
            early_exaggeration_iter=0, momentum=momentum, learning_rate=len(start) / exaggeration / 4,
            max_step_norm=5.0, max_iter=250, tol=0.0, n_iter_without_progress=250, n_jobs=threads,
        ).fit_transform(P)  # fmt: skip
    return Y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: digits")
    parser.add_argument("--n", type=int, nargs="+", default=[5000], help="numbers of rows of MNIST")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for name, X in data_sets(arguments.mnist, arguments.n):
        X = X.astype(np.float64)
        start = pca_start(X, 2, np.random.RandomState(0))
        for title, setting in SETTINGS.items():
            affinities = setting.theirs(X, method="exact", n_jobs=arguments.threads)
            P = affinities.P.copy()
            difference = abs(P - TSNE(neighbors="exact", max_iter=1, **setting.ours).fit(X).affinities_).sum() / 2
            joint = csr_array(P)
            similarity = similarity_of(setting.dof)
            with Workers(arguments.threads) as workers:
                cost = JointKL(joint, similarity, ExactKernel(similarity, workers), workers)
                ours, theirs, finer = (
                    cost(np.ascontiguousarray(Y, dtype=np.float64), with_cost=True).cost
                    for Y in (
                        our_map(setting, P, start, arguments.threads),
                        opentsnes_map(setting, affinities, start, arguments.threads, 1.0),
                        opentsnes_map(setting, affinities, start, arguments.threads, 0.5),
                    )
                )
            print(
                f"{name}, {title}: cost {ours:.4f}; openTSNE {theirs:.4f} ({100 * (ours / theirs - 1):+.2f} %), "
                f"and with the finer mesh {finer:.4f} ({100 * (ours / finer - 1):+.2f} %); the affinities differ by "
                f"{difference:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
