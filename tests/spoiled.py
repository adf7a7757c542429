"""Arguments that no function expects, made from arguments that it does.

``spoiled(value)`` returns a dict of functions. Each makes something else of a good argument: an array of another shape,
dtype or order, or with NaN; a sparse matrix whose indices lie beyond its shape; a number out of range; an object that
keeps half of a contract. `SAME` names those that change how an argument is stored and not what it says.
"""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy.sparse import bsr_array, coo_array, csr_array, issparse

from sktsne.optimizer import Evaluation
from sktsne.parallel import Workers
from sktsne.similarities import StudentT

LARGEST = np.finfo(np.float64).max
TINIEST = np.finfo(np.float64).smallest_subnormal


def copied(array):
    return np.array(array)


def put(value):
    """Put a value in the middle."""

    def change(array):
        with np.errstate(all="ignore"):
            array = copied(array)
            if array.size:
                array.reshape(-1)[array.size // 2] = value
        return array

    return change


def times(factor):
    def change(array):
        with np.errstate(all="ignore"):
            return copied(array) * factor

    return change


def cast(dtype):
    def change(array):
        with np.errstate(all="ignore"):
            return copied(array).astype(dtype)

    return change


def strided(array):
    wide = np.zeros(tuple(2 * length for length in array.shape), dtype=array.dtype)
    places = tuple(slice(None, None, 2) for _ in array.shape)
    wide[places] = array
    return wide[places]


def reversed_view(array):
    return np.flip(np.flip(array).copy())


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
    view = raw[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    array = copied(array)
    array.setflags(write=False)
    return array


class Subclass(np.ndarray):
    """An array whose class other libraries would ask."""


STORAGES = {
    "Fortran-ordered": lambda a: np.asfortranarray(copied(a)),
    "strided": strided,
    "reversed": reversed_view,
    "unaligned": unaligned,
    "read-only": read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "objects": cast(object),
    "nested lists": lambda a: a.tolist(),
    "frame": lambda a: pd.DataFrame(copied(a)) if a.ndim == 2 else pd.Series(copied(a)),
    "subclass": lambda a: copied(a).view(Subclass),
    "masked, nothing hidden": lambda a: np.ma.array(copied(a)),
}
SHAPES = {
    "no rows": lambda a: copied(a[:0]),
    "no columns": lambda a: copied(a[..., :0]),
    "nothing": lambda a: copied(a[tuple(slice(0) for _ in a.shape)]),
    "no dimension": lambda a: copied(a.reshape(-1)[0]),
    "flat": lambda a: copied(a.ravel()),
    "one axis more": lambda a: copied(a[None]),
    "one axis more at the end": lambda a: copied(a[..., None]),
    "transposed": lambda a: a.T,
    "a row more": lambda a: np.concatenate([a, a[:1]]),
    "many rows more": lambda a: np.concatenate([a] * 50),
    "a row less": lambda a: copied(a[:-1]),
    "one row": lambda a: copied(a[:1]),
    "a column more": lambda a: np.concatenate([a, a[..., :1]], axis=-1),
    "many columns more": lambda a: np.concatenate([a] * 50, axis=-1),
    "a column less": lambda a: copied(a[..., :-1]),
    "one column": lambda a: copied(a[..., :1]),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}
DTYPES = {
    dtype: cast(dtype) for dtype in ("f4", "f2", "g", "i8", "i1", "u8", "?", "c16", "U8", "S8", "M8[s]", "m8[s]")
} | {
    "structured": lambda a: np.zeros(a.shape, dtype=[("x", "f8"), ("y", "f8")]),
    "masked": lambda a: np.ma.array(put(np.nan)(a.astype(float)), mask=np.isnan(put(np.nan)(a.astype(float)))),
    "objects that are no numbers": lambda a: np.full(a.shape, {}, dtype=object),
}
VALUES = {
    "NaN": put(np.nan),
    "infinity": put(np.inf),
    "minus infinity": put(-np.inf),
    "negative": put(-1.0),
    "huge": put(1e300),
    "largest": put(LARGEST),
    "minus the largest": put(-LARGEST),
    "beyond float32": put(1e39),
    "all NaN": times(np.nan),
    "all zero": times(0.0),
    "all negative": lambda a: -np.abs(a) - 1.0,
    "all huge": times(1e300),
    "all tiny": times(1e-300),
    "all subnormal": times(1e-320),
    "all but lost": lambda a: np.where(a > 0.0, TINIEST, 0.0),
    "all equal": lambda a: np.ones(a.shape),
}
OTHERS = {
    "None": lambda _: None,
    "text": lambda _: "text",
    "a number": lambda _: 1.5,
    "a dict": lambda _: {},
    "an empty list": lambda _: [],
    "a ragged list": lambda _: [[1.0, 2.0], [3.0]],
    "an object": lambda _: object(),
    "a type": lambda _: dict,
}
AS_SPARSE = {
    "sparse": lambda a: csr_array(a) if a.ndim == 2 else a,
    "sparse and broken": lambda a: broken(indices=lambda i: i + 10**6)(csr_array(a)) if a.ndim == 2 else a,
}
INDICES = {
    "negative": put(-1),
    "beyond": put(10**6),
    "far beyond": put(np.iinfo(np.int64).max),
    "far below": put(np.iinfo(np.int64).min),
    "unsigned": cast(np.uint64),
    "unsigned, far beyond": lambda a: put(np.iinfo(np.uint64).max)(a.astype(np.uint64)),
    "int8": cast(np.int8),
    "int32": cast(np.int32),
    "fractions": lambda a: a + 0.5,
    "with NaN": lambda a: put(np.nan)(a.astype(float)),
    "bool": cast(bool),
}


def broken(**changes):
    """Change the arrays of a sparse matrix after it is made, as its constructor would not."""

    def change(matrix):
        matrix = matrix.copy()
        for name, function in changes.items():
            setattr(matrix, name, function(getattr(matrix, name).copy()))
        return matrix

    return change


def stored(name, function):
    def change(matrix):
        matrix = matrix.asformat(name)
        return function(matrix) or matrix

    return change


# SciPy before 1.13 has two dimensions only, and other names for the parts of some formats.
ANY_DIMENSION = hasattr(coo_array((1, 1)), "coords")


def _shift_coordinates(matrix):
    (matrix.coords[0] if ANY_DIMENSION else matrix.row)[:] += 10**6


def _set_key_beyond(matrix):
    dict.__setitem__(matrix._dict if hasattr(matrix, "_dict") else matrix, (10**6, -5), 1.0)


def _lengthen_lists(matrix):
    matrix.rows[0], matrix.data[0] = [0, 1, 2], [1.0]


def _leave_shape(matrix):
    matrix.rows[0], matrix.data[0] = [10**6], [1.0]


SPARSE_SAME = {
    "64-bit indices": broken(indices=cast(np.int64), indptr=cast(np.int64)),
    "read-only parts": broken(indices=read_only, indptr=read_only, data=read_only),
    "strided parts": broken(indices=strided, indptr=strided, data=strided),
    "unaligned parts": broken(indices=unaligned, indptr=unaligned, data=unaligned),
    "big-endian parts": broken(indices=cast(">i4"), data=cast(">f8")),
    "more entries than used": broken(indices=lambda i: np.append(i, 10**6), data=lambda x: np.append(x, np.nan)),
}
SPARSE = {
    **{name: lambda m, name=name: m.asformat(name) for name in ("csc", "coo", "lil", "dok", "dia", "bsr")},
    "duplicates": lambda m: csr_array(
        (np.repeat(m.data / 2.0, 2), np.repeat(m.indices, 2), 2 * m.indptr), shape=m.shape
    ),
    "index beyond": broken(indices=put(10**6)),
    "index far beyond": broken(indices=lambda i: put(2**62)(i.astype(np.int64))),
    "index negative": broken(indices=put(-1)),
    "all indices beyond": broken(indices=lambda i: i + 2**30),
    "indices unsigned": broken(indices=cast(np.uint64)),
    "indices fractional": broken(indices=lambda i: i + 0.5),
    "indices short": broken(indices=lambda i: i[:-1]),
    "indices none": broken(indices=lambda i: i[:0]),
    "indices mixed": broken(indptr=cast(np.int64)),
    "indptr decreasing": broken(indptr=lambda p: p[::-1]),
    "indptr negative": broken(indptr=lambda p: -p),
    "indptr beyond": broken(indptr=lambda p: 1000 * p),
    "indptr beyond, then back": broken(indptr=lambda p: np.concatenate([[0], np.full(len(p) - 2, 10**9), [0]])),
    "indptr wraps around": broken(
        indptr=lambda p: np.array([0, 2**31 - 1, -(2**31), -1] + [5] * (len(p) - 4), dtype=np.int32)
    ),
    "indptr not from zero": broken(indptr=lambda p: p + 1),
    "indptr short": broken(indptr=lambda p: p[:-1]),
    "indptr long": broken(indptr=lambda p: np.append(p, p[-1])),
    "indptr fractional": broken(indptr=lambda p: p + 0.5),
    "indptr none": broken(indptr=lambda p: p[:0]),
    "data short": broken(data=lambda x: x[:-1]),
    "data none": broken(data=lambda x: x[:0]),
    "data in two dimensions": broken(data=lambda x: x[:, None]),
    "a row less": lambda m: m[:-1],
    "a column less": lambda m: m[:, :-1],
    "no rows": lambda m: m[:0],
    "nothing": lambda m: m[:0, :0],
    "no entries": lambda m: csr_array(m.shape),
    "one dimension": lambda m: csr_array(m.toarray()[0]),
    **({"three dimensions": lambda m: coo_array(m.toarray()[None])} if ANY_DIMENSION else {}),
    "broken coo": stored("coo", _shift_coordinates),
    "broken csc": stored("csc", lambda m: m.indices.__iadd__(10**6) is None),
    "broken csc, indptr": stored("csc", lambda m: m.indptr.__iadd__(10**6) is None),
    "broken bsr": stored("bsr", lambda m: m.indices.__iadd__(10**6) is None),
    "broken bsr, indptr": stored("bsr", lambda m: m.indptr.__imul__(1000) is None),
    "broken lil": stored("lil", _lengthen_lists),
    "broken lil, beyond": stored("lil", _leave_shape),
    "broken dok": stored("dok", _set_key_beyond),
    "broken dia": stored("dia", lambda m: m.offsets.__iadd__(10**6) is None),
    "blocks": lambda m: bsr_array(m.toarray(), blocksize=(1, m.shape[1])),
    "float32": lambda m: m.astype(np.float32),
    "integers": lambda m: (m * 100).astype(np.int64),
    "complex": lambda m: m.astype(np.complex128),
    "bool": lambda m: m.astype(bool),
    "data are objects": broken(data=cast(object)),
    **{f"data {name}": broken(data=change) for name, change in VALUES.items()},
}

NUMBERS = {
    repr(value): lambda _, value=value: value
    for value in (
        0, -1, 1, 2, 7, 10**6, 0.0, -0.5, 0.5, 1.5, 1e-300, TINIEST, 1e300, LARGEST, math.nan, math.inf, -math.inf,
        True, None, "1", 1j, [1], (), np.float32(2.0), np.int8(3), np.array(2.0), np.array([2.0, 3.0]), Fraction(7, 3),
        10**400, -(10**400), object,
    )
}  # fmt: skip


class ForeignWorkers:
    """Calls what it is given with row ranges far beyond the arrays, as only the package's own threads must."""

    n_threads = 1

    def run(self, function, n_rows, row_cost):
        return [function(-5, 10**7)]

    def divide(self, function, n_rows, cost):
        function(-5, 10**7)

    def run_blocks(self, function, n_rows, size):
        return self.run(function, n_rows, size)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class OddSimilarity:
    """A similarity whose functions of r² return arrays of another shape."""

    def __init__(self, dof, function=lambda r2: r2[:-1]):
        self.dof, self.weight, self.decay, self.negative_log_weight = dof, function, function, function


def _with_dof(dof):
    similarity = StudentT()
    similarity.dof = dof
    return similarity


SIMILARITIES = {
    **OTHERS,
    **{f"dof {name}": lambda _, value=value: _with_dof(value(None)) for name, value in NUMBERS.items()},
    "without dof": lambda _: SimpleNamespace(weight=np.ones_like),
    "dof alone": lambda _: SimpleNamespace(dof=2.0),
    "arrays too short": lambda _: OddSimilarity(2.0),
    "arrays too long": lambda _: OddSimilarity(2.0, lambda r2: np.concatenate([r2, r2], axis=-1)),
    "NaN": lambda _: OddSimilarity(2.0, lambda r2: np.full_like(r2, np.nan)),
    "no arrays": lambda _: OddSimilarity(2.0, lambda r2: None),
}
WORKERS = {**OTHERS, "foreign": lambda _: ForeignWorkers(), "the class": lambda _: Workers}


class OddKernel:
    """A kernel that returns what a function makes of good results."""

    dtype = np.float64

    def __init__(self, change, dtype=np.float64):
        self.change, self.dtype = change, dtype

    def set_points(self, Y):
        self.Y = Y

    def potential(self, charges=None, at=None):
        shape = (self.Y if at is None else at).shape
        return self.change(np.ones(shape[:1]), np.zeros(shape))


def _changed_results():
    """Return functions of φ and ∇φ that return something else."""
    results = {}
    for kind, changes in (("storage", STORAGES), ("shape", SHAPES), ("dtype", DTYPES), ("values", VALUES)):
        for name, change in changes.items():
            results[f"{kind} of φ {name}"] = lambda phi, grad, change=change: (change(phi), grad)
            results[f"{kind} of ∇φ {name}"] = lambda phi, grad, change=change: (phi, change(grad))
    results |= {
        "None": lambda phi, grad: None,
        "φ alone": lambda phi, grad: phi,
        "three arrays": lambda phi, grad: (phi, grad, grad),
        "a list": lambda phi, grad: [phi, grad],
        "None twice": lambda phi, grad: (None, None),
        "text": lambda phi, grad: "ab",
    }
    return results


RESULTS = _changed_results()
KERNELS = {
    **OTHERS,
    **{f"potential: {name}": lambda _, change=change: OddKernel(change) for name, change in RESULTS.items()},
    **{
        f"dtype {dtype!r}": lambda _, dtype=dtype: OddKernel(lambda phi, grad: (phi, grad), dtype)
        for dtype in (None, int, np.float16, np.longdouble, "f4", np.complex128)
    },
    "without dtype": lambda _: SimpleNamespace(set_points=lambda Y: None, potential=lambda charges=None, at=None: None),
    "without set_points": lambda _: SimpleNamespace(dtype=np.float64, potential=lambda charges=None, at=None: None),
    "takes nothing": lambda _: SimpleNamespace(dtype=np.float64, set_points=lambda: None, potential=lambda: None),
}
FACTORIES = {
    **OTHERS,
    **{name: lambda _, make=make: lambda similarity, workers: make(None) for name, make in KERNELS.items()},
    "takes nothing at all": lambda _: lambda: None,
}


def _objective(change):
    def evaluate(Y, exaggeration=1.0, with_cost=False):
        return change(Evaluation(2.0 * Y, np.ones(len(Y)), 1.0, 1.0))

    evaluate.gradient_scale = 1.0
    return evaluate


OBJECTIVES = {
    **OTHERS,
    **{
        f"{field} {name}": lambda _, field=field, change=change: _objective(
            lambda result: result._replace(**{field: change(getattr(result, field))})
        )
        for field in ("gradient", "curvature")
        for name, change in {**STORAGES, **SHAPES, **DTYPES, **VALUES, **OTHERS}.items()
    },
    **{
        f"cost {name}": lambda _, change=change: _objective(lambda result: result._replace(cost=change(None)))
        for name, change in NUMBERS.items()
    },
    "returns None": lambda _: _objective(lambda result: None),
    "returns three": lambda _: _objective(lambda result: result[:3]),
    "returns itself": lambda _: _objective,
}


class Spoiled:
    """A good argument and how to spoil it, where the type does not tell."""

    def __init__(self, value, ways):
        self.value, self.ways = value, ways


def spoiled(value):
    """Return, by name, functions that make another argument of a good one."""
    if isinstance(value, Spoiled):
        return value.ways
    if issparse(value):
        return {**SPARSE_SAME, **SPARSE, **OTHERS, "dense": lambda m: m.toarray()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "i":
        return {**STORAGES, **SHAPES, **INDICES, **OTHERS}
    if isinstance(value, np.ndarray):
        return {**STORAGES, **SHAPES, **DTYPES, **VALUES, **OTHERS, **AS_SPARSE}
    if isinstance(value, Workers):
        return WORKERS
    if hasattr(value, "dof") and hasattr(value, "weight"):
        return SIMILARITIES
    if isinstance(value, (int, float)):
        return NUMBERS
    return OTHERS


SAME = {*STORAGES, *SPARSE_SAME} - {"masked, nothing hidden"}


def contents(value):
    """Return what an argument holds, for comparison."""
    if isinstance(value, (list, tuple)):
        return [contents(part) for part in value]
    if isinstance(value, dict):
        return {name: contents(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes() if value.dtype != object else repr(value.tolist())
    if issparse(value):
        parts = {
            name: getattr(value, name)
            for name in ("data", "indices", "indptr", "coords", "offsets", "rows")
            if isinstance(getattr(value, name, None), (np.ndarray, tuple))
        }
        return value.shape, contents(parts)
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return contents(value.to_numpy())
    return None
