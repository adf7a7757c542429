"""Tables in files: rows to embed, read from text or arrays, and their embedding, written back."""

from __future__ import annotations

import csv
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

DELIMITERS = {".csv": ",", ".tsv": "\t"}
EXTENSIONS = (*DELIMITERS, ".npy", ".npz")
MAX_NAMES = 20


class UsageError(Exception):
    """An error that the user can mend, with a message of one line."""


class Table(NamedTuple):
    """The rows and labels that were read.

    Parameters
    ----------
    source : str
        Where the rows come from, for the report.
    X : ndarray of shape (n, n_features)
        The rows: of the file's dtype, without the labels.
    labels : ndarray of shape (n,) or None
        Labels as they were read, text from a text file.
    label_name : str
        The name of the labels.
    """

    source: str
    X: NDArray[Any]
    labels: NDArray[Any] | None = None
    label_name: str = "label"


def read(path: Path | None, wanted: str | None = None) -> Table:
    """Return the rows of a file, or scikit-learn's digits without a file.

    Parameters
    ----------
    path : Path or None
        A file with one of the ``EXTENSIONS``.
    wanted : str, default=None
        The labels: the name or number of a column, or the name of an array.

    Returns
    -------
    table : Table
        At least one row and column, all numbers finite.
    """
    if path is None:
        X, labels = load_digits(return_X_y=True)
        return Table("digits of scikit-learn", X, labels)
    extension = path.suffix.lower()
    if extension not in EXTENSIONS:
        raise UsageError(f"{path}: the extension must be one of {', '.join(EXTENSIONS)}")
    if extension in DELIMITERS:
        return _read_text(path, wanted)
    return _read_arrays(path, wanted)


def _check_rows(path: Path, X: NDArray[Any], where: Callable[[int, int], str]) -> None:
    """Raise a UsageError unless there are rows and columns, all of them finite; ``where`` names a cell."""
    if X.shape[0] == 0:
        raise UsageError(f"{path}: has no rows")
    if X.shape[1] == 0:
        raise UsageError(f"{path}: has no columns but the labels")
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UsageError(f"{path}: {where(row, column)}: {X[row, column]} is not finite")


def _column_number(path: Path, wanted: str, n_columns: int, there_are: str) -> int:
    """Return the index, from 0, of the column with the number ``wanted``, from 1."""
    if wanted.isdecimal() and 1 <= int(wanted) <= n_columns:
        return int(wanted) - 1
    raise UsageError(f"{path}: there is no column {wanted!r} for --labels; there are {there_are}")


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


class _Columns(NamedTuple):
    """The columns of a text file: their names, if there is a header, and the index of the label column."""

    names: list[str] | None
    n_columns: int
    label: int | None

    @classmethod
    def of(cls, path: Path, first: list[str], wanted: str | None) -> _Columns:
        """Return the columns that the first row shows."""
        names = None if all(map(_is_number, first)) else [cell.strip() for cell in first]
        if wanted is None:
            return cls(names, len(first), None)
        if names is not None and wanted in names:
            return cls(names, len(first), names.index(wanted))
        there_are = f"columns 1 to {len(first)}, without names" if names is None else _listing(names)
        return cls(names, len(first), _column_number(path, wanted, len(first), there_are))

    def column(self, feature: int) -> str:
        """Return how to name the column of a feature, for a message."""
        index = feature if self.label is None or feature < self.label else feature + 1
        return f"column {index + 1}" + ("" if self.names is None else f" ({self.names[index]})")

    def only_label_is_text(self, first: list[str]) -> bool:
        """Return whether in the row ``first`` the label is a text and every other cell a number."""
        return all(_is_number(cell) != (index == self.label) for index, cell in enumerate(first))


def counted(number: int, noun: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_text(path: Path, wanted: str | None) -> Table:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()], skipinitialspace=True)
        try:
            return _parse(path, reader, wanted)
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: is not UTF-8 text ({error.reason})") from error
        except csv.Error as error:
            raise UsageError(f"{path}: line {reader.line_num}: {error}") from error


def _parse(path: Path, reader: Any, wanted: str | None) -> Table:
    """Return the table of a CSV reader."""
    rows: Iterator[list[str]] = (row for row in reader if row not in ([], [""]))
    first = next(rows, None)
    if first is None:
        raise UsageError(f"{path}: is empty")
    columns = _Columns.of(path, first, wanted)
    # A file may begin "5.1,3.5,1.4,0.2,Iris-setosa": such a row is a header unless its label recurs in another row.
    undecided = columns.names is not None and columns.only_label_is_text(first)
    if columns.names is None or undecided:
        rows = chain([list(first)], rows)
    X, labels, lines = _collect(path, reader, rows, columns)
    if undecided and labels.count(labels[0]) > 1:
        columns = columns._replace(names=None)
    elif undecided:
        X, labels, lines = X[1:], labels[1:], lines[1:]
    _check_rows(path, X, lambda row, feature: f"line {lines[row]}, {columns.column(feature)}")
    name = "label" if columns.names is None or columns.label is None else columns.names[columns.label]
    source = f"{path} ({'no header' if columns.names is None else 'with header'})"
    return Table(source, X, np.array(labels) if columns.label is not None else None, name or "label")


def _collect(
    path: Path, reader: Any, rows: Iterable[list[str]], columns: _Columns
) -> tuple[NDArray[np.float64], list[str], array[int]]:
    """Return the features, the labels, and on which line each row ends.

    Cells are converted row by row, because text takes ten times the memory of its numbers.
    """
    values, labels, lines = array("d"), [], array("q")
    for row in rows:
        if len(row) != columns.n_columns:
            cells = counted(len(row), "cell")
            raise UsageError(f"{path}: line {reader.line_num} has {cells}, the first has {columns.n_columns}")
        if columns.label is not None:
            labels.append(row.pop(columns.label))
        try:
            values.extend(map(float, row))
        except ValueError:
            feature = [_is_number(cell) for cell in row].index(False)
            raise UsageError(
                f"{path}: line {reader.line_num}, {columns.column(feature)}: {row[feature]!r} is not a number"
                + (" (if the column holds labels, name it by --labels)" if columns.label is None else "")
            ) from None
        lines.append(reader.line_num)
    n_features = columns.n_columns - (columns.label is not None)
    return np.asarray(values, dtype=np.float64).reshape(len(lines), n_features), labels, lines


def _read_arrays(path: Path, wanted: str | None) -> Table:
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
            if not magic.startswith((b"\x93NUMPY", b"PK")):  # np.load raises an error about pickles
                raise UsageError(f"{path}: {'holds no arrays of NumPy' if magic else 'is empty'}")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return _of_array(path, loaded, wanted)
            return _of_archive(path, loaded, wanted)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path}: can't be read as {path.suffix[1:].upper()}: {error}") from error


def _of_array(path: Path, X: NDArray[Any], wanted: str | None) -> Table:
    _check_array(path, X)
    if wanted is None:
        _check_rows(path, X, lambda row, column: f"row {row + 1}, column {column + 1}")
        return Table(str(path), X)
    label = _column_number(path, wanted, X.shape[1], f"columns 1 to {X.shape[1]}")
    features = np.delete(X, label, axis=1)
    _check_rows(path, features, lambda row, column: f"row {row + 1}, column {column + 1 + (column >= label)}")
    return Table(str(path), features, X[:, label])


def _of_archive(path: Path, archive: Any, wanted: str | None) -> Table:
    names = archive.files
    if "X" in names:
        name = "X"
    else:
        candidates = [name for name in names if np.ndim(archive[name]) == 2]
        if len(candidates) != 1:
            raise UsageError(
                f"{path}: neither an array X nor just one that is 2-D; there are {_listing(names) or 'no arrays'}"
            )
        name = candidates[0]
    X = archive[name]
    _check_array(path, X, f" {name}")
    _check_rows(path, X, lambda row, column: f"array {name}, row {row + 1}, column {column + 1}")
    if wanted is None:
        return Table(f"{path} (array {name})", X)
    if wanted not in names:
        raise UsageError(f"{path}: there is no array {wanted!r} for --labels; there are {_listing(names)}")
    labels = archive[wanted]
    if np.shape(labels) != (len(X),):
        raise UsageError(
            f"{path}: array {wanted} has shape {np.shape(labels)}, must be ({len(X)},) for --labels: one for each row"
        )
    return Table(f"{path} (array {name})", X, labels, wanted)


def _check_array(path: Path, X: Any, name: str = "") -> None:
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        raise UsageError(f"{path}: array{name} has shape {np.shape(X)}, must be 2-D: rows and columns")
    if X.dtype.kind not in "biuf":
        raise UsageError(f"{path}: array{name} has dtype {X.dtype}, must be of real numbers")


def write(path: Path, embedding: NDArray[np.floating], names: list[str], table: Table) -> None:
    """Write the embedding, and the labels where the format has a place for them.

    Parameters
    ----------
    path : Path
        The file; its extension is the format. Numbers written as text are read back unchanged.
    embedding : ndarray of shape (n, n_components)
        The points.
    names : list of str
        The components' names, the header of a text file.
    table : Table
        The table that was embedded.
    """
    labels = table.labels
    extension = path.suffix.lower()
    if extension in DELIMITERS:
        _write_text(path, names, embedding, table)
        return
    with open(path, "wb") as file:
        if extension == ".npy":
            np.save(file, embedding)
        elif labels is None:
            np.savez(file, embedding=embedding)
        else:
            np.savez(file, embedding=embedding, labels=labels)


def _write_text(path: Path, names: list[str], embedding: NDArray[np.floating], table: Table) -> None:
    digits = "{:.9g}" if embedding.dtype == np.float32 else "{!r}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=DELIMITERS[path.suffix.lower()], lineterminator="\n")
        rows = ([digits.format(value) for value in point] for point in embedding.tolist())
        if table.labels is None:
            writer.writerow(names)
            writer.writerows(rows)
        else:
            writer.writerow([*names, table.label_name])
            writer.writerows([*row, label] for row, label in zip(rows, table.labels.tolist(), strict=True))
