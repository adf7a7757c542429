"""The libraries that are compared: how each library is fitted with its defaults, and how its output is read.

The child process of a fit imports this file before it measures the import of the library. This file therefore imports
nothing beyond the standard library until a fit begins.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

# A printed line, after the seconds from the start of the fit until the line was read.
Line = tuple[float, str]
Facts = dict[str, Any]
Stages = dict[str, float]
Trajectory = list[tuple[float, float]]


class Library(NamedTuple):
    """A library, or a variant of one.

    ``fit(X, seed, threads)`` runs in the child. It returns the map and facts about the fit: "iterations",
    "reported_cost", and further facts for ``read``. ``read(lines, facts)`` runs in the parent. It returns the seconds
    of the stages, and the costs of the iterations without exaggeration, each after its time.
    """

    module: str
    fit: Callable[[Any, int, int], tuple[Any, Facts]]
    read: Callable[[list[Line], Facts], tuple[Stages, Trajectory]]
    objective: str = "t-SNE"


def fit_sktsne(X: Any, seed: int, threads: int, method: str = "TSNE", **parameters: Any) -> tuple[Any, Facts]:
    import sktsne

    model = getattr(sktsne, method)(random_state=seed, n_jobs=threads, verbose=2, **parameters).fit(X)
    return model.embedding_, {
        "iterations": model.n_iter_ + 1,
        "reported_cost": model.kl_divergence_,
        "stages": model.timings_,
        "exaggerated_iterations": model.early_exaggeration_iter,
    }


def read_sktsne(lines: list[Line], facts: Facts) -> tuple[Stages, Trajectory]:
    reports = [(seconds, re.search(r"Iteration (\d+): cost = ([^,]+)", line)) for seconds, line in lines]
    return facts["stages"], [
        (seconds, float(report[2]))
        for seconds, report in reports
        if report and int(report[1]) > facts["exaggerated_iterations"]
    ]


def fit_opentsne(X: Any, seed: int, threads: int) -> tuple[Any, Facts]:
    import numpy as np
    import openTSNE

    model = openTSNE.TSNE(random_state=seed, n_jobs=threads, verbose=True)
    embedding = model.fit(X)
    iterations = model.early_exaggeration_iter + model.n_iter
    return np.asarray(embedding), {"iterations": iterations, "reported_cost": float(embedding.kl_divergence)}


def read_opentsne(lines: list[Line], facts: Facts) -> tuple[Stages, Trajectory]:
    headings = {
        "nearest neighbors": "neighbors",
        "affinity": "affinities",
        "initialization": "initialization",
        "optimization": "optimization",
    }
    stages: Stages = defaultdict(float)
    trajectory: Trajectory = []
    stage, exaggerated = "other", True
    for seconds, line in lines:
        if line.startswith("===>"):
            stage = next((name for words, name in headings.items() if words in line), "other")
            exaggerated = "exaggeration=1.00," not in line
        elif elapsed := re.search(r"Time elapsed: ([\d.]+) seconds", line):
            stages[stage] += float(elapsed[1])
        elif (report := re.search(r"KL divergence ([^,]+),", line)) and not exaggerated:
            trajectory.append((seconds, float(report[1])))
    return dict(stages), trajectory


def fit_sklearn(X: Any, seed: int, threads: int) -> tuple[Any, Facts]:
    from sklearn.manifold import TSNE

    model = TSNE(random_state=seed, n_jobs=threads, verbose=2).fit(X)
    return model.embedding_, {"iterations": model.n_iter_ + 1, "reported_cost": float(model.kl_divergence_)}


def read_sklearn(lines: list[Line], facts: Facts) -> tuple[Stages, Trajectory]:
    patterns = {
        r"(?:Indexed|Computed neighbors for) \d+ samples in ([\d.]+)s": "neighbors",
        r"Computed conditional probabilities in ([\d.]+)s": "affinities",
        r"iterations in ([\d.]+)s": "optimization",
    }
    stages: Stages = defaultdict(float)
    trajectory: Trajectory = []
    exaggerated = True
    for seconds, line in lines:
        for pattern, stage in patterns.items():
            if elapsed := re.search(pattern, line):
                stages[stage] += float(elapsed[1])
        if "with early exaggeration" in line:
            exaggerated = False
        elif (report := re.search(r"error = ([^,]+),", line)) and not exaggerated:
            trajectory.append((seconds, float(report[1])))
    return dict(stages), trajectory


LIBRARIES = {
    "sktsne": Library("sktsne", fit_sktsne, read_sktsne),
    "sktsne-15-neighbors": Library("sktsne", partial(fit_sktsne, n_neighbors=15), read_sktsne),
    "sktsne-exact-neighbors": Library("sktsne", partial(fit_sktsne, neighbors="exact"), read_sktsne),
    "openTSNE": Library("openTSNE", fit_opentsne, read_opentsne),
    "scikit-learn": Library("sklearn.manifold", fit_sklearn, read_sklearn),
    "sktsne-SNE": Library("sktsne", partial(fit_sktsne, method="SNE"), read_sktsne, objective="SNE"),
}
