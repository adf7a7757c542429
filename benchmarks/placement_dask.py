"""Rows of a Dask array in the map of a sample: rows per second and memory, with one worker process and with several.

    python benchmarks/placement_dask.py --mnist mnist.npz --rows 1000000 --workers 1 2

Every row is a row of MNIST, reduced to 50 dimensions, with noise of a tenth of the columns' standard deviation. The
tasks that place a chunk also make the chunk. Each worker is a process with one thread. The landmarks are fitted once,
with all cores. The file of ``--model`` keeps the fitted model, and the file of ``--results`` keeps the measurements.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import joblib
import numpy as np
from data import COMPONENTS, load_mnist, reduction
from distributed import Client, LocalCluster
from fit import peak_memory
from numpy.typing import NDArray
from record import save
from sklearn.neighbors import KNeighborsClassifier

from sktsne import TSNE
from sktsne.large import sample_rows, transform_blocks

NOISE = 0.1
CHUNK = 2**14
ROWS, LABELS = "rows.npy", "labels.npy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="NPZ file with X (n, 784) and y")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--landmarks", type=int, default=50_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--neighbors", default="auto", help="the parameter neighbors of TSNE")
    parser.add_argument("--model", type=Path, help="file of the fitted model")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        write_rows(arguments.mnist, Path(folder))
        X = da.map_blocks(
            noisy_rows, folder, arguments.rows, chunks=(chunks(arguments.rows), (COMPONENTS,)), dtype=np.float32,
            meta=np.empty((0, COMPONENTS), np.float32),
        )  # fmt: skip
        model = fitted_model(X, arguments)
        distributed = [place(model, X, n_workers, folder) for n_workers in arguments.workers]
    print(f"peak memory of the calling process, fit included: {peak_memory() / 2**30:.2f} GiB")
    if arguments.results is not None:
        save(arguments.results, {"landmarks": len(model.embedding_), "distributed": distributed})


def write_rows(mnist: Path, folder: Path) -> None:
    """Write the rows of MNIST and their labels to files, which every process maps into its memory."""
    images, labels = load_mnist(mnist)
    np.save(folder / ROWS, reduction(images).transform(images.astype(np.float32)).astype(np.float32))
    np.save(folder / LABELS, labels)


def chunks(n: int) -> tuple[int, ...]:
    full, rest = divmod(n, CHUNK)
    return (CHUNK,) * full + ((rest,) if rest else ())


def chosen_rows(block: int, size: int, n: int) -> tuple[NDArray, np.random.Generator]:
    """Return the rows of MNIST that a chunk has, and the generator of its noise."""
    random = np.random.default_rng([0, block])
    return random.integers(n, size=size), random


def noisy_rows(folder: str, n: int, block_id: tuple[int, int]) -> NDArray[np.float32]:
    rows = np.load(Path(folder) / ROWS, mmap_mode="r")
    chosen, random = chosen_rows(block_id[0], chunks(n)[block_id[0]], len(rows))
    noise = random.standard_normal((len(chosen), COMPONENTS), dtype=np.float32)
    return rows[chosen] + NOISE * rows[:10_000].std(axis=0) * noise


def fitted_model(X: da.Array, arguments: argparse.Namespace) -> Any:
    """Return the fitted map of the landmarks, from the file of ``--model`` if the file exists."""
    if arguments.model is not None and arguments.model.exists():
        return joblib.load(arguments.model)
    begin = time.perf_counter()
    landmarks = sample_rows(X, arguments.landmarks, random_state=0)
    sampled = time.perf_counter()
    model = TSNE(random_state=0, neighbors=arguments.neighbors).fit(landmarks)
    print(f"sample {sampled - begin:.1f} s, fit of {len(landmarks):,} rows {time.perf_counter() - sampled:.1f} s")
    if arguments.model is not None:
        joblib.dump(model, arguments.model)
    return model


def place(model: Any, X: da.Array, n_workers: int, folder: str) -> dict[str, float]:
    """Place all rows; print and return the time, the memory and the accuracy."""
    with (
        dask.config.set({"distributed.worker.memory.target": False, "distributed.worker.memory.spill": False}),
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        transform_blocks(model, X[: n_workers * CHUNK]).compute()  # imports
        before = client.run(peak_memory)
        begin = time.perf_counter()
        positions = transform_blocks(model, X).compute()
        seconds = time.perf_counter() - begin
        peaks = sorted(client.run(peak_memory).values())
    rate, memory = len(positions) / seconds, ", ".join(f"{peak / 2**30:.2f}" for peak in peaks)
    print(
        f"{n_workers} workers: {len(positions):,} rows in {seconds:.1f} s, {rate:,.0f} a second, "
        f"{rate / n_workers:,.0f} per core; peak memory of the workers {memory} GiB, "
        f"{max(before.values()) / 2**30:.2f} after the first chunk",
        flush=True,
    )
    score = accuracy(positions, X.shape[0], folder)
    print(f"accuracy of 10 nearest neighbors among the placed rows: {score:.4f}")
    return {
        "workers": n_workers, "rows": len(positions), "seconds": seconds, "peak_memory": peaks[-1], "accuracy": score
    }  # fmt: skip


def accuracy(positions: NDArray, n: int, folder: str) -> float:
    """Return the fraction of the second chunk's rows whose label their neighbors in other chunks predict."""
    labels = np.load(Path(folder) / LABELS)
    of_rows = np.concatenate([
        labels[chosen_rows(block, size, len(labels))[0]] for block, size in enumerate(chunks(n))
    ])  # fmt: skip
    held_out = np.zeros(n, dtype=bool)
    held_out[CHUNK : 2 * CHUNK] = True
    classifier = KNeighborsClassifier(10).fit(positions[~held_out], of_rows[~held_out])
    return float(classifier.score(positions[held_out], of_rows[held_out]))


if __name__ == "__main__":
    main()
