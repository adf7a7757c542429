"""The results of ``compare.py`` as a table and as plots."""

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
STAGES = ("neighbors", "affinities", "optimization")
# Cores that other processes kept busy during a fit, above which its time is not to be trusted.
DISTURBANCE = 0.1
NOTES = """
Medians over the repeats; of the seconds of the fit also the smallest and the largest. The ratio is that of the seconds
to those of sktsne. The stages are what each library says of itself, and the rest is what they leave of the fit. A cold
start is a new process, its import and its fit. The memory is the peak of the whole process. The cost is of one float64
evaluator: affinities of perplexity 30 over exact neighbours, all pairs in the normalisation (above 100,000 rows
estimated, from 10,000 rows against all); that of sktsne-SNE is the cost of SNE per row, another quantity. 10-NN is the
3-fold accuracy of 10 nearest neighbours in the map. Trustworthiness is that of 10 neighbours, above 5,000 rows of a
sample of 5,000 among themselves.
"""


def groups(fits: list[Fit]) -> dict[tuple[int, str], list[Fit]]:
    """Return the fits by number of rows and library, in the order of measurement."""
    result: dict[tuple[int, str], list[Fit]] = {}
    for fit in fits:
        result.setdefault((fit["n"], fit["library"]), []).append(fit)
    return result


def table(title: str, fits: list[Fit]) -> str:
    """Return a Markdown table with a line for each library and number of rows."""
    header = ["library", "n", "seconds", "ratio", *STAGES, "rest", "import", "cold start", "memory, MB", "iterations"]
    header += ["cost", "10-NN", "trustworthiness"]
    lines = [title, "", _line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    by_group = groups(fits)
    for (n, library), group in by_group.items():
        seconds = [fit["seconds"] for fit in group]
        ours = by_group.get((n, "sktsne"))
        ratio = f"{statistics.median(seconds) / _median(ours, lambda fit: fit['seconds']):.2f}" if ours else "-"
        cells = [library, f"{n:,}", f"{_seconds(statistics.median(seconds))} [{_seconds(min(seconds))}"]
        cells[-1] += f"-{_seconds(max(seconds))}]"
        cells.append(ratio)
        cells += [_seconds(_median(group, lambda fit, stage=stage: fit["stages"].get(stage, 0.0))) for stage in STAGES]
        cells.append(_seconds(_median(group, _rest)))
        cells += [_seconds(_median(group, lambda fit, key=key: fit[key])) for key in ("import", "cold_start")]
        memory = [fit["peak_memory"] for fit in group if fit["peak_memory"]]
        cells.append(f"{statistics.median(memory) / 1e6:.0f}" if memory else "-")
        cells.append(f"{_median(group, lambda fit: fit['iterations']):.0f}")
        cells += [f"{_median(group, lambda fit, key=key: fit[key]):.4f}" for key in ("cost", "accuracy")]
        cells.append(f"{_median(group, lambda fit: fit['trustworthiness']):.4f}")
        lines.append(_line(cells))
    disturbed = sum((fit["others"] or 0.0) > DISTURBANCE for fit in fits)
    warning = f"\n**Other processes kept cores busy during {disturbed} of {len(fits)} fits.**\n" if disturbed else ""
    return "\n".join(lines) + "\n" + warning + NOTES


def plot_seconds(file: Path, title: str, fits: list[Fit]) -> None:
    """Plot the time of a fit against the number of rows; bars from the smallest to the largest."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    by_group = groups(fits)
    for library in dict.fromkeys(fit["library"] for fit in fits):
        sizes = sorted(n for n, name in by_group if name == library)
        seconds = [[fit["seconds"] for fit in by_group[n, library]] for n in sizes]
        middle = [statistics.median(s) for s in seconds]
        below = [m - min(s) for m, s in zip(middle, seconds, strict=True)]
        above = [max(s) - m for m, s in zip(middle, seconds, strict=True)]
        axes.errorbar(sizes, middle, [below, above], marker="o", capsize=3, label=library)
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds of the fit", title=title)
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)


def plot_costs(file: Path, title: str, fits: list[Fit]) -> None:
    """Plot the cost against the seconds for each number of rows, of the first repeat.

    Lines are what the libraries report, each by its own reckoning; dots are the evaluator's cost of the final map.
    """
    sizes = sorted({fit["n"] for fit in fits})
    objectives = list(dict.fromkeys(LIBRARIES[fit["library"]].objective for fit in fits))
    figure = Figure(figsize=(1.5 + 4.5 * len(sizes), 0.5 + 4 * len(objectives)), layout="constrained")
    panels = figure.subplots(len(objectives), len(sizes), squeeze=False)
    for (n, library), group in groups(fits).items():
        objective = LIBRARIES[library].objective
        axes = panels[objectives.index(objective), sizes.index(n)]
        fit = group[0]
        (line,) = axes.plot(*zip(*fit["trajectory"], strict=True), label=library)
        axes.plot(fit["seconds"], fit["cost"], "o", color=line.get_color())
        axes.set(xscale="log", xlabel="seconds", ylabel=f"cost of {objective}", title=f"n = {n:,}")
        axes.ticklabel_format(axis="y", useOffset=False)
        _plain_ticks(axes.xaxis)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"{title}\nlines: as each library reports; dots: the evaluator's", fontsize="medium")
    figure.savefig(file, dpi=120)


def _plain_ticks(axis: Axis) -> None:
    """Mark 1, 2 and 5 of each decade of a logarithmic axis, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _median(group: list[Fit], value: Callable[[Fit], float]) -> float:
    return statistics.median(value(fit) for fit in group)


def _rest(fit: Fit) -> float:
    return max(0.0, fit["seconds"] - sum(fit["stages"].get(stage, 0.0) for stage in STAGES))


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
