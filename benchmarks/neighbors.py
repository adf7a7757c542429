"""Time and recall of the search for neighbors, by metric and kind of rows, beside another version or openTSNE.

    python benchmarks/neighbors.py --mnist mnist.npz
    python benchmarks/neighbors.py --mnist mnist.npz --before ../sktsne-before --cases mnist jaccard

Every measurement runs in a process of its own, which fits `SNE` for one iteration and reads ``timings_["neighbors"]``.
For "genes", the process measures a whole fit of `TSNE` instead. The versions take turns, ``--repeats`` times. The
script prints the medians, and their ratios to the median of this version. ``--before`` is the folder of another version
that is built in place. The recall is that of 200 rows, judged by distance: of several neighbors at the same distance,
any is correct. ``--opentsne`` also measures openTSNE's affinities with its defaults for the metric, after pynndescent
has been compiled in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from data import load_mnist, reduction, write_deformed
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse, load_npz, save_npz
from sklearn.metrics import pairwise_distances

# A case has a name, a function that makes rows (from an NPZ file of MNIST if it needs one), and parameters of the
# estimator.
Rows = Callable[[Path | None], Any]


def mnist(n: int) -> Rows:
    def rows(path: Path | None) -> NDArray[np.floating]:
        images, labels = load_mnist(path)
        if n > len(images):
            with TemporaryDirectory() as folder:
                return np.array(write_deformed(Path(folder) / "deformed.npy", n, images, labels)[0])
        return reduction(images).transform(images.astype(np.float32))[:n].astype(np.float64)

    return rows


def blobs(path: Path | None) -> NDArray[np.floating]:
    rng = np.random.default_rng(0)
    return 3.0 * rng.normal(size=(50, 200))[rng.integers(0, 50, 20_000)] + rng.normal(size=(20_000, 200))


def fingerprints(n: int) -> Rows:
    def rows(path: Path | None) -> NDArray[np.floating]:
        rng = np.random.default_rng(0)
        return (rng.random((n, 1024)) < 0.05 + 0.2 * rng.random((1, 1024))).astype(np.float64)

    return rows


def vectors_of_texts(path: Path | None) -> NDArray[np.floating]:
    """Return rows that resemble embeddings of texts: a hundred topics in 24 dimensions, and noise in 768 dimensions."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(20_000, 24)) + 2.0 * rng.normal(size=(100, 24))[rng.integers(0, 100, 20_000)]
    return (hidden @ rng.normal(size=(24, 768)) + 1.5 * rng.normal(size=(20_000, 768))).astype(np.float32)


def noise(path: Path | None) -> NDArray[np.floating]:
    return np.random.default_rng(0).normal(size=(20_000, 768)).astype(np.float32)


def counts_of_words(path: Path | None) -> Any:
    rng = np.random.default_rng(0)
    places = np.sort(rng.integers(0, 20_000, size=(20_000, 60)), axis=1)
    X = csr_array((rng.random(places.size), places.ravel(), np.arange(0, places.size + 1, 60)), (20_000, 20_000))
    X.sum_duplicates()
    return X


def counts_of_genes(path: Path | None) -> NDArray[np.floating]:
    rng = np.random.default_rng(0)
    means = rng.gamma(0.3, 1.0, size=(1, 20_000)) * rng.gamma(5.0, 0.2, size=(3000, 1))
    return np.log1p(rng.poisson(means)).astype(np.float32)


CASES: dict[str, tuple[Rows, dict[str, Any]]] = {
    "mnist": (mnist(70_000), {}),
    "deformed": (mnist(1_000_000), {}),
    "cosine": (blobs, {"metric": "cosine", "neighbors": "exact"}),
    "correlation": (blobs, {"metric": "correlation", "neighbors": "exact"}),
    "jaccard": (fingerprints(10_000), {"metric": "jaccard"}),
    "jaccard-4000": (fingerprints(4000), {"metric": "jaccard"}),
    "dice": (fingerprints(10_000), {"metric": "dice"}),
    "hamming": (fingerprints(10_000), {"metric": "hamming"}),
    "texts": (vectors_of_texts, {"metric": "cosine"}),
    "noise": (noise, {"metric": "cosine"}),
    "sparse": (counts_of_words, {"metric": "cosine"}),
    "manhattan": (mnist(50_000), {"metric": "manhattan"}),
    "genes": (counts_of_genes, {}),
}
WHOLE_FITS = ("genes",)
SAMPLE = 200


def measure(case: str, file: Path, threads: int, library: str) -> dict[str, Any]:
    """Return the seconds of the search for neighbors, its recall, and the peak memory of this process in GB."""
    parameters = CASES[case][1]
    X: Any = csr_array(load_npz(file)) if case == "sparse" else np.load(file, allow_pickle=False)
    begin = time.perf_counter()
    if library == "openTSNE":
        return {"seconds": _opentsne(X, parameters.get("metric", "euclidean"), threads)}
    from sktsne import SNE, TSNE

    if case in WHOLE_FITS:
        model: Any = TSNE(random_state=0, n_jobs=threads, **parameters).fit(X)
        seconds = time.perf_counter() - begin
    else:
        model = SNE(random_state=0, n_jobs=threads, init="random", max_iter=1, **parameters).fit(X)
        seconds = model.timings_["neighbors"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    recall = None if case in WHOLE_FITS else _recall(X, model.affinities_, parameters.get("metric", "euclidean"))
    return {"seconds": seconds, "recall": recall, "memory": memory, "stages": model.timings_}


def _opentsne(X: Any, metric: str, threads: int) -> float:
    from openTSNE.affinity import PerplexityBasedNN

    PerplexityBasedNN(X[:2000], metric=metric, n_jobs=threads, random_state=0)  # compiles
    begin = time.perf_counter()
    PerplexityBasedNN(X, metric=metric, n_jobs=threads, random_state=0)
    return time.perf_counter() - begin


def _recall(X: Any, conditional: Any, metric: str) -> float:
    """Return the fraction of the nearest neighbors for which the conditional probabilities have an entry."""
    rows = np.sort(np.random.default_rng(1).choice(X.shape[0], min(SAMPLE, X.shape[0]), replace=False))
    if metric in ("jaccard", "dice", "hamming"):
        X = X != 0.0
    found = []
    for some in np.array_split(rows, 10):
        distances = pairwise_distances(
            X[some].astype(np.float64) if X.dtype == np.float32 else X[some], X, metric=metric
        )
        for row, those in zip(some, distances, strict=True):
            neighbors = conditional.indices[conditional.indptr[row] : conditional.indptr[row + 1]]
            radius = np.partition(np.delete(those, row), len(neighbors) - 1)[len(neighbors) - 1]
            found.append(np.mean(those[neighbors] <= radius * (1.0 + 1e-6)))
    return float(np.mean(found))


def run(case: str, file: Path, threads: int, library: str, folder: Path | None) -> dict[str, Any]:
    """Return the measurements of a new process, which uses the package in a folder or the installed package."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if folder is not None:
        environment["PYTHONPATH"] = str(folder.resolve())
    command = [sys.executable, __file__, "--measure", case, str(file), library, "--threads", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--before", type=Path, help="folder of another version of sktsne")
    parser.add_argument("--opentsne", action="store_true", help="also measure openTSNE")
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), default=[case for case in CASES if case != "deformed"]
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        case, file = arguments.make
        X = CASES[case][0](arguments.mnist)
        with Path(file).open("wb") as stream:
            save_npz(stream, X) if issparse(X) else np.save(stream, X)
        return
    if arguments.measure:
        case, file, library = arguments.measure
        print(json.dumps(measure(case, Path(file), arguments.threads, library)))
        return
    versions: dict[str, tuple[str, Path | None]] = {"sktsne": ("sktsne", Path(__file__).parents[1])}
    if arguments.before:
        versions["before"] = ("sktsne", arguments.before)
    if arguments.opentsne:
        versions["openTSNE"] = ("openTSNE", None)
    with TemporaryDirectory() as folder:
        for case in arguments.cases:
            file = Path(folder) / case
            # The peak memory of a process begins with that of the process that started it: this one stays small.
            making = [sys.executable, __file__, "--make", case, str(file)]
            subprocess.run(making + (["--mnist", str(arguments.mnist)] if arguments.mnist else []), check=True)
            results: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
            for _ in range(arguments.repeats):
                for name, (library, place) in versions.items():
                    results[name].append(run(case, file, arguments.threads, library, place))
            file.unlink()
            report(case, results)


def report(case: str, results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the medians of a case, and their ratios to the median of this version."""
    medians = {name: statistics.median(one["seconds"] for one in those) for name, those in results.items()}
    for name, those in results.items():
        recall, memory = those[-1].get("recall"), those[-1].get("memory")
        print(
            f"{case:13} {name:9} {medians[name]:8.2f} s  x {medians[name] / medians['sktsne']:5.1f}"
            + (f"  recall {recall:.4f}" if recall else "")
            + (f"  {memory:.2f} GB" if memory else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
