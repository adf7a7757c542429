"""SNE and t-SNE on a cluster of Dask, for more rows than one machine can hold.

`TSNE` and `SNE` take Dask arrays and data frames. See :doc:`/guide/cluster`.
"""

try:
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError('sktsne.dask needs Dask, which pip install "sktsne[dask]" gets.') from error

from ._estimators import SNE, TSNE

__all__ = ["SNE", "TSNE"]
