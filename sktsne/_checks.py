"""Checks of arguments: an error names the argument, its value and what is accepted.

The parts that reach compiled loops call these at their boundary, whoever calls the parts: the loops themselves check
no index, shape or type.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse


def check_number(
    name: str, value: Any, kind: Any, low: float, high: float = math.inf, *, low_included: bool = True
) -> None:
    """Raise unless ``value`` is a finite number of the kind from ``low`` to ``high``."""
    wanted = "an integer" if kind is Integral else "a number"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be {wanted}, not {type(value).__name__}.")
    number = float(value)
    above = low <= number if low_included else low < number
    if not (above and number <= high and math.isfinite(number)):
        bounds = f"{'at least' if low_included else 'above'} {low:g}" + (
            f" and at most {high:g}" if high < math.inf else ""
        )
        raise ValueError(f"{name} == {value!r}, must be {wanted} {bounds}{'' if high < math.inf else ' and finite'}.")


def check_choice(name: str, value: Any, choices: Any, others: str = "") -> None:
    """Raise unless ``value`` is one of the strings ``choices``; ``others`` says what else is accepted."""
    if not isinstance(value, str) or value not in choices:
        accepted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} == {value!r}, must be one of {accepted}{others}.")


def check_dof(dof: Any) -> None:
    """Raise unless ``dof`` is a number of degrees of freedom: positive, and infinite for a Gaussian."""
    if not (isinstance(dof, Real) and dof == math.inf):
        check_number("dof", dof, Real, 0, low_included=False)


def check_type(name: str, value: Any, kind: type) -> None:
    """Raise unless ``value`` is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be an instance of {kind.__name__}, not {type(value).__name__}.")


def _described(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int | str, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == length for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, must have shape {_described(shape)}.")


def as_floats(name: str, value: Any, shape: tuple[int | str, ...], *, finite: bool = True) -> NDArray[np.float64]:
    """Return an array as compiled loops read it: float64, C-contiguous and aligned.

    Parameters
    ----------
    name : str
        What errors call it.
    value : array-like
        Returned as it is where it is such an array already; never changed.
    shape : tuple of int or str
        The length of each axis, or the name of a length that is free.
    finite : bool, default=True
        Whether NaN and infinity are errors.

    Returns
    -------
    array : ndarray of float64
        Of that shape.

    Raises
    ------
    ValueError
        If there is no such array, or it holds NaN or infinity.

    Examples
    --------
    >>> from sktsne._checks import as_floats
    >>> as_floats("Y", [[1, 2]], ("n", 2))
    array([[1., 2.]])
    """
    try:
        if issparse(value) or np.iscomplexobj(value):
            raise TypeError(f"got {type(value).__name__}")
        array: NDArray[np.float64] = np.require(value, np.float64, ["C_CONTIGUOUS", "ALIGNED"])
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{name} must be a dense array of real numbers of shape {_described(shape)}: {error}"
        ) from error
    _check_shape(name, array, shape)
    if finite and not np.isfinite(array).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(f"{name} must be finite, and {name}[{', '.join(map(str, place))}] is {array[place]}.")
    return array


def as_indices(name: str, value: Any, shape: tuple[int | str, ...], n: int) -> NDArray[np.integer]:
    """Return an array of integers from 0 to ``n - 1``, C-contiguous; raise a ValueError where there is none.

    ``shape`` is as for `as_floats`.
    """
    array: NDArray[np.integer] = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be an array of integers of shape {_described(shape)}, got dtype {array.dtype}.")
    _check_shape(name, array, shape)
    if array.size and not (array.min() >= 0 and array.max() < n):
        raise ValueError(f"{name} must be from 0 to {n - 1}, got values from {array.min()} to {array.max()}.")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def as_affinities(name: str, value: Any, n_columns: int | None = None) -> csr_array | NDArray[np.float64]:
    """Return affinities as compiled loops read them, dense or as a CSR matrix whose indices lie in its shape.

    Parameters
    ----------
    name : str
        What errors call them.
    value : ndarray or sparse matrix of shape (n, n) or (n, n_columns)
        Finite, and not negative; never changed.
    n_columns : int, default=None
        The number of columns; as many as rows by default.

    Returns
    -------
    affinities : csr_array or ndarray
        Sparse where ``value`` is; float32 is kept there. The arrays are those of ``value`` where they can be.
    """
    if not issparse(value):
        affinities: Any = as_floats(name, value, ("n", "n" if n_columns is None else n_columns))
        values = affinities
    else:
        if value.format != "csr":
            value = value.tocsr()
        try:
            # A new matrix of the same arrays: its checks may replace those of a matrix by others.
            affinities = csr_array((value.data, value.indices, value.indptr), shape=value.shape)
            affinities.check_format(full_check=True)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} must be a valid CSR matrix: {error}") from error
        if affinities.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold real numbers, got dtype {affinities.dtype}.")
        dtype = np.float32 if affinities.dtype == np.float32 else np.float64
        affinities.data = np.require(affinities.data, dtype, ["C_CONTIGUOUS", "ALIGNED"])
        for part in "indices", "indptr":
            array = getattr(affinities, part)
            index_dtype = np.int32 if array.dtype.itemsize == 4 else np.int64
            setattr(affinities, part, np.require(array, index_dtype, ["C_CONTIGUOUS", "ALIGNED"]))
        values = affinities.data
    rows, columns = affinities.shape
    if columns != (rows if n_columns is None else n_columns):
        raise ValueError(f"{name} has shape {affinities.shape}, must have {_described((rows, n_columns or rows))}.")
    if values.size and not (values.min() >= 0.0 and values.max() < math.inf):
        raise ValueError(f"{name} must be finite and not negative, got values from {values.min()} to {values.max()}.")
    return affinities
