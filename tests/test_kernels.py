"""Compiled routines against their NumPy references, threads against one thread, and the kernels' contract."""

import math
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS, exact_options, takes_components
from scipy.sparse import csr_array
from scipy.sparse import random as random_sparse

from sktsne import SNE, TSNE, _native, parallel, similarities
from sktsne.kernels import BarnesHutKernel, ExactKernel, FFTKernel, barnes_hut, mesh
from sktsne.kernels.attraction import Attraction
from sktsne.neighbors import selection
from sktsne.parallel import Workers, effective_n_threads
from sktsne.similarities import Gaussian, StudentT, similarity_of

DOFS = [1.0, math.inf, 0.5, 7.0]
COMPONENTS = [1, 2, 3, 4, 6]


def test_the_package_is_compiled():
    assert _native.COMPILED, "The extensions were not built: install with a C compiler, pip install -e ."


def potential(n, d, dof, charges, at, n_threads=1):
    rng = np.random.default_rng(n)
    Y = 3.0 * rng.normal(size=(n, d))
    with Workers(n_threads) as workers:
        kernel = ExactKernel(similarity_of(dof), workers)
        kernel.set_points(Y)
        return kernel.potential(rng.uniform(size=n) if charges else None, rng.normal(size=(7, d)) if at else None)


@pytest.mark.parametrize("at", [False, True])
@pytest.mark.parametrize("charges", [False, True])
@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", COMPONENTS)
@pytest.mark.parametrize("n", [1, 2, 600])
def test_potential_agrees_with_its_reference(n, d, dof, charges, at, reference):
    phi, grad_phi = potential(n, d, dof, charges, at)
    reference()
    expected_phi, expected_grad = potential(n, d, dof, charges, at)
    assert_allclose(phi, expected_phi, rtol=1e-12)
    assert_allclose(grad_phi, expected_grad, rtol=1e-11, atol=1e-12)


def test_gaussian_weights_are_accurate_down_to_the_smallest(reference):
    # One source at the origin, charge 1: the potential is the weight itself.
    at = np.sqrt(np.linspace(0.0, 800.0, 5001))[:, None]
    kernel = ExactKernel(Gaussian(), Workers())
    kernel.set_points(np.zeros((1, 1)))
    phi, _ = kernel.potential(at=at)
    # exp magnifies the rounding of r², so its relative error grows with r².
    assert_allclose(phi, np.exp(-np.minimum(at[:, 0] ** 2, 708.0)), rtol=4e-13)
    assert phi.min() > 0.0


class TestContract:
    """What `GradientKernel` says, for every kernel that has a name."""

    pytestmark = pytest.mark.parametrize(
        ("name", "d"),
        [(name, d) for name, kernel in KERNELS.items() for d in COMPONENTS if takes_components(kernel, d)],
    )

    @staticmethod
    def arguments(rng, d, charged, elsewhere, n=300):
        """Return points, charges and places, none of which may be written to."""
        Y = 3.0 * rng.normal(size=(n, d))
        charges, at = rng.uniform(0.5, 2.0, size=n), 3.0 * rng.normal(size=(40, d))
        for array in Y, charges, at:
            array.setflags(write=False)
        return Y, charges if charged else None, at if elsewhere else None

    @staticmethod
    def evaluate(name, dof, arguments, n_threads=1, **options):
        with Workers(n_threads) as workers:
            kernel = KERNELS[name](similarity_of(dof), workers, **options)
            kernel.set_points(arguments[0])
            return kernel.potential(*arguments[1:])

    @staticmethod
    def potential_of_all_pairs(dof, Y, charges, at):
        similarity, places = similarity_of(dof), Y if at is None else at
        w = similarity.weight(((places[:, None] - Y) ** 2).sum(axis=2))
        if at is None:
            np.fill_diagonal(w, 0.0)
        return (w * (1.0 if charges is None else charges)).sum(axis=1)

    @staticmethod
    def error(actual, expected):
        return np.linalg.norm(actual - expected) / np.linalg.norm(expected)

    @pytest.mark.parametrize("elsewhere", [False, True])
    @pytest.mark.parametrize("charged", [False, True])
    @pytest.mark.parametrize("dof", DOFS)
    def test_potential_is_the_sum_and_its_gradient_that_of_finite_differences(
        self, name, d, dof, charged, elsewhere, rng
    ):
        Y, charges, at = arguments = self.arguments(rng, d, charged, elsewhere)
        places, step = (Y if at is None else at), 1e-5
        expected = self.potential_of_all_pairs(dof, Y, charges, at)
        # A point's own term, which has a gradient of 0 there, makes no difference.
        slopes = np.transpose(
            [
                (
                    self.potential_of_all_pairs(dof, Y, charges, places + h)
                    - self.potential_of_all_pairs(dof, Y, charges, places - h)
                )
                / (2.0 * step)
                for h in step * np.eye(d)
            ]
        )
        results = [(self.evaluate(name, dof, arguments), (0.03, 0.03) if name in APPROXIMATE else (1e-12, 1e-7))]
        if name in APPROXIMATE and exact_options(KERNELS[name]) is not None:
            results.append((self.evaluate(name, dof, arguments, **exact_options(KERNELS[name])), (1e-6, 1e-6)))
        for (phi, grad_phi), (phi_error, grad_error) in results:
            assert phi.shape == (len(places),)
            assert grad_phi.shape == (len(places), d)
            assert self.error(phi, expected) < phi_error
            assert self.error(grad_phi, slopes) < grad_error

    @pytest.mark.parametrize("elsewhere", [False, True])
    @pytest.mark.parametrize("charged", [False, True])
    def test_compiled_and_reference_agree(self, name, d, charged, elsewhere, reference, rng):
        arguments = self.arguments(rng, d, charged, elsewhere)
        compiled = self.evaluate(name, 1.0, arguments)
        reference()
        single = name in APPROXIMATE
        for actual, expected in zip(compiled, self.evaluate(name, 1.0, arguments), strict=True):
            assert_allclose(
                actual,
                expected,
                rtol=1e-4 if single else 1e-11,
                atol=(1e-5 if single else 1e-12) * np.abs(expected).max(),
            )

    @pytest.mark.parametrize("charged", [False, True])
    @pytest.mark.usefixtures("backend")
    def test_threads_do_not_change_a_bit(self, name, d, charged, monkeypatch, rng):
        monkeypatch.setattr(parallel, "THREADED_COST", 0)
        monkeypatch.setattr(parallel, "BLOCK_COST", 2000)
        for elsewhere in (False, True):
            arguments = self.arguments(rng, d, charged, elsewhere)
            expected = self.evaluate(name, 1.0, arguments)
            for n_threads in (2, 3):
                for actual, one in zip(self.evaluate(name, 1.0, arguments, n_threads), expected, strict=True):
                    assert_array_equal(actual, one)

    def test_results_belong_to_the_caller_and_depend_on_no_call_before(self, name, d, rng):
        Y, charges, at = self.arguments(rng, d, True, True)
        kernel = KERNELS[name](similarity_of(1.0), Workers())
        for points in Y, 0.5 * Y:
            kernel.set_points(points)
            for arguments in ((None, None), (charges, at), (charges, None), (None, at), (None, None)):
                phi, grad_phi = kernel.potential(*arguments)
                expected = self.evaluate(name, 1.0, (points, *arguments))
                assert_array_equal(phi, expected[0])
                assert_array_equal(grad_phi, expected[1])
                phi[:], grad_phi[:] = np.nan, np.nan


@pytest.mark.parametrize("with_cost", [False, True])
@pytest.mark.parametrize("storage", ["dense", "int32", "int64"])
@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", COMPONENTS)
def test_attraction_agrees_with_its_reference(d, dof, storage, with_cost, reference, rng):
    n = 400  # rows have some 300 affinities, which is longer than a chunk
    affinities = csr_array(random_sparse(n, n, density=0.5, random_state=rng))
    affinities = csr_array(affinities + affinities.T)
    if storage == "dense":
        affinities = affinities.toarray()
    else:
        affinities.indices = affinities.indices.astype(storage)
        affinities.indptr = affinities.indptr.astype(storage)
    Y = rng.normal(size=(n, d))
    force, stiffness, cost = Attraction(affinities, similarity_of(dof), Workers())(Y, with_cost)
    reference()
    expected_force, expected_stiffness, expected_cost = Attraction(affinities, similarity_of(dof), Workers())(
        Y, with_cost
    )
    assert_allclose(force, expected_force, rtol=1e-10, atol=1e-10)
    assert_allclose(stiffness, expected_stiffness, rtol=1e-12)
    assert cost == pytest.approx(expected_cost, rel=1e-12)
    assert (cost > 0.0) == with_cost


@pytest.mark.parametrize("d", COMPONENTS)
def test_attraction_in_float32_is_that_in_float64(d, rng):
    affinities = csr_array(random_sparse(300, 300, density=0.2, random_state=rng))
    affinities = csr_array(affinities + affinities.T)
    Y = np.concatenate([scale * rng.normal(size=(100, d)) for scale in (1e-3, 1.0, 1e3)])
    results = [Attraction(affinities, StudentT(), Workers(), dtype)(Y, True) for dtype in (np.float32, np.float64)]
    for low, high in zip(*results, strict=True):
        assert_allclose(low, high, rtol=1e-5, atol=1e-6 * np.max(high))
    assert results[0][2] == pytest.approx(results[1][2], rel=1e-6)


def test_rows_without_affinities_feel_no_attraction(rng):
    affinities = csr_array((5, 5))
    force, stiffness, cost = Attraction(affinities, StudentT(), Workers())(rng.normal(size=(5, 2)), True)
    assert_array_equal(force, 0.0)
    assert_array_equal(stiffness, 0.0)
    assert cost == 0.0


@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.parametrize("dof", [1.0, math.inf])
@pytest.mark.usefixtures("backend")
def test_results_do_not_depend_on_the_number_of_threads(dof, n_threads, rng):
    for one, many in zip(
        potential(1500, 2, dof, True, False), potential(1500, 2, dof, True, False, n_threads), strict=True
    ):
        assert_array_equal(one, many)
    affinities = csr_array(random_sparse(900, 900, density=0.3, random_state=rng))
    affinities = csr_array(affinities + affinities.T)
    Y = rng.normal(size=(900, 2))
    expected = Attraction(affinities, similarity_of(dof), Workers())(Y, True)
    with Workers(n_threads) as workers:
        for actual, wanted in zip(Attraction(affinities, similarity_of(dof), workers)(Y, True), expected, strict=True):
            assert_array_equal(actual, wanted)


@pytest.mark.parametrize("similarity", [Gaussian(), StudentT(), StudentT(0.5), StudentT(20.0)])
def test_decay_is_the_derivative_of_the_log_weight(similarity):
    r2 = np.linspace(0.0, 30.0, 50)
    step = 1e-5
    slope = (similarity.negative_log_weight(r2 + step) - similarity.negative_log_weight(r2)) / step
    assert_allclose(similarity.decay(r2 + step / 2), slope, rtol=1e-6)
    assert_allclose(-np.log(similarity.weight(r2)), similarity.negative_log_weight(r2), atol=1e-12)


def test_student_t_tends_to_the_gaussian():
    r2 = np.linspace(0.0, 10.0, 20)
    assert_allclose(StudentT(1e8).weight(r2), Gaussian().weight(r2), rtol=1e-6)


class TestWorkers:
    def test_blocks_cover_the_rows_in_order(self):
        for n in (0, 1, 5, 1000, 100_000):
            for cost in (1, 1000, 10**9):
                with Workers(3) as workers:
                    blocks = workers.run(lambda start, stop: (start, stop), n, cost)
                rows = [row for start, stop in blocks for row in range(start, stop)]
                assert rows == list(range(n))
                assert len(blocks) <= 128

    def test_an_error_in_a_block_reaches_the_caller_and_the_pool_survives(self):
        def fail(start, stop):
            raise RuntimeError("block")

        with Workers(3) as workers:
            with pytest.raises(RuntimeError, match="block"):
                workers.run(fail, 1000, 10**6)
            assert len(workers.run(lambda start, stop: start, 1000, 10**6)) == 125

    def test_threads_end_with_the_context(self):
        import threading

        before = threading.active_count()
        with Workers(4) as workers:
            workers.run(lambda start, stop: None, 1000, 10**6)
            assert threading.active_count() > before
        assert threading.active_count() == before


class TestEffectiveNThreads:
    def test_none_is_every_core_up_to_the_environments_limit(self, monkeypatch):
        import joblib

        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert effective_n_threads(None) == joblib.cpu_count()
        for value in ("1", "1,2", " 1 "):
            monkeypatch.setenv("OMP_NUM_THREADS", value)
            assert effective_n_threads(None) == 1
        for value in ("", "0", "many"):
            monkeypatch.setenv("OMP_NUM_THREADS", value)
            assert effective_n_threads(None) == joblib.cpu_count()

    def test_integers_follow_joblib(self):
        import joblib

        assert effective_n_threads(3) == 3
        assert effective_n_threads(-1) == joblib.cpu_count()
        assert effective_n_threads(-1000) == 1

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_workers_share_the_cores(self, backend, monkeypatch):
        import joblib

        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        n = max(2, joblib.cpu_count())
        threads = joblib.Parallel(n_jobs=n, backend=backend)(
            joblib.delayed(effective_n_threads)(None) for _ in range(n)
        )
        assert threads == [1] * n


class CountingKernel(ExactKernel):
    """A user's kernel: what is exact, and a count of its calls."""

    calls = 0

    def potential(self, charges=None, at=None):
        type(self).calls += 1
        return super().potential(charges, at)


@pytest.mark.parametrize(("estimator", "per_iteration"), [(TSNE, 1), (SNE, 2)])
def test_a_users_kernel_takes_part(estimator, per_iteration, rng):
    X = rng.normal(size=(40, 3))
    CountingKernel.calls = 0
    model = estimator(method=CountingKernel, perplexity=5, max_iter=20).fit(X)
    assert model.method_ == "CountingKernel"
    assert CountingKernel.calls == per_iteration * 23  # three at the end: for the cost, and for two forces of the map
    expected = estimator(perplexity=5, max_iter=20).fit(X)
    assert_array_equal(model.embedding_, expected.embedding_)
    partial_model = estimator(method=partial(ExactKernel), perplexity=5, max_iter=20).fit(X)
    assert_array_equal(partial_model.embedding_, expected.embedding_)


def test_kernels_are_found_by_name():
    assert KERNELS["exact"] is ExactKernel


@pytest.mark.parametrize(
    ("module", "references"), [("tree", barnes_hut), ("mesh", mesh), ("exact", similarities), ("neighbors", selection)]
)
def test_compiled_constants_are_those_of_the_references(module, references):
    constants = _native._MODULES[module].CONSTANTS
    assert constants == {name: getattr(references, name) for name in constants}


def test_every_module_with_constants_is_compared():
    stated = {name for name, module in _native._MODULES.items() if hasattr(module, "CONSTANTS")}
    assert stated == {"tree", "mesh", "exact", "neighbors"}


class TestLimits:
    """A kernel states its limits, and enforces them whoever calls it."""

    def test_a_class_with_too_many_components_is_refused_before_any_work(self, rng):
        X = rng.normal(size=(40, 5))
        for method in (BarnesHutKernel, FFTKernel):
            limit = method.max_components
            with pytest.raises(ValueError, match=rf"takes at most {limit} components, and n_components == {limit + 1}"):
                TSNE(limit + 1, method=method, init="random").fit(X)

    @pytest.mark.parametrize("name", KERNELS)
    def test_the_kernel_itself_refuses(self, name):
        kernel = KERNELS[name](StudentT(), Workers())
        if kernel.max_components is not None:
            with pytest.raises(ValueError, match=f"at most {kernel.max_components} components"):
                kernel.set_points(np.zeros((5, kernel.max_components + 1)))
        with pytest.raises(ValueError, match="at least one row and one column"):
            kernel.set_points(np.zeros((0, 2)))
        with pytest.raises(RuntimeError, match="call set_points"):
            kernel.potential()
        kernel.set_points(np.zeros((3, 2)))
        with pytest.raises(ValueError, match=r"charges has shape \(4,\), must have shape \(3,\)"):
            kernel.potential(np.ones(4))
        with pytest.raises(ValueError, match=r"at has shape \(2, 1\), must have shape \(m, 2\)"):
            kernel.potential(at=np.zeros((2, 1)))

    def test_a_factory_gets_the_options_that_it_declares(self, rng):
        X = rng.normal(size=(60, 4))
        given = []

        class Recording(BarnesHutKernel):
            def __init__(self, similarity, workers, angle):
                given.append(angle)
                super().__init__(similarity, workers, angle)

        TSNE(method=Recording, angle=0.25, max_iter=2).fit(X)
        assert given == [0.25]
        Recording.options = ("angle", "no_parameter")
        with pytest.raises(ValueError, match="has options that are not parameters of the estimator: no_parameter"):
            TSNE(method=Recording).fit(X)
        with pytest.raises(TypeError, match=r"must return a gradient kernel .* returns list without dtype, set_points"):
            TSNE(method=lambda similarity, workers: []).fit(X)

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize(
        "change",
        [
            lambda phi, grad: (phi[:-1], grad),
            lambda phi, grad: (phi, grad[:, :1]),
            lambda phi, grad: (phi[:, None], grad),
            lambda phi, grad: (phi, grad.astype(complex)),
            lambda phi, grad: phi,
        ],
    )
    def test_what_a_kernel_of_ones_own_returns_is_checked(self, estimator, change, rng):
        class Broken(ExactKernel):
            def potential(self, charges=None, at=None):
                return change(*super().potential(charges, at))

        with pytest.raises(ValueError, match=r"Broken\.potential (has shape|must)"):
            estimator(method=Broken, max_iter=5).fit(rng.normal(size=(50, 4)))

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize(("part", "name"), [(0, "φ"), (1, "∇φ")])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_kernel_whose_sums_are_not_finite_is_named(self, estimator, part, name, value, rng):
        class Spoiled(ExactKernel):
            def potential(self, charges=None, at=None):
                result = super().potential(charges, at)
                result[part][3] = value
                return result

        with pytest.raises(
            ValueError, match=rf"^{name} of Spoiled\.potential must be finite, and .*\[3.*\] is {value}"
        ):
            estimator(method=Spoiled, max_iter=5).fit(rng.normal(size=(50, 4)))

    def test_other_orders_and_types_are_converted(self, rng):
        class Odd(ExactKernel):
            def potential(self, charges=None, at=None):
                phi, grad_phi = super().potential(charges, at)
                return phi.astype(">f8"), np.asfortranarray(grad_phi)

        X = rng.normal(size=(50, 4))
        odd, plain = (TSNE(method=method, max_iter=20).fit_transform(X) for method in (Odd, ExactKernel))
        assert_array_equal(odd, plain)
