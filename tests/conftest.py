"""Fixtures that several test modules share."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sktsne import _native


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    return load_digits(return_X_y=True)


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
