"""Where the documentation of the estimators is, for the links in their HTML representations."""

from __future__ import annotations


class LinksToDocumentation:
    """A mixin that has scikit-learn link an estimator's HTML representation to the page of its class."""

    _doc_link_module = "sktsne"
    _doc_link_template = "https://sktsne.readthedocs.io/en/stable/generated/{estimator_module}.{estimator_name}.html"
