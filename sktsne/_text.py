"""Reading tables from text files: the first lines show the layout of a file.

pandas reads the rows if it is installed, because it is fast; otherwise the module csv does. pandas fills short lines,
lets a quoted cell run over several lines, and names no line in its errors. Therefore the module csv reads a file again,
line by line, if pandas refuses the file, or if cells may come from such lines.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._columns import NO_NUMBERS, Columns, Options, Table, UsageError, opened, title

# The separators that are tried. If several of them fit equally well, the first one is taken.
SEPARATORS = (";", "\t", "|", ",")
# The number of lines from which the layout is found.
N_LINES = 50
# A header of numbers that do not rise by equal steps is recognized only if at least MIN_ROWS rows of numbers of another
# kind follow.
MIN_ROWS = 5
# These words, beside numbers in a first row, are data and do not make the row a header.
MISSING_WORDS = {"", "na", "n/a", "#n/a", "null", "none", "?", "-", "."}
# pandas reads a column of these words, in lower or upper case, as numbers.
TRUTHS = {"true": 1.0, "false": 0.0}
DATA_WORDS = MISSING_WORDS | {*TRUTHS}
# A line that can be read as one number with a decimal comma, or as two numbers.
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*")
# The spaces between thousands may be no-break spaces, as in French.
GROUPED = re.compile(r"[+-]?\d{1,3}([., '\u2019\u00a0\u202f]\d{3})+([.,]\d+)?")
BETWEEN_NUMBERS = re.compile(r"[\w\".]([^\w.,+-])\s*[+-]?\.?\d")
UNDECODED = re.compile("[\0\udc80-\udcff]")


class Layout(NamedTuple):
    """The layout of a text file.

    Parameters
    ----------
    encoding, sep, decimal : str
        The encoding, the separator of the cells, and the decimal mark.
    quoting : int
        A constant of the module csv. In files with tabs, quotes have no meaning unless there are quoted numbers.
    n_before : int
        The number of lines before the first row of data, including the header.
    names : list of str
        The names of the columns, all of them empty without a header.
    n_empty : int
        The number of columns at the end that have no name and only empty cells, because the lines end with separators.
    """

    encoding: str
    sep: str
    decimal: str
    quoting: Any
    n_before: int
    names: list[str]
    n_empty: int = 0


def read_text(path: Path, options: Options) -> Table:
    """Return the rows, all finite, and the labels of a text file."""
    layout = look(path, options)
    empty = [*range(len(layout.names) - layout.n_empty, len(layout.names))]
    index = [0] if _has_index(layout.names) else []
    columns = Columns.of(path, layout.names, options, index, empty)
    try:
        import pandas  # noqa: F401
    except ImportError:
        X, texts = _read_by_csv(path, layout, columns)
    else:
        X, texts = _read_by_pandas(path, layout, columns)
    empty = [column for column in empty if column != columns.label]
    # A cell may not be empty below the lines from which the layout was found.
    if any(cell != "" for column in empty for cell in texts[column]):
        _check_lines(path, layout, columns._replace(features=[*columns.features, *empty]))
    source = f"{path} ({'with header' if any(layout.names) else 'no header'})"
    return columns.table(source, X, lambda column: np.array([_unquote(cell, layout.quoting) for cell in texts[column]]))


def _read_by_csv(path: Path, layout: Layout, columns: Columns) -> tuple[NDArray[np.float64], dict[int, Any]]:
    """Return what `_read_by_pandas` returns, in a multiple of its time."""
    rows: list[NDArray[np.float64]] = []
    texts: dict[int, list[str]] = {column: [] for column in {*range(len(layout.names))} - {*columns.features}}
    for cells, numbers in _checked_rows(path, layout, columns):
        rows.append(np.array(numbers))
        for column, text in texts.items():
            text.append(cells[column])
    if not rows:
        raise UsageError(f"{path}: has no rows")
    return np.array(rows), texts


def _read_by_pandas(path: Path, layout: Layout, columns: Columns) -> tuple[NDArray[np.float64], dict[int, Any]]:
    """Return the numbers of the features, which are finite, and the texts of each other column."""
    import pandas

    n_columns = len(layout.names)
    dtypes: dict[int, Any] = dict.fromkeys(range(n_columns), object) | dict.fromkeys(columns.features, np.float64)
    exact = {} if _version(pandas) >= (3, 1) else {"float_precision": "round_trip"}
    try:
        with _text(path, layout.encoding, layout.n_before) as file:
            frame = pandas.read_csv(
                file, sep=layout.sep, decimal=layout.decimal, quoting=layout.quoting, header=None, dtype=dtypes,
                na_filter=False, skipinitialspace=True, skip_blank_lines=n_columns > 1, **exact,
            )  # fmt: skip
    except pandas.errors.EmptyDataError:  # pandas also raises this error if the first row is empty
        _check_lines(path, layout, columns)
        raise UsageError(f"{path}: has no rows") from None
    except ValueError:  # a cell, a line or its encoding is wrong
        _check_lines(path, layout, columns)
        raise
    if frame.shape[1] != n_columns or _is_suspicious(frame, columns):
        _check_lines(path, layout, columns)
    return frame[columns.features].to_numpy(), {column: frame[column] for column in {*frame} - {*columns.features}}


def _has_index(names: list[str]) -> bool:
    """Return whether the first column is an index, to which pandas and R give no name."""
    return any(names) and names[0] in ("", "Unnamed: 0")


def _is_suspicious(frame: Any, columns: Columns) -> bool:
    """Return whether cells may come from a short line or an open quote, or hold numbers that are not finite."""
    texts = (frame[column] for column in {*frame} - {*columns.features})
    if any(text.eq("").any() or text.str.contains("\n", regex=False).any() for text in texts):
        return True
    return not np.isfinite(frame[columns.features].to_numpy()).all()


def _version(module: Any) -> tuple[int, ...]:
    return tuple(map(int, module.__version__.split(".")[:2]))


def look(path: Path, options: Options) -> Layout:
    """Return the layout of a file, which the options and the first lines of the file tell."""
    encoding = options.encoding or _encoding(path)
    with _text(path, encoding) as file:
        lines = [*islice(file, N_LINES)] or [""]
        told = re.match(r"sep=(.)\s*$", lines[0])  # such a line tells Excel the separator
        n_before = 1 if told else 2 if re.match(r"#1\.2\s*$", lines[0]) else 0  # Two lines begin a GCT file.
        body = [line for line in lines[n_before:] if line.strip()] or [""]
        sep = options.sep or (told[1] if told else _separator(path, body, options.decimal))
        quoting = csv.QUOTE_NONE if sep == "\t" and not _quotes_numbers(body) else csv.QUOTE_MINIMAL
        layout = Layout(encoding, sep, ".", quoting, n_before, [])
        # The last of these lines may end inside a quoted cell, whose row continues in later lines.
        rows = [*islice(_rows(path, layout, chain(lines[n_before:], file)), N_LINES)]
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise UsageError(f"{path}: is empty")
    while rows[0][1][0].startswith("#") and len(rows[0][1]) != len(rows[-1][1]):
        n_before = rows.pop(0)[0]  # a comment
    n_empty = _count_empty([row for _, row in rows])
    rows = [(line, row[: len(row) - n_empty]) for line, row in rows]
    decimal = options.decimal or _decimal([cell for _, row in rows for cell in row], sep)
    layout = layout._replace(n_before=n_before, decimal=decimal)
    is_told = sep != "," or any((told, options.sep, options.decimal, options.labels, options.index))
    are_decimals = [DECIMAL_COMMA.fullmatch(line) is not None for line in lines[n_before:] if line.strip()]
    one_or_two = not is_told and set(are_decimals[1:]) == {True}
    if one_or_two and are_decimals[0] and not options.header:
        message = (
            f'{path}: each line is read as two numbers; use --decimal "," to read one number, or --sep "," for two'
        )
        warnings.warn(message, stacklevel=2)
    layout = _with_header(path, layout, rows, options, one_or_two)
    return layout._replace(names=layout.names + [""] * n_empty, n_empty=n_empty)


def _count_empty(rows: list[list[str]]) -> int:
    """Return the number of cells at the end that are empty in all rows, or 0 if the rows differ in length."""
    if len(set(map(len, rows))) > 1:
        return 0
    return next(n for n in range(len(rows[0]) + 1) if n == len(rows[0]) or any(row[-1 - n].strip() for row in rows))


def _with_header(
    path: Path, layout: Layout, rows: list[tuple[int, list[str]]], options: Options, one_or_two: bool
) -> Layout:
    (line, first), *others = rows
    names = [_unquote(cell, layout.quoting).strip() for cell in first]
    header = options.header
    if header is None:
        header = _has_header(path, names, [row for _, row in others], layout.decimal, options)
    if not header:
        return layout._replace(names=[""] * len(first))
    second = others[0][1] if others else first
    if len(second) == len(first) + 1 and second[-1] and not one_or_two:
        names_of_rows = [row[0] for _, row in others]
        are_numbers = all(map(_is_whole, names_of_rows)) and _are_different(names_of_rows)
        if options.index or are_numbers or _number(second[0]) is None:
            names = ["", *names]  # R writes no name above the names or numbers of the rows.
    names[0] = names[0].lstrip("# ")
    return layout._replace(n_before=line, names=names)


def _encoding(path: Path) -> str:
    with opened(path, "r", encoding="latin-1") as file:  # bytes as characters
        begin = file.read(4)
    if begin.startswith(("PK\3\4", "\x1f\x8b")):
        raise UsageError(
            f"{path}: is compressed, not text; save a workbook of Excel as .csv, or name a compressed file .csv.gz"
        )
    return "utf-16" if begin.startswith(("\xff\xfe", "\xfe\xff")) else "utf-8-sig"


@contextmanager
def _text(path: Path, encoding: str, n_before: int = 0) -> Iterator[Any]:
    """Open a text file after its first ``n_before`` lines.

    Quotes in these lines are ignored; pandas would not ignore quotes in rows that it skips.
    """
    with opened(path, "r", encoding=encoding, errors="surrogateescape") as file:
        deque(islice(file, n_before), 0)
        yield file


def _rows(path: Path, layout: Layout, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's last line, and the list of its cells, which is empty for an empty line."""
    # With strict=True, a quote that ends inside a cell is an error.
    settings: Any = {"delimiter": layout.sep, "quoting": layout.quoting, "skipinitialspace": True, "strict": True}
    reader, encoding = csv.reader(lines, **settings), layout.encoding.upper().removesuffix("-SIG")
    try:
        for row in reader:
            line = layout.n_before + reader.line_num
            if found := UNDECODED.search("".join(row)):
                utf_16 = "utf-16-le" if found.start() else "utf-16-be"
                other = utf_16 if found[0] == "\0" else "cp1252"
                raise UsageError(f"{path}: is not {encoding} text in line {line}; try --encoding {other}")
            yield line, [] if row == [""] else row
    except csv.Error as error:
        hint = "; try another --sep" if "expected after" in str(error) else ""
        raise UsageError(f"{path}: line {layout.n_before + reader.line_num}: {error}{hint}") from error


def _check_lines(path: Path, layout: Layout, columns: Columns) -> None:
    """Raise a UsageError that names the first line that does not have the layout, if there is such a line."""
    deque(_checked_rows(path, layout, columns), 0)


def _checked_rows(path: Path, layout: Layout, columns: Columns) -> Iterator[tuple[list[str], list[float]]]:
    """Yield the cells and the numbers of each row; raise a UsageError for the first line without the layout."""
    n_columns = len(layout.names)
    are_truths: dict[int, bool] = {}
    with _text(path, layout.encoding, layout.n_before) as file:
        for line, row in _rows(path, layout, file):
            if not row and n_columns > 1:
                continue
            cells = row or [""]
            if len(cells) != n_columns:
                counted = f"{len(cells)} cell" + "s" * (len(cells) != 1)
                is_one_number = max(len(cells), n_columns) == 2 and _number(layout.sep.join(cells), ",") is not None
                hint = '; try --decimal ","' if layout.sep == "," and is_one_number else ""
                raise UsageError(f"{path}: line {line} has {counted}, the first has {n_columns}{hint}")
            numbers = []
            for column in columns.features:
                cell = cells[column]
                number = _number(cell, layout.decimal)
                is_truth = number is None and cell.lower() in TRUTHS
                number = TRUTHS[cell.lower()] if is_truth else number
                if number is None:
                    problem = f"{cell!r} is not a number such as 1234{layout.decimal}5; "
                    problem += _hint(cell, layout.decimal, n_columns)
                elif not isfinite(number):
                    problem = f"{number} is not finite"
                elif is_truth != are_truths.setdefault(column, is_truth):
                    kinds = ["numbers", "true and false"]
                    problem = f"{cell!r} stands below {kinds[not is_truth]}; a column must hold one kind"
                else:
                    numbers.append(number)
                    continue
                raise UsageError(f"{path}: line {line}, {title(layout.names, column)}: {problem}")
            yield cells, numbers


def _hint(cell: str, decimal: str, n_columns: int) -> str:
    """Return a hint for the user whose cell is not a number."""
    other, parts = "." if decimal == "," else ",", cell.split()
    is_grouped = GROUPED.fullmatch(cell) is not None
    sep = BETWEEN_NUMBERS.search(cell)
    if _number(cell, other) is not None:
        return f'try --decimal "{other}"' + "; separators of thousands are not accepted" * is_grouped
    if sep and (n_columns == 1 or (len(parts) > 1 and not is_grouped and all(map(_looks_like_number, parts)))):
        return "try --sep " + ("tab" if sep[1] == "\t" else f'"{sep[1]}"')
    if is_grouped:
        return "separators of thousands are not accepted"
    if cell.strip().lower() in MISSING_WORDS:
        return "missing values are not accepted: fill them in, or leave out the column by --index"
    return NO_NUMBERS


# Looking


def _number(cell: str, decimal: str = ".") -> float | None:
    """Return the number in a cell, or None. Unlike Python, files have no numbers such as 1_0 or with Arabic digits."""
    text = cell if decimal == "." else cell.replace(".", "_").replace(decimal, ".")
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _looks_like_number(cell: str) -> bool:
    """Return whether a cell is a number, with either decimal mark, or with separators of thousands."""
    return _number(cell) is not None or _number(cell, ",") is not None or GROUPED.fullmatch(cell) is not None


def _is_whole(cell: str) -> bool:
    return cell.strip().lstrip("+-").isdecimal()


def _unquote(cell: str, quoting: int) -> str:
    """Return a cell without the quotes around it, if the reader keeps quotes."""
    if quoting != csv.QUOTE_NONE or len(cell) < 2 or not cell[0] == cell[-1] == '"':
        return cell
    return cell[1:-1].replace('""', '"')


def _separator(path: Path, lines: list[str], decimal: str | None) -> str:
    """Return the separator by which most rows have as many cells as the first one, and most cells are numbers."""
    lines = [line for line in lines if not line.startswith("#")] or lines
    # A comma cannot be both separator and decimal mark, unless numbers with a decimal comma are quoted.
    found = [sep for sep in SEPARATORS if sep in lines[0] and (sep != decimal or '"' in lines[0])]
    if ".tsv" in path.suffixes and ("\t" in found or not found or all(map(DECIMAL_COMMA.fullmatch, lines))):
        return "\t"

    def fit(sep: str) -> tuple[float, float]:
        try:
            rows = [row for row in csv.reader(lines, delimiter=sep, skipinitialspace=True) if row]
        except csv.Error:
            return 0.0, 0.0
        cells = [cell for row in rows[1:] for cell in row] or [""]
        alike = [len(row) == len(rows[0]) for row in rows]
        return sum(alike) / len(rows), sum(map(_looks_like_number, cells)) / len(cells)

    return max(found, key=fit) if found else ";" if decimal == "," else ","


def _quotes_numbers(lines: list[str]) -> bool:
    cells = (cell.strip() for line in lines[1:] for cell in line.split("\t"))
    return any(cell[:1] == cell[-1:] == '"' and _looks_like_number(cell[1:-1]) for cell in cells)


def _decimal(cells: list[str], sep: str) -> str:
    """Return a comma if more numbers have a comma than a point, unless all commas may separate thousands."""
    point = [cell for cell in cells if "." in cell and _number(cell) is not None]
    comma = [cell for cell in cells if "," in cell and _number(cell, ",") is not None]
    may_be_thousands = sep == "," and all(map(GROUPED.fullmatch, comma))
    return "," if len(comma) > len(point) and not may_be_thousands else "."


def _has_header(path: Path, first: list[str], others: list[list[str]], decimal: str, options: Options) -> bool:
    """Return whether the first row names the columns; warn if it is unclear whether it holds names or numbers."""
    wanted = [name for name in (options.labels, *(options.index or [])) if name not in (None, "none")]
    if any(name in first and not name.isdecimal() for name in wanted):
        return True
    others = [row for row in others if len(row) == len(first)]
    aside = {int(name) - 1 for name in wanted if name.isdecimal() and 1 <= int(name) <= len(first)}
    has_index = first[0] == "" and options.labels != "1"
    features = [column for column in range(has_index, len(first)) if column not in aside]
    cells, rows = [first[column] for column in features], [[row[column] for column in features] for row in others]
    numbers = [*map(_looks_like_number, cells)]
    is_unlike = len(rows) > 1 and _is_of_another_kind(cells, rows)
    may_be_names = _are_different(cells) and (is_unlike or all(map(str.isdecimal, cells)))
    if all(numbers):
        header = (
            (has_index and _names_rows(cells, [row[0] for row in others], decimal))
            or _numbers_name_columns(cells, rows, decimal)
            or any(_text_names_column(first[column], [row[column] for row in others], may_be_names) for column in aside)
        )
        if not header and is_unlike:
            message = (
                f"{path}: the first row is unlike the other rows, but is embedded; use --header to read it as names"
            )
            warnings.warn(message, stacklevel=2)
    else:
        header = any(not number and cell.lower() not in DATA_WORDS for number, cell in zip(numbers, cells, strict=True))
    if header and any(numbers):
        message = f"{path}: the first row holds numbers, but is read as a header; use --no-header to embed it"
        warnings.warn(message, stacklevel=2)
    return header


def _names_rows(first: list[str], column: list[str], decimal: str) -> bool:
    """Return whether an empty cell before the first row stands above names of rows.

    It does if the first row counts from 0, or if the names of the rows are texts or rise by equal steps.
    """
    return _are_counted(first) or not any(map(_looks_like_number, column)) or _counts(column, decimal)


def _numbers_name_columns(first: list[str], others: list[list[str]], decimal: str) -> bool:
    """Return whether the first row is a header of numbers.

    There are three kinds of such headers. The first counts from 0, no other row equals it, and the other rows do not
    all count, or hold no whole number. The second rises by other equal steps, as 2019, 2020, 2021 do, and no other row
    does. The third holds different numbers, which are all whole while no other number is, or not all whole while all
    other numbers are.
    """
    if _are_counted(first) and first not in others:
        lines = others if len(first) > 1 else [[row[0] for row in [first, *others]]]
        if not all(_counts(line, decimal) for line in lines) or (len(first) > 1 and _is_of_another_kind(first, others)):
            return True
    if len(first) > 2 and _counts(first, decimal):
        return bool(others) and not any(_counts(row, decimal) for row in others)
    if not _is_of_another_kind(first, others):
        return False
    return _are_different(first) and len(others) >= MIN_ROWS and (len(first) > 2 or all(map(str.isdecimal, first)))


def _is_of_another_kind(first: list[str], others: list[list[str]]) -> bool:
    """Return whether the first row is all whole numbers and the others have none, or only the others are all whole."""
    return {_is_whole(cell) for row in others for cell in row} == {not all(map(_is_whole, first))}


def _text_names_column(first: str, others: list[str], may_be_names: bool) -> bool:
    """Return whether the first cell of the labels is the name of the column.

    It is a name if it is a text above numbers. If the other cells of the first row may be names, it is also a name if
    it is a text above repeated texts.
    """
    if _looks_like_number(first) or first in others:
        return False
    return all(map(_looks_like_number, others)) or (may_be_names and len(set(others)) < len(others))


def _are_different(cells: list[str]) -> bool:
    return len(set(cells)) == len(cells)


def _are_counted(cells: list[str]) -> bool:
    """Return whether cells count from 0, as pandas counts columns without names."""
    return bool(cells) and cells == [str(column) for column in range(len(cells))]


def _counts(row: list[str], decimal: str) -> bool:
    """Return whether a row holds at least two numbers, which rise by equal steps."""
    numbers = [_number(cell, decimal) for cell in row]
    if len(row) < 2 or None in numbers:
        return False
    steps = np.diff(np.array(numbers, dtype=float))
    return bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6))
