"""The package without its compiled extensions, as it installs where there is no C compiler."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktsne import SNE, TSNE

FIT_WITHOUT_EXTENSIONS = """
import sys
for name in ("attraction", "descent", "exact", "mesh", "perplexity"):
    sys.modules[f"sktsne._native.{name}"] = None  # importing it fails

import warnings
import numpy as np
from sktsne import SNE, TSNE, _native

assert not _native.COMPILED
X = np.load(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    maps = [
        estimator(perplexity=5.0, max_iter=40, method=method).fit_transform(X)
        for estimator in (TSNE, SNE)
        for method in ("auto", "exact")
    ]
assert len(caught) == 1, [str(warning.message) for warning in caught]
assert "install a C compiler" in str(caught[0].message)
np.save(sys.argv[2], maps)
"""


def test_fits_agree_with_the_compiled_ones_and_warn_once(tmp_path, rng):
    X = rng.normal(size=(60, 4))
    np.save(tmp_path / "X.npy", X)
    subprocess.run(
        [sys.executable, "-c", FIT_WITHOUT_EXTENSIONS, tmp_path / "X.npy", tmp_path / "maps.npy"], check=True
    )
    expected = [
        estimator(perplexity=5.0, max_iter=40, method=method).fit_transform(X)
        for estimator in (TSNE, SNE)
        for method in ("auto", "exact")
    ]
    assert_allclose(np.load(tmp_path / "maps.npy"), expected, rtol=1e-6)


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_references_fit_any_number_of_components(estimator, n_components, reference, rng):
    X = rng.normal(size=(60, 6))
    compiled = estimator(n_components, perplexity=5.0, max_iter=30).fit(X)
    reference()
    model = estimator(n_components, perplexity=5.0, max_iter=30, n_jobs=2).fit(X)
    assert_allclose(model.embedding_, compiled.embedding_, rtol=1e-5, atol=1e-9)
    assert model.kl_divergence_ == pytest.approx(compiled.kl_divergence_, rel=1e-9)
