"""The package without its compiled extensions, as it installs where there is no C compiler."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from registries import APPROXIMATE, KERNELS

from sktsne import SNE, TSNE, _native

FIT_WITHOUT_EXTENSIONS = """
import sys
for name in sys.argv[3:]:
    sys.modules[f"sktsne._native.{name}"] = None  # importing it fails

import warnings
import numpy as np
from sktsne import SNE, TSNE, _native
from sktsne.kernels import KERNELS

assert not _native.COMPILED
assert not any(_native._MODULES.values())
X = np.load(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    maps = [
        estimator(perplexity=5.0, init=X[:, :2], max_iter=20, method=method).fit_transform(X)
        for estimator in (TSNE, SNE)
        for method in ("auto", *KERNELS)
    ]
assert len(caught) == 1, [str(warning.message) for warning in caught]
assert "install a C compiler" in str(caught[0].message)
np.save(sys.argv[2], maps)
"""


EXTENSIONS = sorted(path.stem for path in Path(_native.__file__).parent.glob("*.pyx"))


def test_every_extension_has_a_reference():
    assert sorted(_native._MODULES) == EXTENSIONS


def test_fits_agree_with_the_compiled_ones_and_warn_once(tmp_path, rng):
    X = rng.normal(size=(60, 4))
    np.save(tmp_path / "X.npy", X)
    paths = [tmp_path / "X.npy", tmp_path / "maps.npy"]
    subprocess.run([sys.executable, "-c", FIT_WITHOUT_EXTENSIONS, *paths, *EXTENSIONS], check=True)
    cases = [(estimator, method) for estimator in (TSNE, SNE) for method in ("auto", *KERNELS)]
    for (estimator, method), actual in zip(cases, np.load(tmp_path / "maps.npy"), strict=True):
        expected = estimator(perplexity=5.0, init=X[:, :2], max_iter=20, method=method).fit_transform(X)
        # The differences are up to 1e-14, in single precision 2e-6, of the map's deviation over five inputs.
        tolerance = 1e-4 if method in APPROXIMATE else 1e-11
        assert_allclose(actual, expected, rtol=0.0, atol=tolerance * expected.std())


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_references_fit_any_number_of_components(estimator, n_components, reference, rng):
    X = rng.normal(size=(60, 6))
    compiled = estimator(n_components, perplexity=5.0, max_iter=30).fit(X)
    reference()
    model = estimator(n_components, perplexity=5.0, max_iter=30, n_jobs=2).fit(X)
    assert_allclose(model.embedding_, compiled.embedding_, rtol=1e-5, atol=1e-9)
    assert model.kl_divergence_ == pytest.approx(compiled.kl_divergence_, rel=1e-9)
