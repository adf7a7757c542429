"""A grid search over the perplexity, scored on held-out rows: seconds, and the accuracy of each perplexity.

    python benchmarks/grid_search.py

``transform`` places the held-out rows in the map of the other rows, and ten nearest neighbors in the map classify them.
The data are scikit-learn's digits, scaled and reduced to 30 principal components within each of the five folds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE

ESTIMATORS = {"TSNE": TSNE, "SNE": SNE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="TSNE")
    parser.add_argument("--perplexity", type=float, nargs="+", default=[5, 15, 30, 50, 100])
    parser.add_argument("--n-jobs", type=int, nargs="+", default=[0, 2], help="numbers of processes; 0 stands for None")
    arguments = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    pipeline = Pipeline([
        ("scale", StandardScaler()),
        ("pca", PCA(30, svd_solver="full")),
        ("map", ESTIMATORS[arguments.estimator](random_state=0)),
        ("vote", KNeighborsClassifier(10)),
    ])  # fmt: skip
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for n_jobs in arguments.n_jobs:
        search = GridSearchCV(pipeline, {"map__perplexity": arguments.perplexity}, cv=folds, n_jobs=n_jobs or None)
        begin = time.perf_counter()
        search.fit(X, y)
        print(f"n_jobs={n_jobs or None}: {time.perf_counter() - begin:.1f} s", flush=True)
    scores = search.cv_results_
    for perplexity, mean, deviation in zip(
        arguments.perplexity, scores["mean_test_score"], scores["std_test_score"], strict=True
    ):
        print(f"perplexity {perplexity:g}: accuracy {mean:.4f}, standard deviation over the folds {deviation:.4f}")
    best, worst = np.max(scores["mean_test_score"]), np.min(scores["mean_test_score"])
    print(f"best: {search.best_params_['map__perplexity']:g}, {best - worst:.4f} above the worst")


if __name__ == "__main__":
    main()
