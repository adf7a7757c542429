"""The documentation's page of benchmarks and the README's table, made from the measurements in ``benchmarks/results``.

    python benchmarks/page.py

writes docs/benchmarks.rst and its plots, as every build of the documentation does, and the table in README.md. The
files in ``benchmarks/results`` are those that the scripts wrote with ``--results``.
"""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster import named
from libraries import LIBRARIES
from report import NOTES, Fit, Table, disturbed, groups, markdown, median, plot, table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLOTS = Path("generated", "benchmarks")
DATA = {
    "mnist": ("MNIST", "The rows are the first n of 70,000 images of digits, reduced to 50 principal components."),
    "digits": ("Digits", "The rows are scikit-learn's 1,797 images of handwritten digits, with 8 x 8 pixels each."),
    "deformed": (
        "Deformed MNIST",
        "The rows are digits of MNIST, turned, shifted and bent at random, and reduced to 50 principal components.",
    ),
}
CAPTIONS = {
    "seconds": "Seconds of a fit against the number of rows",
    "cost": "Cost against seconds. A line shows the costs that a library reports after early exaggeration, computed in "
    "its own way; a dot shows the evaluator's cost of the final map",
    "memory": "Peak memory of the process against the number of rows",
    "threads": "Seconds of a fit against the number of threads",
}
INTRODUCTION = """\
Benchmarks
==========

This page compares sktsne with openTSNE and scikit-learn, each with its defaults, on the same data and with the same
number of threads. The plots and tables are made from measurements that the scripts in ``benchmarks`` have written to
``benchmarks/results``. `How it was measured`_ explains the columns, and gives machines, versions, dates and commands.
"""
# The README shows these numbers of rows of each data set.
README_ROWS = {"digits": (1797,), "mnist": (10_000, 70_000), "deformed": (1_000_000,)}
README_TABLE = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)


def results() -> dict[str, dict[str, Any]]:
    """Return the contents of the files of results, by name."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}


def fits_of(data: str, files: dict[str, dict[str, Any]]) -> list[Fit]:
    """Return all fits of a data set."""
    return [fit for content in files.values() if content.get("data") == data for fit in content["fits"]]


def write_page(docs: Path) -> None:
    """Write the page and its plots to the folder of the documentation."""
    files = results()
    (docs / PLOTS).mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION]
    for data in DATA:
        if fits := fits_of(data, files):
            sections.extend(_comparison(data, fits, docs))
    sections.extend(_placements(files))
    sections.extend(_clusters(files))
    sections.extend(_circumstances(files))
    (docs / "benchmarks.rst").write_text("\n".join(sections), encoding="utf-8")


def _comparison(data: str, fits: list[Fit], docs: Path) -> Iterator[str]:
    title, text = DATA[data]
    yield _heading(title) + text + "\n"
    for name, file in plot(docs / PLOTS / data, "svg", fits).items():
        path = file.relative_to(docs).as_posix()
        yield f".. figure:: {path}\n   :alt: {CAPTIONS[name]}\n   :align: center\n\n   {CAPTIONS[name]}.\n"
    yield _csv_table(table(fits))
    yield disturbed(fits) + "\n"


def _placements(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    lines = [["library", "new rows", "rows of the map", "seconds", "10-NN"]]
    for content in files.values():
        for run in content.get("placements", ()):
            cells = [run["library"], f"{run['rows']:,}", f"{run['n']:,}", f"{statistics.median(run['seconds']):.2f}"]
            lines.append([*cells, f"{run['accuracy']:.4f}"])
    if len(lines) > 1:
        yield (
            _heading("New points")
            + "``transform`` places rows of MNIST in the map of other rows. Seconds are medians.\n"
        )
        yield _csv_table(lines)
    lines = [["workers", "rows", "landmarks", "seconds", "rows a second", "peak memory of a worker, MB", "10-NN"]]
    for content in files.values():
        for run in content.get("distributed", ()):
            cells = [run["workers"], f"{run['rows']:,}", f"{content['landmarks']:,}", f"{run['seconds']:.1f}"]
            cells += [
                f"{run['rows'] / run['seconds']:,.0f}",
                f"{run['peak_memory'] / 1e6:.0f}",
                f"{run['accuracy']:.4f}",
            ]
            lines.append([str(cell) for cell in cells])
    if len(lines) > 1:
        yield (
            _heading("Data that does not fit")
            + "Dask workers place the rows of an array in a map. The tasks also make the rows.\n"
        )
        yield _csv_table(lines)


def _clusters(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    stages = ["neighbors", "initialization", "affinities", "optimization"]
    lines = [["rows", "method", "processes", *stages, "seconds", "iterations", "cost", "largest peak memory, MB"]]
    sentences = []
    for content in files.values():
        for fit in content.get("clusters", ()):
            cells = [f"{content['n']:,}", content["model"], named(fit["workers"])]
            cells += [f"{seconds:.1f}" for seconds in (*(fit["stages"][stage] for stage in stages), fit["seconds"])]
            peak = max(fit["peak_memory"].values()) / 1e6
            lines.append([*cells, str(fit["iterations"]), f"{fit['cost']:.4f}", f"{peak:.0f}"])
        for name, ratio in content.get("ratios", {}).items():
            sentences.append(f"* {content['n']:,} rows, {content['model']}: {name}: {ratio:.2f}")
    if len(lines) > 1:
        yield (
            _heading("Fits on a cluster")
            + "``sktsne.dask`` fits deformed digits with local workers, which have one thread each. The fit on one "
            "machine uses all cores. The memory is that of the process that needs most, with its imports.\n"
        )
        yield _csv_table(lines)
        yield "\n".join(sentences) + "\n"


def _circumstances(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield _heading("How it was measured") + NOTES
    for name, content in files.items():
        what = content["circumstances"]
        versions = ", ".join(f"{package} {version}" for package, version in what["versions"].items())
        yield (
            f"``{name}.json`` was measured on {what['date']} at commit {what['commit']}. The machine was "
            f"{what['machine']}. The versions were {versions}. The command was\n"
        )
        yield f".. code-block:: bash\n\n   {what['command']}\n"


def readme_table() -> str:
    """Return the README's table."""
    files = results()
    lines = [["", "seconds", "cost", "10-NN", "trustworthiness"]]
    counts: list[str] = []
    for data, sizes in README_ROWS.items():
        by_group = groups([fit for fit in fits_of(data, files) if LIBRARIES[fit["library"]].objective == "t-SNE"])
        most = max(threads for _, threads, _ in by_group)
        for n in sizes:
            title = f"**{DATA[data][0]}**, {n:,} rows: "
            for (rows, threads, library), group in by_group.items():
                if (rows, threads) == (n, most):
                    values = [f"{median(group, key):.4f}" for key in ("cost", "accuracy", "trustworthiness")]
                    lines.append([title + library, _short(median(group, "seconds")), *values])
                    title = ""
            count = len(next(g for key, g in by_group.items() if key[:2] == (n, most)))
            counts.append(f"{count} for {n:,} rows")
    machines = sorted(
        {content["circumstances"]["machine"] for content in files.values() if content.get("data") in README_ROWS}
    )
    source = (
        f"Each number is the median over the fits of the library, of which there are {', '.join(counts[:-1])} and "
        f"{counts[-1]}. All fits ran with {most} threads on this machine: {' and '.join(machines)}."
    )
    return "\n".join([markdown(lines), source, "", *_placement_sentences(files), ""])


def _short(seconds: float) -> str:
    """Return seconds with three digits, or all digits before the point."""
    return f"{seconds:.3g}" if seconds < 1000 else f"{seconds:,.0f}"


def _placement_sentences(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    for content in files.values():
        for run in content.get("placements", ()):
            yield (
                f"- {run['library']} places {run['rows']:,} new rows in a map of {run['n']:,} in "
                f"{statistics.median(run['seconds']):.2f} seconds, with a 10-NN accuracy of {run['accuracy']:.4f}."
            )
        for run in content.get("distributed", ()):
            processes = "1 worker process" if run["workers"] == 1 else f"{run['workers']} worker processes"
            yield (
                f"- {processes} of Dask place {run['rows']:,} rows in a map of {content['landmarks']:,} landmarks in "
                f"{run['seconds']:.0f} seconds."
            )


def _heading(title: str) -> str:
    return f"{title}\n{'-' * len(title)}\n\n"


def _csv_table(lines: Table) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n   ").writerows(lines)
    return f".. csv-table::\n   :header-rows: 1\n\n   {text.getvalue().rstrip()}\n"


def main() -> None:
    write_page(ROOT / "docs")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(README_TABLE.sub(lambda _: readme_table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
