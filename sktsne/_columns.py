"""Tables that were read from files, and the roles of their columns: features, labels, and columns that are left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")
MAX_NAMES = 20
NO_NUMBERS = "--labels takes a column without numbers for colors, and --index leaves a column out"


class UsageError(Exception):
    """An error that the user can correct, with a message of one line."""


def missing_package(needing: str, package: str, extra: str, error: ImportError) -> UsageError:
    """Return the error of an optional package that cannot be imported, with the commands that install it."""
    return UsageError(
        f'{needing} needs {package}; pip install "sktsne[{extra}]" installs it, and '
        f'pipx run --spec "sktsne[{extra}]" sktsne runs with it ({error})'
    )


@dataclass(frozen=True)
class Options:
    """The user's options for reading a file; an option that is None is found from the file.

    Parameters
    ----------
    labels : str, default=None
        The column of labels, by its name or its number counted from 1; in an archive, the name of an array.
    index : list of str, default=None
        The columns to leave out, by their names or numbers; "none" for no column.
    sep, decimal : str, default=None
        The separator of the cells, and the decimal mark.
    header : bool, default=None
        Whether the first row names the columns.
    encoding : str, default=None
        The encoding of the text.
    """

    labels: str | None = None
    index: list[str] | None = None
    sep: str | None = None
    decimal: str | None = None
    header: bool | None = None
    encoding: str | None = None


class Table(NamedTuple):
    """The rows and the labels that were read from a file.

    Parameters
    ----------
    source : str
        The origin of the rows, for the report.
    X : ndarray of shape (n, n_features)
        The rows without the labels, in the dtype of the file.
    labels : ndarray or Series of shape (n,), or None
        The labels as they were read; labels from a text file are texts.
    label_name : str
        The name of the labels.
    titles : list of str
        How a message names each column of ``X``.
    names_of_rows : dict of str to ndarray or Series of shape (n,)
        The columns that were left out as names of rows, by their names.
    """

    source: str
    X: NDArray[Any]
    labels: Any
    label_name: str
    titles: list[str]
    names_of_rows: dict[str, Any]


class Columns(NamedTuple):
    """The names and the roles of the columns of a file.

    Parameters
    ----------
    names : list of str
        The names of all columns; empty strings in a file without a header.
    features : list of int
        The columns to embed.
    label : int or None
        The column of labels.
    names_of_rows : list of int
        The columns that are left out as names of rows, in the order in which the options name them.
    """

    names: list[str]
    features: list[int]
    label: int | None
    names_of_rows: list[int]

    @classmethod
    def of(
        cls, path: Path, names: list[str], options: Options, index: Sequence[int] = (), empty: Sequence[int] = ()
    ) -> Columns:
        """Return the columns with the roles that the options give them.

        With a warning, the columns ``index``, which hold names of rows, and the columns ``empty`` are left out.
        """
        label = None if options.labels is None else find(path, names, "--labels", options.labels)
        named = [find(path, names, "--index", name) for name in options.index or [] if name != "none"]
        names_of_rows = [column for column in dict.fromkeys(named) if column != label]
        left_out = {label, *names_of_rows}
        has_index = len(names_of_rows) > 0
        for columns, kind in ((index, "names of rows"), (empty, "empty columns")):
            found = [column for column in columns if column not in left_out]
            if found and (options.index is None or (columns is empty and "none" not in options.index)):
                titles = ", ".join(title(names, column) for column in found)
                warnings.warn(
                    f"{path}: left out as {kind}: {titles}; use --index none to embed all columns", stacklevel=2
                )
                left_out.update(found)
                names_of_rows.extend(found if columns is index else [])
        features = [column for column in range(len(names)) if column not in left_out]
        if not features:
            raise UsageError(f"{path}: has no columns to embed besides the labels" + " and the index" * has_index)
        return cls(names, features, label, names_of_rows)

    def table(
        self, source: str, X: NDArray[Any], cells: Callable[[int], Any], places: Sequence[int] | None = None
    ) -> Table:
        """Return the table of a file.

        Parameters
        ----------
        source : str
            Where the rows come from, for the report.
        X : ndarray of shape (n, n_features)
            The rows.
        cells : callable
            Returns the cells of a column that is not embedded.
        places : sequence of int of shape (n_features,), default=None
            The column of the file from which each column of ``X`` comes; by default ``features``.
        """
        labels = None if self.label is None else cells(self.label)
        titles = [title(self.names, column) for column in (self.features if places is None else places)]
        names_of_rows = {self._key(column): cells(column) for column in self.names_of_rows}
        return Table(source, X, labels, self.label_name, titles, names_of_rows)

    def _key(self, column: int) -> str:
        """Return the name of a column if no other column has this name, or else its title."""
        name = self.names[column]
        return name if name and self.names.count(name) == 1 else title(self.names, column)

    @property
    def label_name(self) -> str:
        """The name of the labels."""
        return (self.label is not None and self.names[self.label]) or "label"


def find(path: Path, names: list[str], option: str, wanted: str) -> int:
    """Return the column with the name ``wanted`` or, if there is none, the column with this number, counted from 1."""
    named = [column for column, name in enumerate(names) if name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        numbers = ", ".join(str(column + 1) for column in named)
        raise UsageError(f"{path}: columns {numbers} are all named {wanted!r}; give {option} one of these numbers")
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    there_are = listing(names) if any(names) else f"columns 1 to {len(names)}"
    raise UsageError(f"{path}: there is no column {wanted!r} for {option}; there are {there_are}")


def title(names: list[str], column: int) -> str:
    """Return the text by which messages name a column."""
    return f"column {column + 1}" + (f" ({names[column]})" if names[column] else "")


def listing(names: Sequence[str]) -> str:
    """Return the names in one line: the first `MAX_NAMES` of them, and the number of the others."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


@contextmanager
def opened(path: Path, mode: str, **settings: Any) -> Iterator[Any]:
    """Open a file that may be compressed; text keeps its line ends, and binary files can be read in any order."""
    if path.suffix.lower() not in COMPRESSIONS:
        with open(path, mode, newline=None if "b" in mode else "", **settings) as file:
            yield file
        return
    from pandas.io.common import get_handle

    with get_handle(path, mode, compression="infer", is_text="b" not in mode, **settings) as handles:
        yield BytesIO(handles.handle.read()) if mode == "rb" else handles.handle
