"""Sphinx configuration; `python -m sphinx -W --keep-going -b html docs docs/_build/html`."""

from importlib.metadata import version as installed_version

project = "sktsne"
author = "The sktsne developers"
copyright = author
release = installed_version("sktsne")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

autosummary_generate = True
autodoc_default_options = {"members": True, "inherited-members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False  # autodoc writes them out

html_theme = "pydata_sphinx_theme"
html_title = f"sktsne {release}"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}


def skip_foreign_member(app, what, name, obj, skip, options):
    # The fields of named tuples are among their parameters, and their methods are those of any tuple.
    if type(obj).__name__ == "_tuplegetter" or getattr(obj, "__objclass__", None) is tuple:
        return True
    # scikit-learn's docstrings point at labels of its own documentation, which are unknown here. An object of Sphinx
    # stands for an attribute without a value.
    module = getattr(obj, "__module__", None) or "sktsne"
    return True if module.split(".")[0] not in ("sktsne", "sphinx") else None


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign_member)
