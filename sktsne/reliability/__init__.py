"""Scores of reliability: one number for each point of a map, high where its place must not be believed."""

from .outliers import outliers
from .significance import significance
from .stability import Instability, instability

__all__ = ["Instability", "instability", "outliers", "significance"]
