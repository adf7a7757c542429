"""The files of the command line, as people's own programs write them: what is read from each, or the error."""

from __future__ import annotations

import gzip
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sktsne import TSNE, __main__, _tables
from sktsne.__main__ import main

X = np.random.default_rng(0).normal(size=(12, 3)).round(3) + 0.0001
LABELS = ["cat", "dog", "é, ü"] * 4
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


class SeenError(ValueError):
    """Ends a fit when it has its rows."""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["with pandas", "without pandas"])
def reader(request, monkeypatch):
    """Hide pandas from what reads text files."""
    if request.param == "without pandas":
        read_text = _tables.read_text

        def read_without_pandas(*arguments):
            with monkeypatch.context() as context:
                context.setitem(sys.modules, "pandas", None)
                return read_text(*arguments)

        monkeypatch.setattr(_tables, "read_text", read_without_pandas)


@pytest.fixture
def read(reader, monkeypatch, capsys):
    """Write a file, and return the rows that the estimator gets, or None, and stderr."""

    def read(path, content, *arguments):
        rows = []

        def fit(self, X):
            rows.append(X)
            raise SeenError("rows are seen")

        monkeypatch.setattr(TSNE, "fit", fit)
        monkeypatch.setattr(__main__, "_warn_of_scales", lambda table: None)  # the scales of these rows mean nothing
        if content is not None:
            with open(path, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
        assert main([path, *arguments]) == 2
        err = capsys.readouterr().err
        assert ("rows are seen" in err) == bool(rows)
        return (rows[0] if rows else None), err.replace("sktsne: error: rows are seen\n", "")

    return read


@pytest.fixture
def labels_of(reader, capsys):
    """Embed a file, and return the labels that are written beside the map."""

    def labels_of(path, content, *arguments):
        if content is not None:
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(content)
        code = main([path, "-o", "map.npz", "--max-iter", "9", "--perplexity", "3", "--jobs", "1", *arguments])
        assert code == 0, capsys.readouterr().err
        with np.load("map.npz") as archive:
            return archive["labels"].tolist()

    return labels_of


def text(rows=X, sep=",", decimal=".", first="", end="\n"):
    lines = [first] * bool(first) + [sep.join(str(cell).replace(".", decimal) for cell in row) for row in rows]
    return end.join(lines) + end


def labeled(labels, sep="\t"):
    """Return a text file of rows with labels in the first column."""
    return text([[label, *row] for label, row in zip(labels, X.tolist(), strict=True)], sep, first=sep.join("sabc"))


# What is found by looking


@pytest.mark.parametrize("first", ["", "a{0}b{0}c"])
@pytest.mark.parametrize(
    ("name", "sep", "decimal"),
    [("in.csv", ";", "."), ("in.csv", ";", ","), ("in.csv", "\t", "."), ("in.csv", "\t", ","), ("in.csv", "|", "."),
     ("in.tsv", "\t", ","), ("in.tsv", ";", ","), ("in.csv", ", ", "."), ("in.csv", ",", ".")],
)  # fmt: skip
def test_separator_and_decimal_mark(read, name, sep, decimal, first):
    rows, err = read(name, text(X, sep, decimal, first.format(sep)))
    assert err == ""
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('"a;b","c;d"\n1,2\n3,4\n', [[1, 2], [3, 4]]),
        ('"1,5","2,5"\n"3,5","4"\n', [[1.5, 2.5], [3.5, 4]]),
        ('"1,500","2,500"\n"3,5","4"\n', [[1.5, 2.5], [3.5, 4]]),
        ("a;b\n1,500;2,250\n", [[1.5, 2.25]]),
        ("sep=;\r\na;b\r\n1,5;2\r\n3;4\r\n", [[1.5, 2], [3, 4]]),
        ("\ufeffsep=|\n1.5|2\n3|4\n", [[1.5, 2], [3, 4]]),
        ("# by x\n# on y\na,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("# a,b\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ('"1","5"\n"2","5"\n', [[1, 5], [2, 5]]),
        ("1,-5\n2,5\n", [[1, -5], [2, 5]]),
        ('"a\nb","c\n"\n1,2\n3,4\n', [[1, 2], [3, 4]]),
        ('# 5" of x, y, z\na,b\n1,2\n3,4\n', [[1, 2], [3, 4]]),
        ("1e-3,+2E5\r3,.4\r", [[0.001, 2e5], [3, 0.4]]),
        ('a,b\n"1","2"\n\n   \n3 , 4\r\n\r\n', [[1, 2], [3, 4]]),
        ("a,a,b\n1,2,98765432109876543210\n3,4,5\n", [[1, 2, 98765432109876543210.0], [3, 4, 5]]),
        ("True,False\nFalse,True\n", [[1, 0], [0, 1]]),
        ("a;b\n1,5;2\n".encode("utf-16"), [[1.5, 2]]),
    ],
)
def test_layouts(read, content, expected):
    rows, err = read("in.csv", content)
    assert err == ""
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("1 2\n3 4\n", "--sep=\\ ", [[1, 2], [3, 4]]),
        ("1;2\t3\n4;5\t6\n", "--sep=tab --no-header --index=1", [[3], [6]]),
        ("x\n1,5\n2,5\n", "--decimal=,", [[1.5], [2.5]]),
        ("x\n1,5\n2,5\n", "--index=1", [[5], [5]]),
        ("a,b\n1.5,2,3\n1.5,2,4\n", "--index=1", [[2, 3], [2, 4]]),
        ("1,5\n2,5\n", "--sep=,", [[1, 5], [2, 5]]),
        ("100.5,101.2\n3,0\n5,2\n", "--header", [[3, 0], [5, 2]]),
        ("100.5,101.2\n3,0\n5,2\n", "--no-header", [[100.5, 101.2], [3, 0], [5, 2]]),
        ("1,5\n2,5\n", "--decimal=,", [[1.5], [2.5]]),
        ('"1,5","2,5"\n"1","2"\n', "--decimal=,", [[1.5, 2.5], [1, 2]]),
        ("1,2\n3,4\n", "--header", [[3, 4]]),
        ("0,1,2\n7,5,6\n", "--no-header", [[0, 1, 2], [7, 5, 6]]),
        ("k,a\n1,2\n3,4\n", "--index=k", [[2], [4]]),
        (",a\n1,2\n3,4\n", "--index=none", [[1, 2], [3, 4]]),
        ("é;1\nü;2\n".encode("cp1252"), "--encoding=cp1252 --index=1", [[1], [2]]),
        ("\ufeffa;b\n1;2\n", "--encoding=utf-8 --index=a", [[2]]),
        ("a,b\n1,2\n".encode("utf-16-le"), "--encoding=utf-16-le", [[1, 2]]),
        ('"1,500","2"\n', "--decimal=,", [[1.5, 2]]),
    ],
)
def test_options_overrule(read, content, options, expected):
    rows, err = read("in.csv", content, *(option.replace("\\", "") for option in options.split(" --")[:1]),
                     *("--" + option for option in options.split(" --")[1:]))  # fmt: skip
    assert err == ""
    np.testing.assert_array_equal(rows, expected)


def test_one_column_of_decimal_commas_in_tsv(read):
    rows, err = read("in.tsv", "1,5\n2,5\n-3,0\n")
    np.testing.assert_array_equal(rows, [[1.5], [2.5], [-3]])
    assert err == ""


def test_two_whole_numbers_may_be_one_with_a_decimal_comma(read):
    rows, err = read("in.csv", "1,5\n2,5e1\n-3,0\n")
    np.testing.assert_array_equal(rows, [[1, 5], [2, 50], [-3, 0]])
    assert 'in.csv: each line is read as two numbers; use --decimal "," to read one number, or --sep "," for two' in err


@pytest.mark.parametrize("first", ["0,1,2", "2019,2020,2021", "400.5,401.0,401.5", "7,3,5", "2020_01,2020_02,2020_03"])
def test_header_of_numbers(read, first):
    rows, err = read("in.csv", text(X, first=first))
    np.testing.assert_array_equal(rows, X)
    assert ("in.csv: the first row holds numbers, but is read as a header" in err) == ("_" not in first)


@pytest.mark.parametrize(
    "content",
    [
        "0,1,2\n3,4,5\n6,7,8\n",
        "0;1\n3;4\n6;7\n",
        "0\n1\n2\n3\n",
        "0\n1\n1\n0\n",
        "0,1,2\n3,1,5\n0,1,2\n",
        "1,2,3\n2,1,3\n1,2,3\n",
        "5,3\n4.9,3.1\n4,3.2\n",
        "1\n2\n3\n",
        "0;1\n1;0\n0;0\n1;1\n0;1\n1;1\n",
    ],
)
def test_rows_of_numbers_are_no_header(read, content):
    rows, err = read("in.csv", content)
    assert (len(rows), err) == (content.count("\n"), "")


@pytest.mark.parametrize("names", ["abc", "012"])
@pytest.mark.parametrize("index", [range(12), [f"row {i}" for i in range(12)]])
def test_index_without_name_is_left_out(read, names, index):
    frame = pd.DataFrame(X, columns=list(names), index=index)
    rows, err = read("in.csv", frame.to_csv())
    np.testing.assert_array_equal(rows, X)
    assert "in.csv: left out as names of rows: column 1; use --index none to embed all columns" in err
    frame.to_csv("in.csv.gz")
    pd.testing.assert_frame_equal(pd.DataFrame(read("in.csv.gz", None)[0]), pd.DataFrame(X))


@pytest.mark.parametrize("n_columns", [1, 2, 5])
def test_index_beside_the_names_that_pandas_counts(read, n_columns):
    rows, _ = read("in.csv", pd.DataFrame(np.arange(4 * n_columns).reshape(4, n_columns)).to_csv())
    np.testing.assert_array_equal(rows, np.arange(4 * n_columns).reshape(4, n_columns))


@pytest.mark.parametrize(
    "content",
    [
        '"a"\t"b"\n"r1"\t1.5\t2\n"r2"\t3\t4\n',  # write.table(sep = "\t")
        '"a","b"\n"1",1.5,2\n"2",3,4\n',
        "V1,V2\n7,1.5,2\n3,3,4\n",  # write.table(sep = ",", quote = FALSE) of some rows
        '"","a","b"\n"1",1.5,2\n"2",3,4\n',  # write.csv
        '"";"a";"b"\n"1";1,5;2\n"2";3;4\n',  # write.csv2
        '"","7","8"\n"1",1.5,2\n"2",3,4\n',
    ],
)
def test_names_of_rows_as_r_writes_them(read, content):
    rows, err = read("in.csv", content)
    np.testing.assert_array_equal(rows, [[1.5, 2], [3, 4]])
    assert "left out as names of rows: column 1; use --index none to embed all columns" in err
    np.testing.assert_array_equal(read("in.csv", None, "--index", "1")[0], rows)


@pytest.mark.parametrize(
    ("content", "titles"),
    [
        ("a,b,,\n1.5,2,,\n3,4,,\n", "column 3, column 4"),
        ("1.5,2,\n3,4,\n", "column 3"),
        ("a;b;\n1,5;2;\n3;4;\n", "column 3"),
        ('"a"\t"b"\t\n1.5\t2\t\n3\t4\t \n', "column 3"),
    ],
)
def test_empty_columns_at_the_end_are_left_out(read, content, titles):
    rows, err = read("in.csv", content)
    np.testing.assert_array_equal(rows, [[1.5, 2], [3, 4]])
    assert f"in.csv: left out as empty columns: {titles}; use --index none to embed all columns" in err
    np.testing.assert_array_equal(read("in.csv", None, "--index", "1")[0], [[2], [4]])
    rows, err = read("in.csv", None, "--index", "none")
    assert rows is None
    assert "column 3: '' is not a number such as 1234" in err


@pytest.mark.parametrize(
    ("last", "message"), [("1,2,3", "line 2, column 3: '' is not"), ("1,2", "line 62 has 2 cells")]
)
def test_columns_that_are_empty_only_at_first(read, last, message):
    rows, err = read("in.csv", "a,b,\n" + "1,2,\n" * 60 + last)
    assert rows is None
    assert f"in.csv: {message}" in err


def test_labels_that_are_empty_at_first(labels_of):
    assert labels_of("in.csv", "1,2,\n7,4,\n" * 30 + "5,3,x\n", "--labels", "3") == [""] * 60 + ["x"]


def test_true_and_false_beside_empty_labels(read):
    rows, err = read("in.csv", "s,a,b\n,TRUE,1\nx,false,2\n", "--labels", "s")
    assert err == ""
    np.testing.assert_array_equal(rows, [[1, 1], [0, 2]])


def test_several_columns_are_left_out(read):
    content = "#1.2\n2\t3\nName\tDescription\ts1\ts2\ng1\tx y\t1\t2\ng2\tz\t4\t5\n"  # a .gct file
    rows, err = read("in.tsv", content, "--index", "1", "--index", "Description")
    np.testing.assert_array_equal(rows, [[1, 2], [4, 5]])
    assert err == ""
    np.save("in.npy", X)
    np.testing.assert_array_equal(read("in.npy", None, "--index", "1", "--index", "3")[0], X[:, 1:2])


def test_names_of_rows_beside_one_column(read):
    rows, err = read("in.csv", '"x"\n"1",5\n"2",4\n')
    np.testing.assert_array_equal(rows, [[5], [4]])
    assert "left out as names of rows: column 1" in err


@pytest.mark.parametrize(("names", "n_rows"), [("ab", 2), ("01", 2), ("53", None)])
def test_header_of_fractions_beside_names_of_rows(read, names, n_rows):
    rows, err = read("in.csv", f",100.5,101.2\n{names[0]},3,0\n{names[1]},5,2\n")
    assert (None if rows is None else rows.tolist()) == (n_rows and [[3, 0], [5, 2]])
    assert ("is read as a header" in err) == bool(n_rows)


@pytest.mark.parametrize(
    ("first", "labels", "n_rows"),
    [
        ("8;9;kind", "ab" * 6, 12),
        ("8;9;kind", "01" * 6, 12),
        ("8;9;a", "ab" * 6, 13),
        ("8;8;c", "ab" * 6, 13),
        ("8.5;9;kind", "ab" * 6, 12),
        ("8.5;9;kind", "abcdefghijkl", 13),
        ("8.5;8.5;kind", "ab" * 6, 13),
    ],
)
def test_header_beside_labels(read, first, labels, n_rows):
    rows = [[index, index % 5, label] for index, label in enumerate(labels)]
    assert len(read("in.csv", text(rows, ";", first=first), "--labels", "3")[0]) == n_rows


def test_labels_do_not_decide_the_decimal_mark(read):
    rows = [[*row, label] for row, label in zip(X.tolist(), ["3.1", "3.10", "x"] * 4, strict=True)]
    content = "\n".join(f"{a:.4f};{b:.4f};{c:.4f}".replace(".", ",") + f";{label}" for a, b, c, label in rows)
    np.testing.assert_array_equal(read("in.csv", content, "--labels", "4")[0], X.round(4))


@pytest.mark.parametrize("scale", [1, 8])
@pytest.mark.parametrize("n_columns", [1, 2, 3])
def test_counted_names_above_small_numbers(read, n_columns, scale):
    values = np.array([[1, 2, 3], [4, 0, 4], [2, 2, 2]])[:, :n_columns] / scale
    rows, err = read("in.csv", pd.DataFrame(values).to_csv(index=False))
    np.testing.assert_array_equal(rows, values)
    assert "the first row holds numbers, but is read as a header; use --no-header to embed it" in err


def test_counted_names_above_fractions_that_rise(read):
    rows, err = read("in.csv", "0,1\n0.5,0.7\n0.1,0.2\n")
    np.testing.assert_array_equal(rows, [[0.5, 0.7], [0.1, 0.2]])
    assert "read as a header" in err
    assert len(read("in.csv", "0\n0.1\n0.2\n0.3\n")[0]) == 4


@pytest.mark.parametrize(
    ("first", "n_rows", "is_header"),
    [("100.5,101.2,250", 5, True), ("100.5,101.2,250", 4, False), ("100.5,101.2", 5, False), ("1.5,1.5,1", 5, False)],
)
def test_fractions_above_whole_numbers(read, first, n_rows, is_header):
    values = [[3, 0, 5][: first.count(",") + 1]] * n_rows
    rows, err = read("in.csv", text(values, first=first))
    assert rows.tolist() == [[float(cell) for cell in first.split(",")]] * (not is_header) + values
    assert ("read as a header; use --no-header to embed it" in err) == is_header
    message = "in.csv: the first row is unlike the other rows, but is embedded; use --header to read it as names"
    assert (message in err) == (not is_header)


# What is kept


def test_quotes_in_tsv_swallow_no_lines(read, labels_of):
    names = ['"5 inch', "b", '3" pipe', '"q" or', *"efghijk", '"7 inch']
    assert labels_of("in.tsv", labeled(names), "--labels", "s") == names
    np.testing.assert_array_equal(read("in.tsv", None, "--labels", "s")[0], X)


def test_quotes_around_cells_of_tsv(read, labels_of):
    assert labels_of("in.tsv", labeled(['"a ""b"""'] * 12), "--labels", "s") == ['a "b"'] * 12
    rows, _ = read("in.tsv", '"x"\t"y"\n"1,5"\t"2"\n"3,5"\t"1"\n')
    np.testing.assert_array_equal(rows, [[1.5, 2], [3.5, 1]])


def test_quoted_labels_of_csv(labels_of):
    names = ["x, y", "two\nlines", 'a "b"', "NA", "1_0", "007", "", "1e5", "#1", "None", "é", "1.0"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    assert labels_of("in.csv", labeled(quoted, ","), "--labels", "s") == names
    assert labels_of("in.csv", labeled(quoted, ";"), "--labels", "1") == names


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n\n2\n", "line 2, column 1: '' is not a number"),
        ("a\n1\n2\n\n", "line 4, column 1 (a): '' is not a number"),
        ('a\n1\n""\n2\n', "line 3, column 1 (a): '' is not a number"),
        ("a,b\n1_0,4\n5,6\n", "line 2, column 1 (a): '1_0' is not a number such as 1234.5"),
        ("a,b\n1,NA\n", "line 2, column 2 (b): 'NA' is not a number"),
        ("NA,1\n1,2\n", "line 1, column 1: 'NA' is not a number"),
        (",1,2\n3,4,5\n", "line 1, column 1: '' is not a number"),
        ("1.234,56;2\n3;4\n", "line 1, column 1: '1.234,56' is not a number"),
        ("1,5;2\n3;1.234\n", "line 1, column 1: '1,5' is not a number such as 1234.5; try --decimal \",\""),
        ("1,5;2\n3,5;1.234\n", "line 2, column 2: '1.234' is not a number such as 1234,5; try --decimal \".\""),
        ('a,b\n"1,234.5",2\n', "line 2, column 1 (a): '1,234.5' is not a number"),
        ("1;2,5\n" * 99 + "1;2.5\n", "line 100, column 2: '2.5' is not a number such as 1234,5; try --decimal \".\""),
        ("a,b\n1,1e400\n", "line 2, column 2 (b): inf is not finite"),
        ("a,b\n1,2,\n3,4,\n", "line 2 has 3 cells, the first has 2"),
        ("a;b\n1;2\n3\n", "line 3 has 1 cell, the first has 2"),
        ("a,b\n" + "1,2\n" * 99 + "3\n", "line 101 has 1 cell, the first has 2"),
        ("a,b\n1,2\n# c\n3,4\n", "line 3 has 1 cell"),
        ("a,b\n1,2\n\ufeff3,4\n", "line 3, column 1 (a): '\\ufeff3' is not a number"),
        ("a\n\u0661\n", "line 2, column 1 (a): '\u0661' is not a number"),  # an Arabic digit
        ("a;b\n1;2\n\n\né;3\n".encode("latin-1"), "is not UTF-8 text in line 5; try --encoding"),
        ("é;b\n1;2\n".encode("latin-1"), "is not UTF-8 text in line 1"),
        ("a,b\n\n\n", "has no rows"),
        ("sep=;\n", "is empty"),
        ('""\n', "is empty"),
        ("x\n\n1.5\n2\n3.5\n", "line 2, column 1 (x): '' is not a number"),
        ("x\n1,5e3\n2,5\n", "line 2 has 2 cells, the first has 1; try --decimal \",\""),
        ("x\n1,5\n2,5\n", "line 2 has 2 cells, the first has 1; try --decimal \",\""),
        ("2\n1,5\n", "line 2 has 2 cells, the first has 1; try --decimal \",\""),
        ("1,5\n2\n", "line 2 has 1 cell, the first has 2; try --decimal \",\""),
        ("1 2\n3 4\n", "line 2, column 1 (1 2): '3 4' is not a number such as 1234.5; try --sep \" \""),
        ("a:b\n1:2\n", "line 2, column 1 (a:b): '1:2' is not a number such as 1234.5; try --sep \":\""),
        ("1,5 2,5\n3,5 4,5\n", "line 2, column 2 (5 2): '5 4' is not a number such as 1234.5; try --sep \" \""),
        ('"a" "b"\n"1" 1.5 2\n', "line 1: ',' expected after '\"'; try another --sep"),
        ('a,b\n"1,234",2\n', "line 2, column 1 (a): '1,234' is not a number such as 1234.5; try --decimal \",\"; sep"),
        ("a;b\n1\u202f234,5;2\n", "line 2, column 1 (a): '1\\u202f234,5' is not a number such as 1234.5; separators"),
        ("a,b\n.,2\n", "line 2, column 1 (a): '.' is not a number such as 1234.5; missing values are not accepted"),
        ("x|y\n0\t1|2\n", "line 2, column 1 (x): '0\\t1' is not a number such as 1234.5; try --sep tab"),
        ("x\n0 1:0.2\n", "line 2, column 1 (x): '0 1:0.2' is not a number such as 1234.5; try --sep \" \""),
        ("x\n$1\n", "line 2, column 1 (x): '$1' is not a number such as 1234.5; --labels takes a column"),
        ("a,b\n1,2\n".encode("utf-16-le"), "is not UTF-8 text in line 1; try --encoding utf-16-le"),
        ("a,b\n1,2\n".encode("utf-16-be"), "is not UTF-8 text in line 1; try --encoding utf-16-be"),
        (b"PK\3\4\0\0", "is compressed, not text; save a workbook of Excel as .csv"),
        (gzip.compress(b"a,b\n1,2\n"), "is compressed, not text; save a workbook of Excel as .csv"),
        ("a;b\n1 234,5;2\n", "line 2, column 1 (a): '1 234,5' is not a number such as 1234.5; separators of thousands"),
        ("a,b\nTRUE,1\n1,2\n", "line 3, column 1 (a): '1' stands below true and false; a column must hold one kind"),
        ("a,b\n1,1\nTrue,2\n", "line 3, column 1 (a): 'True' stands below numbers; a column must hold one kind"),
    ],
)  # fmt: skip
def test_errors_name_the_line(read, content, message):
    rows, err = read("in.csv", content)
    assert rows is None
    assert f"in.csv: {message}" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('s,a\n"l,2\nm"x,3\n', "line 3: ',' expected after '\"'"),
        ('s,a\nx,1\n"l,2\nm,3\n', "line 4: unexpected end of data"),
        ("a,s\n1,x\n3\n", "line 3 has 1 cell, the first has 2"),
        ("a,s\nx,1,\ny,3,\n", "line 2 has 3 cells, the first has 2"),
        ("a,s,s\n1,x,y\n", "columns 2, 3 are all named 's'; give --labels one of these numbers"),
        ("s,b,c\nx,1,2\ny,3,z\n", "line 3, column 3 (c): 'z' is not a number"),
    ],
)
def test_errors_beside_labels(read, content, message):
    rows, err = read("in.csv", content, "--labels", "s")
    assert rows is None
    assert f"in.csv: {message}" in err


def test_options_that_are_refused(read):
    np.save("in.npy", X)
    for arguments, message in [
        (["--sep", "ab"], "'ab' is neither one character nor tab"),
        (["--encoding", "foo"], "Python knows no encoding 'foo'; examples are utf-8 and cp1252"),
        (["--decimal", ";"], "invalid choice: ';'"),
        (["--sep", ";"], "in.npy: --sep is for text files, .csv and .tsv"),
        (["--no-header"], "in.npy: --header is for text files"),
        (["--index", "4"], "there is no column '4' for --index; there are columns 1 to 3"),
    ]:
        assert message in read("in.npy", None, *arguments)[1]


# Other kinds of files


@pytest.mark.parametrize("extension", ["csv.gz", "tsv.GZ", "csv.bz2", "csv.xz", "tsv.zip"])
def test_compressed_text_round_trip(read, labels_of, extension):
    FRAME.assign(s=LABELS).to_csv(
        f"in.{extension}".lower(), sep="\t" if "tsv" in extension else ",", index=False, compression="infer"
    )
    assert main([f"in.{extension}".lower(), "-o", f"out.{extension}", "--labels", "s", "--max-iter", "9"]) == 0
    frame = pd.read_csv(f"out.{extension}", sep=None, engine="python")
    assert [*frame] == ["tsne0", "tsne1", "s"]
    assert frame["s"].tolist() == LABELS
    np.testing.assert_array_equal(read(f"in.{extension}".lower(), None, "--labels", "s")[0], X)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz", "zip"])
@pytest.mark.parametrize("extension", ["npy", "npz", "parquet", "feather"])
def test_compressed_arrays_and_frames_round_trip(read, extension, compression):
    FRAME.to_csv("in.csv", index=False)
    path = f"map.{extension}.{compression}"
    assert main(["in.csv", "-o", path, "--max-iter", "9", "--perplexity", "3", "--jobs", "1"]) == 0
    assert main(["in.csv", "-o", "map.npy", "--max-iter", "9", "--perplexity", "3", "--jobs", "1"]) == 0
    rows, err = read(path, None)
    assert err == ""
    np.testing.assert_array_equal(rows, np.load("map.npy"))


WRITERS = {
    "parquet": pd.DataFrame.to_parquet,
    "feather": lambda frame, path: frame.to_feather(path),
    "arrow": lambda frame, path: write_arrow_stream(frame, path),
}


def write_arrow_stream(frame, path):
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


@pytest.mark.parametrize("extension", WRITERS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "Float32", "Int64", "bool"])
def test_data_frame_round_trip(read, labels_of, extension, dtype):
    frame = FRAME.mul(10).astype("int16").astype(dtype) if "nt" in dtype else FRAME.gt(0) if dtype == "bool" else FRAME
    frame = frame.astype(dtype)
    WRITERS[extension](frame.assign(s=LABELS), f"in.{extension}")
    code = main([f"in.{extension}", "-o", f"out.{extension}", "--labels", "s", "--max-iter", "9", "--perplexity", "3"])
    assert code == 0
    back = pd.read_feather("out.feather") if extension == "feather" else None
    if extension == "parquet":
        back = pd.read_parquet("out.parquet")
    if back is not None:
        assert [*back] == ["tsne0", "tsne1", "s"]
        assert back["s"].tolist() == LABELS
        assert (back["tsne0"].dtype == np.float32) == (dtype.lower() == "float32")
    assert labels_of(f"in.{extension}", None, "--labels", "s") == LABELS
    rows, _ = read(f"in.{extension}", None, "--labels", "s")
    assert (rows.dtype == np.float32) == (dtype.lower() == "float32")
    np.testing.assert_array_equal(rows, frame.to_numpy(dtype=rows.dtype))


@pytest.mark.parametrize("extension", WRITERS)
@pytest.mark.parametrize("scale", [0, 2])
def test_decimals_of_a_data_frame_are_numbers(read, labels_of, extension, scale):
    decimals = [Decimal(k / 4 if scale else k).quantize(Decimal(1).scaleb(-scale)) for k in range(12)]
    kind = pd.ArrowDtype(pa.decimal128(9, scale)) if scale else object
    WRITERS[extension](FRAME.assign(b=pd.Series(decimals, dtype=kind)), f"in.{extension}")
    assert labels_of(f"in.{extension}", None, "--labels", "b") == [str(number) for number in decimals]
    rows, _ = read(f"in.{extension}", None)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows[:, 1], np.arange(12) / (4 if scale else 1))
    np.testing.assert_array_equal(rows[:, [0, 2]], X[:, [0, 2]])


@pytest.mark.parametrize("extension", WRITERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_of_a_data_frame_are_columns(read, extension, dtype):
    rows = X.astype(dtype)
    frame = pd.DataFrame({"s": LABELS, "a": rows[:, 0], "b": list(rows), "c": rows[:, 1], "d": list(rows[:, 1:])})
    WRITERS[extension](frame, f"in.{extension}")
    got, _ = read(f"in.{extension}", None, "--labels", "s")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, rows[:, [0, 0, 1, 2, 1, 1, 2]])


@pytest.mark.parametrize("name", [None, "id"])
def test_index_of_a_data_frame_is_left_out(read, labels_of, name):
    FRAME.set_axis(pd.Index([f"row {i}" for i in range(12)], name=name)).to_parquet("in.parquet")
    rows, err = read("in.parquet", None)
    np.testing.assert_array_equal(rows, X)
    assert f"left out as names of rows: column 4 ({name or 'index'})" in err


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME.assign(s=LABELS), "column 4 (s) has dtype"),
        (FRAME.assign(d=pd.Timestamp("2020-01-01")), "column 4 (d) has dtype datetime64"),
        (FRAME.assign(b=[1, None] * 6), "row 2, column 2 (b): nan is not finite"),
        (FRAME.assign(b=pd.array([1, 2, None] * 4, dtype="Int64")), "row 3, column 2 (b): nan is not finite"),
        (FRAME.assign(b=[Decimal("1.5"), None] * 6), "row 2, column 2 (b): nan is not finite"),
        (FRAME.assign(b=[[1.0, np.nan]] * 12), "row 1, column 2 (b): nan is not finite"),
        (FRAME.assign(b=[[1.0, 2.0], [3.0]] * 6), "column 2 (b): the lists must be equally long"),
        (FRAME.assign(b=[[1.0, 2.0], None] * 6), "column 2 (b): the lists must be equally long"),
        (FRAME.assign(b=[["x", "y"]] * 12), "column 2 (b) has dtype"),
        (FRAME.assign(b=[True, None] * 6), "row 2, column 2 (b): nan is not finite"),
        (FRAME[:0], "has no rows"),
    ],
)
def test_bad_data_frames(read, frame, message):
    frame.to_parquet("in.parquet")
    rows, err = read("in.parquet", None)
    assert rows is None
    assert f"in.parquet: {message}" in err


@pytest.mark.parametrize(
    "name", ["in.parquet", "in.feather", "in.arrow", "in.csv.gz", "in.csv.xz", "in.csv.zip", "in.csv.bz2"]
)
@pytest.mark.parametrize("content", [b"hello, world", b""])
def test_broken_files(read, name, content):
    rows, err = read(name, content)
    assert rows is None
    assert f"{name}: " in err


def test_index_of_arrays(read):
    np.savez("in.npz", X=X, Z=X[:3], y=np.arange(12))
    np.testing.assert_array_equal(read("in.npz", None, "--labels", "y", "--index", "1")[0], X[:, 1:])
    np.save("in.npy", X)
    np.testing.assert_array_equal(read("in.npy", None, "--labels", "3", "--index", "1")[0], X[:, 1:2])


# Extras


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("in.csv.gz", "pandas"),
        ("in.csv.zst", "zstandard"),
        ("in.parquet", "pyarrow"),
        ("in.arrow", "pyarrow"),
    ],
)
def test_missing_extra_names_itself(capsys, monkeypatch, path, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main([path]) == 2
    err = capsys.readouterr().err
    commands = 'pip install "sktsne[files]" installs it, and pipx run --spec "sktsne[files]" sktsne runs with it'
    assert f"{path}: needs {missing}; {commands}" in err
    np.save("in.npy", X)
    assert main(["in.npy", "-o", f"out{path[2:]}"]) == 2
    assert 'pip install "sktsne[files]"' in capsys.readouterr().err


def test_digits_arrays_and_plain_text_need_no_pandas(tmp_path):
    np.savez(tmp_path / "in.npz", X=X, y=np.array(LABELS))
    (tmp_path / "in.csv").write_text(labeled(LABELS, ";"), encoding="utf-8")
    code = (
        "import importlib.abc, sys\n"
        "class Missing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('pandas', 'pyarrow', 'matplotlib'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Missing()); from sktsne.__main__ import main; "
        "sys.exit(main(['--max-iter', '20']) + main(['in.npz', '--labels', 'y', '-o', 'map.tsv', '--max-iter', '9', "
        "'--perplexity', '3']) + main(['in.npz', '-o', 'map.npy', '--max-iter', '9', '--perplexity', '3'])"
        " + main(['in.csv', '--labels', 's', '-o', 'text.tsv', '--max-iter', '9', '--perplexity', '3']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len((tmp_path / "embedding.csv").read_text().splitlines()) == 1798
    from_array, from_text = [(tmp_path / name).read_text(encoding="utf-8") for name in ("map.tsv", "text.tsv")]
    assert len(from_array.splitlines()) == 13
    assert from_text.splitlines()[1:] == from_array.splitlines()[1:]
