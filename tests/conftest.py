"""Fixtures that several test modules share.

``SKTSNE_PERTURB=1e-12`` changes each number of the fixtures ``rng`` and ``digits`` by up to that part of itself: what a
test asserts must not hang on the last digits of its data, just as it must not hang on a processor's rounding.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sktsne import _native
from sktsne.kernels import fft

PERTURBATION = float(os.environ.get("SKTSNE_PERTURB", "0"))


def perturbed(numbers):
    """Return numbers off by up to ``PERTURBATION`` of themselves, away from 0: integers keep their integer parts."""
    return numbers * (1.0 + PERTURBATION * np.random.default_rng(1).random(np.shape(numbers)))


class PerturbedGenerator(np.random.Generator):
    """Draws what the generator of the same seed draws, perturbed."""

    def normal(self, *args, **kwargs):
        return perturbed(super().normal(*args, **kwargs))

    def standard_normal(self, *args, **kwargs):
        return perturbed(super().standard_normal(*args, **kwargs))

    def uniform(self, *args, **kwargs):
        return perturbed(super().uniform(*args, **kwargs))

    def random(self, *args, **kwargs):
        return perturbed(super().random(*args, **kwargs))


@pytest.fixture
def rng():
    return PerturbedGenerator(np.random.PCG64(0)) if PERTURBATION else np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    X, y = load_digits(return_X_y=True)
    return (perturbed(X) if PERTURBATION else X), y


@pytest.fixture
def small_meshes(monkeypatch):
    """Have meshes reach their bounds with fewer nodes, which takes less time."""
    for d, nodes in {1: 2**13, 2: 300, 3: 60}.items():
        monkeypatch.setitem(fft.MAX_NODES, d, nodes)


@pytest.fixture(scope="module")
def shared():
    """Return a function that calls another one once in a module for each key, for tests that only read the result.

    The key must name all that the result depends on.
    """
    results = {}

    def share(key, make):
        if key not in results:
            results[key] = make()
        return results[key]

    return share


LOADED = """
import sys
import scipy.sparse  # imports Cython where that is installed
theirs = set(sys.modules)
import numpy as np
import sktsne
print(*sys.modules.keys() - theirs)
import sktsne.large
X = np.random.default_rng(0).normal(size=(60, 3))
sktsne.large.embed_large(sktsne.TSNE(perplexity=5, max_iter=5), X, n_landmarks=40)
print(*sys.modules.keys() - theirs)
"""


@pytest.fixture(scope="session")
def loaded_modules():
    """Return the modules that importing sktsne loads, and those that are there after an array has been embedded."""
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.fixture(params=["compiled", "reference"])
def backend(request, monkeypatch):
    """Run a test on the compiled routines and again on their NumPy references."""
    if request.param == "reference":
        use_reference(monkeypatch)
    return request.param


def use_reference(monkeypatch):
    monkeypatch.setattr(_native, "_MODULES", dict.fromkeys(_native._MODULES))


@pytest.fixture
def reference(monkeypatch):
    """Return a function after which the NumPy references run."""
    return lambda: use_reference(monkeypatch)
