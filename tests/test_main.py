"""The command line: what it reads, writes and says, and its errors of use."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

import sktsne
from sktsne import SNE, TSNE, __main__, metrics, plotting
from sktsne.__main__ import main

FAST = ["--max-iter", "20", "--perplexity", "3", "--jobs", "1"]
N_ROWS = 12
X = np.random.default_rng(0).normal(size=(N_ROWS, 3))
SPECIES = ["cat", "dog", "é, ü"] * 4


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run the command line in this process and return the exit code, stdout and stderr."""

    def run(*arguments):
        code = main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(run):
    """Run what must be refused, before the fit, and return the one line of the error."""

    def refused(*arguments):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.startswith("sktsne: error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return refused


def write_rows(path, rows, delimiter=","):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def read_rows(path, delimiter=","):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def spoiled(row, column, value):
    rows = X.copy()
    rows[row, column] = value
    return rows


def embed(rows, estimator=TSNE):
    return estimator(max_iter=20, perplexity=3, n_jobs=1, random_state=0).fit_transform(rows)


def report(out):
    return {name: value.strip() for name, _, value in (line.partition(":") for line in out.splitlines())}


def test_digits_by_default(tmp_path):
    command = [sys.executable, "-m", "sktsne", "--max-iter", "50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    said = report(done.stdout)
    assert said["data"] == "digits of scikit-learn, 1797 rows, 64 columns"
    assert said["method"].startswith("t-SNE, ")
    assert said["neighbors"].startswith("91 per row for perplexity 30")
    assert said["iterations"] == "50 of at most 50"
    assert said["cost"].startswith("KL divergence ")
    assert 0.5 < float(said["trustworthiness"].split()[0]) <= 1
    stages = [stage.split()[0] for stage in said["seconds"].split(", ")]
    assert stages == [
        "reading", "neighbors", "initialization", "affinities", "optimization", "writing", "trustworthiness", "total",
    ]  # fmt: skip
    assert said["embedding"] == "embedding.csv"
    header, *rows = read_rows(tmp_path / "embedding.csv")
    assert header == ["tsne0", "tsne1", "label"]
    assert len(rows) == 1797
    assert {row[2] for row in rows} == set("0123456789")


def test_error_of_use_as_a_process(tmp_path):
    command = [sys.executable, "-m", "sktsne", "--bogus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "sktsne: error: unrecognized arguments: --bogus; --help lists all options\n"


@pytest.mark.parametrize(("extension", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("header", [True, False])
def test_text_round_trip(run, extension, delimiter, header):
    rows = [["a", "b", "c"]] * header + X.tolist()
    write_rows(f"in.{extension}", rows, delimiter)
    code, out, err = run(f"in.{extension}", "-o", f"out.{extension}", *FAST)
    assert (code, err) == (0, "")
    assert report(out)["data"].endswith("12 rows, 3 columns")
    assert ("with header" if header else "no header") in out
    names, *points = read_rows(f"out.{extension}", delimiter)
    assert names == ["tsne0", "tsne1"]
    np.testing.assert_array_equal(np.array(points, dtype=float), embed(X))


def test_text_with_byte_order_mark_and_blank_lines(run):
    with open("in.csv", "w", encoding="utf-8-sig") as file:
        file.write("\n".join(",".join(map(repr, row)) for row in X.tolist()) + "\n\n   \n")
    code, out, _ = run("in.csv", *FAST)
    assert code == 0
    assert "in.csv (no header), 12 rows, 3 columns" in out


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_npy_round_trip(run, dtype):
    rows = (10 * X).astype(dtype)
    np.save("in.npy", rows)
    assert run("in.npy", "-o", "out.npy", *FAST)[0] == 0
    embedding = np.load("out.npy")
    assert embedding.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_array_equal(embedding, embed(rows))


def test_float32_survives_text(run):
    rows = X.astype(np.float32)
    np.save("in.npy", rows)
    assert run("in.npy", "-o", "out.tsv", *FAST)[0] == 0
    points = np.array(read_rows("out.tsv", "\t")[1:], dtype=np.float32)
    np.testing.assert_array_equal(points, embed(rows))


@pytest.mark.parametrize(
    "arrays",
    [{"X": X, "Z": X[:5]}, {"rows": X, "ages": np.arange(12)}, {"rows": X, "names": np.array(SPECIES, dtype=object)}],
)
def test_npz_round_trip(run, arrays):
    np.savez("in.npz", **arrays)
    assert run("in.npz", "-o", "out.NPZ", *FAST)[0] == 0
    with np.load("out.NPZ") as out:
        assert out.files == ["embedding"]
        np.testing.assert_array_equal(out["embedding"], embed(X))


@pytest.mark.parametrize("label", ["species", "2"])
def test_labels_of_text_by_name_and_number(run, label):
    rows = [[a, name, b, c] for (a, b, c), name in zip(X.tolist(), SPECIES, strict=True)]
    write_rows("in.csv", [["a", "species", "b", "c"], *rows])
    assert run("in.csv", "-o", "out.csv", "--labels", label, *FAST)[0] == 0
    header, *points = read_rows("out.csv")
    assert header == ["tsne0", "tsne1", "species"]
    assert [point[2] for point in points] == SPECIES
    np.testing.assert_array_equal(np.array([point[:2] for point in points], dtype=float), embed(X))


def test_label_name_goes_before_number(run):
    write_rows("in.csv", [["a", "3", "b", "c"], *np.insert(X, 1, 7, axis=1).tolist()])
    assert run("in.csv", "--labels", "3", *FAST)[0] == 0
    header, *points = read_rows("embedding.csv")
    assert header[2] == "3"
    assert {point[2] for point in points} == {"7.0"}


@pytest.mark.parametrize("labels", [SPECIES, [str(index % 2) for index in range(N_ROWS)]])
def test_labels_without_header(run, labels):
    write_rows("in.csv", [[*row, label] for row, label in zip(X.tolist(), labels, strict=True)])
    code, out, _ = run("in.csv", "--labels", "4", *FAST)
    assert code == 0
    assert "no header" in out
    header, *points = read_rows("embedding.csv")
    assert header == ["tsne0", "tsne1", "label"]
    assert [point[2] for point in points] == labels


def test_header_whose_only_text_names_the_labels(run):
    write_rows("in.csv", [["0", "1", "2", "species"], *([*row, "x"] for row in X.tolist())])
    code, out, _ = run("in.csv", "--labels", "4", *FAST)
    assert code == 0
    assert "with header), 12 rows, 3 columns" in out
    assert read_rows("embedding.csv")[0][2] == "species"


def test_labels_of_arrays(run):
    np.savez("in.npz", X=X, y=np.array(SPECIES))
    assert run("in.npz", "-o", "out.npz", "--labels", "y", *FAST)[0] == 0
    with np.load("out.npz") as out:
        assert out["labels"].tolist() == SPECIES
    np.savez("in.npz", X=X, y=np.array([name.encode() for name in SPECIES]))
    assert run("in.npz", "-o", "out.csv", "--labels", "y", *FAST)[0] == 0
    assert [row[2] for row in read_rows("out.csv")[1:]] == SPECIES
    np.save("in.npy", np.column_stack([np.arange(12), X]))
    code, out, _ = run("in.npy", "-o", "out.csv", "--labels", "1", *FAST)
    assert code == 0
    assert "12 rows, 3 columns" in out
    assert [float(row[2]) for row in read_rows("out.csv")[1:]] == list(range(12))


def test_sne(run):
    np.save("in.npy", X)
    code, out, _ = run("in.npy", "--sne", *FAST)
    assert code == 0
    said = report(out)
    assert said["method"].startswith("SNE, ")
    assert said["cost"].endswith(" per row")
    header, *points = read_rows("embedding.csv")
    assert header == ["sne0", "sne1"]
    np.testing.assert_array_equal(np.array(points, dtype=float), embed(X, SNE))


@pytest.mark.filterwarnings("ignore:perplexity")
@pytest.mark.parametrize("sne", [False, True])
def test_every_option_reaches_the_estimator(run, monkeypatch, sne):
    fitted = []
    estimator = SNE if sne else TSNE
    fit = estimator.fit
    monkeypatch.setattr(estimator, "fit", lambda self, X: fitted.append(self) or fit(self, X))
    np.save("in.npy", X)
    arguments = ["in.npy"] + ["--sne"] * sne
    assert run(*arguments)[0] == 0
    assert fitted[0].get_params() == estimator(random_state=0).get_params()
    options = (
        "--perplexity 2.5 --components 1 --method exact --metric cityblock --init random --max-iter 9 "
        "--learning-rate 0.01 --early-exaggeration 2 --seed 3 --jobs 1 -vv"
    )
    code, out, _ = run(*arguments, *options.split())
    assert code == 0
    assert report(out)["neighbors"] == "all pairs"
    given = estimator(
        1, perplexity=2.5, method="exact", metric="cityblock", init="random", max_iter=9, learning_rate=0.01,
        early_exaggeration=2.0, random_state=3, n_jobs=1, verbose=2,
    )  # fmt: skip
    assert fitted[1].get_params() == given.get_params()
    assert run(*arguments, "--learning-rate", "auto", *FAST)[0] == 0
    assert fitted[2].learning_rate == "auto"


def test_precomputed_distances(run):
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    np.save("in.npy", distances)
    code, out, _ = run("in.npy", "--metric", "precomputed", "--init", "random", *FAST)
    assert code == 0
    assert "trustworthiness: 0." in out


@pytest.mark.filterwarnings("default")
def test_warnings_are_lines(run):
    np.save("in.npy", X)
    code, _, err = run("in.npy", "--max-iter", "20")
    assert code == 0
    assert err.startswith("sktsne: warning: perplexity == 30")
    assert err.count("\n") == 1


# Columns of different units


UNEQUAL = X * [1, 50, 1] + [0, 1000, 5]
OUTWEIGHING = "sktsne: warning: column 2 (b) outweighs the others, because its standard deviation is "


@pytest.fixture
def unequal():
    write_rows("in.csv", [["a", "b", "c", "d"], *np.column_stack([UNEQUAL, np.full(N_ROWS, 1e9)]).tolist()])


def test_scale(run, unequal):
    code, out, err = run("in.csv", "--scale", *FAST)
    assert (code, err) == (0, "")
    said = report(out)
    assert said["data"] == "in.csv (with header), 12 rows, 4 columns, scaled"
    assert said["seconds"].startswith("reading ")
    assert ", scaling " in said["seconds"]
    rows = np.column_stack([(UNEQUAL - UNEQUAL.mean(axis=0)) / UNEQUAL.std(axis=0), np.zeros(N_ROWS)])
    points = np.array(read_rows("embedding.csv")[1:], dtype=float)
    np.testing.assert_allclose(points, embed(rows), rtol=1e-6, atol=1e-9)
    value = metrics.trustworthiness(rows, points, n_neighbors=5)
    assert said["trustworthiness"] == f"{value:.4f} (5 neighbors)"


def test_scale_keeps_float32(run):
    np.save("in.npy", X.astype(np.float32))
    assert run("in.npy", "--scale", "-o", "out.npy", *FAST)[0] == 0
    assert np.load("out.npy").dtype == np.float32


def test_scale_that_is_impossible(refused):
    np.save("in.npy", X * [1, 1e200, 1])
    assert "--scale: the variance of column 2 overflows" in refused("in.npy", "--scale")
    err = refused("none.npy", "--metric", "precomputed", "--scale")
    assert "--scale: data of --metric precomputed are distances" in err


def test_a_column_that_outweighs_the_others(run, unequal):
    code, _, err = run("in.csv", *FAST)
    assert code == 0
    a, b, c = UNEQUAL.std(axis=0)
    ratio = b / ((a + c) / 2)
    assert 30 < ratio < 100
    assert err == f"{OUTWEIGHING}{ratio:.0f} times the median of theirs (--scale brings all columns to one scale)\n"


@pytest.mark.parametrize(
    ("rows", "metric", "warns"),
    [
        (X * [1, 100, 1], "cityblock", True),
        (X * [1, 100, 1], "cosine", True),
        (X * [1, 100, 1], "canberra", False),
        (X * [1, 100, 1], "seuclidean", False),
        (X * [1, 100, 1], "hamming", False),
        (X[:, :2] * [1, 10], "euclidean", False),
        (X[:, :2] * [1, 1000], "euclidean", True),
        (X[:, :1] * 1000, "euclidean", False),
        (X > 0, "euclidean", False),
        (X * [0, 1000, 0], "euclidean", False),
        (X * [1e200, 1, 1e200], "cosine", False),
        (np.tile(X * [1, 100, 1], (20_000, 1)), "euclidean", True),
        (datasets.load_iris().data, "euclidean", False),
        (datasets.load_digits().data, "euclidean", False),
        (datasets.load_diabetes(scaled=False).data, "euclidean", False),
        (datasets.load_wine().data, "euclidean", True),
        (datasets.load_breast_cancer().data, "euclidean", True),
    ],
)
def test_which_columns_outweigh_the_others(run, monkeypatch, rows, metric, warns):
    def fit(self, X):
        raise ValueError("after the warning")

    monkeypatch.setattr(TSNE, "fit", fit)
    np.save("in.npy", rows)
    _, _, err = run("in.npy", "--metric", metric)
    assert ("outweighs the others" in err) == warns
    assert err.count("\n") == 1 + warns


@pytest.mark.parametrize("n_rows", [2, 3, 4])
@pytest.mark.filterwarnings("ignore:perplexity")
def test_few_rows(run, n_rows):
    np.save("in.npy", X[:n_rows])
    code, out, _ = run("in.npy", "--max-iter", "20")
    assert code == 0
    assert ("needs at least 3 rows" if n_rows == 2 else "(1 neighbor)") in report(out)["trustworthiness"]


def test_trustworthiness_on_a_sample(run, monkeypatch):
    monkeypatch.setattr(__main__, "TRUSTWORTHINESS_ROWS", 8)
    monkeypatch.setattr(__main__, "TRUSTWORTHINESS_SAMPLE", 6)
    np.save("in.npy", X)
    code, out, _ = run("in.npy", *FAST)
    assert code == 0
    assert report(out)["trustworthiness"].endswith(" neighbors, of a random sample of 6 rows)")


def test_version_and_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sktsne {sktsne.__version__}\n"
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "default: 12, with --sne 4" in text
    assert "--perplexity P effective number of neighbors; default: 30" in text
    assert all(method in text for method in ("auto", "exact", "barnes_hut"))


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/bin/sktsne", "sktsne"),
        (r"C:\Scripts\sktsne.exe", "sktsne"),
        (str(Path(sktsne.__file__).with_name("__main__.py")), "python -m sktsne"),
    ],
)
def test_the_help_names_the_command_that_was_typed(capsys, monkeypatch, program, command):
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.startswith(f"usage: {command} [-h]")


# Errors of use


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "in.csv: is empty"),
        ("\n\n", "in.csv: is empty"),
        ("a,b\n", "in.csv: has no rows"),
        ("a,b\n1,2\n\n3,x\n", "in.csv: line 4, column 2 (b): 'x' is not a number"),
        ("1,2\n3,\n", "in.csv: line 2, column 2: '' is not a number"),
        ("a,b\n1,2\n3\n", "in.csv: line 3 has 1 cell, the first has 2"),
        ("1,2\n3,4,5\n", "in.csv: line 2 has 3 cells, the first has 2"),
        ("a,b\n1,2\n3,nan\n", "in.csv: line 3, column 2 (b): nan is not finite"),
        ("-inf,2\n3,4\n", "in.csv: line 1, column 1: -inf is not finite"),
        ('1,2\n3,"' + "4" * 200_000, "in.csv: line 2: field larger than field limit"),
        ("1,2\n", "1 sample(s)"),
        (b"1,2\n3,\xff\n", "in.csv: is not UTF-8 text"),
    ],
)
def test_bad_text(refused, content, message):
    with open("in.csv", "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    assert message in refused("in.csv")


@pytest.mark.parametrize(
    ("content", "label", "message"),
    [
        ("a,b\n1,2\n", "c", "there is no column 'c' for --labels; there are a, b"),
        ("a,b\n1,2\n", "3", "there is no column '3' for --labels; there are a, b"),
        ("1,2\n3,4\n", "0", "there is no column '0' for --labels; there are columns 1 to 2"),
        ("a\nx\n", "a", "has no columns to embed besides the labels"),
        ("s,a,b\nx,1,2\nx,nan,2\n", "s", "line 3, column 2 (a): nan"),
        ("s,a,b\nx,1,2\nx,3,y\n", "1", "line 3, column 3 (b): 'y' is not a number"),
        (",".join(f"f{i}" for i in range(25)) + "\n", "c", "f18, f19 and 5 more"),
    ],
)
def test_bad_labels_of_text(refused, content, label, message):
    with open("in.csv", "w") as file:
        file.write(content)
    assert message in refused("in.csv", "--labels", label)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X[0], "array has shape (3,), must be 2-D"),
        (X.astype(str), "must be of real numbers"),
        (X.astype(object), "array holds Python objects, which are not unpickled"),
        (X[:0], "has no rows"),
        (X[:, :0], "has no columns"),
        (spoiled(4, 1, np.nan), "row 5, column 2: nan is not finite"),
    ],
)
def test_bad_npy(refused, array, message):
    np.save("in.npy", array)
    assert message in refused("in.npy")


@pytest.mark.parametrize(
    ("arrays", "label", "message"),
    [
        ({}, None, "there are no arrays"),
        ({"a": X, "b": X}, None, "must have an array X, or exactly one 2-D array; there are a, b"),
        ({"a": X[0]}, None, "there are a"),
        ({"X": X[0]}, None, "array X has shape (3,), must be 2-D"),
        ({"X": spoiled(0, 2, np.inf)}, None, "array X, row 1, column 3: inf"),
        ({"X": X, "y": X}, "z", "there is no array 'z' for --labels; there are X, y"),
        ({"X": X, "y": X}, "y", "array y has shape (12, 3), must be (12,)"),
        ({"X": X, "y": np.arange(11)}, "y", "array y has shape (11,), must be (12,)"),
        ({"X": X.astype(object)}, None, "array X holds Python objects, which are not unpickled"),
        ({"a": X.astype(object)}, None, "must have an array X, or exactly one 2-D array; there are a"),
        (
            {"X": X, "y": np.array(SPECIES, dtype=object)},
            "y",
            "array y holds Python objects, which are not unpickled, because unpickling can run code; "
            "save text as np.array(y, dtype=str)",
        ),
    ],
)
def test_bad_npz(refused, arrays, label, message):
    np.savez("in.npz", **arrays)
    assert message in refused("in.npz", *(["--labels", label] if label else []))


def test_bad_label_column_of_npy(refused):
    np.save("in.npy", X)
    assert "no column '4' for --labels; there are columns 1 to 3" in refused("in.npy", "--labels", "4")
    np.save("in.npy", spoiled(4, 1, np.nan))
    assert "row 5, column 2" in refused("in.npy", "--labels", "1")


@pytest.mark.parametrize("name", ["in.npy", "in.npz"])
@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"hello, world", "holds no arrays"), (b"PK\3\4", "can't be read")]
)
def test_broken_arrays(refused, name, content, message):
    with open(name, "wb") as file:
        file.write(content)
    assert f"{name}: {message}" in refused(name)


def test_truncated_npy(refused):
    np.save("in.npy", X)
    with open("in.npy", "r+b") as file:
        file.truncate(200)
    assert "in.npy: can't be read as NPY" in refused("in.npy")


def test_files_that_cannot_be_read(refused, directory):
    assert "none.csv: No such file or directory" in refused("none.csv")
    assert "none.npy: No such file or directory" in refused("none.npy")
    assert "in.xlsx: the extension must be one of .csv, .tsv, .npy, .npz, .parquet" in refused("in.xlsx")
    assert "in.xlsx.gz: the extension must be one of .csv" in refused("in.xlsx.gz")
    assert "in.gz: the extension must be one of .csv" in refused("in.gz")
    assert "; save the sheet of a workbook as .csv" in refused("in.XLSX")
    assert "none.parquet: No such file or directory" in refused("none.parquet")
    (directory / "folder.csv").mkdir()
    assert "folder.csv: " in refused("folder.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--perplexity a", "argument --perplexity: invalid float value: 'a'"),
        ("--perplexity 0.5", "perplexity == 0.5"),
        ("--learning-rate fast", "'fast' is neither a number nor auto"),
        ("--learning-rate -1", "learning_rate == -1.0"),
        ("--method foo", "argument --method: invalid choice: 'foo'"),
        ("--init foo", "argument --init: invalid choice: 'foo'"),
        ("--metric foo", "metric == 'foo'"),
        ("--components 0", "n_components == 0"),
        ("--jobs 0", "n_jobs == 0"),
        ("--seed -1", "random_state == -1, must be None, an integer from 0 to 2**32 - 1 or a RandomState"),
        (f"--seed {2**32}", f"random_state == {2**32}, must be None"),
        ("--metric precomputed --init random", "square distance matrix"),
        ("--bogus", "unrecognized arguments: --bogus; --help lists all options"),
        ("--perp 3", "unrecognized arguments: --perp 3; did you mean --perplexity?"),
        ("--label=3", "unrecognized arguments: --label=3; did you mean --labels?"),
        ("--sclae", "unrecognized arguments: --sclae; did you mean --scale?"),
        ("other.npy", "unrecognized arguments: other.npy"),
        ("-o none/out.csv", "--output none/out.csv: there is no directory none"),
        ("-o out.txt", "--output out.txt: the extension must be one of .csv, .tsv, .npy, .npz"),
        ("-o out", "--output out: the extension must be"),
        ("-o in.npy", "--output in.npy would overwrite the data"),
        ("-o folder.csv", "--output folder.csv: is a directory"),
    ],
)
def test_refused_arguments(refused, directory, arguments, message):
    np.save("in.npy", X)
    (directory / "folder.csv").mkdir()
    assert message.replace("none/", f"none{os.sep}") in refused("in.npy", *FAST, *arguments.split())


@pytest.mark.parametrize(
    "option", ["--labels=y", "--index=none", "--sep=;", "--decimal=,", "--header", "--encoding=cp1252"]
)
def test_options_of_files_need_data(refused, option):
    assert f"{option.partition('=')[0]} needs a data file" in refused(option)


@pytest.mark.parametrize(
    "option", ["--seed=-1", "--jobs=0", "--perplexity=0", "--components=0", "--max-iter=0", "--metric=foo", "--sep=ab"]
)
def test_options_are_checked_before_the_file_is_read(refused, option):
    assert "No such file" not in refused("none.csv", option)


def test_paths_are_checked_before_the_fit(refused, monkeypatch):
    def fit(self, X):
        raise AssertionError("paths come first")

    monkeypatch.setattr(TSNE, "fit", fit)
    refused("-o", "none/out.csv")
    assert "there is no directory none" in refused("--plot", "none/out.png")
    assert "the extension must be one of" in refused("--plot", "out.foo")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "sktsne: interrupted\n"),
        (MemoryError("Unable to allocate\n8 EiB"), 2, "sktsne: error: Unable to allocate 8 EiB\n"),
        (MemoryError(), 2, "sktsne: error: MemoryError\n"),
        (OSError(28, "No space left on device", "map.csv"), 2, "sktsne: error: map.csv: No space left on device\n"),
        (OSError("no file is named"), 2, "sktsne: error: no file is named\n"),
    ],
)
def test_errors_from_outside(run, monkeypatch, error, code, message):
    def fit(self, X):
        raise error

    monkeypatch.setattr(TSNE, "fit", fit)
    np.save("in.npy", X)
    assert run("in.npy", *FAST)[::2] == (code, message)


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["-m", "sktsne", "in.npy"], {1}),
        (["-um", "sktsne", "in.npy"], {1}),
        (["-m", "sktsne", "--help"], {0, 1}),  # argparse ignores the error in some versions of Python
    ],
)
def test_a_closed_pipe_ends_the_command_quietly(arguments, codes):
    np.save("in.npy", X)
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert b"rror" not in process.stderr.read()
    assert process.returncode in codes


FAILING = """
import io, sys
from sktsne.__main__ import main
class Failing(io.FileIO):
    errors = [OSError(%d, "a reason")]
    def write(self, text):
        if self.errors:
            raise self.errors.pop()
        return super().write(text)
sys.stdout = io.TextIOWrapper(io.BufferedWriter(Failing(1, "w")))
sys.exit(main(["in.npy", "--max-iter", "20", "--perplexity", "3"]))
"""


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (errno.EINVAL, 1, ""),  # how Windows reports a closed pipe
        (errno.ENOSPC, 2, f"sktsne: error: [Errno {errno.ENOSPC}] a reason\n"),
    ],
)
def test_a_report_that_cannot_be_written(number, code, message):
    np.save("in.npy", X)
    command = [sys.executable, "-c", FAILING % number]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)
    assert len(read_rows("embedding.csv")) == 1 + N_ROWS  # because the report is flushed last


# Plots


@pytest.mark.parametrize(
    ("n_components", "labels"),
    [
        (1, None),
        (2, None),
        (3, None),
        (2, np.array(SPECIES)),
        (2, np.array(["_a", "$b", "$c$ $", ""] * 3)),
        (3, np.arange(12.0)),
    ],
)
@pytest.mark.parametrize("extension", ["png", "svg"])
def test_plot(run, directory, n_components, labels, extension):
    np.savez("in.npz", X=X, **({} if labels is None else {"y": labels}))
    arguments = ["--components", n_components, *([] if labels is None else ["--labels", "y"])]
    code, out, err = run("in.npz", "--plot", f"map.{extension}", *arguments, *FAST)
    assert (code, err) == (0, "")
    assert report(out)["plot"] == f"map.{extension}"
    begin = {"png": b"\x89PNG", "svg": b"<?xml"}[extension]
    assert (directory / f"map.{extension}").read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("labels", "note"), [(np.linspace(0, 1, 12), ""), (np.array(list("abcdefghijkl")), "12 classes are too many")]
)
def test_many_labels(run, monkeypatch, directory, labels, note):
    monkeypatch.setattr(plotting.labels, "FEW_CLASSES", 5)
    monkeypatch.setattr(plotting.labels, "MAX_CLASSES", 5)
    np.savez("in.npz", X=X, y=labels)
    code, _, err = run("in.npz", "--labels", "y", "--plot", "map.png", *FAST)
    assert code == 0
    assert note in err
    assert err.count("\n") == bool(note)
    assert (directory / "map.png").exists()


@pytest.mark.parametrize(
    "texts",
    [
        ["2026-01-31", "2026-02-03 14:05", "", "2026-02-03T14:05:30.5Z"],
        ["2026/1/31", "2026/2/3 14:05:00", "", "2026/2/3 14:05:30.5+01:00"],
        ["31.01.2026", "3.2.2026 14:05", "", "03.02.2026 14:05:30.5"],
        ["1/31/2026", "2/3/2026 14:05", "", "02/03/2026 14:05:30.5"],
        ["31/1/2026 0:00", "3/2/2026 14:05", "", "03/02/2026 14:05:30.5"],
    ],
)
def test_dates_of_text_are_dates(texts):
    dates = ["2026-01-31", "2026-02-03T14:05", "NaT", "2026-02-03T14:05:30.5"]
    typed = plotting.columns.as_typed(np.array(texts), most=2)
    np.testing.assert_array_equal(typed, np.array(dates, dtype="M8[us]"))
    assert plotting.columns.as_typed(np.array(texts), most=3).tolist() == texts


@pytest.mark.parametrize("other", ["5/6/2026", "2026-02-30", "x", "2026-02", "2026-02/03", "14:05"])
def test_texts_that_are_no_dates_stay_texts(other):
    texts = ["3/4/2026" if "/" in other[:2] else "2026-01-31", other]
    assert plotting.columns.as_typed(np.array(texts), most=1).tolist() == texts


def test_numbers_of_text_beside_an_empty_cell():
    typed = plotting.columns.as_typed(np.array(["1.5", "", "-2"]), most=1)
    np.testing.assert_array_equal(typed, [1.5, np.nan, -2])


def test_dates_of_a_text_file_are_a_scale_of_colors(run, monkeypatch):
    shown = []
    scale = plotting.labels.as_numbers
    monkeypatch.setattr(plotting.labels, "as_numbers", lambda values: shown.append(scale(values)) or shown[-1])
    days = [f"2026-02-{day:02}" for day in range(1, 25)]
    write_rows("in.csv", [["a", "b", "day"], *([k % 5, k % 7, day] for k, day in enumerate(days))])
    code, _, err = run("in.csv", "--labels", "day", "--plot", "map.png", *FAST)
    assert (code, err) == (0, "")
    ((numbers, unit),) = shown
    assert unit == "date"
    np.testing.assert_array_equal(numbers, 20485 + np.arange(24))  # days since 1970


def test_more_than_three_components(run, directory):
    np.save("in.npy", X)
    code, _, err = run("in.npy", "--components", "4", "--plot", "map.png", *FAST)
    assert (code, err) == (0, "sktsne: warning: the plot shows only the first two of 4 components\n")
    assert len(read_rows("embedding.csv")[0]) == 4
    assert (directory / "map.png").exists()


@pytest.mark.parametrize("name", ["map.html", "map.HTM"])
def test_page(run, monkeypatch, name):
    pytest.importorskip("bokeh")
    columns = []
    make_page = plotting.embedding.make_page
    monkeypatch.setattr(plotting.embedding, "make_page", lambda *given: columns.append(given[2]) or make_page(*given))
    ids, places = [f"s{k:02}" for k in range(N_ROWS)], ["here", "there"] * 6
    rows = [["species", "a", "id", "b", "place"]]
    rows += [[s, x[0], i, x[1], p] for s, x, i, p in zip(SPECIES, X.tolist(), ids, places, strict=True)]
    write_rows("in.csv", rows)
    arguments = ["--labels", "species", "--index", "id", "--index", "5", "--plot", name]
    code, out, err = run("in.csv", *arguments, *FAST)
    assert (code, err) == (0, "")
    assert report(out)["plot"] == name
    assert Path(name).read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    (shown,) = columns
    texts = {column.heading: [column.names[code] for code in column.values] for column in shown.values()}
    assert texts == {"row": ids, "species": SPECIES, "place": places}


@pytest.mark.parametrize(
    ("names", "content", "expected"),
    [
        (["--index", "1"], "id,a,b\n007,1,2\n08,2,1\n", {"row": ["007", "08"]}),
        (["--index", "1", "--index", "2"], "a,a,b,c\nx,y,1,2\nz,y,2,1\n", {"row": "xz", "column 2 (a)": "yy"}),
        ([], ",a,b\nx,1,2\ny,2,1\n", {"row": "xy"}),
        (["--index", "none"], ",a,b\n3,1,2\n4,2,1\n", {"row": [0, 1]}),
        (["--labels", "a", "--index", "a"], "a,b,c\nx,1,2\ny,2,1\n", {"row": [0, 1], "a": "xy"}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_names_of_rows_in_a_page(run, monkeypatch, names, content, expected):
    pytest.importorskip("bokeh")
    pages = []
    monkeypatch.setattr(plotting.embedding, "make_page", lambda *given: pages.append(given[2]) or "")
    with open("in.csv", "w") as file:
        file.write(content)
    assert run("in.csv", "--plot", "map.html", "--init", "random", *names, *FAST)[0] == 0
    shown = {
        column.heading: [column.names[code] if column.names else code for code in column.values]
        for column in pages[0].values()
    }
    assert shown == {key: list(values) for key, values in expected.items()}


def test_names_of_rows_of_frames_and_arrays_in_a_page(run, monkeypatch):
    pytest.importorskip("bokeh")
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pages = []
    monkeypatch.setattr(plotting.embedding, "make_page", lambda *given: pages.append(given[2]) or "")
    ids = [f"s{k}" for k in range(N_ROWS)]
    pd.DataFrame(X, columns=["a", "b", "c"], index=ids).to_parquet("in.parquet")
    assert run("in.parquet", "--plot", "map.html", *FAST)[0] == 0
    assert [pages[0]["row"].names[code] for code in pages[0]["row"].values] == ids
    np.save("in.npy", np.column_stack([1000 + np.arange(N_ROWS), X]))
    assert run("in.npy", "--index", "1", "--plot", "map.html", *FAST)[0] == 0
    np.testing.assert_array_equal(pages[1]["row"].values, 1000 + np.arange(N_ROWS))


@pytest.mark.parametrize("option", ["--plot", "--reliability"])
@pytest.mark.parametrize("n_components", [1, 3])
def test_page_of_other_components(refused, option, n_components):
    pytest.importorskip("bokeh")
    err = refused("none.csv", option, "map.html", "--components", n_components)
    assert f"{option} map.html: a page shows maps with 2 components, not with {n_components}" in err


@pytest.mark.parametrize("option", ["--plot", "--reliability"])
@pytest.mark.parametrize(
    ("modules", "extra", "name"),
    [(("matplotlib", "matplotlib.backends.backend_agg"), "plot", "map.png"), (("bokeh",), "interactive", "map.html")],
)
def test_missing_packages_for_plots_end_before_any_work(refused, monkeypatch, directory, option, modules, extra, name):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    np.save("in.npy", X)
    assert f'pip install "sktsne[{extra}]"' in refused("in.npy", option, name, *FAST)
    assert [path.name for path in directory.iterdir()] == ["in.npy"]


@pytest.mark.parametrize("option", ["--output", "--plot", "--reliability"])
@pytest.mark.parametrize("name", ["none/map", "map" * 100, "file.txt/map"])
def test_outputs_that_cannot_be_written_end_before_any_work(refused, monkeypatch, directory, option, name):
    def fit(self, X):
        raise AssertionError("outputs come first")

    monkeypatch.setattr(TSNE, "fit", fit)
    (directory / "file.txt").touch()
    path = f"{name}.{'npy' if option == '--output' else 'png'}"
    assert f"{option} {path}: " in refused(option, path).replace(os.sep, "/")
    assert [path.name for path in directory.iterdir()] == ["file.txt"]


# Reliability


SCORES = ["perturbation", "singularity", "significance", "instability", "outliers"]
ROWS = np.random.default_rng(1).normal(size=(40, 3))
KINDS = np.array(["a", "b"] * 20)


@pytest.fixture
def scored(monkeypatch):
    """Replace the scores of a fit by others, and return the list of what they were computed from."""
    given = []

    def reliability_scores(estimator, X, **options):
        given.append((estimator, X, options))
        return {name: np.arange(len(X), dtype=np.float64) for name in SCORES}

    module = types.ModuleType("sktsne.reliability")
    module.reliability_scores = reliability_scores
    monkeypatch.setitem(sys.modules, "sktsne.reliability", module)
    return given


@pytest.mark.parametrize("labels", [[], ["--labels", "y"]])
@pytest.mark.parametrize("extension", ["png", "svg"])
def test_picture_of_reliability(run, monkeypatch, directory, scored, labels, extension):
    panels = []
    side_by_side = plotting.embedding.side_by_side
    monkeypatch.setattr(
        plotting.embedding, "side_by_side", lambda *given: panels.append(side_by_side(*given)) or panels[-1]
    )
    np.savez("in.npz", X=ROWS, y=KINDS)
    code, out, err = run("in.npz", "--reliability", f"map.{extension}", *labels, *FAST)
    assert (code, err) == (0, "")
    said = report(out)
    assert said["reliability"] == f"map.{extension}"
    assert ", reliability " in said["seconds"]
    assert "plot" not in said
    begin = {"png": b"\x89PNG", "svg": b"<?xml"}[extension]
    assert (directory / f"map.{extension}").read_bytes().startswith(begin)
    (displays,) = panels
    assert [display.ax_.get_title() for display in displays] == ["y" if labels else "map", *SCORES]
    assert (displays[0].legend_ is not None) == bool(labels)
    assert all(display.colorbar_ is not None for display in displays[1:])


def test_page_of_reliability(run, monkeypatch, scored):
    pytest.importorskip("bokeh")
    given = []
    make_page = plotting.embedding.make_page
    monkeypatch.setattr(plotting.embedding, "make_page", lambda *page: given.append(page) or make_page(*page))
    ids = [f"s{k:02}" for k in range(len(ROWS))]
    rows = [[i, kind, *row] for i, kind, row in zip(ids, KINDS, ROWS.tolist(), strict=True)]
    write_rows("in.csv", [["id", "kind", "a", "b", "c"], *rows])
    arguments = ["--labels", "kind", "--index", "id", "--plot", "map.png", "--reliability", "scores.html"]
    code, out, err = run("in.csv", *arguments, *FAST)
    assert (code, err) == (0, "")
    assert (report(out)["plot"], report(out)["reliability"]) == ("map.png", "scores.html")
    assert Path("scores.html").read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    ((_, labels, columns, _, scores),) = given
    assert [column.heading for column in columns.values()] == ["row", "kind", *SCORES]
    assert columns["row"].names == ids
    assert labels.classes == ["a", "b"]
    assert [columns[key].heading for key in scores] == SCORES
    assert all(score.highlight for score in scores.values())


def test_scores_are_those_of_the_rows_that_were_embedded(run, scored):
    np.save("in.npy", ROWS * [1, 100, 1])
    assert run("in.npy", "--scale", "--seed", 7, "--reliability", "map.png", "-o", "out.npy", *FAST)[0] == 0
    ((estimator, rows, options),) = scored
    np.testing.assert_allclose(rows.std(axis=0), 1)
    np.testing.assert_array_equal(estimator.embedding_, np.load("out.npy"))
    np.testing.assert_array_equal(estimator.fit_transform(rows), np.load("out.npy"))
    assert options == {"random_state": 7}


def test_scores_that_are_refused_do_not_lose_the_map(run, monkeypatch, scored, directory):
    def refuse(estimator, X, **options):
        raise ValueError("metric == 'precomputed', has no columns to shuffle")

    monkeypatch.setattr(sys.modules["sktsne.reliability"], "reliability_scores", refuse)
    np.save("in.npy", ROWS)
    code, _, err = run("in.npy", "--reliability", "map.png", *FAST)
    assert (code, err) == (2, "sktsne: error: metric == 'precomputed', has no columns to shuffle\n")
    assert len(read_rows("embedding.csv")) == 1 + len(ROWS)
    assert not (directory / "map.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reliability", "map.docx"], "--reliability map.docx: the extension must be one of .html, .htm, "),
        (["--plot", "a.png", "--reliability", "./a.png"], "--reliability a.png would overwrite the file of --plot"),
    ],
)
def test_refused_files_of_reliability(refused, arguments, message):
    assert message in refused("none.csv", *arguments)


def test_the_help_says_what_scores_cost(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--reliability FILE file for a picture" in text
    assert "takes as long as several fits" in text
