"""The norm of SNE's gradient at the start and at the end of a default fit of digits.

    python benchmarks/sne_convergence.py

``compare.py --libraries sktsne-SNE`` measures time, cost and accuracy of the same fit.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from sktsne import SNE
from sktsne.kernels import ExactKernel
from sktsne.objectives import ConditionalKL
from sktsne.parallel import Workers, effective_n_threads
from sktsne.similarities import Gaussian


def main() -> None:
    X, _ = load_digits(return_X_y=True)
    model = SNE(random_state=0).fit(X)
    # A fit of one step that moves nothing returns the start.
    start = SNE(random_state=0, max_iter=1, learning_rate=1e-300).fit(X).embedding_
    similarity = Gaussian()
    with Workers(effective_n_threads(None)) as workers:
        objective = ConditionalKL(model.affinities_, similarity, ExactKernel(similarity, workers), workers)
        first, last = (float(np.linalg.norm(objective(Y)[0])) for Y in (start, model.embedding_))
    print(f"SNE of digits, with all defaults, ended after {model.n_iter_ + 1} iterations.")
    print(f"The norm of the gradient is {first:.2e} at the start and {last:.2e} at the end.")


if __name__ == "__main__":
    main()
