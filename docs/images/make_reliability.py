"""Draw the pictures of the user guide's page on reading a map, four of them by the example of the gallery.

python docs/images/make_reliability.py
"""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
from make_displays import save
from sklearn.datasets import load_digits

from sktsne import TSNE
from sktsne.plotting import plot_reliability
from sktsne.reliability import reliability_scores

# The figures of the example, in their order. The page has no picture of separated groups, the fourth figure.
FIGURES = {1: "noise", 2: "gap", 3: "tear", 5: "outliers"}


def main() -> None:
    """Draw all pictures."""
    plt.switch_backend("Agg")
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "plot_reliability.py"))
    for number, name in FIGURES.items():
        plt.figure(number)
        save(f"reliability_{name}")
    plt.close("all")
    X, digit = load_digits(return_X_y=True)
    tsne = TSNE(random_state=0).fit(X)
    plot_reliability(tsne, X, digit, scores=reliability_scores(tsne, X, random_state=0), label_name="digit")
    save("reliability_digits")


if __name__ == "__main__":
    main()
