"""Scores of reliability: one number for each point of a map, high where its place must not be believed."""

from .significance import significance

__all__ = ["significance"]
