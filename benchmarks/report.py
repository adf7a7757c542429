"""The results of ``compare.py``, as a table and as plots."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from libraries import LIBRARIES
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

Fit = dict[str, Any]
Table = list[list[str]]
STAGES = ("neighbors", "affinities", "optimization")
# The time of a fit is not reliable if other processes kept more than this number of cores busy.
DISTURBANCE = 0.1
# A library has the same color in every plot.
COLORS = dict(zip(LIBRARIES, ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00"), strict=True))
NOTES = """\
Each number in a table is the median over the fits of its line. The columns are:

seconds
    The seconds of the fit; in brackets the smallest and the largest value.
ratio
    The seconds divided by the seconds of sktsne.
neighbors, affinities, optimization, rest
    The seconds of the stages, as each library reports them, and the rest of the fit.
import, cold start
    The seconds of the import, and the seconds of a new process from its start to the end of the fit.
memory
    The peak memory of the whole process.
cost
    The cost of the final map, which one evaluator computes in float64 for all libraries. The evaluator takes affinities
    of perplexity 30 over exact neighbors, and all pairs in the normalization. Above 100,000 rows, it estimates both
    from 10,000 rows against all rows, the same for every map. The cost of sktsne-SNE is the cost of SNE per row, which
    does not compare with the cost of t-SNE.
10-NN
    The accuracy of 10 nearest neighbors in the map, by 3-fold cross-validation.
trustworthiness
    The trustworthiness of 10 neighbors. Above 5,000 rows, it is that of a sample of 5,000 rows among themselves.

"""


def groups(fits: list[Fit]) -> dict[tuple[int, int, str], list[Fit]]:
    """Return the fits by number of rows, threads and library, sorted from few rows to many and many threads to few."""
    result: dict[tuple[int, int, str], list[Fit]] = {}
    for fit in sorted(fits, key=lambda fit: (fit["n"], -fit["threads"])):
        result.setdefault((fit["n"], fit["threads"], fit["library"]), []).append(fit)
    return result


def table(fits: list[Fit]) -> Table:
    """Return the cells of a table with a line for each number of rows, number of threads and library."""
    header = ["library", "n", "threads", "fits", "seconds", "ratio", *STAGES, "rest", "import", "cold start"]
    header += ["memory, MB", "iterations", "cost", "10-NN", "trustworthiness"]
    lines = [header]
    by_group = groups(fits)
    for (n, threads, library), group in by_group.items():
        seconds = [fit["seconds"] for fit in group]
        ours = by_group.get((n, threads, "sktsne"))
        ratio = f"{statistics.median(seconds) / median(ours, 'seconds'):.2f}" if ours else "-"
        span = f" [{_seconds(min(seconds))}-{_seconds(max(seconds))}]" if len(group) > 1 else ""
        cells = [library, f"{n:,}", str(threads), str(len(group)), _seconds(statistics.median(seconds)) + span, ratio]
        cells += [_seconds(_median(group, lambda fit, stage=stage: fit["stages"].get(stage, 0.0))) for stage in STAGES]
        cells.append(_seconds(_median(group, _rest)))
        cells += [_seconds(median(group, key)) for key in ("import", "cold_start")]
        memory = [fit["peak_memory"] for fit in group if fit["peak_memory"]]
        cells.append(f"{statistics.median(memory) / 1e6:.0f}" if memory else "-")
        cells.append(f"{median(group, 'iterations'):.0f}")
        cells += [f"{median(group, key):.4f}" for key in ("cost", "accuracy", "trustworthiness")]
        lines.append(cells)
    return lines


def disturbed(fits: list[Fit]) -> str:
    """Return a warning if other processes kept cores busy during some fits, or an empty string."""
    number = sum((fit["others"] or 0.0) > DISTURBANCE for fit in fits)
    return f"**Other processes kept cores busy during {number} of {len(fits)} fits.**" if number else ""


def markdown(lines: Table) -> str:
    """Return the table in Markdown, with numbers aligned at the right."""
    header, *body = lines
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (header, rule, *body))


def plot(stem: Path, kind: str, fits: list[Fit]) -> dict[str, Path]:
    """Draw the plots to files STEM-NAME.KIND; return the files by NAME."""
    most = max(fit["threads"] for fit in fits)
    with_most = [fit for fit in fits if fit["threads"] == most]
    figures = {}
    if len({fit["n"] for fit in with_most}) > 1:
        figures["seconds"] = plot_against_rows(with_most, lambda fit: fit["seconds"], "seconds of the fit")
        figures["memory"] = plot_against_rows(with_most, lambda fit: fit["peak_memory"] / 1e6, "peak memory, MB")
    figures["cost"] = plot_costs(with_most)
    if len({fit["threads"] for fit in fits}) > 1:
        figures["threads"] = plot_threads(fits)
    files = {name: stem.with_name(f"{stem.name}-{name}.{kind}") for name in figures}
    for name, figure in figures.items():
        figure.savefig(files[name], dpi=120, metadata={"Date": None} if kind == "svg" else None)
    return files


def plot_against_rows(fits: list[Fit], value: Callable[[Fit], float], label: str) -> Figure:
    """Plot medians of a measurement against the number of rows, with bars from the smallest to the largest value."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    by_group = groups(fits)
    for library in dict.fromkeys(fit["library"] for fit in fits):
        values = {n: [value(fit) for fit in group] for (n, _, name), group in by_group.items() if name == library}
        middle = [statistics.median(some) for some in values.values()]
        below = [m - min(some) for m, some in zip(middle, values.values(), strict=True)]
        above = [max(some) - m for m, some in zip(middle, values.values(), strict=True)]
        axes.errorbar(list(values), middle, [below, above], marker="o", capsize=3, label=library, color=COLORS[library])
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
    _finish(axes, (axes.xaxis, axes.yaxis))
    return figure


def plot_costs(fits: list[Fit]) -> Figure:
    """Plot the cost of the first fit against the seconds, for each number of rows.

    Lines show the costs that the libraries report, each computed in its own way; dots show the evaluator's cost of the
    final map.
    """
    sizes = sorted({fit["n"] for fit in fits})
    objectives = list(dict.fromkeys(LIBRARIES[fit["library"]].objective for fit in fits))
    columns = min(3, len(sizes))
    rows = -(-len(sizes) // columns)
    figure = Figure(figsize=(1.5 + 4.0 * columns, 0.5 + 3.5 * rows * len(objectives)), layout="constrained")
    panels = figure.subplots(rows * len(objectives), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for (n, _, library), group in groups(fits).items():
        objective = LIBRARIES[library].objective
        row, column = divmod(sizes.index(n), columns)
        axes = panels[row + rows * objectives.index(objective), column]
        axes.set_axis_on()
        fit = group[0]
        axes.plot(*zip(*fit["trajectory"], strict=True), color=COLORS[library], label=library)
        axes.plot(fit["seconds"], fit["cost"], "o", color=COLORS[library])
        axes.set(xscale="log", xlabel="seconds", ylabel=f"cost of {objective}", title=f"n = {n:,}")
        axes.ticklabel_format(axis="y", useOffset=False)
        _finish(axes, (axes.xaxis,))
    return figure


def plot_threads(fits: list[Fit]) -> Figure:
    """Plot the seconds of a fit against the number of threads, for numbers of rows with several numbers of threads."""
    by_group = groups(fits)
    sizes = sorted({n for n, threads, _ in by_group if any(key[0] == n and key[1] != threads for key in by_group)})
    figure = Figure(figsize=(1.5 + 4.0 * len(sizes), 4.0), layout="constrained")
    for axes, n in zip(figure.subplots(1, len(sizes), squeeze=False).flat, sizes, strict=True):
        for library in dict.fromkeys(fit["library"] for fit in fits):
            points = sorted(
                (key[1], median(group, "seconds")) for key, group in by_group.items() if key[::2] == (n, library)
            )
            axes.plot(*zip(*points, strict=True), marker="o", label=library, color=COLORS[library])
        axes.set(yscale="log", xlabel="threads", ylabel="seconds of the fit", title=f"n = {n:,}")
        axes.set_xticks(sorted({fit["threads"] for fit in fits}))
        _finish(axes, (axes.yaxis,))
    return figure


def _finish(axes: Any, logarithmic: tuple[Axis, ...]) -> None:
    """Label 1, 2 and 5 in each decade of logarithmic axes, as plain numbers."""
    for axis in logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend()


def median(group: list[Fit], key: str) -> float:
    """Return the median of a measurement over some fits."""
    return _median(group, lambda fit: fit[key])


def _median(group: list[Fit], value: Callable[[Fit], float]) -> float:
    return statistics.median(value(fit) for fit in group)


def _rest(fit: Fit) -> float:
    return max(0.0, fit["seconds"] - sum(fit["stages"].get(stage, 0.0) for stage in STAGES))


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
