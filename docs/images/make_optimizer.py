"""Draw the figures of the page on the optimizer: costs against iterations, and the maps at the end.

python docs/images/make_optimizer.py
"""

import contextlib
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, make_blobs, make_swiss_roll

from sktsne import TSNE


def fit(X, **parameters):
    """Return a fitted model, and its costs at every 50th iteration after early exaggeration."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        model = TSNE(random_state=0, verbose=2, **parameters).fit(X)
    found = re.findall(r"Iteration (\d+): cost = ([\d.]+)", output.getvalue())
    return model, np.array([(int(i), float(cost)) for i, cost in found if int(i) >= 100]).T


def main() -> None:
    """Fit the three data sets and write the pictures beside this file."""
    plt.switch_backend("Agg")
    digits, digit = load_digits(return_X_y=True)
    roll, along = make_swiss_roll(2000, noise=0.1, random_state=0)
    blobs, blob = make_blobs(2000, 20, centers=10, random_state=0)
    sets = {"digits": (digits, digit), "Swiss roll": (roll, along), "blobs": (blobs, blob)}

    curves, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    maps, panels = plt.subplots(2, 3, figsize=(12, 8), layout="constrained")
    for (name, (X, labels)), axis, column in zip(sets.items(), axes, panels.T, strict=True):
        rates = {"n / 48": len(X) / 48, "n / 2": len(X) / 2}
        full, costs = fit(X, tol=0.0)
        axis.plot(*costs, label="relative to the curvature")
        for label, rate in rates.items():
            axis.plot(*fit(X, learning_rate=rate, tol=0.0)[1], label=label)
        model, _ = fit(X)
        axis.plot(model.n_iter_ + 1, model.kl_divergence_, "ko", label="where the default ends")
        axis.set(title=name, xlabel="iteration", ylabel="cost")
        for panel, result, end in ((column[0], model, "the default's end"), (column[1], full, "1,000 iterations")):
            panel.scatter(*result.embedding_.T, c=labels, cmap="tab10" if name != "Swiss roll" else "viridis", s=3)
            panel.set(title=f"{name}, {end}", xticks=[], yticks=[], aspect="equal")
    axes[0].legend()
    for figure, name in ((curves, "optimizer_curves"), (maps, "optimizer_maps")):
        figure.savefig(Path(__file__).with_name(f"{name}.png"), dpi=80)


if __name__ == "__main__":
    main()
