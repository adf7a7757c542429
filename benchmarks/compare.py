"""sktsne against openTSNE and scikit-learn: time, memory and quality, with every library's defaults.

    python benchmarks/compare.py --data mnist --n 10000 70000 --threads 2 --repeats 3

Every fit runs in a process of its own, on the same file and the same number of threads; within a repeat the libraries
take turns, and the number of the repeat is the random state. Before that each library is started once on few rows,
which is not counted, so that no one pays for reading files from the disk. All maps are judged afterwards, by
``evaluate.py``. The progress that is printed costs next to nothing (see ``fit.py``).

The folder of the output gets the table (NAME.md), all measurements (NAME.json), two plots (NAME-seconds.png,
NAME-cost.png), and under "data" and "maps" what went in and came out of the fits.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from data import DEFAULT_SIZES, prepare
from evaluate import cached_affinities, judge
from fit import measure
from libraries import LIBRARIES
from numpy.typing import NDArray
from report import DISTURBANCE, plot_costs, plot_seconds, table

WARM_UP_ROWS = 200


def measure_all(
    libraries: list[str], files: dict[int, Path], maps: Path, repeats: int, threads: int
) -> tuple[list[dict[str, Any]], int]:
    """Return what was measured, and the number of fits that failed."""
    maps.mkdir(parents=True, exist_ok=True)
    few = maps / "warm-up.npy"
    np.save(few, np.load(min(files.items())[1])[:WARM_UP_ROWS])
    started = [name for name in libraries if attempt(name, few, maps / f"warm-up-{name}.npy", 0, threads)]
    plan = [(file, seed, name) for file in files.values() for seed in range(repeats) for name in started]
    fits = [attempt(name, file, maps / f"{file.stem}-{name}-{seed}.npy", seed, threads) for file, seed, name in plan]
    done = [fit for fit in fits if fit]
    return done, len(libraries) - len(started) + len(fits) - len(done)


def attempt(name: str, file: Path, embedding: Path, seed: int, threads: int) -> dict[str, Any] | None:
    """Return what was measured, or None after a failure: the other libraries go on."""
    try:
        fit = measure(name, file, embedding, seed, threads)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return None
    others = fit["others"] or 0.0
    warning = f" (other processes kept {others:.1f} cores busy)" if others > DISTURBANCE else ""
    print(f"{file.stem}, {name}, repeat {seed}: {fit['seconds']:.2f} s{warning}", flush=True)
    return fit | {"map": str(embedding)}


def judge_all(fits: list[dict[str, Any]], files: dict[int, Path], labels: NDArray) -> None:
    """Add the quality of its map to every fit."""
    for n, file in files.items():
        X = np.load(file)
        conditional = cached_affinities(X, file.parent)
        for fit in fits:
            if fit["n"] == n:
                objective = LIBRARIES[fit["library"]].objective
                fit |= judge(conditional, X, labels[:n], np.load(fit["map"]), objective)


def versions() -> dict[str, str]:
    """Return the versions of what takes part and is installed."""
    found = {"Python": platform.python_version()}
    for package in ("sktsne", "openTSNE", "scikit-learn", "faiss-cpu", "numpy", "scipy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=list(DEFAULT_SIZES), default="digits")
    parser.add_argument("--n", type=int, nargs="+", help="numbers of rows: the first n are taken")
    parser.add_argument("--mnist", type=Path, help="npz file with X (n, 784) and y; default: fetched from openml.org")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--libraries", nargs="+", choices=list(LIBRARIES), default=["sktsne", "openTSNE", "scikit-learn"]
    )
    parser.add_argument("--output", type=Path, default=Path("build", "benchmarks"))
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    name, output = arguments.data, arguments.output
    sizes = sorted(set(arguments.n or [DEFAULT_SIZES[name]]))
    files, labels = prepare(name, sizes, output / "data", arguments.mnist)
    settings = {"data": name, "threads": arguments.threads, "repeats": arguments.repeats, "versions": versions()}
    settings["platform"] = platform.platform()
    fits, failed = measure_all(arguments.libraries, files, output / "maps", arguments.repeats, arguments.threads)
    results = output / f"{name}.json"
    # Before the maps are judged, too: the fits may have taken hours.
    results.write_text(json.dumps({"settings": settings, "fits": fits}, indent=1))
    judge_all(fits, files, labels)
    results.write_text(json.dumps({"settings": settings, "fits": fits}, indent=1))
    if fits:
        title = f"{name}, all defaults, {arguments.threads} threads, {arguments.repeats} repeats"
        installed = ", ".join(f"{package} {version}" for package, version in settings["versions"].items())
        text = table(f"{title} ({installed})", fits)
        print("\n" + text)
        (output / f"{name}.md").write_text(text)
        plot_seconds(output / f"{name}-seconds.png", title, fits)
        plot_costs(output / f"{name}-cost.png", title, fits)
    if failed:
        sys.exit(f"{failed} fits failed")


if __name__ == "__main__":
    main()
