"""What the package promises about itself: its version, what importing it costs, and the README's commands."""

import ast
import re
import shlex
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import sktsne
from sktsne.__main__ import main

ROOT = Path(__file__).parents[1]
PAGES = "https://sktsne.readthedocs.io/en/stable/"
# GitHub shows a file of the repository at the first address, and sends the file itself from the second.
FILES = ("https://github.com/sktsne/sktsne/blob/main/", "https://raw.githubusercontent.com/sktsne/sktsne/main/")
# Pages of the documentation that its build makes, and the files that it makes them from.
MADE = {"gallery/index": "docs/examples/GALLERY_HEADER.rst", "benchmarks": "benchmarks/page.py"}


@pytest.fixture
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_version_comes_from_one_place():
    assert sktsne.__version__ == version("sktsne")


def test_only_three_packages_are_needed_to_run():
    needed = {re.match(r"[\w-]+", line).group() for line in requires("sktsne") if "extra ==" not in line}
    assert needed == {"numpy", "scipy", "scikit-learn"}


def test_importing_loads_no_optional_package(loaded_modules):
    assert "sktsne" in loaded_modules[0]
    assert not loaded_modules[0] & {"matplotlib", "Cython", "dask", "tqdm"}


def test_ci_runs_the_readmes_test_command(readme):
    commands = re.findall(r"^python -m pip install .*$", readme, flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("python -m sktsne")
    assert commands[1].endswith("python -m pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_readmes_examples_run(readme, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    iris = load_iris(as_frame=True)
    table = iris.data.assign(sample=[f"flower {i}" for i in iris.data.index], species=iris.target_names[iris.target])
    table.to_csv("data.csv", sep=";", decimal=",", index=False)
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    commands = re.findall(r"^sktsne (.*)$", readme, flags=re.MULTILINE)
    assert len(blocks) == 2
    assert len(commands) == 1
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert main(shlex.split(commands[0])) == 0
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"data.csv", "digits.png", "map.csv", "map.png", "map.html"}


def test_the_readmes_links_lead_to_pages_and_files_that_exist(readme):
    links = re.findall(r"\]\((.*?)\)", readme)
    assert len(links) > 20
    for link in links:
        if link.startswith(PAGES):
            page = link.removeprefix(PAGES).removesuffix(".html")
            file = MADE.get(page, f"docs/{page}.rst")
        else:
            (file,) = (link.removeprefix(folder) for folder in FILES if link.startswith(folder))
        assert (ROOT / file).is_file(), link


def test_the_page_of_installation_names_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "install.rst").read_text(encoding="utf-8")
    assert [extra for extra in project["project"]["optional-dependencies"] if f"``{extra}``" not in page] == []


def test_each_promise_has_tests_that_there_are():
    there = {}
    for path in (ROOT / "tests").glob("test_*.py"):
        names = there[path.name] = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
                names |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    text = (ROOT / "docs" / "promises.rst").read_text(encoding="utf-8")
    promised = text[: text.index("\nWhat is not promised\n")]
    rows = re.findall(r"^   \* - (.*?)\n     - (.*?)\n(?=   \* -|\n\S|\Z)", promised, flags=re.MULTILINE | re.DOTALL)
    rows = [row for row in rows if row[0] not in ("Promise", "Report")]
    assert len(rows) > 50
    for promise, tests in rows:
        named = re.findall(r"``(?:tests/)?(test_\S+)``", tests)
        assert named, promise
        for name in named:
            file, _, test = name.partition("::") if ".py" in name else ("test_reports.py", "", name)
            assert file in there, name
            assert not test or test in there[file], name


def test_every_folder_of_modules_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "sktsne").rglob("*.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == folders


def test_the_numbers_of_tests_are_not_stale(request):
    text = (ROOT / "docs" / "promises.rst").read_text(encoding="utf-8")
    rows = re.findall(r"     - ([\d,]+)\n     - ``pytest --collect-only -q (\S+)``", text)
    assert len(rows) == 7
    here = [item.nodeid for item in request.session.items]
    stated = {path: int(number.replace(",", "")) for number, path in rows}
    if sum(name.startswith("tests/") for name in here) < 0.9 * stated["tests"]:
        pytest.skip("only a part of the tests runs")
    for path, number in stated.items():
        assert number <= sum(name.startswith(path) for name in here) <= 1.1 * number, path


def test_oldest_versions_are_tested_and_warnings_are_errors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["pytest"]["ini_options"]["filterwarnings"][0] == "error"
    assert "python .ci/oldest.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
