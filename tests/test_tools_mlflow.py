"""Runs that MLflow records of fits, in a process of their own because autologging changes scikit-learn's classes."""

import importlib.util
import json
import subprocess
import sys

import pytest

if importlib.util.find_spec("mlflow") is None:
    pytest.skip("MLflow is not installed", allow_module_level=True)

SCRIPT = """
import json
import sys
import mlflow
import numpy as np
from sklearn.pipeline import make_pipeline
from sktsne import SNE, TSNE
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/runs.db")
mlflow.create_experiment("maps", artifact_location=f"file://{sys.argv[1]}/artifacts")
mlflow.set_experiment("maps")
mlflow.sklearn.autolog(log_models=False)
rng = np.random.default_rng(0)
for n_columns in (4, 30):
    X = rng.normal(size=(1100, n_columns))
    for estimator in (TSNE, SNE):
        model = estimator(perplexity=5.0, max_iter=2)
        model.fit_transform(X)
        model.transform(X[:5] + 0.5)
alone = len(mlflow.search_runs())
make_pipeline(TSNE(perplexity=5.0, max_iter=2)).fit_transform(X)
runs = mlflow.search_runs(output_format="list")
mlflow.sklearn.autolog(disable=True)
with mlflow.start_run() as run:
    info = mlflow.sklearn.log_model(model, name="map", serialization_format="cloudpickle")
loaded = mlflow.sklearn.load_model(info.model_uri)
same = np.array_equal(loaded.transform(X), model.embedding_)
print(json.dumps([alone, len(runs), runs[0].data.params, same]))
"""


def test_autologging_records_a_pipeline_with_all_parameters_and_no_fit_within(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], check=True, stdout=subprocess.PIPE, text=True)
    alone, n_runs, params, same = json.loads(done.stdout.splitlines()[-1])
    assert (alone, n_runs, same) == (0, 1, True)
    expected = {"tsne__perplexity": "5.0", "tsne__max_iter": "2", "tsne__init": "pca", "tsne__dof": "1.0"}
    assert params.items() >= expected.items()
