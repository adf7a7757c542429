"""What a release consists of: one version, its section of the changelog, and the versions that are tested."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

import sktsne

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CHANGELOG = "# Changelog\n\n## 0.2.0 (2027-01-31)\n\n- A change.\n\n## 0.1.0 (2026-12-24)\n\nThe first version.\n"


@pytest.fixture
def script(monkeypatch):
    """Return a function that imports a script of ``.ci``."""
    monkeypatch.syspath_prepend(ROOT / ".ci")
    return importlib.import_module


def test_every_place_has_the_version_of_the_package_and_the_day_of_its_release():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, flags=re.MULTILINE) == [sktsne.__version__]
    recipe = (ROOT / ".github" / "conda-forge" / "recipe.yaml").read_text(encoding="utf-8")
    assert f"context:\n  version: {sktsne.__version__}\n" in recipe
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, state = re.search(r"^## (\S+) \((.*)\)$", changelog, flags=re.MULTILINE).groups()
    assert newest == sktsne.__version__
    assert re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", state)
    dates = re.findall(r"^date-released: (.*)$", citation, flags=re.MULTILINE)
    assert dates == ([] if state == "unreleased" else [state])


@pytest.mark.parametrize(("version", "text"), [("0.2.0", "- A change."), ("0.1.0", "The first version.")])
def test_the_text_of_a_release_is_its_section_of_the_changelog(script, version, text):
    assert script("changelog").section(CHANGELOG, version, f"v{version}") == text


@pytest.mark.parametrize(
    ("changelog", "tag", "message"),
    [
        (CHANGELOG, "v0.1.1", "The tag is v0.1.1, must be v0.1.0"),
        (CHANGELOG.replace("2026-12-24", "unreleased"), "v0.1.0", "must have a heading with the day of the release"),
        (CHANGELOG.replace("0.1.0", "0x1.0"), "v0.1.0", "must have a heading with the day of the release"),
    ],
)
def test_a_release_that_is_not_ready_is_refused(script, changelog, tag, message):
    with pytest.raises(ValueError, match=message):
        script("changelog").section(changelog, "0.1.0", tag)


def test_exactly_the_lower_bounds_are_tested(script):
    tested = dict(line.split("==") for line in script("oldest").oldest())
    extras = ("dask", "files", "interactive", "plot", "progress", "test")
    lines = sum((PROJECT["optional-dependencies"][extra] for extra in extras), PROJECT["dependencies"])
    expected = dict(line.split(">=") for line in lines if not line.startswith("sktsne["))
    assert tested == expected


def test_the_extra_all_has_every_extra_for_users():
    extras = dict(PROJECT["optional-dependencies"])
    (everything,) = extras.pop("all")
    named = set(re.findall(r"\w+", everything)) - {"sktsne"}
    assert named == set(extras) - {"test", "tools", "lint", "docs", "benchmark"}
