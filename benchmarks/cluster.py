"""Fits on one machine and on a cluster of local workers: seconds, memory of every process, and the time of iterations.

    python benchmarks/cluster.py --mnist mnist.npz --n 1000000 --workers 1 2

The rows are deformed digits of MNIST, whose file is made once and kept. The estimator for one machine uses all cores. A
worker of the cluster is a process with one thread, which reads its rows from the file; client and scheduler share one
more process. Every fit has new processes. The peak memory of a process includes its imports.

    python benchmarks/cluster.py --mnist mnist.npz --n 200000 --overhead

measures iterations instead, as means over the iterations of a call of the parts. The seconds that the client waits for
an iteration are those of the part that computes longest, and the overhead: calls of the parts, exchange, and waiting of
parts for each other. Computing is divided into the work for points (spread, read, attract, step), and for nodes of the
mesh (add the meshes of shards, convolve).
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from fit import peak_memory
from numpy.typing import NDArray

# Neither Dask nor sktsne is imported here, because the memory of a fit on one machine must not include Dask.

CHUNK = 2**16
SINGLE, FRONT = "one machine", "client and scheduler"
# The methods that are measured: those that exchange, those of a kernel that work on meshes, and what these call.
EXCHANGE, MESH, SPREAD, ADD, SUM, CONVOLVE = (
    ("begin", "finish"), ("_spread", "_convolve"), "divide", "added", "_sum", "convolve",
)  # fmt: skip
TIMES = ("seconds", "points", "shards", "convolution", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--n", type=int, default=200_000, help="number of rows")
    parser.add_argument("--model", choices=["TSNE", "SNE"], default="TSNE")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--max-iter", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--overhead", action="store_true", help="measure the iterations on the cluster instead")
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    file = rows_of(arguments.n, arguments.output / "data", arguments.mnist)
    task = str(file), arguments.model, arguments.max_iter
    if arguments.overhead:
        results: dict[str, Any] = {"iterations": [in_new_process(iterations, *task, w) for w in arguments.workers]}
        print_iterations(results["iterations"])
    else:
        fits = []
        for _ in range(arguments.repeats):
            for fit in [(on_one_machine, *task), *((on_cluster, *task, w) for w in arguments.workers)]:
                fits.append(in_new_process(*fit))
                print_fit(fits[-1])
        results = {"clusters": fits, "ratios": ratios(fits, arguments.workers)}
        print_ratios(results["ratios"], fits)
    if arguments.results is not None:
        from record import save

        save(arguments.results, {"n": arguments.n, "model": arguments.model, **results})


def rows_of(n: int, folder: Path, mnist: Path | None) -> Path:
    """Return the file of n deformed digits, which is made unless it is there."""
    file = folder / f"deformed-{n}.npy"
    if not file.exists():
        in_new_process(make_rows, n, folder, mnist)
    return file


def make_rows(n: int, folder: Path, mnist: Path | None) -> None:
    from data import prepare

    prepare("deformed", [n], folder, mnist)


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def on_one_machine(file: str, model: str, max_iter: int) -> dict[str, Any]:
    """Fit the rows with all cores of this process, and return the measurements."""
    import sktsne

    X = np.load(file)
    begin = time.perf_counter()
    fitted = getattr(sktsne, model)(max_iter=max_iter, random_state=0).fit(X)
    return facts(fitted, 0, time.perf_counter() - begin, {SINGLE: peak_memory()}, fitted.embedding_)


def on_cluster(file: str, model: str, max_iter: int, n_workers: int) -> dict[str, Any]:
    """Fit the rows on a cluster of n workers, and return the measurements."""
    with cluster_of(n_workers) as client:
        X, unfitted = array_of(file), estimator(model, max_iter)
        begin = time.perf_counter()
        fitted = unfitted.fit(X)
        seconds = time.perf_counter() - begin
        peaks = dict(enumerate(client.run(peak_memory).values(), start=1))
        peaks_of_all = {FRONT: peak_memory(), **{f"worker {number}": peak for number, peak in peaks.items()}}
        return facts(fitted, n_workers, seconds, peaks_of_all, fitted.embedding_.compute())


def estimator(model: str, max_iter: int) -> Any:
    import sktsne.dask

    return getattr(sktsne.dask, model)(max_iter=max_iter, random_state=0)


@contextmanager
def cluster_of(n_workers: int) -> Any:
    import dask
    from distributed import Client, LocalCluster

    # Without a limit of memory, workers neither pause nor write their results to files.
    options = {"threads_per_worker": 1, "memory_limit": None, "dashboard_address": ":0"}
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(n_workers=n_workers, **options) as cluster,
        Client(cluster) as client,
    ):
        client.run(imported)
        yield client


def imported() -> None:
    """Import the package, which the process of the fit on one machine has also done before the fit."""
    import sktsne.dask  # noqa: F401


def array_of(file: str) -> Any:
    """Return the rows of a file as a Dask array, whose tasks read them."""
    import dask.array as da

    n, n_columns = np.load(file, mmap_mode="r").shape
    full, rest = divmod(n, CHUNK)
    chunks = (CHUNK,) * full + ((rest,) if rest else ())
    meta = np.empty((0, n_columns), np.float32)
    return da.map_blocks(rows_of_block, file, chunks=(chunks, (n_columns,)), dtype=np.float32, meta=meta)


def rows_of_block(file: str, block_id: tuple[int, int]) -> NDArray[np.float32]:
    return np.array(np.load(file, mmap_mode="r")[CHUNK * block_id[0] : CHUNK * (block_id[0] + 1)])


def facts(
    fitted: Any, n_workers: int, seconds: float, peaks: dict[str, int | None], embedding: NDArray[np.floating]
) -> dict[str, Any]:
    return {
        "workers": n_workers,  # 0 for the fit on one machine
        "seconds": seconds,
        "stages": fitted.timings_,
        "iterations": fitted.n_iter_ + 1,
        "cost": fitted.kl_divergence_,
        "peak_memory": peaks,
        "hash": hashlib.sha256(np.ascontiguousarray(embedding)).hexdigest()[:16],
    }


def print_fit(fit: dict[str, Any]) -> None:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in fit["stages"].items())
    peaks = ", ".join(f"{name} {peak / 2**30:.2f}" for name, peak in fit["peak_memory"].items() if peak is not None)
    print(
        f"{named(fit['workers'])}: {fit['seconds']:.1f} s ({stages}), {fit['iterations']} iterations, cost "
        f"{fit['cost']:.4f}, map {fit['hash']}; peak memory in GiB: {peaks}",
        flush=True,
    )


def named(n_workers: int) -> str:
    return SINGLE if n_workers == 0 else f"{n_workers} worker{'s' if n_workers > 1 else ''}"


def ratios(fits: list[dict[str, Any]], workers: list[int]) -> dict[str, float]:
    """Return the ratios of medians that compare the most workers with one machine and with the fewest workers."""
    fewest, most = min(workers), max(workers)

    def median(n_workers: int, key: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(key(fit) for fit in fits if fit["workers"] == n_workers)

    def seconds(fit: dict[str, Any]) -> float:
        return float(fit["seconds"])

    def peak(fit: dict[str, Any]) -> float:
        return float(max(fit["peak_memory"].values()))

    found = {
        f"seconds, {named(most)} over {SINGLE}": median(most, seconds) / median(0, seconds),
        f"largest peak memory of a process, {named(most)} over {SINGLE}": median(most, peak) / median(0, peak),
    }
    if fewest < most:
        name = f"seconds, {named(fewest)} over {named(most)}"
        found[name] = median(fewest, seconds) / median(most, seconds)
    return found


def print_ratios(found: dict[str, float], fits: list[dict[str, Any]]) -> None:
    for name, ratio in found.items():
        print(f"{name}: {ratio:.2f}")
    maps = {fit["hash"] for fit in fits if fit["workers"]}
    print("All maps of clusters are the same." if len(maps) == 1 else f"The maps of clusters DIFFER: {sorted(maps)}")


# The time of an iteration.


def iterations(file: str, model: str, max_iter: int, n_workers: int) -> dict[str, Any]:
    """Fit the rows on a cluster of n workers, and return medians over its iterations without a cost."""
    from sktsne.dask import _optimization

    seconds_of_client, nodes = [], []
    call = _optimization._ClusterDescent._call

    def timed_call(self: Any, method: str, *arguments: Any, **options: Any) -> list[Any]:
        begin = time.perf_counter()
        values = call(self, method, *arguments, **options)
        if method == "iterate":
            seconds_of_client.append((time.perf_counter() - begin) / values[0][0])
            nodes.append(int(np.prod(self._plan.nodes)))
        return values

    _optimization._ClusterDescent._call = timed_call
    with cluster_of(n_workers) as client:
        client.run(measure_parts)
        fitted = estimator(model, max_iter).fit(array_of(file))
        parts = [rows for rows in client.run(measured_parts).values() if rows]
    columns = {name: np.array([[row[name] for row in rows] for rows in parts]) for name in parts[0][0]}
    computing = columns["_iterate"] - sum(columns[name] for name in EXCHANGE)
    for_nodes = sum(columns[name] for name in MESH) - columns[SPREAD] - columns[ADD] + columns[SUM]
    slowest = np.argmax(computing, axis=0), np.arange(computing.shape[1])
    of_client = np.array(seconds_of_client)
    return {
        "workers": n_workers,
        "parts": len(parts),
        "measured": len(of_client),
        "iterations": fitted.n_iter_ + 1,
        **{
            name: float(np.median(values))
            for name, values in {
                "nodes": nodes,
                "seconds": of_client,
                "points": (computing - for_nodes)[slowest],
                "shards": (for_nodes - columns[CONVOLVE])[slowest],
                "convolution": columns[CONVOLVE][slowest],
                "overhead": of_client - computing[slowest],
                "bytes": columns["bytes"].sum(axis=0),
            }.items()
        },
    }


def measure_parts() -> None:
    """Have the parts keep the seconds of their steps and the bytes that they get, for each call by its iterations."""
    from dask.sizeof import sizeof

    from sktsne.dask._exchange import PartExchange
    from sktsne.dask._parts import Part
    from sktsne.kernels.mesh import Mesh
    from sktsne.kernels.shards import ShardedKernel
    from sktsne.parallel import Workers

    now: dict[str, float] = {}
    Part.measured = []

    def timed(owner: type, name: str) -> Callable[..., Any]:
        method = getattr(owner, name)

        def call(self: Any, *arguments: Any) -> Any:
            begin = time.perf_counter()
            result = method(self, *arguments)
            now[name] = now.get(name, 0.0) + time.perf_counter() - begin
            return result

        setattr(owner, name, call)
        return call

    measured = (PartExchange, *EXCHANGE, ADD, SUM), (ShardedKernel, *MESH), (Mesh, CONVOLVE), (Workers, SPREAD)
    for owner, *names in measured:
        for name in names:
            timed(owner, name)
    finish, iterate = PartExchange.finish, timed(Part, "_iterate")

    def counted(self: Any, begun: Any) -> list[Any]:
        values = finish(self, begun)
        others = (value for rank, value in enumerate(values) if rank != self._rank)
        now["bytes"] = now.get("bytes", 0) + sum(map(sizeof, others))
        return values

    def kept(self: Any, *arguments: Any) -> Any:
        now.clear()
        now.update(dict.fromkeys((*EXCHANGE, *MESH, SPREAD, ADD, SUM, CONVOLVE, "bytes"), 0.0))
        result = iterate(self, *arguments)
        Part.measured.append({name: value / result[0] for name, value in now.items()})
        return result

    PartExchange.finish, Part._iterate = counted, kept


def measured_parts() -> list[dict[str, float]]:
    """Return what the part on this worker has kept."""
    from sktsne.dask._parts import Part

    return Part.measured


def print_iterations(measured: list[dict[str, Any]]) -> None:
    print("Medians over calls, in milliseconds: the whole iteration; what the slowest part computes for its points,")
    print("for adding the meshes of its shards, and for the convolution; and the rest. Megabytes that all parts get.")
    print(f"{'':<12}" + "".join(f"{name:>13}" for name in (*TIMES, "MB", "nodes")))
    for row in measured:
        numbers = [*(1e3 * row[name] for name in TIMES), row["bytes"] / 1e6]
        print(f"{named(row['workers']):<12}" + "".join(f"{x:13.2f}" for x in numbers) + f"{row['nodes']:13,.0f}")


if __name__ == "__main__":
    main()
