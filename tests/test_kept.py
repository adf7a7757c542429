"""Memory that is kept for arrays which are filled again and again."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from sktsne._kept import Buffers, Scratch


@pytest.mark.parametrize(("shape", "dtype"), [((3, 2), np.float64), ((6,), np.float64), ((2, 3), np.float32)])
def test_an_array_of_another_shape_or_dtype_is_a_new_one(shape, dtype):
    buffers = Buffers()
    first = buffers("mesh", (2, 3))
    assert buffers("mesh", (2, 3)) is first
    assert not np.shares_memory(buffers("other", (2, 3)), first)
    other = buffers("mesh", shape, dtype)
    assert not np.shares_memory(other, first)
    assert other.shape == shape
    assert other.dtype == dtype


def test_each_thread_has_its_own_scratch_which_grows():
    scratch, barrier = Scratch(), Barrier(2)

    def arrays(value):
        small = scratch(2, 3)
        small[:] = value
        barrier.wait(30)
        assert (small == value).all()
        assert np.shares_memory(scratch(4), small)
        large = scratch(100, 7)
        assert large.shape == (100, 7)
        assert large.dtype == np.float32
        large[:] = value
        barrier.wait(30)
        return large

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(arrays, [1.0, 2.0])
    assert not np.shares_memory(first, second)
