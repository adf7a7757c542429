"""The particle-mesh kernel: accuracy against exact sums, its mesh, and points that do not fit on it."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktsne import SNE, TSNE
from sktsne.kernels import ExactKernel, FFTKernel
from sktsne.kernels.fft import MAX_NODES
from sktsne.kernels.mesh import COARSENING, FAR_WIDTH, Mesh, far_weight, splines
from sktsne.parallel import Workers
from sktsne.similarities import Gaussian, StudentT, similarity_of

DOFS = [1.0, math.inf, 0.5, 3.0]
SPREADS = {1: 60.0, 2: 8.0, 3: 4.0}  # standard deviations of points that are about as dense for any d
SHAPES = [(1, 1, 9), (1, 1, 64), (9, 1, 10), (31, 1, 18), (12, 1, 33), (9, 10, 12), (23, 9, 17), (8, 31, 11)]


def error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def both(Y, dof=1.0, charges=None, at=None, **params):
    """Return φ and ∇φ by the mesh, and exactly."""
    results = []
    for kernel in (FFTKernel(similarity_of(dof), Workers(), **params), ExactKernel(similarity_of(dof), Workers())):
        kernel.set_points(Y)
        results.append(kernel.potential(charges, at))
    return results


@pytest.mark.parametrize("charged", [False, True])
@pytest.mark.parametrize("at", [False, True])
@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.usefixtures("backend")
def test_potential_is_near_the_exact_one(d, dof, at, charged, rng):
    Y = SPREADS[d] * rng.normal(size=(1500, d))
    charges = rng.uniform(0.5, 2.0, size=1500) if charged else None
    (phi, grad), (expected_phi, expected_grad) = both(Y, dof, charges, Y[:50] + 0.3 if at else None)
    assert error(phi, expected_phi) < 1e-3
    # Heavier tails have a sharper peak, which the spacing resolves less well.
    assert error(grad, expected_grad) < (1.5e-2 if dof >= 1.0 else 2.5e-2)


@pytest.mark.parametrize("dof", [1.0, math.inf])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_error_falls_with_the_spacing(d, dof, rng):
    Y = 0.65 * SPREADS[d] * rng.normal(size=(1000, d))
    errors = []
    for spacing in (0.8, 0.4, 0.2):
        (_, grad), (_, expected) = both(Y, dof, spacing=spacing)
        errors.append(error(grad, expected))
    assert errors[1] < errors[0] / 5
    assert errors[2] < errors[1] / 5


@pytest.mark.parametrize("dof", [1.0, math.inf])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_agrees_with_its_reference(d, dof, reference, rng):
    Y = (10.0 if d < 3 else 2.0) * rng.normal(size=(400, d))
    charges = rng.uniform(size=400)
    (phi, grad), _ = both(Y, dof, charges)
    reference()
    (expected_phi, expected_grad), _ = both(Y, dof, charges)
    assert_allclose(phi, expected_phi, rtol=1e-4, atol=1e-5 * phi.max())
    assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-5 * np.abs(grad).max())


@pytest.mark.parametrize("dof", [0.5, 1.0, 3.0])
def test_the_far_part_is_the_weight_but_for_a_remainder_that_falls_fast(dof):
    r2 = np.array([10.0, 20.0, 40.0, 80.0]) ** 2 * dof
    w = StudentT(dof).weight(r2)
    remainder = (w - far_weight(dof, r2)) / w
    assert (remainder > -1e-12).all()
    assert remainder[0] < 1.0
    assert (remainder[1:] < remainder[:-1] / 2**6).all()


def coarse_mesh(shape):
    return Mesh(tuple(m for m in shape if m > 1), 1.0, StudentT(), Workers())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("backend")
def test_coarse_splines_are_sums_of_fine_ones(shape, rng):
    mesh = coarse_mesh(shape)
    coarse = rng.normal(size=mesh._coarse.shape).astype(np.float32)
    fine = np.zeros(shape, dtype=np.float32)
    mesh._refine(coarse, mesh._splines, fine, 0, len(fine))

    def value(nodes, place):
        axes = [
            (first + np.arange(4), values[:, 0]) if m > 1 else (np.array([0]), np.ones(1))
            for (first, values, _), m in zip((splines(np.array([x])) for x in place), nodes.shape, strict=True)
        ]
        return np.einsum("i,j,k,ijk->", *(values for _, values in axes), nodes[np.ix_(*(places for places, _ in axes))])

    for _ in range(20):
        place = np.array([1.0 + rng.uniform() * (m - 3.0) if m > 1 else 0.0 for m in shape])
        # Coarse node 1 lies where the first fine one does.
        assert value(fine, place) == pytest.approx(value(coarse, place / COARSENING + 1.0), abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_changes_of_the_spacing_agree_with_their_references(shape, reference, rng):
    fine = rng.normal(size=shape).astype(np.float32)
    coarse = rng.normal(size=coarse_mesh(shape)._coarse.shape).astype(np.float32)

    def results():
        mesh, low, high = coarse_mesh(shape), np.zeros_like(coarse), fine.copy()
        middle = len(low) // 2
        for block in ((0, middle), (middle, len(low))):
            mesh._coarsen(fine, mesh._splines, low, *block)
        middle = len(high) // 2
        for block in ((0, middle), (middle, len(high))):
            mesh._refine(coarse, mesh._splines, high, *block)
        return low, high

    compiled = results()
    reference()
    for actual, expected in zip(compiled, results(), strict=True):
        assert_allclose(actual, expected, atol=1e-5)
    assert FAR_WIDTH > COARSENING  # else the coarse mesh would resolve the far part worse than the fine one does w


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.usefixtures("backend")
def test_threads_do_not_change_a_bit(n_threads, d, rng):
    Y = (15.0 if d == 2 else 1.5) * rng.normal(size=(6000, d))
    results = []
    for threads in (1, n_threads):
        with Workers(threads) as workers:
            kernel = FFTKernel(StudentT(), workers)
            kernel.set_points(Y)
            results.append(kernel.potential())
    for one, many in zip(*results, strict=True):
        assert_array_equal(one, many)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.usefixtures("backend")
def test_a_point_alone_has_no_potential_and_feels_no_force(d):
    for x in np.linspace(0.0, 1.0, 9 if d < 3 else 3):
        kernel = FFTKernel(StudentT(), Workers())
        kernel.set_points(np.array([[x] * d, [x + (100.0 if d < 3 else 6.0)] * d]))
        phi, grad = kernel.potential(np.array([1.0, 0.0]))
        assert abs(phi[0]) < 1e-3
        assert np.abs(grad[0]).max() < 3e-3


def test_the_last_two_meshes_are_kept(rng):
    kernel = FFTKernel(StudentT(), Workers())
    Y = rng.normal(size=(100, 2))
    meshes = []
    for scale in (10.0, 10.0001, 20.0, 10.0, 40.0, 20.0, 10.0):
        kernel.set_points(scale * Y)
        meshes.append(kernel._mesh)
    assert meshes[0] is meshes[1] is meshes[3]
    assert meshes[2] is meshes[5]
    assert meshes[6] is not meshes[0]
    assert len(kernel._meshes._kept) == 2


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_potential_does_not_depend_on_the_points_before(d, rng):
    Y = (1.0 if d < 3 else 0.3) * rng.normal(size=(300, d))
    kernel = FFTKernel(StudentT(), Workers())
    for scale in (1.0, 3.0, 0.1, 10.0, 3.1):
        kernel.set_points(scale * Y + scale)
    for actual, expected in zip(kernel.potential(), both(3.1 * Y + 3.1, 1.0)[0], strict=True):
        assert_array_equal(actual, expected)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("distance", [1e4, 1e8, 1e15])
@pytest.mark.usefixtures("backend")
def test_a_few_far_points_are_summed_directly(d, distance, rng):
    Y = (5.0 if d < 3 else 1.5) * rng.normal(size=(500, d))
    if d == 1:
        distance *= 1e5  # a line has many more nodes
    Y[:3] += distance
    at = np.concatenate([Y[:2] + 0.1, Y[100:110] + 0.1])
    for dof in (1.0, math.inf):
        (phi, grad), (expected_phi, expected_grad) = both(Y, dof)
        assert_allclose(phi, expected_phi, rtol=2e-2)
        assert error(grad, expected_grad) < 1.5e-2
        (phi, grad), (expected_phi, expected_grad) = both(Y, dof, at=at)
        assert_allclose(phi, expected_phi, rtol=2e-2)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("place", [1e9, -1e15, 1e17, -1e18, 1e100])
@pytest.mark.usefixtures("backend")
def test_points_are_on_their_mesh_wherever_it_is(d, place, rng):
    # Beyond 1e15 float64 has fewer numbers than the mesh has nodes: places told from 0 were off it, in others' memory.
    Y = place + rng.uniform(0.0, 300.0 if d < 3 else 20.0, size=(50, d))
    kernel = FFTKernel(StudentT(), Workers())
    kernel.set_points(Y)
    assert kernel._small or kernel._mesh.on_mesh(kernel._coordinates).all()
    exact = ExactKernel(StudentT(), Workers())
    exact.set_points(Y)
    (phi, grad), (expected_phi, expected_grad) = kernel.potential(), exact.potential()
    assert_allclose(phi, expected_phi, rtol=2e-2, atol=2e-2)
    assert_allclose(grad, expected_grad, atol=2e-2 * max(1.0, expected_phi.max()))


@pytest.mark.usefixtures("small_meshes")
@pytest.mark.parametrize(("d", "half"), [(2, 5000.0), (3, 100.0)])
def test_a_map_too_wide_gets_a_coarser_mesh_of_bounded_size_and_a_warning(d, half, rng):
    Y = half * rng.uniform(-1.0, 1.0, size=(1000, d))
    kernel = FFTKernel(StudentT(), Workers())
    with pytest.warns(
        UserWarning, match=r"The map spans 1?9[\d.]+, so the FFT kernel's mesh gets a spacing of [\d.]+ in place"
    ):
        kernel.set_points(Y)
    assert max(kernel._mesh.shape) <= 1.1 * MAX_NODES[d]
    kernel.set_points(0.999 * Y)  # no other warning, which is an error in tests, unless the spacing grows again
    with pytest.warns(UserWarning, match="The map spans"):
        kernel.set_points(2.0 * Y)
    kernel.set_points(Y)
    phi, grad = kernel.potential()
    assert np.isfinite(phi).all()
    assert np.isfinite(grad).all()


@pytest.mark.usefixtures("backend")
def test_isolated_points_have_a_small_relative_error(rng):
    # Their potential is far below the rounding of the others': what SNE divides by.
    Y = np.concatenate([0.3 * rng.normal(size=(2000, 2)), [[6.0, 0.0], [0.0, 9.0], [14.0, 14.0], [14.5, 14.0]]])
    kernel = FFTKernel(Gaussian(), Workers())
    kernel.set_points(Y)
    phi, grad = kernel.potential()
    exact = ExactKernel(Gaussian(), Workers())
    exact.set_points(Y)
    expected_phi, expected_grad = exact.potential()
    assert expected_phi[2000:].min() < 1e-12
    assert_allclose(phi, expected_phi, rtol=2e-2)
    pulls = grad[2000:] / phi[2000:, None]
    expected_pulls = expected_grad[2000:] / expected_phi[2000:, None]
    assert (np.linalg.norm(pulls - expected_pulls, axis=1) < 2e-2 * np.linalg.norm(expected_pulls, axis=1)).all()


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("distance", [2.5, 4.0, 7.5, 20.0])
@pytest.mark.usefixtures("backend")
def test_points_that_are_all_isolated_have_a_small_relative_error(d, distance):
    # Beside each point's own part, which the mesh holds, that of the others is lost, if none of them is large.
    Y = distance * np.arange(3.0)[:, None] * np.eye(1, d) + 0.1
    for charges in (None, np.full(3, 7e300)):
        (phi, grad), (expected_phi, expected_grad) = both(Y, math.inf, charges)
        assert_allclose(phi, expected_phi, rtol=1e-6)
        assert_allclose(grad, expected_grad, rtol=1e-6, atol=1e-6 * np.abs(expected_grad).max())


# A map of t-SNE with three components is too wide for a mesh.
@pytest.mark.parametrize(("estimator", "d"), [(TSNE, 1), (TSNE, 2), (SNE, 1), (SNE, 2), (SNE, 3)])
def test_fits_end_in_a_minimum_of_the_exact_cost(estimator, d, digits):
    X = digits[0][:300]
    mesh = estimator(d, method="fft", random_state=0, min_grad_norm=1e-4).fit(X)
    assert mesh.method_ == "fft"
    params = {"init": mesh.embedding_, "early_exaggeration": 1.0, "method": ExactKernel}
    exact = estimator(d, max_iter=1, learning_rate=1e-9, **params).fit(X)
    assert exact.kl_divergence_ == pytest.approx(mesh.kl_divergence_, rel=1e-3)  # 2e-4 over eight samples of rows
    further = estimator(d, max_iter=50, **params).fit(X)
    assert further.kl_divergence_ == pytest.approx(mesh.kl_divergence_, rel=1e-2)  # 3e-3 over eight samples of rows


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_more_than_three_components_are_refused(estimator, rng):
    with pytest.raises(ValueError, match=r"takes at most 3 .* == 4: .* 'auto' or 'exact'"):
        estimator(4, method="fft", perplexity=5.0).fit(rng.normal(size=(50, 5)))
