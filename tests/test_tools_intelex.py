"""Maps where scikit-learn-intelex has patched scikit-learn, which changes a whole process."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

if importlib.util.find_spec("sklearnex") is None:
    pytest.skip("scikit-learn-intelex is not installed", allow_module_level=True)

SCRIPT = """
import sys
import warnings
import numpy as np
when, path = sys.argv[1:]
def patch():
    from sklearnex import patch_sklearn
    patch_sklearn(verbose=False)
if when == "before":
    patch()
import sktsne
if when == "after":
    patch()
warnings.simplefilter("error")
rng = np.random.default_rng(0)
maps = []
for estimator in (sktsne.TSNE, sktsne.SNE):
    for n_columns, params in (
        (4, {}),
        (4, {"metric": "manhattan"}),
        (30, {}),
        (30, {"metric": "cosine"}),
        (30, {"metric": "correlation"}),
        (30, {"method": "exact"}),
        (1200, {}),
    ):
        X = rng.normal(size=(300, n_columns))
        model = estimator(perplexity=10.0, max_iter=5, random_state=0, **params).fit(X)
        maps += [model.embedding_, model.transform(X[:20] + 0.01)]
np.savez(path, *maps)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_patched_before_and_after_the_import_maps_are_the_same_and_nothing_warns(when, tmp_path):
    maps = []
    for name in ("never", when):
        path = tmp_path / f"{name}.npz"
        subprocess.run([sys.executable, "-c", SCRIPT, name, path], check=True)
        with np.load(path) as saved:
            maps.append(list(saved.values()))
    assert len(maps[0]) == len(maps[1]) == 28
    for plain, patched in zip(*maps, strict=True):
        assert_allclose(patched, plain, atol=1e-9 * plain.std())
