"""Columns of values, in any container and of any type: their distinct values, the order of these, and their names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSING, EMPTY = "(missing)", "(empty)"  # the names of missing values and of empty texts
FIXED = "biufMm"  # kinds of dtype whose values NumPy compares directly: numbers and times
# Units of durations, and NumPy's codes for them.
UNITS: dict[str, Any] = {
    "d": "D",
    "h": "h",
    "min": "m",
    "s": "s",
    "ms": "ms",
    "µs": "us",
    "ns": "ns",
}
# Dates, with or without a time, as they are written by ISO 8601, in Germany, in the United States and elsewhere.
DATES = tuple(
    re.compile(rf"{date}([T ](?P<hour>\d\d?)(?P<rest>:\d\d(:\d\d([.]\d{{1,9}})?)?)( ?(Z|[+-]\d\d:?\d\d))?)?", re.ASCII)
    for date in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)",
        r"(?P<day>\d\d?)[.](?P<month>\d\d?)[.](?P<year>\d{4})",
        r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})",
        r"(?P<day>\d\d?)(?P<mark>[-/])(?P<month>\d\d?)(?P=mark)(?P<year>\d{4})",
    )
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Distinct(NamedTuple):
    """A column: its distinct values in their order, and for each row the index of its value, or -1 if it is missing."""

    codes: NDArray[np.intp]
    values: NDArray[Any]

    @property
    def is_complete(self) -> bool:
        """Whether no value is missing."""
        return not (self.codes < 0).any()

    def rows(self, of_values: NDArray[Any], missing: Any) -> NDArray[Any]:
        """Return the item of ``of_values`` for each row's value, or ``missing`` for a row whose value is missing."""
        return np.append(of_values, np.array([missing], dtype=of_values.dtype))[self.codes]


def as_array(column: Any) -> NDArray[Any]:
    """Return the values of a column unchanged: as an array of numbers or times if possible, otherwise of objects.

    NumPy alone would merge 1 and "1" in a list, round large integers beside a missing value, and convert None and NaN
    to texts.

    Parameters
    ----------
    column : array-like
        A list, an array, or a column of pandas, polars or pyarrow.

    Returns
    -------
    array : ndarray
        The values, in the shape of the column.
    """
    if isinstance(column, np.ma.MaskedArray):
        return _without(np.ma.getdata(column), np.ma.getmaskarray(column))
    if isinstance(column, list | tuple):
        try:
            return np.asarray(column) if any(map(_is_array, set(map(type, column)))) else _narrowed(column)
        except ValueError:  # lists of different lengths are values themselves
            return _narrowed(column)
    items = _to_list(column)
    if items is not None:
        return _narrowed(items) if categories_of(column) is None else _objects(items)
    array = np.asarray(column)
    if array.dtype.kind in FIXED:
        return array
    return _narrowed(array.tolist()) if array.ndim == 1 else array.astype(object)


def _without(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Return an array of values in which the masked ones are missing: None, NaN or NaT."""
    array = np.array(as_array(values) if values.ndim == 1 else values)
    if array.dtype.kind not in "fMm":
        array = array.astype(object)
    array[mask] = {"O": None, "f": np.nan}.get(array.dtype.kind, "NaT")
    return array


def _is_array(kind: type) -> bool:
    scalar = issubclass(kind, np.generic | np.ma.core.MaskedConstant)
    return issubclass(kind, list) or (hasattr(kind, "__array__") and not scalar)


def column_of(frame: Any) -> Any:
    """Return the column of a data frame with a single column, and everything else unchanged."""
    columns: Any = frame.columns if hasattr(type(frame), "columns") else ()
    if len(columns) != 1:
        return frame
    return columns[0] if hasattr(columns[0], "to_pylist") else frame[columns[0]]  # columns of pyarrow, not names


def _to_list(column: Any) -> list[Any] | None:
    """Return the values of a column whose dtype NumPy lacks, or None for other columns and for times without a zone.

    NumPy reads these columns correctly.
    """
    dtype = getattr(column, "dtype", None)
    dtype = getattr(column, "type", None) if dtype is None else dtype
    if hasattr(dtype, "na_value"):  # the column is a series or an extension array of pandas
        method = column.tolist
    else:
        method = getattr(column, "to_pylist", getattr(column, "to_list", None))
    if method is None or isinstance(dtype, np.dtype):
        return None
    is_time = str(dtype).lower().startswith(("date", "timestamp", "duration"))
    has_zone = "tz=" in str(dtype) or getattr(dtype, "tz", getattr(dtype, "time_zone", None)) is not None
    if is_time and not has_zone:
        return None
    return list(method())


def _narrowed(items: Sequence[Any]) -> NDArray[Any]:
    """Return an array of numbers or times if all items have one such type, otherwise an array of objects."""
    kinds = set(map(type, items))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in (int, float, bool) or issubclass(kind, np.generic):
            array = np.asarray(items)
            exact = kind is not int or array.dtype.kind in "iu"  # large integers may become floating-point numbers
            if array.dtype.kind in FIXED and exact:
                return array
    return _objects(items)


def _objects(items: Sequence[Any]) -> NDArray[Any]:
    return np.fromiter(map(_plain, items), object, len(items))


def _plain(item: Any) -> Any:
    """Return a text or boolean of NumPy as one of Python, so that all items of a column have one type."""
    return item.item() if isinstance(item, np.str_ | np.bytes_ | np.bool_) else item


def read_column(column: Any, array: NDArray[Any] | None = None) -> Distinct:
    """Return the distinct values of a column in their order.

    Categories have their own order, and texts the order of the numbers in them. All other values are sorted, if Python
    can sort them. None, NaN, NaT, pandas.NA and masked values are missing values.

    Parameters
    ----------
    column : array-like of shape (n,)
        The column.
    array : ndarray of shape (n,), default=None
        The values of the column, as `as_array` returns them.
    """
    array = as_array(column) if array is None else array
    if array.dtype.kind in FIXED:
        known = array == array  # not NaN or NaT
        codes = np.full(len(array), -1, dtype=np.intp)
        values, inverse = np.unique(array[known], return_inverse=True)
        codes[known] = inverse.ravel()
        return Distinct(codes, values)
    codes, found = _factorize(array.tolist())
    order = _order(found, categories_of(column))
    rank = np.empty(len(order) + 1, dtype=np.intp)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return Distinct(rank[codes], np.fromiter((found[k] for k in order), object, len(order)))


def _factorize(items: list[Any]) -> tuple[NDArray[np.intp], list[Any]]:
    """Return the index of each item's value, -1 if missing, and the list of distinct values in order of appearance."""
    keys: list[Any] = items
    kinds = set(map(type, items))
    if len(kinds) > 1 and bool in kinds:
        keys = [(isinstance(item, bool), item) for item in items]  # True and 1 are different values
    places: dict[Any, int] = {}
    found: list[Any] = []
    codes = np.empty(len(items), dtype=np.intp)
    for row, (key, item) in enumerate(zip(keys, items, strict=True)):
        try:
            place = places.get(key)
        except TypeError:  # a list or an array cannot be looked up
            key = f"{type(item).__name__} {item!r}"
            place = places.get(key)
        if place is None:
            place = -1 if is_missing(item) else len(found)
            places[key] = place
            found += [item] * (place >= 0)
        codes[row] = place
    return codes, found


def is_missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, NaT, pandas.NA or masked."""
    if value is None or value is np.ma.masked or type(value).__name__ == "NAType":
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # the value is an array, in a column of objects
        return False


def categories_of(column: Any) -> list[Any] | None:
    """Return the ordered categories of a column of pandas, of a polars Enum or of pyarrow, or None if it has none."""
    dtype = getattr(column, "dtype", None)
    categories: Any = getattr(dtype, "categories", None)
    if hasattr(categories, "__len__"):
        return list(categories)
    if getattr(getattr(column, "type", None), "ordered", False) is True:
        chunks = getattr(column, "chunks", [column])
        return list(dict.fromkeys(chain.from_iterable(chunk.dictionary.to_pylist() for chunk in chunks)))
    return None


def _order(values: list[Any], categories: list[Any] | None) -> list[int]:
    """Return the indices that sort values."""
    keys: list[Any] = values
    kinds = set(map(type, values))
    if len(kinds) == 1 and isinstance(values[0], Enum):
        categories = list(type(values[0]))
    if categories is not None:
        place = {category: k for k, category in enumerate(categories)}
        keys = [place[value] for value in values]
    elif kinds == {str}:
        keys = _keys_of_texts(values)
    try:
        return sorted(range(len(values)), key=keys.__getitem__)
    except (TypeError, ValueError):  # Python cannot compare values of different types
        keys = [_natural(str(value)) for value in values]
        return sorted(range(len(values)), key=keys.__getitem__)


def _keys_of_texts(texts: list[str]) -> list[Any]:
    """Return keys that sort texts: by their values if all texts are decimal numbers, otherwise by the numbers in them.

    Texts such as "3.9" and "3.10" count as versions, not as decimal numbers: these would be written "3.9" and "3.1", or
    with two decimals each.
    """
    if all(NUMBER.fullmatch(text) for text in texts):
        numbers = list(map(float, texts))
        fractions = [text.partition(".")[2] for text in texts]
        padded = any(len(fraction) > 1 and fraction.isdigit() and fraction.endswith("0") for fraction in fractions)
        if len(set(numbers)) == len(texts) and not (padded and len(set(map(len, fractions))) > 1):
            return numbers
    return list(map(_natural, texts))


def as_typed(texts: NDArray[Any], most: int) -> NDArray[Any]:
    """Return the texts of a file as numbers or dates if all are numbers or all dates, and more than ``most`` differ.

    Otherwise the texts are returned unchanged, because a text file does not tell whether 1.5 is a number or a name.
    Empty texts are missing values.
    """
    distinct = set(texts.tolist()) - {""}
    if texts.dtype.kind != "U" or len(distinct) <= most:
        return texts
    if all(map(NUMBER.fullmatch, distinct)):
        return np.where(texts == "", "nan", texts).astype(np.float64)
    orders = [times for order in DATES if (times := _read_times(order, distinct)) is not None]
    if not orders or any(times != orders[0] for times in orders):  # 3/4/2026 may be in March or in April
        return texts
    return np.array([orders[0].get(text, "NaT") for text in texts.tolist()], dtype="M8[us]")


def _read_times(order: re.Pattern[str], texts: set[str]) -> dict[str, Any] | None:
    """Return the points in time that texts state, by the clocks of their time zones, or None if a text states none."""
    times = {}
    for text in texts:
        found = order.fullmatch(text)
        if found is None:
            return None
        year, month, day, hour, rest = found.group("year", "month", "day", "hour", "rest")
        try:
            times[text] = datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{hour or '':0>2}{rest or ':00'}")
        except ValueError:  # the month or the day does not exist
            return None
    return times


def _natural(text: str) -> tuple[Any, ...]:
    """Return a key that sorts "c9" before "c10"."""
    parts: list[Any] = re.split(r"(\d+)", text)
    for k in range(1, len(parts), 2):
        digits = parts[k].lstrip("0")
        parts[k] = (len(digits), digits)
    return (parts, text)


def as_numbers(values: NDArray[Any]) -> tuple[NDArray[np.float64], str] | None:
    """Return distinct values as numbers with a unit, or None if the values cannot form a scale.

    Returns
    -------
    numbers : ndarray of float64
        The numbers. For points in time, they are days since 1970, or years; see ``unit``.
    unit : str
        "date" for points in time as days since 1970. "year" for points in time of which some lie beyond the years 1 to
        9999, which the calendars of Python and matplotlib have. A unit of time for durations, and "" for numbers.
    """
    times = as_times(values)
    if times is not None:
        if times.dtype.kind == "M":
            years = times.astype("M8[Y]").astype(np.float64) + 1970.0
            if not ((years >= 1.0) & (years <= 9999.0)).all():
                return years, "year"
            days = times.astype("M8[D]")
            return days.astype(np.float64) + (times - days) / np.timedelta64(1, "D"), "date"
        longest = np.abs(times).max(initial=np.timedelta64(0, "ns"))
        unit = next((unit for unit, code in UNITS.items() if longest >= np.timedelta64(2, code)), "ns")
        return times / np.timedelta64(1, UNITS[unit]), unit
    if values.dtype.kind in "iuf":
        return values.astype(np.float64), ""
    if values.dtype == object and all(map(_is_number, values)):
        return np.array([_as_float(value) for value in values]), ""
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_times(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return values as points in time, by the clocks of their time zones, or as durations; None if they are neither."""
    if values.dtype.kind in "Mm":
        has_seconds = values.dtype.kind == "M" or np.datetime_data(values.dtype)[0] not in ("Y", "M", "generic")
        return values if has_seconds else None
    if values.dtype != object or len(values) == 0:
        return None
    starts = [getattr(value, "start_time", value) for value in values]  # a period of pandas has a start
    for kind, code in ((date, "M8"), (timedelta, "m8"), (np.datetime64, "M8"), (np.timedelta64, "m8")):
        if all(isinstance(start, kind) for start in starts):
            return np.array(list(map(_as_numpy, starts)), dtype=None if issubclass(kind, np.generic) else code)
    return None


def _as_numpy(time: Any) -> Any:
    """Return a point in time or a duration of Python or pandas as a value of NumPy, without its time zone."""
    if isinstance(time, datetime):
        time = time.replace(tzinfo=None)
    for method in ("to_datetime64", "to_timedelta64"):
        if hasattr(time, method):
            return getattr(time, method)()
    return time


def names_of(values: NDArray[Any]) -> list[str]:
    """Return a name for each of the distinct values; all names differ."""
    times = as_times(values)
    names = [_name(value) for value in values] if times is None else _names_of_times(values, times)
    if len(set(names)) < len(names):
        names = [_name(value, exact=True) for value in values]
    if len(set(names)) == len(names):
        return names
    count = {name: names.count(name) for name in set(names)}
    return [name if count[name] == 1 else repr(value) for name, value in zip(names, values, strict=True)]


def _name(value: Any, exact: bool = False) -> str:
    """Return the name of a value; a number is rounded to six digits, or two decimals if larger, unless ``exact``."""
    if isinstance(value, float | np.floating):
        number = float(value)
        if number.is_integer() and abs(number) < 1e16:
            return str(int(number))
        if exact or not abs(number) < 1e16:
            return str(value)
        return f"{number:.{max(6, math.floor(math.log10(abs(number))) + 3)}g}"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace") or EMPTY
    return str(value) or EMPTY


def _names_of_times(values: NDArray[Any], times: NDArray[Any]) -> list[str]:
    """Return the names of points in time or durations, in the coarsest unit that shows all of them exactly."""
    if values.dtype == object and hasattr(values[0], "start_time"):
        return list(map(str, values))
    if times.dtype.kind == "M":
        if np.datetime_data(times.dtype)[0] in ("Y", "M"):
            return list(map(str, times))
        codes = ("D", "m", "s", "ms", "us", "ns")
        code: Any = next(code for code in codes if code == "ns" or (times.astype(f"M8[{code}]") == times).all())
        return [str(name).replace("T", " ") for name in np.datetime_as_string(times, unit=code)]
    exact = (unit for unit, code in UNITS.items() if (times.astype(f"m8[{code}]") == times).all())
    unit = next(exact, "ns")
    return [f"{count} {unit}" for count in times.astype(f"m8[{UNITS[unit]}]").astype(np.int64)]
