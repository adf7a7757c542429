"""Reading the rows to embed from files of text, data frames or arrays, and writing their embedding to such files."""

from __future__ import annotations

import csv
import importlib
import io
import lzma
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from ._checks import are_single
from ._columns import (
    COMPRESSIONS,
    NO_NUMBERS,
    Columns,
    Options,
    Table,
    UsageError,
    listing,
    missing_package,
    opened,
    title,
)
from ._text import read_text

DELIMITERS = {".csv": ",", ".tsv": "\t"}
FRAMES = (".parquet", ".feather", ".arrow")
EXTENSIONS = (*DELIMITERS, ".npy", ".npz", *FRAMES)
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
ACCEPTED = f"{', '.join(EXTENSIONS)}; each may be followed by {', '.join(COMPRESSIONS)}"
PICKLED = "holds Python objects, which are not unpickled, because unpickling can run code"


def file_format(path: Path) -> str | None:
    """Return the extension that tells the format of a file, without that of a compression, or None if it is unknown."""
    extension = path.suffix.lower()
    if extension in COMPRESSIONS:
        extension = Path(path.stem).suffix.lower()
    return extension if extension in EXTENSIONS else None


def require(path: Path) -> None:
    """Import the packages that a file needs; raise a UsageError that names the extra if one of them is missing."""
    extension, compression = file_format(path), path.suffix.lower()
    by_pandas = extension in FRAMES or compression in COMPRESSIONS
    modules = ["pandas"] * by_pandas + ["pyarrow"] * (extension in FRAMES) + ["zstandard"] * (compression == ".zst")
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise missing_package(f"{path}:", module, "files", error) from error


def read(path: Path | None, options: Options) -> Table:
    """Return the rows of a file, or scikit-learn's digits without a file.

    Parameters
    ----------
    path : Path or None
        A file with one of the ``EXTENSIONS``.
    options : Options
        The user's options for reading the file.

    Returns
    -------
    table : Table
        The table, with at least one row and one column, and with finite numbers only.
    """
    if path is None:
        X, labels = load_digits(return_X_y=True)
        return Table("digits of scikit-learn", X, labels, "label", [f"column {k + 1}" for k in range(X.shape[1])], {})
    extension = file_format(path)
    if extension is None:
        hint = "; save the sheet of a workbook as .csv" if path.suffix.lower() in WORKBOOKS else ""
        raise UsageError(f"{path}: the extension must be one of {ACCEPTED}{hint}")
    given = [name for name in ("sep", "decimal", "header", "encoding") if getattr(options, name) is not None]
    if given and extension not in DELIMITERS:
        raise UsageError(f"{path}: --{given[0]} is for text files, {' and '.join(DELIMITERS)}")
    require(path)
    reader = read_text if extension in DELIMITERS else _read_frame if extension in FRAMES else _read_arrays
    try:
        return reader(path, options)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise UsageError(f"{path}: can't be read as {extension[1:].upper()}: {error}") from error


def _check_rows(path: Path, X: NDArray[Any], names: list[str], features: list[int], array: str = "") -> None:
    """Raise a UsageError unless there are rows, and all of their numbers are finite."""
    if X.shape[0] == 0:
        raise UsageError(f"{path}: has no rows")
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        where = f"{array}row {row + 1}, {title(names, features[column])}"
        raise UsageError(f"{path}: {where}: {X[row, column]} is not finite")


# Data frames


def _read_frame(path: Path, options: Options) -> Table:
    import pandas

    frame = _load_frame(path)
    n_columns = frame.shape[1]
    if not isinstance(frame.index, pandas.RangeIndex):  # it goes behind the columns, so that these keep their numbers
        index = frame.index.set_names([name or "index" for name in frame.index.names]).to_frame(index=False)
        frame = pandas.concat([frame.reset_index(drop=True), index], axis=1)
    names = [str(name) for name in frame.columns]
    columns = Columns.of(path, names, options, index=range(n_columns, len(names)))
    features = frame.iloc[:, columns.features]
    types = pandas.api.types
    # pandas stores decimal numbers, and booleans beside a missing value, as objects.
    objects = [k for k, dtype in enumerate(features.dtypes) if types.is_object_dtype(dtype)]
    numbers = [k for k in objects if types.infer_dtype(features.iloc[:, k]) in ("decimal", "boolean")]
    if numbers:
        features = features.astype(dict.fromkeys(features.columns[numbers], np.float64))
    features, places = _with_lists_spread(path, names, features, columns.features, objects)
    for column, dtype in zip(places, features.dtypes, strict=True):
        if not types.is_numeric_dtype(dtype) or types.is_complex_dtype(dtype):
            raise UsageError(f"{path}: {title(names, column)} has dtype {dtype}, must be of real numbers; {NO_NUMBERS}")
    X = features.to_numpy(dtype=np.float32 if are_single(features.dtypes) else np.float64, na_value=np.nan)
    _check_rows(path, X, names, places)
    return columns.table(str(path), X, lambda column: frame.iloc[:, column], places)


def _with_lists_spread(
    path: Path, names: list[str], features: Any, places: list[int], objects: list[int]
) -> tuple[Any, list[int]]:
    """Return the features with a column for each item of their lists, and the column of the file for each of these."""
    import pandas

    for k in reversed([k for k in objects if len(features) and isinstance(features.iloc[0, k], np.ndarray)]):
        try:
            items = pandas.DataFrame(np.stack(features.iloc[:, k]), index=features.index)
        except ValueError as error:
            raise UsageError(f"{path}: {title(names, places[k])}: the lists must be equally long") from error
        features = pandas.concat([features.iloc[:, :k], items, features.iloc[:, k + 1 :]], axis=1)
        places = places[:k] + places[k : k + 1] * items.shape[1] + places[k + 1 :]
    return features, places


def _load_frame(path: Path) -> Any:
    """Return the data frame of a Parquet file, or of an Arrow file in the file format or the stream format."""
    import pyarrow.ipc
    import pyarrow.parquet

    with opened(path, "rb") as file:
        begin = file.read(6)
        file.seek(0)
        if file_format(path) == ".parquet":
            return pyarrow.parquet.read_table(file).to_pandas()
        return (pyarrow.ipc.open_file if begin == b"ARROW1" else pyarrow.ipc.open_stream)(file).read_pandas()


# Arrays


def _read_arrays(path: Path, options: Options) -> Table:
    with opened(path, "rb") as file:
        magic = file.read(6)
        if not magic.startswith((b"\x93NUMPY", b"PK")):  # for these files, np.load raises an error about pickles
            raise UsageError(f"{path}: {'holds no arrays of NumPy' if magic else 'is empty'}")
        file.seek(0)
        if magic.startswith(b"PK"):
            return _of_archive(path, np.load(file, allow_pickle=False), options)
        return _of_array(path, _load(file), options)


def _load(source: Any, name: str | None = None) -> Any:
    """Return the array of a file, or the array ``name`` of an archive.

    Python objects are not unpickled: in place of an array of them, an array of the single object None is returned.
    """
    try:
        return np.load(source, allow_pickle=False) if name is None else source[name]
    except ValueError as error:
        if "allow_pickle=False" not in str(error):
            raise
        return np.array(None)


def _of_array(path: Path, X: NDArray[Any], options: Options, name: str = "") -> Table:
    array = f"array {name}".strip()
    if np.asarray(X).dtype == object:
        raise UsageError(f"{path}: {array} {PICKLED}; it must be of real numbers")
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        raise UsageError(f"{path}: {array} has shape {np.shape(X)}, must be 2-D: rows and columns")
    if X.dtype.kind not in "biuf":
        raise UsageError(f"{path}: {array} has dtype {X.dtype}, must be of real numbers")
    names = [""] * X.shape[1]
    columns = Columns.of(path, names, options)
    rows = X if len(columns.features) == len(names) else X[:, columns.features]
    _check_rows(path, rows, names, columns.features, f"{array}, " if name else "")
    return columns.table(f"{path} ({array})" if name else str(path), rows, lambda column: X[:, column])


def _of_archive(path: Path, archive: Any, options: Options) -> Table:
    names, labels = archive.files, options.labels
    arrays = {name: _load(archive, name) for name in (["X"] if "X" in names else names)}
    candidates = ["X"] if "X" in names else [name for name in names if np.ndim(arrays[name]) == 2]
    if len(candidates) != 1:
        there_are = listing(names) or "no arrays"
        raise UsageError(f"{path}: must have an array X, or exactly one 2-D array; there are {there_are}")
    table = _of_array(path, arrays[candidates[0]], replace(options, labels=None), candidates[0])
    if labels is None:
        return table
    if labels not in names:
        raise UsageError(f"{path}: there is no array {labels!r} for --labels; there are {listing(names)}")
    found, n = _load(archive, labels), len(table.X)
    if np.asarray(found).dtype == object:
        raise UsageError(f"{path}: array {labels} {PICKLED}; save text as np.array({labels}, dtype=str)")
    if np.shape(found) != (n,):
        raise UsageError(
            f"{path}: array {labels} has shape {np.shape(found)}, must be ({n},) for --labels: one for each row"
        )
    found = np.char.decode(found, "utf-8", "backslashreplace") if found.dtype.kind == "S" else found
    return table._replace(labels=found, label_name=labels)


# Writing


def write(path: Path, embedding: NDArray[np.floating], names: list[str], table: Table) -> None:
    """Write the embedding, and the labels if the format has a place for them.

    Parameters
    ----------
    path : Path
        The file, whose extension tells the format. Text has all digits that are needed to read the same numbers back.
    embedding : ndarray of shape (n, n_components)
        The positions of the points.
    names : list of str
        The names of the components, which are the header of a text file.
    table : Table
        The table that was embedded.
    """
    extension, labels = file_format(path), table.labels
    if extension in DELIMITERS:
        _write_text(path, DELIMITERS[extension], names, embedding, table)
    elif extension in FRAMES:
        from pandas import DataFrame

        frame = DataFrame(embedding, columns=names)
        if labels is not None:  # all columns of these files must have different names
            frame[table.label_name if table.label_name not in names else "label"] = labels
        with opened(path, "wb") as file:
            frame.to_parquet(file) if extension == ".parquet" else frame.to_feather(file)
    else:
        # NumPy writes to a buffer, because it would append its extension to a name such as map.NPY, and must seek.
        buffer = io.BytesIO()
        if extension == ".npy":
            np.save(buffer, embedding)
        else:
            arrays: dict[str, Any] = {} if labels is None else {"labels": _as_array(labels)}
            np.savez(buffer, embedding=embedding, **arrays)
        with opened(path, "wb") as file:
            file.write(buffer.getbuffer())


def _cells(labels: Any) -> list[Any]:
    """Return labels as Python objects; missing labels of a data frame are None."""
    if isinstance(labels, np.ndarray):
        return list(labels.tolist())
    return [None if missing else label for label, missing in zip(labels, labels.isna(), strict=True)]


def _as_array(labels: Any) -> NDArray[Any]:
    """Return labels as an array that can be stored without pickling: objects become texts."""
    array = np.asarray(labels)
    return (
        array if array.dtype.kind != "O" else np.array(["" if cell is None else str(cell) for cell in _cells(labels)])
    )


def _write_text(path: Path, delimiter: str, names: list[str], embedding: NDArray[np.floating], table: Table) -> None:
    """Write the embedding as text by the module csv, so that the map of the digits can be written without pandas."""
    digits = "{:.9g}" if embedding.dtype == np.float32 else "{!r}"
    rows = ([digits.format(value) for value in point] for point in embedding.tolist())
    with opened(path, "w", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        if table.labels is None:
            writer.writerow(names)
            writer.writerows(rows)
        else:
            writer.writerow([*names, table.label_name])
            writer.writerows([*row, label] for row, label in zip(rows, _cells(table.labels), strict=True))
