"""The documentation beyond its own examples: every public name has a page, and the worked kernel conforms."""

import importlib
import inspect
import re
from pathlib import Path

import array_kernel
import pytest
from sklearn.utils.estimator_checks import check_estimator

import sktsne

DOCS = Path(__file__).parents[1] / "docs"
API = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("api.rst", "api_parts.rst"))
PAGES = re.findall(r"^   ~(sktsne\.[\w.]+)$", API, flags=re.MULTILINE)
MODULES = ["sktsne", "sktsne.kernels", "sktsne.metrics", "sktsne.plotting", "sktsne.reliability"]
try:
    import sktsne.dask
except ImportError:  # Dask is not installed
    PAGES = [name for name in PAGES if not name.startswith("sktsne.dask.")]
else:
    MODULES.append("sktsne.dask")


def documented(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_the_api_has_an_example(name):
    docstring = inspect.getdoc(documented(name))
    assert "\nExamples\n--------\n" in docstring
    assert ">>> " in docstring


def test_every_name_has_a_first_sentence_of_its_own():
    """The tables of the reference show what stands before the first period that a space follows."""
    sentences = {}
    for name in PAGES:
        paragraph = " ".join(inspect.getdoc(documented(name)).partition("\n\n")[0].split())
        sentence, _, rest = paragraph.partition(". ")
        assert not rest or rest[0].isupper(), f"{name}: the sentence is cut at {sentence}."
        sentences.setdefault(sentence, []).append(name)
    assert [names for names in sentences.values() if len(names) > 1] == []


def test_every_name_has_one_page():
    assert len(PAGES) == len(set(PAGES)) > 50


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_page(module):
    pages = [documented(page) for page in PAGES]
    names = set(importlib.import_module(module).__all__) - {"__version__"}
    assert [name for name in names if documented(f"{module}.{name}") not in pages] == []


def descriptions(estimator):
    """Return the description of each parameter in the docstring of an estimator."""
    parameters = re.search(r"\n-{10}\n(.*?)\n\nAttributes\n", inspect.getdoc(estimator), flags=re.DOTALL)[1]
    parts = re.split(r"^(\w+) : .*\n", parameters, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_both_estimators_describe_shared_parameters_in_the_same_words():
    tsne, sne = descriptions(sktsne.TSNE), descriptions(sktsne.SNE)
    assert list(tsne) == list(sne) == list(inspect.signature(sktsne.TSNE).parameters)
    differ = {name for name, text in tsne.items() if text != sne[name]}
    assert differ == {"learning_rate", "min_grad_norm", "method", "tol", "affinities", "dof"}


@pytest.mark.filterwarnings("ignore:perplexity == 30 needs at least")
@pytest.mark.parametrize("estimator", [sktsne.TSNE, sktsne.SNE])
def test_the_worked_kernel_passes_scikit_learns_checks(estimator):
    check_estimator(estimator(method=array_kernel.ArrayKernel, max_iter=25), on_skip=None)


def test_the_readme_calls_pages_by_their_titles():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\bpage\s+\[([^]]+)\]\(\S+/stable/(\S+)\.html\)", readme)
    titles = [(DOCS / f"{page}.rst").read_text(encoding="utf-8").split("\n", 1)[0] for _, page in links]
    assert titles == [name for name, _ in links] != []
