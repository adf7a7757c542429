"""Embed a table of numbers by t-SNE or SNE, write the map to a file, and print a report."""

from __future__ import annotations

import argparse
import codecs
import errno
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from . import SNE, TSNE, __version__
from ._columns import Options, Table, UsageError, missing_package
from ._parameters import INITS, METHODS, check_parameters, choose_affinities
from ._tables import ACCEPTED, EXTENSIONS, file_format, read, require, write
from .metrics import trustworthiness
from .neighbors.metrics import traits_of
from .plotting.embedding import draw, draw_page, draw_reliability

ESTIMATOR_OPTIONS = (
    "n_components", "perplexity", "early_exaggeration", "learning_rate", "max_iter", "metric", "init", "verbose",
    "random_state", "method", "n_jobs",
)  # fmt: skip

PAGES = (".html", ".htm")

FILE_OPTIONS = [field.name for field in fields(Options)]

# The trustworthiness of up to TRUSTWORTHINESS_ROWS rows judges all of them. Of more rows, it judges a random sample of
# TRUSTWORTHINESS_SAMPLE rows, each of which is compared with all rows.
TRUSTWORTHINESS_ROWS, TRUSTWORTHINESS_SAMPLE = 5000, 1000

# A column outweighs the others if its standard deviation is more than this many times the median of theirs. The largest
# ratio is 2 in scikit-learn's iris, 2 in its digits, 3 in its diabetes and in 30 principal components of the digits,
# whose columns share a unit or have similar scales, but 414 in its wine and 8662 in its breast cancer data.
OUTWEIGHS = 30
# Of large data, about this many cells are looked at for such a column.
CELLS_FOR_SCALES = 1_000_000
# Metrics that no column outweighs: they scale each column themselves, compare true with false, or need columns of one
# unit, as latitude and longitude are.
METRICS_OF_ANY_SCALE = {"seuclidean", "mahalanobis", "canberra", "hamming", "haversine", "precomputed"}

EPILOG = """\
data files:
  .csv .tsv  text in UTF-8, one row per line. The first lines show the
             separator, the decimal mark, the header, and whether the
             first column has no name; such a column is left out.
  .parquet .feather .arrow
             a data frame; its index is left out
  .npy       a 2-D array
  .npz       the array with the name X, or the only 2-D array
All of these files may be compressed: .csv.gz, .npy.xz

examples:
  sktsne --plot digits.png
  sktsne data.csv -o map.csv --labels species --plot map.png
  sktsne data.csv --scale --index sample --labels species --plot map.html
  sktsne data.npy -o map.npy --sne --perplexity 50
  sktsne data.csv --labels species --reliability scores.html

An error in the command or in the data is reported by one line on stderr,
and the exit code is then 2.
Plots need matplotlib: pip install "sktsne[plot]"
Interactive pages need Bokeh: pip install "sktsne[interactive]"
Data frames and compressed files need pandas: pip install "sktsne[files]"
Without an installation: pipx run --spec "sktsne[files,plot]" sktsne data.csv
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments of the command; by default those of the process.

    Returns
    -------
    code : int
        The exit code: 0 after success, 1 if the program that reads the report ends too early, 2 after an error that the
        user can correct, 130 after an interrupt.
    """
    try:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default", UserWarning)
                warnings.showwarning = _show_warning
                run(_parser().parse_args(argv))
        finally:  # Even after --help, which raises SystemExit, an error of the report must be raised here.
            print(end="", flush=True)
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except UsageError as error:
        _complain(f"error: {error}")
        return 2
    except OSError as error:
        if error.filename is not None:
            _complain(f"error: {error.filename}: {error.strerror}")
            return 2
        # The report may be what cannot be written. Python writes the rest of the report when the process ends, and
        # would complain about the same error again.
        _discard(sys.stdout)
        if error.errno in (errno.EPIPE, errno.EINVAL):  # A closed pipe is EPIPE on Unix and may be EINVAL on Windows.
            _discard(sys.stderr)
            return 1
        _complain(f"error: {error}")
        return 2
    except MemoryError as error:
        _complain(f"error: out of memory {error}")
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Embed the data, write the map and print the report; raise a UsageError or OSError if this is impossible."""
    estimator = _estimator(arguments)
    _check_paths(arguments)
    _check_pictures(arguments, estimator.n_components)
    clock = Clock()
    with clock.stage("reading"):
        table = read(arguments.data, Options(**{name: getattr(arguments, name) for name in FILE_OPTIONS}))
    if arguments.scale:
        with clock.stage("scaling"):
            table = _scaled(table)
    elif not (estimator.metric in METRICS_OF_ANY_SCALE or traits_of(estimator.metric).boolean):
        _warn_of_scales(table)
    shape = f"{_counted(len(table.X), 'row')}, {_counted(table.X.shape[1], 'column')}"
    _say("data", f"{table.source}, {shape}{', scaled' if arguments.scale else ''}")
    _refusing(estimator.fit, table.X)
    clock.seconds.update(estimator.timings_)
    with clock.stage("writing"):  # before all other steps, so that their errors do not lose the map
        names = list(estimator.get_feature_names_out())
        write(arguments.output, estimator.embedding_, names, table)
    _say_fit(estimator, len(table.X))
    with clock.stage("trustworthiness"):
        value = _trustworthiness(table.X, estimator.embedding_, estimator.metric, estimator.n_jobs)
        _say("trustworthiness", value)
    _say("embedding", str(arguments.output))
    if arguments.plot is not None:
        with clock.stage("plot"):
            _refusing(_draw, arguments.plot, estimator.embedding_, table)
        _say("plot", str(arguments.plot))
    if arguments.reliability is not None:
        with clock.stage("reliability"):
            scores = _refusing(_reliability, estimator, table.X)
            _refusing(_draw, arguments.reliability, estimator.embedding_, table, scores)
        _say("reliability", str(arguments.reliability))
    _say("seconds", str(clock))


def _scaled(table: Table) -> Table:
    """Return a table whose columns have mean 0 and variance 1, or are 0 where they were constant."""
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        X = scaler.fit_transform(table.X)
    overflowing = np.flatnonzero(~np.isfinite(scaler.var_))
    if len(overflowing):
        raise UsageError(f"--scale: the variance of {table.titles[overflowing[0]]} overflows; divide its numbers first")
    return table._replace(X=X)


def _warn_of_scales(table: Table) -> None:
    """Warn if the distances between rows depend on one column much more than on the others."""
    n, n_columns = table.X.shape
    X = table.X[:: -(-n // max(100, CELLS_FOR_SCALES // n_columns))]
    varying = np.flatnonzero((X[:1] != X).any(axis=0))
    if len(varying) < 2:
        return
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        deviations = X[:, varying].std(axis=0, dtype=np.float64)
        largest = deviations.argmax()
        ratio = deviations[largest] / np.median(np.delete(deviations, largest))
    if ratio > OUTWEIGHS:
        message = (
            f"{table.titles[varying[largest]]} outweighs the others, because its standard deviation is {ratio:.0f} "
            "times the median of theirs (--scale brings all columns to one scale)"
        )
        warnings.warn(message, stacklevel=2)


class Clock:
    """A clock that counts the seconds of each stage, and those since the clock was made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of a stage: those of a with statement."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin

    def __str__(self) -> str:
        total = time.perf_counter() - self._begin
        return ", ".join(f"{name} {seconds:.2f}" for name, seconds in {**self.seconds, "total": total}.items())


def _counted(number: int, noun: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say(name: str, value: str) -> None:
    print(f"{name + ':':<17}{value}")


def _discard(stream: TextIO) -> None:
    """Write to nowhere what the stream still holds and what follows."""
    try:
        number = stream.fileno()
    except (AttributeError, OSError):  # No file is behind the stream of a notebook, for example.
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _complain(message: str) -> None:
    print("sktsne:", " ".join(message.split()), file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _complain(f"warning: {message}")


# Arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            option = message.split()[2].partition("=")[0]
            options = [*self._option_string_actions]
            close = [name for name in options if name.startswith(option)] or get_close_matches(option, options, 1, 0.75)
            message += f"; did you mean {close[0]}?" if close else "; --help lists all options"
        raise UsageError(message)


def _learning_rate(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor auto") from None


def _separator(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is neither one character nor tab")
    return text


def _encoding(text: str) -> str:
    try:
        name = codecs.lookup(text).name
        "".encode(name)  # a codec that does not encode text raises a LookupError, too
    except LookupError:
        raise argparse.ArgumentTypeError(f"Python knows no encoding {text!r}; examples are utf-8 and cp1252") from None
    return "utf-8-sig" if name == "utf-8" else name  # utf-8-sig also reads a text with a byte order mark


def _default(name: str) -> str:
    """Return the default of an estimator's parameter, for the help."""
    values = [estimator.get_params()[name] for estimator in (TSNE(), SNE())]
    tsne, sne = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"default: {tsne}" if tsne == sne else f"default: {tsne}, with --sne {sne}"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sktsne" if Path(sys.argv[0]).name == "__main__.py" else "sktsne",
        description=f"{__doc__}\nWithout data, scikit-learn's digits are embedded.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_files(parser.add_argument_group("files"))
    _add_method(parser.add_argument_group("method"))
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="print the stages of the fit; twice: also the falling cost"
    )
    parser.add_argument("--version", action="version", version=f"sktsne {__version__}")
    return parser


def _add_files(group: Any) -> None:
    extensions = " ".join(EXTENSIONS)
    group.add_argument("data", nargs="?", type=Path, help=f"file of the rows to embed ({extensions}); default: digits")
    group.add_argument(
        "-o", "--output", type=Path, default=Path("embedding.csv"), metavar="FILE",
        help=f"file for the embedding ({extensions}); default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--plot", type=Path, metavar="FILE",
        help="file for a picture of the embedding (.png, .pdf, .svg and others), or for an interactive page (.html)",
    )  # fmt: skip
    group.add_argument(
        "--reliability", type=Path, metavar="FILE",
        help="file for a picture of the embedding beside pictures of which points not to trust, one for each score of "
        "sktsne.reliability, or for an interactive page with a choice of the colors; takes as long as several fits, "
        "because some scores fit the data again",
    )  # fmt: skip
    group.add_argument(
        "--labels", metavar="NAME",
        help="the column of labels, which color the plot and are written beside the embedding, but are not embedded: "
        "its name, or its number counted from 1; in .npz the name of a 1-D array",
    )  # fmt: skip
    group.add_argument(
        "--index",
        action="append",
        metavar="NAME",
        help="a column to leave out: its name or number; its cells are the names of the rows in an interactive page; "
        "may be given several times; none to embed all columns",
    )
    group.add_argument(
        "--sep", type=_separator, metavar="CHARACTER", help="the character between cells of text, or the word tab"
    )
    group.add_argument(
        "--decimal", choices=[".", ","], metavar="MARK", help="the decimal mark of numbers in text: . or ,"
    )
    group.add_argument(
        "--header", action=argparse.BooleanOptionalAction, help="whether the first row of text names the columns"
    )
    group.add_argument("--encoding", type=_encoding, metavar="NAME", help="the encoding of text, such as cp1252")
    group.add_argument(
        "--scale", action="store_true",
        help="bring every column to mean 0 and variance 1 first, as columns of different units need",
    )  # fmt: skip


def _add_method(group: Any) -> None:
    group.add_argument("--sne", action="store_true", help="use SNE in place of t-SNE")

    def add(option: str, name: str, help: str, type: Callable[[str], Any] = str, **settings: Any) -> None:
        group.add_argument(option, dest=name, type=type, help=f"{help}; {_default(name)}", **settings)

    add("--perplexity", "perplexity", "effective number of neighbors", float, metavar="P")
    add("--components", "n_components", "dimension of the embedding", int, metavar="D")
    add("--method", "method", f"how repulsion is computed: {', '.join(METHODS)}", choices=METHODS, metavar="NAME")
    add("--metric", "metric", "distance between rows; precomputed if the data are distances", metavar="NAME")
    add("--init", "init", f"start of the optimization: {', '.join(INITS)}", choices=INITS, metavar="NAME")
    add("--max-iter", "max_iter", "largest number of iterations", int, metavar="N")
    add("--learning-rate", "learning_rate", "a number, or auto", _learning_rate, metavar="RATE")
    add(
        "--early-exaggeration", "early_exaggeration", "factor on the attraction in the first iterations", float,
        metavar="FACTOR",
    )  # fmt: skip
    group.add_argument(
        "--seed", dest="random_state", type=int, default=0, metavar="N",
        help="seed of the random numbers; the same seed gives the same map; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--jobs", dest="n_jobs", type=int, metavar="N", help="number of threads, -1 for all cores; default: every core"
    )


def _estimator(arguments: argparse.Namespace) -> SNE | TSNE:
    if arguments.scale and arguments.metric == "precomputed":
        raise UsageError("--scale: data of --metric precomputed are distances, which have no columns to scale")
    given = {name: getattr(arguments, name) for name in ESTIMATOR_OPTIONS}
    estimator = (SNE if arguments.sne else TSNE)(**{name: value for name, value in given.items() if value is not None})
    _refusing(check_parameters, estimator)  # before the data are read, which may take long
    return estimator


def _refusing(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, and raise its errors as a UsageError, because the user can correct them."""
    try:
        return function(*arguments)
    except (ValueError, TypeError, FloatingPointError, MemoryError, RuntimeError, np.linalg.LinAlgError) as error:
        raise UsageError(str(error) or type(error).__name__) from error


def _check_paths(arguments: argparse.Namespace) -> None:
    """Raise a UsageError, before any work is done, if the results could not be written."""
    data, output = arguments.data, arguments.output
    given = [name for name in FILE_OPTIONS if getattr(arguments, name) is not None]
    if data is None and given:
        raise UsageError(f"--{given[0]} needs a data file; the digits have their own labels")
    if file_format(output) is None:
        raise UsageError(f"--output {output}: the extension must be one of {ACCEPTED}")
    require(output)
    _check_target("--output", output)
    if data is not None and data.exists() and output.exists() and data.samefile(output):
        raise UsageError(f"--output {output} would overwrite the data")


def _check_target(option: str, path: Path) -> None:
    """Raise a UsageError unless the file can be opened for writing; no file is created or changed."""
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no directory {path.parent}")
    try:
        target = path.resolve()
        existed = target.exists()
        open(target, "ab").close()
    except OSError as error:
        reason = str(error.strerror)
        raise UsageError(f"{option} {path}: {reason[:1].lower()}{reason[1:]}") from error
    if not existed:
        target.unlink()


# Reporting


def _say_fit(estimator: SNE | TSNE, n_rows: int) -> None:
    sne = isinstance(estimator, SNE)
    _say("method", f"{'SNE' if sne else 't-SNE'}, {estimator.method_} kernel")
    _say("neighbors", _neighbors(estimator, n_rows))
    _say("iterations", f"{estimator.n_iter_ + 1} of at most {estimator.max_iter}")
    cost = estimator.kl_divergence_
    _say("cost", f"KL divergence {cost:.6g}" + (f", {cost / n_rows:.6g} per row" if sne else ""))


def _neighbors(estimator: SNE | TSNE, n_rows: int) -> str:
    if isinstance(estimator.affinities_, np.ndarray):
        return "all pairs"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit has given these warnings before
        affinities = choose_affinities(estimator, n_rows)
    asked = affinities.count_neighbors(n_rows)
    stored = np.diff(estimator.affinities_.indptr)
    low, mean, high = stored.min(), stored.mean(), stored.max()
    counts = f"{low}" if low == high else f"{low} to {high} (mean {mean:.1f})"
    return f"{asked} per row for perplexity {affinities}, affinities stored per row: {counts}"


def _trustworthiness(X: NDArray[Any], Y: NDArray[Any], metric: str, n_jobs: int | None) -> str:
    if len(X) < 3:
        return "needs at least 3 rows"
    sample_size = TRUSTWORTHINESS_SAMPLE if len(X) > TRUSTWORTHINESS_ROWS else None
    sample = "" if sample_size is None else f", of a random sample of {sample_size} rows"
    n_neighbors = min(10, (len(X) - 1) // 2)
    try:
        value = trustworthiness(
            X, Y, n_neighbors=n_neighbors, metric=metric, sample_size=sample_size, random_state=0, n_jobs=n_jobs
        )
    except (ValueError, TypeError, MemoryError) as error:  # the map has been written before
        return f"could not be computed: {' '.join(str(error).split())}"
    return f"{value:.4f} ({_counted(n_neighbors, 'neighbor')}{sample})"


def _reliability(estimator: SNE | TSNE, X: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return the scores of a map's reliability by their names; the seed of the fit is that of the scores, too."""
    from .reliability import reliability_scores

    scores: dict[str, NDArray[np.float64]] = reliability_scores(estimator, X, random_state=estimator.random_state)
    return scores


# Pictures


def _check_pictures(arguments: argparse.Namespace, n_components: int) -> None:
    """Raise a UsageError, before any work is done, if a picture or page could not be written."""
    plot, reliability = arguments.plot, arguments.reliability
    for option, path in (("--plot", plot), ("--reliability", reliability)):
        if path is not None:
            _check_picture(option, path, n_components)
    if plot is not None and reliability is not None and plot.resolve() == reliability.resolve():
        raise UsageError(f"--reliability {reliability} would overwrite the file of --plot")


def _check_picture(option: str, path: Path, n_components: int) -> None:
    """Raise a UsageError if a package is missing, if the extension is unknown, or if the file cannot be written."""
    if _is_page(path):
        try:
            import bokeh  # noqa: F401
        except ImportError as error:
            raise missing_package(f"{option} {path}", "Bokeh", "interactive", error) from error
        if n_components in (1, 3):
            raise UsageError(f"{option} {path}: a page shows maps with 2 components, not with {n_components}")
        _check_target(option, path)
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise missing_package(option, "matplotlib", "plot", error) from error
    formats = set(FigureCanvasAgg.get_supported_filetypes()) - {"pgf"}  # pgf needs LaTeX
    if path.suffix.lower()[1:] not in formats:
        accepted = ", ".join([*PAGES, *sorted(f".{name}" for name in formats)])
        raise UsageError(f"{option} {path}: the extension must be one of {accepted}")
    _check_target(option, path)


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in PAGES


def _draw(
    path: Path, embedding: NDArray[Any], table: Table, scores: dict[str, NDArray[np.float64]] | None = None
) -> None:
    """Write a map as a picture or a page, which also shows scores if there are any."""
    if _is_page(path):
        draw_page(path, embedding, table.labels, table.label_name, table.names_of_rows, scores)
    elif scores is None:
        draw(path, embedding, table.labels, table.label_name)
    else:
        draw_reliability(path, embedding, table.labels, table.label_name, scores)


if __name__ == "__main__":
    sys.exit(main())
