"""Fits on a cluster of Dask."""
