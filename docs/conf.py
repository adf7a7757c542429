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
autodoc_default_options = {"members": True, "inherited-members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False  # autodoc writes them out

html_theme = "pydata_sphinx_theme"
html_title = f"sktsne {release}"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}


def skip_foreign_member(app, what, name, obj, skip, options):
    # scikit-learn's docstrings point at labels of its own documentation, which are unknown here.
    module = getattr(obj, "__module__", None) or "sktsne"
    return True if module.split(".")[0] != "sktsne" else None


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign_member)
