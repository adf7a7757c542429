"""The circumstances that every file of measurements records: command, date, commit, machine and versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("sktsne", "openTSNE", "scikit-learn", "numpy", "scipy", "dask")


def save(file: Path, results: dict[str, Any]) -> None:
    """Write the results with their circumstances to a JSON file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"circumstances": circumstances(), **results}, indent=1) + "\n", encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """Return the command, the date, the commit, the machine and the versions of this process."""
    # Paths are reduced to their names, which are the same on every machine.
    words = [Path(sys.argv[0]).name, *(Path(word).name if os.sep in word else word for word in sys.argv[1:])]
    return {
        "command": "python benchmarks/" + " ".join(words),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def commit() -> str | None:
    """Return the commit of the checkout, with a plus sign if the package has changes, or None outside of a checkout."""
    folder = Path(__file__).parents[1]
    try:
        described = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "sktsne"], cwd=folder, check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip() + ("+" if changed.returncode else "")


def machine() -> str:
    """Return the processor, the number of cores, the memory and the system."""
    processor, memory = platform.processor() or platform.machine(), ""
    information = Path("/proc/cpuinfo")
    if information.exists() and (name := re.search(r"model name\s*:\s*(.+)", information.read_text())):
        processor = name[1]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    return f"{processor}, {os.cpu_count()} cores{memory}, {platform.system()}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that take part."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
