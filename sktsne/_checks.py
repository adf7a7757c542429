"""Checks of arguments; each error names the argument, its value and what is accepted.

Every part that reaches compiled loops checks its arguments by these functions, because the loops themselves check no
index, shape or type.
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
from sklearn.utils import check_random_state


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
    """Raise a TypeError or ValueError unless ``value`` is a number of ``kind`` from ``low`` to ``high``.

    The number must be finite, unless it may be ``infinite``.
    """
    wanted = "an integer" if kind is Integral else "a number"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be {wanted}, not {type(value).__name__}.")
    try:
        number = float(value)
    except OverflowError:  # the integer is larger than every float
        number = math.nan
    above = low <= number if low_included else low < number
    if not (above and number <= high and (infinite or math.isfinite(number))):
        bounds = f"{'at least' if low_included else 'above'} {low:g}" + (
            f" and at most {high:g}" if high < math.inf else ""
        )
        finite = "" if high < math.inf else ", or infinite" if infinite else " and finite"
        raise ValueError(f"{name} == {value!r}, must be {wanted} {bounds}{finite}.")


def check_choice(name: str, value: Any, choices: Any, others: str = "") -> None:
    """Raise a ValueError unless ``value`` is one of the strings ``choices``; ``others`` names what else is accepted."""
    if not isinstance(value, str) or value not in choices:
        accepted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} == {value!r}, must be one of {accepted}{others}.")


def check_dof(dof: Any) -> None:
    """Raise a TypeError or ValueError unless ``dof`` is a positive number, which is infinite for a Gaussian."""
    check_number("dof", dof, Real, 0, low_included=False, infinite=True)


def check_type(name: str, value: Any, kind: type) -> None:
    """Raise a TypeError unless ``value`` is an instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} == {value!r}, must be an instance of {kind.__name__}, not {type(value).__name__}.")


def check_stop(name: str, returned: Any) -> bool:
    """Return whether the callback ``name`` returned True; raise a TypeError unless it returned a bool or None."""
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
    """Return whether compiled loops can read an array directly: no subclass, of ``dtype``, C-contiguous and aligned."""
    return type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous and value.flags.aligned


def _required(value: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return an array that compiled loops can read; numbers beyond the range of ``dtype`` become infinite."""
    if _is_ready(value, dtype):
        ready: NDArray[Any] = value
        return ready
    with np.errstate(over="ignore", invalid="ignore"):
        return np.require(value, dtype, ["C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"])


def is_finite(array: NDArray[np.float64]) -> bool:
    """Return whether all values are finite; a finite sum shows this without a temporary array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(array.sum()) or bool(np.isfinite(array).all())


def as_floats(
    name: str, value: Any, shape: tuple[int | str, ...], *, finite: bool = True, empty: bool = True
) -> NDArray[np.float64]:
    """Return an array that compiled loops can read: float64, C-contiguous and aligned.

    Parameters
    ----------
    name : str
        The name of the argument in errors.
    value : array-like
        The numbers. An array that compiled loops can read is returned itself; no array is changed.
    shape : tuple of int or str
        The length of each axis, or a name for a length that may be any.
    finite : bool, default=True
        Whether NaN and infinity are errors.
    empty : bool, default=True
        Whether lengths may be 0.

    Returns
    -------
    array : ndarray of float64
        The numbers, in an array of this shape.

    Raises
    ------
    ValueError
        If ``value`` has another shape, does not hold real numbers, holds NaN or infinity although it must be finite, or
        is empty although it must not be.

    Examples
    --------
    >>> from sktsne._checks import as_floats
    >>> as_floats("Y", [[1, 2]], ("n", 2))
    array([[1., 2.]])
    """
    if _is_ready(value, np.float64):  # first, because every iteration calls this function with such arrays
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
    if finite and not is_finite(array):
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(f"{name} must be finite, and {name}[{', '.join(map(str, place))}] is {array[place]}.")
    return array


class _Constant:
    """The owner of the memory of an array that `constant` returned."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array  # keeps the memory
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, True)}


def constant(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that nobody can change, of an array that nobody else has.

    A flag of NumPy would not suffice: who has an array that owns its memory can set the flag again, and views that were
    made before stay writeable.
    """
    return np.asarray(_Constant(array))


def is_constant(array: NDArray[Any]) -> bool:
    """Return whether an array is a view of one that `constant` returned."""
    part: Any = array
    while isinstance(part, np.ndarray):
        part = part.base
    return isinstance(part, _Constant)


def as_indices(name: str, value: Any, shape: tuple[int | str, ...], n: int) -> NDArray[np.integer]:
    """Return a C-contiguous array of integers from 0 to ``n - 1``; raise a ValueError if ``value`` has other numbers.

    ``name`` and ``shape`` are as for `as_floats`.
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
    """Return a sparse matrix as a CSR matrix after a check of its indices, on which SciPy's compiled loops rely, too.

    Parameters
    ----------
    name : str
        The name of the argument in errors.
    value : sparse matrix
        A matrix of real numbers, which is not changed.

    Returns
    -------
    matrix : csr_array
        The matrix, with indices that lie inside its shape. Its dtype is float32 if ``value`` has this dtype, otherwise
        float64; its indices are int32 or int64. It shares the arrays of ``value`` where possible.

    Raises
    ------
    ValueError
        If ``value`` is not a valid sparse matrix of real numbers.
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
    """Return a matrix that scikit-learn reads correctly: it trusts the indices of sparse matrices, and ignores masks.

    Parameters
    ----------
    name : str
        The name of the argument in errors.
    X : {array-like, sparse matrix}
        The matrix. A sparse matrix is checked and converted by `as_csr`, because SciPy's conversions trust its indices.

    Returns
    -------
    X : {array-like, csr_array}
        The matrix, for scikit-learn to convert and to check further.

    Raises
    ------
    TypeError
        If ``X`` does not tell its number of rows, or is a dict or an array of records.
    ValueError
        If ``X`` is an invalid sparse matrix, or has masked values, whose masks scikit-learn ignores.
    """
    if (issparse(X) and X.dtype.kind == "c") or np.isscalar(X):
        return X  # scikit-learn raises an error for these
    if issparse(X):
        return as_csr(name, X)
    check_counted(name, X)
    if isinstance(X, Mapping) or getattr(getattr(X, "dtype", None), "names", None):
        kind = type(X).__name__ if isinstance(X, Mapping) else "structured array"
        raise TypeError(f"{name} is a {kind}, must be an array or a data frame: convert it by pandas.DataFrame.")
    if hasattr(X, "columns") and X.shape[1] == 0:
        return np.empty(X.shape)  # scikit-learn's error names the shape of an array, but not of a data frame
    if _is_masked(X):
        raise ValueError(f"{name} has masked values, must have none: fill them, or leave out their rows or columns.")
    return X


def _is_masked(value: Any) -> bool:
    """Return whether some values of an array are masked; conversions by NumPy ignore the mask."""
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))


@contextmanager
def errors_that_name_columns(name: str, X: Any) -> Iterator[None]:
    """Add the name of the first column of a data frame that holds no numbers to the error of a conversion.

    For a column of vectors, such as embeddings of texts, the error also says how to make a matrix of the vectors.
    Missing values do not change the error, because scikit-learn has an error for them.
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
            raise ValueError(f"{name} must hold numbers, and its elements are sequences. {STACK}") from error
        raise


def _known(column: Any) -> Any:
    """Return the values of a column of pandas, polars or pyarrow that are not missing."""
    methods = (getattr(column, name, None) for name in ("dropna", "drop_nulls", "drop_null"))
    drop = next(filter(None, methods), None)
    return column if drop is None else drop()


def columns_of(X: Any) -> list[tuple[Any, Any]] | None:
    """Return the names and the columns of a data frame or of a table of pyarrow, and None for anything else."""
    if hasattr(X, "column_names"):
        return list(zip(X.column_names, X.columns, strict=True))
    if not hasattr(X, "columns"):
        return None
    return list(X.items()) if hasattr(X, "items") else [(name, X[name]) for name in X.columns]


def check_counted(name: str, value: Any) -> None:
    """Raise a TypeError unless a value tells its number of rows, which lazy frames and generators do not."""
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
    # SciPy converts the other formats to coordinates without compiled loops, which would trust the matrix.
    entries = value.tocoo()
    places = [
        as_indices(f"the indices of axis {axis}", place, (len(entries.data),), value.shape[axis])
        for axis, place in enumerate((entries.row, entries.col))
    ]
    return coo_array((entries.data, tuple(places)), shape=value.shape).tocsr()


def _checked_parts(value: Any, n: int, width: int) -> tuple[NDArray[Any], NDArray[np.integer], NDArray[np.integer]]:
    """Return data, indices and index pointer of a compressed matrix: ``n`` rows (or columns) of length ``width``."""
    data, indices = np.asarray(value.data), np.asarray(value.indices)
    indptr = as_indices("indptr", value.indptr, (n + 1,), len(indices) + 1)
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError("indptr must begin with 0 and not decrease")
    used = int(indptr[-1])
    indices = as_indices("indices", indices[:used], (used,), width)
    _check_shape("data", data[:used], (used,))
    return data[:used], indices, indptr


def as_affinities(name: str, value: Any, n_columns: int | None = None) -> csr_array | NDArray[np.float64]:
    """Return affinities that compiled loops can read: a dense array, or a CSR matrix with indices inside its shape.

    Parameters
    ----------
    name : str
        The name of the argument in errors.
    value : ndarray or sparse matrix of shape (n, n) or (n, n_columns)
        Affinities, finite and not negative, which are not changed.
    n_columns : int, default=None
        The number of columns; by default the number of rows.

    Returns
    -------
    affinities : csr_array or ndarray
        The affinities, sparse if ``value`` is sparse. Sparse ones keep float32; all others are float64. They share the
        arrays of ``value`` where possible.
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


# NumPy's error for an array of objects that are arrays or lists, and the advice that the package adds to it.
SEQUENCES = "setting an array element with a sequence."
STACK = "Use numpy.stack to make a matrix of a column of vectors."
# The floating types below float64, by their names in NumPy, pandas (with nullable and Arrow's types) and polars.
FLOAT_TYPES: dict[str, type[np.floating]] = {
    "float16": np.float16,
    "halffloat[pyarrow]": np.float16,
    "float32": np.float32,
    "float[pyarrow]": np.float32,
    "float": np.float32,  # Arrow's name for float32
    "halffloat": np.float16,
}


def dtypes_of(X: Any) -> list[Any]:
    """Return a list of the dtype of an array, or of the dtypes of a data frame's columns; float64 if X has no dtype."""
    if hasattr(X, "schema") and hasattr(X.schema, "types"):  # a table of Arrow
        return list(X.schema.types)
    # A lazy frame, which has no length, would have to compute its dtypes, and is refused later.
    dtypes = getattr(X, "dtypes", None) if hasattr(X, "__len__") else None
    return list(dtypes) if isinstance(dtypes, Iterable) else [getattr(X, "dtype", np.float64)]


def float_types(dtypes: Iterable[Any]) -> set[type[np.floating]]:
    """Return NumPy's floating types for dtypes of NumPy, pandas (also nullable and Arrow's) and polars.

    The type is float64 for all dtypes but floating ones, for example for integers.
    """
    names = {str(getattr(dtype, "name", dtype)).lower().removeprefix("torch.") for dtype in dtypes}
    return {FLOAT_TYPES.get(name, np.float64) for name in names}


def are_single(dtypes: Iterable[Any]) -> bool:
    """Return whether there are dtypes, and all of them stand for float32."""
    return float_types(dtypes) == {np.float32}


def precision_of(X: Any) -> type[np.floating]:
    """Return the coarsest floating type among the dtypes of X, which tells how far rounding has changed its numbers."""
    return max(float_types(dtypes_of(X)), key=lambda kind: float(np.finfo(kind).eps), default=np.float64)


def without_rounding(name: str, X: Any, precision: type[np.floating], largest: float = 0.0) -> Any:
    """Return numbers that must not be negative; numbers that are negative only by rounding become 0.

    Parameters
    ----------
    name : str
        The beginning of the message of an error, which says what the numbers must be.
    X : ndarray or sparse matrix
        The numbers, which are not changed. If no number is negative, ``X`` itself is returned.
    precision : type
        The floating type in which the numbers were given. A number counts as negative only by rounding if its size is
        at most 64 units in the last place of the largest number, in this type.
    largest : float, default=0.0
        The largest one of other numbers of the same origin.

    Returns
    -------
    X : ndarray or sparse matrix
        The numbers: at least 0, or NaN.

    Raises
    ------
    ValueError
        If a number is negative by more than rounding.

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


def check_n_jobs(n_jobs: Any) -> None:
    """Raise a TypeError or ValueError unless ``n_jobs`` is None or an integer other than 0."""
    if n_jobs is None:
        return
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool):
        raise TypeError(f"n_jobs == {n_jobs!r}, must be an integer or None, not {type(n_jobs).__name__}.")
    if n_jobs == 0:
        raise ValueError("n_jobs == 0, must be None or an integer other than 0.")


def as_random_state(random_state: Any) -> np.random.RandomState:
    """Return the generator of a ``random_state``; raise a ValueError for one that is not accepted."""
    try:
        state: np.random.RandomState = check_random_state(random_state)
    except ValueError as error:
        accepted = "None, an integer from 0 to 2**32 - 1 or a RandomState"
        raise ValueError(f"random_state == {random_state!r}, must be {accepted}: {error}") from error
    return state


def warn(message: str) -> None:
    """Give a UserWarning that names the line of the user's code, which called the package or scikit-learn."""
    frames = walk_stack(sys._getframe())
    names = (frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames)
    level = sum(1 for _ in takewhile(lambda name: name in ("sktsne", "sklearn"), names))
    warnings.warn(message, UserWarning, stacklevel=level + 1)
