"""Checks of arguments: an error names the argument, its value and what is accepted.

The parts that reach compiled loops call these at their boundary, whoever calls the parts: the loops themselves check
no index, shape or type.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from numbers import Integral, Real
from traceback import walk_stack
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import coo_array, csc_array, csr_array, issparse


def check_number(
    name: str,
    value: Any,
    kind: Any,
    low: float,
    high: float = math.inf,
    *,
    low_included: bool = True,
    infinite: bool = False,
) -> None:
    """Raise unless ``value`` is a number of the kind from ``low`` to ``high``, finite unless it may be ``infinite``."""
    wanted = "an integer" if kind is Integral else "a number"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be {wanted}, not {type(value).__name__}.")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.nan
    above = low <= number if low_included else low < number
    if not (above and number <= high and (infinite or math.isfinite(number))):
        bounds = f"{'at least' if low_included else 'above'} {low:g}" + (
            f" and at most {high:g}" if high < math.inf else ""
        )
        finite = "" if high < math.inf else ", or infinite" if infinite else " and finite"
        raise ValueError(f"{name} == {value!r}, must be {wanted} {bounds}{finite}.")


def check_choice(name: str, value: Any, choices: Any, others: str = "") -> None:
    """Raise unless ``value`` is one of the strings ``choices``; ``others`` says what else is accepted."""
    if not isinstance(value, str) or value not in choices:
        accepted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} == {value!r}, must be one of {accepted}{others}.")


def check_dof(dof: Any) -> None:
    """Raise unless ``dof`` is a number of degrees of freedom: positive, and infinite for a Gaussian."""
    check_number("dof", dof, Real, 0, low_included=False, infinite=True)


def check_type(name: str, value: Any, kind: type) -> None:
    """Raise unless ``value`` is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be an instance of {kind.__name__}, not {type(value).__name__}.")


def check_stop(name: str, returned: Any) -> bool:
    """Return whether a callback, which errors call ``name``, returned True; raise unless it returned a bool or None."""
    if returned is not None and not isinstance(returned, (bool, np.bool_)):
        raise TypeError(
            f"{name} returned an object of type {type(returned).__name__}, must return True, False or None."
        )
    return bool(returned)


def _described(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int | str, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == length for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, must have shape {_described(shape)}.")


def _is_ready(value: Any, dtype: DTypeLike) -> bool:
    """Return whether compiled loops can read an array as it is: no subclass, of that dtype, C-contiguous, aligned."""
    return type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous and value.flags.aligned


def _required(value: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array that is ready; numbers beyond the range of ``dtype`` become infinite."""
    if _is_ready(value, dtype):
        ready: NDArray[Any] = value
        return ready
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(value, dtype, ["C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"])


def _is_finite(array: NDArray[np.float64]) -> bool:
    """Return whether no value is NaN or infinite; a finite sum tells that without a temporary array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum()) or bool(np.isfinite(array).all())


def as_floats(
    name: str, value: Any, shape: tuple[int | str, ...], *, finite: bool = True, empty: bool = True
) -> NDArray[np.float64]:
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
    empty : bool, default=True
        Whether a length may be 0.

    Returns
    -------
    array : ndarray of float64
        Of that shape.

    Raises
    ------
    ValueError
        If there is no such array, or it holds NaN or infinity, or it must not be empty and is.

    Examples
    --------
    >>> from sktsne._checks import as_floats
    >>> as_floats("Y", [[1, 2]], ("n", 2))
    array([[1., 2.]])
    """
    if _is_ready(value, np.float64):  # at every iteration
        array: NDArray[np.float64] = value
    else:
        try:
            if issparse(value) or np.iscomplexobj(value):
                raise TypeError(f"got {type(value).__name__ if issparse(value) else 'complex numbers'}")
            if _is_masked(value):
                raise ValueError("got masked values")
            array = _required(value, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{name} must be a dense array of real numbers of shape {_described(shape)}: {error}"
            ) from error
    if array.shape != shape:
        _check_shape(name, array, shape)
    if not empty and 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}, must not be empty.")
    if finite and not _is_finite(array):
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(f"{name} must be finite, and {name}[{', '.join(map(str, place))}] is {array[place]}.")
    return array


def as_indices(name: str, value: Any, shape: tuple[int | str, ...], n: int) -> NDArray[np.integer]:
    """Return an array of integers from 0 to ``n - 1``, C-contiguous; raise a ValueError where there is none.

    ``shape`` is as for `as_floats`.
    """
    try:
        array: NDArray[np.integer] = np.asarray(value)
        if array.dtype.kind not in "iu":
            raise TypeError(f"got dtype {array.dtype}")
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be an array of integers of shape {_described(shape)}: {error}") from error
    _check_shape(name, array, shape)
    if array.size and not (array.min() >= 0 and array.max() < n):
        raise ValueError(f"{name} must be from 0 to {n - 1}, got values from {array.min()} to {array.max()}.")
    return _required(array, array.dtype.newbyteorder("="))


def check_not_negative(name: str, values: NDArray[np.floating]) -> None:
    """Raise a ValueError unless all values are finite and at least 0."""
    if values.size and not (values.min() >= 0.0 and values.max() < math.inf):
        raise ValueError(f"{name} must be finite and not negative, got values from {values.min()} to {values.max()}.")


def as_csr(name: str, value: Any) -> csr_array:
    """Return a sparse matrix as a CSR matrix whose indices lie in its shape, which SciPy's compiled loops rely on, too.

    Parameters
    ----------
    name : str
        What errors call it.
    value : sparse matrix
        Of real numbers; never changed.

    Returns
    -------
    matrix : csr_array
        Of float64, or of float32 where ``value`` is, with int32 or int64 indices. Its arrays are those of ``value``
        where they can be.

    Raises
    ------
    ValueError
        If there is no such matrix.
    """
    try:
        matrix = _checked_csr(value)
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{name} must be a valid sparse matrix: {error}") from error
    matrix.data = _required(matrix.data, np.float32 if matrix.dtype == np.float32 else np.float64)
    for part in "indices", "indptr":
        array = getattr(matrix, part)
        setattr(matrix, part, _required(array, np.int32 if array.dtype.itemsize == 4 else np.int64))
    return matrix


def as_input(name: str, X: Any) -> Any:
    """Return a matrix in a form that scikit-learn reads right: it trusts the indices of sparse ones and ignores masks.

    Parameters
    ----------
    name : str
        What errors call it.
    X : {array-like, sparse matrix}
        A sparse matrix is returned as `as_csr` returns it, because SciPy's conversions trust its indices.

    Returns
    -------
    X : {array-like, csr_array}
        For scikit-learn to convert and check.

    Raises
    ------
    TypeError
        If ``X`` does not tell its number of rows, or is a dict or an array of records.
    ValueError
        If ``X`` is an invalid sparse matrix, or has masked values, whose masks scikit-learn ignores.
    """
    if (issparse(X) and X.dtype.kind == "c") or np.isscalar(X):
        return X  # scikit-learn has errors for them
    if issparse(X):
        return as_csr(name, X)
    check_counted(name, X)
    if isinstance(X, Mapping) or getattr(getattr(X, "dtype", None), "names", None):
        kind = type(X).__name__ if isinstance(X, Mapping) else "structured array"
        raise TypeError(f"{name} is a {kind}, must be an array or a data frame, as pandas.DataFrame makes of one.")
    if hasattr(X, "columns") and X.shape[1] == 0:
        return np.empty(X.shape)  # scikit-learn names the shape of an array, and not that of a frame
    if _is_masked(X):
        raise ValueError(f"{name} has masked values, must have none: fill them, or leave out their rows or columns.")
    return X


def _is_masked(value: Any) -> bool:
    """Return whether some values of an array are masked, which conversions ignore."""
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))


@contextmanager
def errors_that_name_columns(name: str, X: Any) -> Iterator[None]:
    """Name the first column of a data frame that holds no numbers in the error of a conversion, which does not.

    Of a column of vectors, as of embeddings of texts, the error also says how to make a matrix of it. Missing values
    are no reason for another error: scikit-learn has one for them.
    """
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        for column, values in columns_of(X) or ():
            try:
                array = np.asarray(_known(values))
                if array.dtype.kind in "mM":
                    raise TypeError(f"got {array.dtype}")
                array.astype(np.float64)
            except (TypeError, ValueError, OverflowError) as reason:
                remedy = STACK if str(reason) == SEQUENCES else "Leave it out, or encode it as numbers."
                message = f"column {column!r} of {name} must hold numbers: {str(reason).rstrip('.')}. {remedy}"
                raise ValueError(message) from error
        if str(error) == SEQUENCES:
            raise ValueError(f"{name} must hold numbers, and has sequences as its elements. {STACK}") from error
        raise


def _known(column: Any) -> Any:
    """Return the values of a column of pandas, polars or pyarrow that are not missing."""
    methods = (getattr(column, name, None) for name in ("dropna", "drop_nulls", "drop_null"))
    drop = next(filter(None, methods), None)
    return column if drop is None else drop()


def columns_of(X: Any) -> list[tuple[Any, Any]] | None:
    """Return the names and columns of a data frame or of a table of pyarrow, or None of anything else."""
    if hasattr(X, "column_names"):
        return list(zip(X.column_names, X.columns, strict=True))
    if not hasattr(X, "columns"):
        return None
    return list(X.items()) if hasattr(X, "items") else [(name, X[name]) for name in X.columns]


def check_counted(name: str, value: Any) -> None:
    """Raise a TypeError unless a value tells how many rows it has, as a lazy frame and a generator do not."""
    has_length = hasattr(value, "__len__") or hasattr(value, "__array__")
    if len(getattr(value, "shape", (None,) if has_length else ())) == 0:
        raise TypeError(
            f"{name} must be an array or a data frame, and {type(value).__name__} does not tell its number of rows. "
            f"Compute {name} first: a lazy frame by its method collect, a generator by list."
        )


def _checked_csr(value: Any) -> csr_array:
    if len(value.shape) != 2:
        raise ValueError(f"it has {len(value.shape)} dimensions")
    if value.dtype.kind not in "fiub":
        raise TypeError(f"it must hold real numbers, got dtype {value.dtype}")
    if value.format == "csr":
        return csr_array(_checked_parts(value, *value.shape), shape=value.shape)
    if value.format == "csc":
        return csc_array(_checked_parts(value, *value.shape[::-1]), shape=value.shape).tocsr()
    if value.format == "lil":
        n_columns, n_values = list(map(len, value.rows)), list(map(len, value.data))
        if n_columns != n_values or len(n_columns) != value.shape[0]:
            raise ValueError("it must have as many columns as values in each row")
    # Coordinates are made of the other formats without compiled loops that trust the matrix.
    entries = value.tocoo()
    places = [
        as_indices(f"the indices of axis {axis}", place, (len(entries.data),), value.shape[axis])
        for axis, place in enumerate((entries.row, entries.col))
    ]
    return coo_array((entries.data, tuple(places)), shape=value.shape).tocsr()


def _checked_parts(value: Any, n: int, width: int) -> tuple[NDArray[Any], NDArray[np.integer], NDArray[np.integer]]:
    """Return data, indices and index pointer of a compressed matrix with ``n`` lines of a width."""
    data, indices = np.asarray(value.data), np.asarray(value.indices)
    indptr = as_indices("indptr", value.indptr, (n + 1,), len(indices) + 1)
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr must begin with 0 and not decrease")
    used = int(indptr[-1])
    indices = as_indices("indices", indices[:used], (used,), width)
    _check_shape("data", data[:used], (used,))
    return data[:used], indices, indptr


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
    if issparse(value):
        affinities: Any = as_csr(name, value)
        values = affinities.data
    else:
        values = affinities = as_floats(name, value, ("n", "n" if n_columns is None else n_columns), finite=False)
    rows, columns = affinities.shape
    if n_columns is None and rows == 0:
        raise ValueError(f"{name} has shape {affinities.shape}, must not be empty.")
    if columns != (rows if n_columns is None else n_columns):
        wanted = (rows, rows if n_columns is None else n_columns)
        raise ValueError(f"{name} has shape {affinities.shape}, must have {_described(wanted)}.")
    check_not_negative(name, values)
    return affinities


# NumPy's error for an array of objects that are arrays or lists, and what helps.
SEQUENCES = "setting an array element with a sequence."
STACK = "numpy.stack makes a matrix of a column of vectors."
# The floating types below float64, by their names in NumPy, pandas (with nullable and Arrow's types) and polars.
FLOAT_TYPES: dict[str, type[np.floating]] = {
    "float16": np.float16,
    "halffloat[pyarrow]": np.float16,
    "float32": np.float32,
    "float[pyarrow]": np.float32,
    "float": np.float32,  # as Arrow calls it
    "halffloat": np.float16,
}


def dtypes_of(X: Any) -> list[Any]:
    """Return the dtype of an array, or those of the columns of a frame; float64 where X has none."""
    if hasattr(X, "schema") and hasattr(X.schema, "types"):  # a table of Arrow
        return list(X.schema.types)
    # A lazy frame would have to work for its types, and is no matrix.
    dtypes = getattr(X, "dtypes", None) if hasattr(X, "__len__") else None
    return list(dtypes) if isinstance(dtypes, Iterable) else [getattr(X, "dtype", np.float64)]


def float_types(dtypes: Iterable[Any]) -> set[type[np.floating]]:
    """Return the floating types that dtypes of NumPy, pandas (nullable and Arrow's too) and polars stand for.

    Those of other numbers, as of integers, are float64.
    """
    names = {str(getattr(dtype, "name", dtype)).lower().removeprefix("torch.") for dtype in dtypes}
    return {FLOAT_TYPES.get(name, np.float64) for name in names}


def are_single(dtypes: Iterable[Any]) -> bool:
    """Return whether all of the dtypes, and there are some, stand for float32."""
    return float_types(dtypes) == {np.float32}


def precision_of(X: Any) -> type[np.floating]:
    """Return the coarsest floating type in which numbers of X came: it tells how far rounding has changed them."""
    return max(float_types(dtypes_of(X)), key=lambda kind: float(np.finfo(kind).eps), default=np.float64)


def without_rounding(name: str, X: Any, precision: type[np.floating], largest: float = 0.0) -> Any:
    """Return numbers that must not be negative; numbers that are negative by rounding only become 0.

    Parameters
    ----------
    name : str
        What errors call the numbers.
    X : ndarray or sparse matrix
        Not changed, and returned where no number is negative.
    precision : type
        The floating type in which the numbers came. A number that is negative by at most 64 units in the last place of
        the largest number, in this type, is negative by rounding only.
    largest : float, default=0.0
        The largest of other numbers of the same origin.

    Returns
    -------
    X : ndarray or sparse matrix
        At least 0 wherever it is not NaN.

    Raises
    ------
    ValueError
        If a number is negative beyond rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne._checks import without_rounding
    >>> without_rounding("X", np.array([0.5, -2e-16]), np.float64)
    array([0.5, 0. ])
    """
    values = X.data if issparse(X) else X
    least = values.min(initial=0.0)
    if not least < 0.0:
        return X
    if least < -64.0 * float(np.finfo(precision).eps) * max(largest, float(values.max(initial=0.0))):
        raise ValueError(f"{name}, got negative values: all must be zero or positive.")
    if not issparse(X):
        return np.maximum(values, 0.0)
    X = X.copy()
    X.data = np.maximum(values, 0.0)
    return X


def warn(message: str) -> None:
    """Warn with the line of the user's code, at a stack level that depends on Python's version and on the caller."""
    frames = walk_stack(sys._getframe())
    names = (frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames)
    level = sum(1 for _ in takewhile(lambda name: name in ("sktsne", "sklearn"), names))
    warnings.warn(message, UserWarning, stacklevel=level + 1)
