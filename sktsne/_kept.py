"""Memory that is kept for arrays which are filled again and again.

Workers of Dask set ``MALLOC_TRIM_THRESHOLD_``, so that the C library gives freed memory back to the system at once. The
system then has to provide the memory of every large array anew, page by page. For 200,000 points on such a worker, this
took 30 % of the time of an iteration, and half of the time of products with centers.
"""

from __future__ import annotations

import math
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Buffers:
    """Arrays that are kept by name.

    Examples
    --------
    >>> from sktsne._kept import Buffers
    >>> buffers = Buffers()
    >>> buffers("mesh", (2, 3)) is buffers("mesh", (2, 3))
    True
    """

    def __init__(self) -> None:
        self._arrays: dict[Any, NDArray[Any]] = {}

    def __call__(self, name: Any, shape: Any, dtype: Any = np.float64) -> NDArray[Any]:
        """Return the array of a name, whose entries are those that it had at the last call, or undefined."""
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = np.empty(shape, dtype)
        return array


class Scratch(local):
    """Memory of each thread for one float32 array, whose size changes.

    Examples
    --------
    >>> from sktsne._kept import Scratch
    >>> scratch = Scratch()
    >>> scratch(2, 3).shape, scratch(4).shape
    ((2, 3), (4,))
    """

    _numbers = np.empty(0, dtype=np.float32)

    def __call__(self, *shape: int) -> NDArray[np.float32]:
        """Return an array of a shape, whose entries are undefined, and which the next call overwrites."""
        size = math.prod(shape)
        if self._numbers.size < size:
            self._numbers = np.empty(size, dtype=np.float32)
        return self._numbers[:size].reshape(shape)
