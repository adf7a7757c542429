"""Sphinx configuration; `python -m sphinx -W --keep-going -b html docs docs/_build/html`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

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
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]

nitpicky = True
# Their documentation would have to be asked over the network.
nitpick_ignore_regex = [(".*", r"sklearn\..*"), (".*", r"functools\..*"), (".*", r"joblib\..*")]
default_role = "py:obj"
# The links of the estimators' HTML representations find a parameter by its type, in which quotes must stay straight.
smartquotes = False

autosummary_generate = True
autodoc_default_options = {"members": True, "inherited-members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False  # autodoc writes them out

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    # The shape of most figures of the examples, so that the thumbnails have no empty margins.
    "thumbnail_size": (480, 360),
    "doc_module": "sktsne",
    "backreferences_dir": "gallery/backreferences",
    "reference_url": {"sktsne": None},
    "download_all_examples": False,
    "matplotlib_animations": (True, "jshtml"),
    "capture_repr": (),
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"sktsne {release}"
html_logo = html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["style.css"]
# Pages without others below them have nothing to show at their left.
html_sidebars = {
    name: []
    for name in (
        "index", "install", "start", "from_*", "mathematics", "optimizer", "kernels", "promises", "combinations",
        "benchmarks", "release",
    )
}  # fmt: skip
html_theme_options = {
    "logo": {"text": html_title},
    "github_url": "https://github.com/sktsne/sktsne",
    "icon_links": [
        {"name": "PyPI", "url": "https://pypi.org/project/sktsne/", "icon": "fa-solid fa-box"},
    ],
    "navbar_persistent": ["search-button"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
}


def skip_foreign_member(app, what, name, obj, skip, options):
    # The fields of named tuples are among their parameters, and their methods are those of any tuple.
    if type(obj).__name__ == "_tuplegetter" or getattr(obj, "__objclass__", None) is tuple:
        return True
    # scikit-learn's docstrings point at labels of its own documentation, which are unknown here. An object of Sphinx
    # stands for an attribute without a value.
    module = getattr(obj, "__module__", None) or "sktsne"
    return True if module.split(".")[0] not in ("sktsne", "sphinx") else None


def write_benchmarks(app):
    sys.path.insert(0, str(Path(app.srcdir).parent / "benchmarks"))
    from page import write_page

    write_page(Path(app.srcdir))


def setup(app):
    app.connect("builder-inited", write_benchmarks)
    app.connect("autodoc-skip-member", skip_foreign_member)
