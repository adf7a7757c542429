"""Time, memory and quality of sktsne, openTSNE and scikit-learn, each with its defaults.

    python benchmarks/compare.py --data mnist --n 10000 70000 --threads 2 --repeats 3

Every fit runs in a process of its own, on the same file and with the same number of threads. Within a repeat, the
libraries take turns; the number of the repeat is the random state. Before the first repeat, each library is started
once on few rows, and this fit is not counted, so that no fit pays for reading the library's files from the disk.
``evaluate.py`` judges all maps afterwards. Printing the progress takes hardly any time (see ``fit.py``).

The folder of ``--output`` receives the table (NAME.md), all measurements (NAME.json, or the file of ``--results``),
plots (NAME-seconds.png, NAME-memory.png, NAME-cost.png, and NAME-threads.png for several numbers of threads), the rows
(in "data") and the maps (in "maps"). ``page.py`` makes the documentation's page from such measurements.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from data import DEFAULT_SIZES, prepare
from evaluate import cached_affinities, judge
from fit import measure
from libraries import LIBRARIES
from numpy.typing import NDArray
from record import save
from report import DISTURBANCE, markdown, plot, table

WARM_UP_ROWS = 200


def measure_all(
    libraries: list[str], files: dict[int, Path], maps: Path, repeats: int, threads: list[int]
) -> tuple[list[dict[str, Any]], int]:
    """Return the measurements, and the number of fits that failed."""
    maps.mkdir(parents=True, exist_ok=True)
    few = maps / "warm-up.npy"
    np.save(few, np.load(min(files.items())[1])[:WARM_UP_ROWS])
    started = [name for name in libraries if attempt(name, few, maps / f"warm-up-{name}.npy", 0, max(threads))]
    fits = [
        attempt(name, file, maps / f"{file.stem}-{name}-{seed}-{number}.npy", seed, number)
        for file in files.values()
        for seed in range(repeats)
        for number in threads
        for name in started
    ]
    done = [fit for fit in fits if fit]
    return done, len(libraries) - len(started) + len(fits) - len(done)


def attempt(name: str, file: Path, embedding: Path, seed: int, threads: int) -> dict[str, Any] | None:
    """Return the measurements of a fit, or None if it failed, so that the other libraries go on."""
    try:
        fit = measure(name, file, embedding, seed, threads)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return None
    others = fit["others"] or 0.0
    warning = f" (other processes kept {others:.1f} cores busy)" if others > DISTURBANCE else ""
    print(f"{file.stem}, {name}, {threads} threads, repeat {seed}: {fit['seconds']:.2f} s{warning}", flush=True)
    return fit | {"map": embedding.name}


def judge_all(fits: list[dict[str, Any]], files: dict[int, Path], maps: Path, labels: NDArray) -> None:
    """Add to every fit the quality of its map."""
    for n, file in files.items():
        X = np.load(file)
        affinities = cached_affinities(X, file.parent)
        for fit in fits:
            if fit["n"] == n:
                objective = LIBRARIES[fit["library"]].objective
                fit |= judge(affinities, X, labels[:n], np.load(maps / fit.pop("map")), objective)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DEFAULT_SIZES), default="digits")
    parser.add_argument("--n", type=int, nargs="+", help="numbers of rows: each fit takes the first n")
    parser.add_argument("--mnist", type=Path, help="NPZ file with X (n, 784) and y; default: MNIST from openml.org")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count() or 1])
    parser.add_argument(
        "--libraries", nargs="+", choices=list(LIBRARIES), default=["sktsne", "openTSNE", "scikit-learn"]
    )
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    parser.add_argument("--results", type=Path, help="file of the measurements; default: NAME.json in --output")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    name, output = arguments.data, arguments.output
    sizes = sorted(set(arguments.n or [DEFAULT_SIZES[name]]))
    files, labels = prepare(name, sizes, output / "data", arguments.mnist)
    maps, results = output / "maps", arguments.results or output / f"{name}.json"
    fits, failed = measure_all(arguments.libraries, files, maps, arguments.repeats, arguments.threads)
    save(results, {"data": name, "fits": fits})  # also before maps are judged: fits may have taken hours
    judge_all(fits, files, maps, labels)
    save(results, {"data": name, "fits": fits})
    if fits:
        text = markdown(table(fits))
        print("\n" + text)
        (output / f"{name}.md").write_text(text)
        plot(output / name, "png", fits)
    if failed:
        sys.exit(f"{failed} fits failed")


if __name__ == "__main__":
    main()
