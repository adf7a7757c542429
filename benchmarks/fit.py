"""One fit of one library in a process of its own; ``measure`` runs this file as the child and reads what it prints.

The number of threads is given by ``n_jobs`` and by environment variables, which OpenMP and the BLAS libraries read when
they are first imported. The libraries print their progress. This costs sktsne and scikit-learn hardly any time, because
they compute the printed cost in any case; openTSNE computes the cost for the print, in 15 of 750 iterations.

The rows are a memory map, of which a library that copies no rows needs no memory but the pages that it has read.

Measure on an idle machine. Another process takes far more time from threads that wait for each other at OpenMP barriers
than its share of the cores. Where the system provides the numbers, the measurements include the time that other
processes used.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from libraries import LIBRARIES, Line

BEGIN, END, RESULT = "@begin", "@end", "@result "
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def measure(name: str, rows: Path, embedding: Path, seed: int, threads: int) -> dict[str, Any]:
    """Fit the library to a file of rows, write the map to the file ``embedding``, and return the measurements.

    "cold_start" is the time from the start of the process to the end of the fit. "trajectory" has pairs of the seconds
    since the start of the fit and the cost without exaggeration that the library reports at that time. "others" is the
    average number of cores that other processes kept busy.
    """
    environment = os.environ | {variable: str(threads) for variable in THREAD_VARIABLES} | {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, __file__, name, str(rows), str(embedding), str(seed), str(threads)]
    marks: dict[str, float] = {}
    lines: list[Line] = []
    facts: dict[str, Any] = {}
    busy_before = busy_elsewhere()
    spawn = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.perf_counter()
            if line.strip() in (BEGIN, END):
                marks[line.strip()] = now
            elif line.startswith(RESULT):
                facts = json.loads(line.removeprefix(RESULT))
            elif BEGIN in marks:
                lines.append((now - marks[BEGIN], line))
    busy_after, wall = busy_elsewhere(), time.perf_counter() - spawn
    if process.returncode or not facts:
        raise RuntimeError(f"{name}: the process of the fit ended with status {process.returncode}")
    library = LIBRARIES[name]
    stages, trajectory = library.read(lines, facts)
    # The cost of SNE is a sum over the rows, and grows with the number of rows.
    unit = facts["n"] if library.objective == "SNE" else 1
    reports = [*trajectory, (facts["seconds"], facts["reported_cost"])]
    return facts | {
        "library": name,
        "seed": seed,
        "threads": threads,
        "cold_start": marks[END] - spawn,
        "others": None if busy_before is None or busy_after is None else (busy_after - busy_before) / wall,
        "stages": stages,
        "reported_cost": facts["reported_cost"] / unit,
        "trajectory": [(seconds, cost / unit) for seconds, cost in reports],
    }


def busy_elsewhere() -> float | None:
    """Return the seconds that cores have spent on other processes, or None where the system does not provide them."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    user, nice, system, _, _, *interrupts = (int(ticks) for ticks in statistics.read_text().split()[1:9])
    ours = os.times()
    busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
    return busy - ours.user - ours.system - ours.children_user - ours.children_system


def peak_memory() -> int | None:
    """Return the largest resident memory of this process in bytes, or None where the system does not provide it.

    On Linux ``ru_maxrss`` would be too large, because it survives exec: a child begins with the value of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(peak[1])
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    name, rows, embedding, seed, threads = sys.argv[1:]
    library = LIBRARIES[name]
    begin = time.perf_counter()
    importlib.import_module(library.module)
    import_seconds = time.perf_counter() - begin

    import numpy as np

    X = np.load(rows, mmap_mode="r")
    print(BEGIN)
    begin = time.perf_counter()
    Y, facts = library.fit(X, int(seed), int(threads))
    seconds = time.perf_counter() - begin
    print(END)
    facts |= {"n": len(X), "import": import_seconds, "seconds": seconds, "peak_memory": peak_memory()}
    np.save(embedding, Y)
    print(RESULT + json.dumps(facts))


if __name__ == "__main__":
    main()
