"""Tools that scikit-learn's estimators go through: models in MLflow, and Intel's extension of scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import TSNE


@pytest.mark.filterwarnings("ignore")  # of MLflow and what it imports
def test_models_return_from_mlflow(digits, tmp_path):
    mlflow = pytest.importorskip("mlflow.sklearn")
    skops = pytest.importorskip("skops.io")
    X = digits[0][:300]
    model = make_pipeline(StandardScaler(), TSNE(random_state=0)).fit(X[:200])
    # MLflow writes models by skops, which has to be told what it may load.
    types = skops.get_untrusted_types(data=skops.dumps(model))
    # Without pip_requirements MLflow would load the model in another process to find them, which takes a minute.
    mlflow.save_model(model, tmp_path / "model", skops_trusted_types=types, pip_requirements=["sktsne"])
    again = mlflow.load_model(str(tmp_path / "model"))
    assert_array_equal(again[-1].embedding_, model[-1].embedding_)
    assert_array_equal(again.transform(X[200:]), model.transform(X[200:]))


PATCHED = """
import sys
import numpy as np
if sys.argv[1] == "patched":
    from sklearnex import patch_sklearn
    patch_sklearn(verbose=False)
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sktsne import TSNE
X = load_digits().data[:400]
assert (PCA.__module__.split(".")[0] == "sklearnex") == (sys.argv[1] == "patched")
for tsne in (TSNE(random_state=0), TSNE(neighbors=KNeighborsTransformer(), random_state=0)):
    model = make_pipeline(PCA(20), tsne).fit(X[:300])
    assert np.isfinite(model.transform(X[300:])).all()
    print(tsne.kl_divergence_)
"""


def test_maps_are_as_good_under_intels_extension():
    pytest.importorskip("sklearnex")

    def costs(how):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PATCHED, how], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return np.array(done.stdout.split(), dtype=float)

    plain, patched = costs("plain"), costs("patched")
    assert len(plain) == 2
    # The extension's principal components differ by rounding, which another local minimum may follow from.
    np.testing.assert_allclose(patched, plain, rtol=0.05)
