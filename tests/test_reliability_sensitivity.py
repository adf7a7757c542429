"""Perturbation and singularity: Hessians, leave-one-out costs, moved rows, and the scores made from them."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse import random as random_matrix
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline

from sktsne import SNE, TSNE, _native
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.kernels import ExactKernel, hessians
from sktsne.neighbors.spaces import space_of
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.parallel import Workers
from sktsne.placement import RowAttraction
from sktsne.reliability import moves, perturbation, singularity, singularity_scorer
from sktsne.reliability.leave_one_out import LeaveOneOut
from sktsne.reliability.moves import Moves
from sktsne.similarities import similarity_of

DOFS = (0.5, 1.0, 3.0, math.inf)
QUICK = {"perplexity": 8, "max_iter": 300, "random_state": 0}


def objective_of(kind, n, dof, rng, sparse=False):
    P = rng.random((n, n))
    P[rng.random((n, n)) < 0.5 * sparse] = 0.0
    np.fill_diagonal(P, 0.0)
    P = kind.from_given(csr_array(P) if sparse else P)
    similarity = similarity_of(dof)
    return kind(P, similarity, ExactKernel(similarity, Workers()), Workers())


class TestHessians:
    @pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
    @pytest.mark.parametrize("dof", DOFS)
    @pytest.mark.parametrize("d", [1, 2, 3, 5])
    @pytest.mark.parametrize("sparse", [False, True])
    def test_are_differences_of_the_gradient(self, kind, dof, d, sparse, rng):
        n, h = 12, 1e-5
        Y, objective = rng.normal(size=(n, d)), objective_of(kind, n, dof, rng, sparse)
        for exaggeration in 1.0, 3.0:
            expected = np.empty((n, d, d))
            for i in range(n):
                for k in range(d):
                    moved = [Y.copy(), Y.copy()]
                    moved[0][i, k] -= h
                    moved[1][i, k] += h
                    low, high = (objective(Z, exaggeration).gradient[i].copy() for Z in moved)
                    expected[i, k] = (high - low) / (2.0 * h)
            expected *= n if kind is JointKL else 1.0
            found = objective.point_hessians(Y, exaggeration)
            # Over four seeds, the differences are off by up to 2e-10 of the largest entry.
            assert_allclose(found, expected, rtol=0.0, atol=1e-8 * np.abs(expected).max())

    @pytest.mark.parametrize("dof", DOFS)
    @pytest.mark.parametrize("d", [1, 2, 3, 4])
    @pytest.mark.parametrize("n", [1, 2, 700])
    def test_compiled_pairs_are_those_of_the_reference(self, dof, d, n, rng):
        Y, charges = 2.0 * rng.normal(size=(n, d)), rng.random(n)
        for of_logarithm in False, True:
            expected = np.empty((n, d, d))
            hessians.pair_hessians_reference(np.ascontiguousarray(Y.T), charges, of_logarithm, dof, expected, 0, n)
            found = hessians.potential_hessians(Y, similarity_of(dof), Workers(), charges, of_logarithm)
            assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max(initial=1e-300))

    @pytest.mark.parametrize("dof", [0.3, *DOFS])
    @pytest.mark.parametrize("d", [1, 2])
    def test_of_a_mesh_are_near_those_of_all_pairs(self, dof, d, rng, monkeypatch):
        Y = 10.0 * rng.normal(size=(500, d))
        exact = hessians.potential_hessians(Y, similarity_of(dof), Workers())
        monkeypatch.setattr(hessians, "ALL_PAIRS", 100)
        mesh = hessians.potential_hessians(Y, similarity_of(dof), Workers())
        assert (mesh != exact).any()
        # Over four seeds the error is up to 0.7 % for 0.3 degrees of freedom, and up to 0.5 % for more.
        assert np.sqrt(np.mean((mesh - exact) ** 2) / np.mean(exact**2)) < 0.02

    def test_do_not_depend_on_the_number_of_threads(self, rng):
        Y = rng.normal(size=(3000, 2))
        found = []
        for n_threads in 1, 3:
            with Workers(n_threads) as workers:
                found.append(hessians.potential_hessians(Y, similarity_of(1.0), workers))
        assert_array_equal(*found)


class TestSingularity:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("method", ["exact", "barnes_hut", "fft"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_is_the_same_for_all_kernels(self, estimator, method, dtype, rng):
        X = rng.normal(size=(300, 5)).astype(dtype)
        start = estimator(method="barnes_hut", **QUICK).fit_transform(X)
        # One tiny step, so that all methods have the same map.
        params = {"init": start, "early_exaggeration_iter": 0, "max_iter": 1, "max_step_norm": 1e-9, "perplexity": 8}
        models = [estimator(method=one, angle=0.0, **params).fit(X) for one in (method, "barnes_hut")]
        for model in models:
            model._map.exaggeration = 1.0  # kernels find slightly different ones in a map that is not in balance
        least, expected = (1.0 / singularity(model) for model in models)
        scale = np.median(expected)
        if method == "exact":  # it has affinities of all pairs, which the others cut off
            assert np.corrcoef(least, expected)[0, 1] > 0.9
        else:
            assert_allclose(least, expected, rtol=0.0, atol=0.02 * scale)

    def test_of_a_map_that_is_no_minimum_is_infinite(self, rng):
        X = rng.normal(size=(60, 3))
        start = rng.normal(size=(60, 2))
        start[0] = 4.0
        model = TSNE(init=start, early_exaggeration_iter=0, max_iter=1, max_step_norm=1e-9, perplexity=5).fit(X)
        scores = singularity(model)
        assert np.isinf(scores).any()
        assert (scores > 0.0).all()

    def test_scores_a_search_over_perplexities(self, digits):
        X = digits[0][:500]
        every = np.arange(500)
        params = {"scoring": singularity_scorer, "cv": [(every, every)]}
        pipeline = make_pipeline(PCA(20, random_state=0), TSNE(random_state=0))
        search = GridSearchCV(pipeline, {"tsne__perplexity": [2, 30]}, **params).fit(X)
        assert search.best_params_ == {"tsne__perplexity": 30}  # seen: -9.9 and -5.6
        model = search.best_estimator_
        assert singularity_scorer(model) == -np.quantile(singularity(model), 0.95, method="higher")
        assert search.best_score_ == pytest.approx(singularity_scorer(model), rel=0.01)

    @pytest.mark.parametrize("n_components", [1, 2, 3, 4])
    def test_serves_any_number_of_components(self, n_components, rng):
        model = TSNE(n_components=n_components, **QUICK).fit(rng.normal(size=(60, 6)))
        assert singularity(model).shape == (60,)

    def test_serves_fits_without_rows(self, rng):
        X = rng.normal(size=(80, 4))
        D = pairwise_distances(X)
        of_rows = TSNE(method="exact", init="random", **QUICK).fit(X)
        of_distances = TSNE(method="exact", init="random", metric="precomputed", **QUICK).fit(D)
        assert_allclose(np.median(singularity(of_distances)), np.median(singularity(of_rows)), rtol=0.2)
        of_affinities = TSNE(affinities="precomputed", init="random", **QUICK).fit(of_rows.affinities_)
        assert singularity(of_affinities).shape == (80,)

    def test_of_isolated_points_is_finite(self, rng):
        X = rng.normal(size=(150, 2)) + 30.0 * rng.normal(size=(5, 2)).repeat(30, axis=0)
        model = SNE(perplexity=1, max_iter=300, random_state=0).fit(X)
        # The weights of isolated points sum to less than 1e-154, so that their inverses overflow when squared.
        assert np.mean(np.isfinite(singularity(model))) > 0.5

    def test_follows_the_exaggeration_of_the_map(self, rng):
        model = TSNE(exaggeration=4.0, **QUICK).fit(rng.normal(size=(80, 4)))
        with_exaggeration = singularity(model)
        model._map.exaggeration = 1.0
        assert np.median(with_exaggeration) < np.median(singularity(model))


def moves_of(model, X, step=0.5, n_directions=2):
    space = space_of(model._conditioning(X), model._search.metric, model._search.params)
    return Moves(model, space, n_directions, step, Workers())


def springs_of(model):
    P = model.affinities_
    P = P if isinstance(P, np.ndarray) else P.toarray()
    return 2.0 * len(P) * P if isinstance(model, TSNE) else P + P.T


RULES = [
    {},
    {"perplexity": [4, 12]},
    {"affinities": Uniform(10)},
    {"affinities": FixedBandwidth(1.5, n_neighbors=20)},
    {"method": "exact"},
    {"metric": "cosine"},
    {"metric": "sqeuclidean"},
    {"metric": "correlation"},
    {"metric": "seuclidean"},
]


class TestMoves:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("params", RULES, ids=str)
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_rows_that_stay_keep_their_springs(self, estimator, params, storage, rng):
        if storage is csr_array and params.get("metric") == "seuclidean":
            pytest.skip("scikit-learn has no such metric for sparse rows")
        X = storage(rng.normal(size=(90, 5)) + 3.0)
        init = "pca" if storage is np.asarray else "random"
        model = estimator(**{**QUICK, "init": init, "max_iter": 1, **params}).fit(X)
        expected, seen = springs_of(model), np.zeros(90)
        for own, springs, _ in moves_of(model, model._validate(X, reset=False), step=0.0):
            # The mean of several perplexities is the mean of their lines, to the tolerance of their search.
            assert_allclose(springs.toarray(), expected[own], rtol=1e-4, atol=3e-6)
            seen += np.bincount(own, minlength=90)
        assert_array_equal(seen, 4)

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("method", ["exact", "barnes_hut"])
    def test_springs_are_those_of_rows_that_move(self, estimator, method, rng):
        X = rng.normal(size=(70, 4)) * [3.0, 2.0, 1.0, 1.0]
        model = estimator(method=method, **{**QUICK, "max_iter": 1}).fit(X)
        rule, n = model._affinity_rule, len(X)
        found = moves_of(model, X, step=0.7)
        axes = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[2]
        D = pairwise_distances(X)
        np.fill_diagonal(D, np.inf)
        k = n - 1 if method == "exact" else rule.count_neighbors(n)
        order = np.argsort(D, axis=1)[:, :k]
        nearest = np.take_along_axis(D, order, axis=1)
        given = rule.probabilities(nearest, Workers())
        conditional = np.zeros((n, n))
        np.put_along_axis(conditional, order, given, axis=1)
        beta = np.log(given[:, 0] / given[:, -1]) / (nearest[:, -1] ** 2 - nearest[:, 0] ** 2)
        own, springs = (np.concatenate(parts) for parts in zip(*((a, b.toarray()) for a, b, _ in found), strict=True))
        for i in 0, 17, 69:
            expected = []
            candidates = np.flatnonzero(springs_of(model)[i])
            for axis in range(2):
                t = (X - X[i]) @ axes[axis]
                length = 0.7 * np.sqrt(conditional[i] @ t**2)
                for sign in -1.0, 1.0:
                    x = X[i] + sign * length * axes[axis]
                    distances = np.linalg.norm(X[candidates] - x, axis=1)
                    some = np.argsort(distances)[:k]
                    p = np.zeros(n)
                    p[candidates[some]] = rule.probabilities(distances[some][None], Workers())[0]
                    for j, distance in zip(candidates, distances, strict=True):
                        if method == "exact" or distance <= nearest[j, -1]:
                            of_j = given[j, 0] * np.exp(-beta[j] * (distance**2 - nearest[j, 0] ** 2))
                            p[j] += of_j / (1.0 - conditional[j, i] + of_j)
                    expected.append(p)
            # The sign of an axis is a convention, so that moves along it may come in either order.
            for axis in range(2):
                pair, wanted = springs[own == i][2 * axis : 2 * axis + 2], expected[2 * axis : 2 * axis + 2]
                first = np.abs(pair - wanted).max() < np.abs(pair - wanted[::-1]).max()
                assert_allclose(pair, wanted if first else wanted[::-1], rtol=1e-6, atol=3e-6)

    @pytest.mark.parametrize("n_lines", [1, 3])
    @pytest.mark.parametrize("scale", [0.0, 0.5])
    def test_compiled_routines_are_their_references(self, n_lines, scale, rng):
        if not _native.COMPILED:
            pytest.skip("nothing is compiled")
        n, b, c, k, n_axes = 60, 7, 25, 9, 2
        rows = rng.permutation(n)[:b].astype(np.int64)
        counts = rng.integers(3, c + 1, size=b).astype(np.int32)  # some have fewer than k candidates
        candidates = np.stack([rng.permutation(n)[:c] for _ in range(b)]).astype(np.int32)
        squares, components, lengths = 9.0 * rng.random((b, c)), rng.normal(size=(n, n_axes)), rng.random((n, n_axes))
        common = squares, candidates, counts, rows, components, lengths
        found = []
        for compiled in False, True:
            routines = [
                _native.choose("moves", name, reference) if compiled else reference
                for name, reference in (
                    ("select_moved", moves.select_moved_reference),
                    ("moved_springs", moves.moved_springs_reference),
                )
            ]
            nearest, distances = np.zeros((b, 2 * n_axes, k), np.int32), np.zeros((b, 2 * n_axes, k))
            routines[0](*common, nearest, distances)
            order = np.lexsort((nearest, distances), axis=2)  # several moved rows may have the distance 0
            nearest = np.ascontiguousarray(np.take_along_axis(nearest, order, axis=2))
            distances = np.take_along_axis(distances, order, axis=2)
            probabilities = np.ascontiguousarray(np.exp(-distances))
            lines = np.random.default_rng(1).random((b, c, n_lines, 2))
            springs, indices = np.zeros(2 * n_axes * b * c), np.zeros(2 * n_axes * b * c, np.int32)
            numbers, reach = np.zeros(2 * n_axes * b, np.int64), 4.0 + np.random.default_rng(2).random((b, c))
            routines[1](*common, nearest, probabilities, lines, reach, scale, 0.2, springs, indices, numbers)
            found.append((nearest, distances, springs, indices, numbers))
        for one, other in zip(*found, strict=True):
            assert_allclose(one, other, rtol=1e-12)


class TestLeaveOneOut:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("method", ["exact", "barnes_hut", "fft"])
    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_gradient_is_that_of_the_cost_of_the_map(self, estimator, method, d, rng):
        X = rng.normal(size=(150, 4))
        start = 5.0 * rng.normal(size=(150, d))
        params = {"init": start, "early_exaggeration_iter": 0, "max_iter": 1, "max_step_norm": 1e-9, "perplexity": 8}
        model = estimator(d, method=method, angle=0.0, **params).fit(X)
        springs = csr_array(springs_of(model))
        loo, own = LeaveOneOut(model, Workers()), np.arange(150)
        attraction = RowAttraction(springs, loo.similarity, Workers(), loo.dtype, loo.points)
        _, gradient, curvature = loo.evaluate(own, attraction, own, loo.points)
        kernel = ExactKernel(loo.similarity, Workers())
        objective = model._objective(model.affinities_, loo.similarity, kernel, Workers())
        expected = objective(loo.points, loo.exaggeration)
        n = 150 if isinstance(model, TSNE) else 1
        scale = n * np.sqrt(np.mean(expected.gradient**2))
        assert_allclose(gradient, n * expected.gradient, rtol=0.0, atol=(0.1 if method == "fft" else 1e-5) * scale)
        assert (curvature > 0.0).all()

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    def test_gradient_is_the_difference_of_the_cost(self, estimator, rng):
        model = estimator(method="exact", **QUICK).fit(rng.normal(size=(60, 4)))
        loo, own = LeaveOneOut(model, Workers()), np.array([3, 50])
        springs = csr_array(springs_of(model))[own]
        rows, Y, h = np.arange(2), loo.points[own] + 0.7, 1e-5

        def evaluate(Y):
            attraction = RowAttraction(springs, loo.similarity, Workers(), loo.dtype, loo.points)
            return loo.evaluate(own, attraction, rows, Y)

        for k, step in enumerate(h * np.eye(2)):
            difference = (evaluate(Y + step)[0] - evaluate(Y - step)[0]) / (2.0 * h)
            assert_allclose(evaluate(Y)[1][:, k], difference, rtol=1e-5, atol=1e-8)


class TestPerturbation:
    def test_is_the_distance_to_the_lowest_minimum_of_the_paper(self, rng):
        """The scores of four rows by dense sums, SciPy's minimizer and starts at all points."""
        X = rng.normal(size=(80, 2))
        X[:40, 0] += 4.0
        model = TSNE(method="exact", perplexity=15, max_iter=1000, tol=0.0, random_state=0).fit(X)
        found = perturbation(model, X, n_directions=2, step=0.5)
        Y = model.embedding_ - model.embedding_.mean(axis=0)
        P = model.affinities_
        size = np.median(np.sqrt(np.sum(P * pairwise_distances(Y) ** 2, axis=1) / P.sum(axis=1)))
        blocks = [(own, springs.toarray()) for own, springs, _ in moves_of(model, X, 0.5, 2)]
        own, springs = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        W = 1.0 / (1.0 + pairwise_distances(Y) ** 2)
        np.fill_diagonal(W, 0.0)
        rows = [int(found.argmax()), *np.argsort(np.abs(X[:, 0] - 2.0))[:2], 79]
        for i in rows:
            others, farthest = np.arange(80) != i, 0.0
            rest = W[others][:, others].sum()
            for s in springs[own == i][:, others]:

                def cost(y, s=s, others=others, rest=rest):
                    w = 1.0 / (1.0 + np.sum((y - Y[others]) ** 2, axis=1))
                    return -s @ np.log(w) + 80 * np.log(rest + 2.0 * w.sum())

                minima = [minimize(cost, start) for start in Y[::10]] + [minimize(cost, Y[i])]
                best = min(minima, key=lambda found: found.fun)
                farthest = max(farthest, np.linalg.norm(best.x - Y[i]))
            assert_allclose(found[i], farthest / size, atol=0.05)

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("d", [1, 2, 3])
    @pytest.mark.parametrize("method", ["exact", "barnes_hut", "fft"])
    def test_serves_all_kernels_and_components(self, estimator, d, method, rng):
        if method == "fft" and d == 3 and estimator is TSNE:
            pytest.skip("such maps are too wide for a mesh, and a warning says so")
        X = rng.normal(size=(120, 5)).astype(np.float32)
        before = X.copy()
        model = estimator(d, method=method, **QUICK).fit(X)
        scores = perturbation(model, X)
        assert scores.shape == (120,)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
        assert (scores >= 0.0).all()
        assert_array_equal(X, before)

    def test_does_not_depend_on_the_number_of_threads(self, digits, monkeypatch):
        monkeypatch.setattr(moves, "PAIRS_OF_THREAD", 2**12)
        X = digits[0][:600]
        model = TSNE(random_state=0, max_iter=250).fit(X)
        found = [perturbation(model.set_params(n_jobs=n_jobs), X) for n_jobs in (1, 2, 3)]
        assert_array_equal(found[0], found[1])
        assert_array_equal(found[0], found[2])
        monkeypatch.setattr(moves, "PAIRS_AT_ONCE", 2**13)  # smaller blocks
        assert_array_equal(perturbation(model, X), found[0])

    def test_is_the_same_for_sparse_and_dense_rows(self, rng):
        X = random_matrix(150, 12, density=0.4, random_state=0)
        params = {**QUICK, "init": rng.normal(size=(150, 2)), "neighbors": "exact"}
        dense = perturbation(TSNE(**params).fit(X.toarray()), X.toarray())
        sparse = perturbation(TSNE(**params).fit(X), csr_array(X))
        assert_allclose(np.sort(sparse), np.sort(dense), rtol=0.1, atol=0.02)

    def test_serves_pipelines_and_searches(self, digits):
        X = digits[0][:200]
        pipeline = make_pipeline(PCA(10, random_state=0), TSNE(**QUICK)).fit(X)
        rows = pipeline[0].transform(X)
        alone = perturbation(TSNE(**QUICK).fit(rows), rows)
        assert_allclose(np.median(perturbation(pipeline, X)), np.median(alone), rtol=0.5)
        every = np.arange(200)
        search = GridSearchCV(TSNE(**QUICK), {"perplexity": [8]}, cv=[(every, every)], scoring=lambda *_: 0.0)
        assert_array_equal(perturbation(search.fit(X), X), perturbation(TSNE(**QUICK).fit(X), X))

    def test_of_few_or_equal_rows(self):
        X = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
        assert np.isfinite(perturbation(TSNE(perplexity=1, random_state=0).fit(X), X)).all()
        X = np.ones((30, 3))
        assert np.isfinite(perturbation(TSNE(**QUICK).fit(X), X)).all()

    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    def test_repeated_entries_of_affinities_count_as_one(self, estimator, rng):
        X = rng.normal(size=(40, 3))
        model = estimator(**QUICK).fit(X)
        expected, P = perturbation(model, X), model.affinities_
        times = 64  # with as many entries, a row has more of them than there are rows
        repeated = np.concatenate(
            [np.tile(P.indices[i:j], times) for i, j in zip(P.indptr, P.indptr[1:], strict=False)]
        )
        parts = [np.tile(P.data[i:j], times) / times for i, j in zip(P.indptr, P.indptr[1:], strict=False)]
        model.affinities_ = csr_array((np.concatenate(parts), repeated, P.indptr * times), shape=P.shape)
        assert_allclose(perturbation(model, X), expected, rtol=1e-6)
        assert model.affinities_.nnz == times * P.nnz  # the attribute is not changed

    def test_a_longer_step_moves_more_points(self, digits):
        X = digits[0][:500]
        model = TSNE(random_state=0).fit(X)
        medians = [np.median(perturbation(model, X, step=step)) for step in (0.25, 1.0)]
        assert 2.0 * medians[0] < medians[1]  # seen: a factor of about 4

    def test_refusals(self, rng):
        X = rng.normal(size=(60, 4))
        D = pairwise_distances(X)
        model = TSNE(**QUICK).fit(X)
        for arguments, error, message in (
            ({"n_directions": 0}, ValueError, "n_directions == 0, must be"),
            ({"n_directions": 1.5}, TypeError, "n_directions == 1.5, must be"),
            ({"step": 0.0}, ValueError, "step == 0.0, must be"),
            ({"step": np.nan}, ValueError, "step == nan, must be"),
        ):
            with pytest.raises(error, match=message):
                perturbation(model, X, **arguments)
        with pytest.raises(ValueError, match="X must hold the rows of the fit"):
            perturbation(model, X[::-1])
        with pytest.raises(NotFittedError):
            perturbation(TSNE(), X)
        with pytest.raises(NotFittedError):
            singularity(SNE())
        with pytest.raises(TypeError, match="must have the attribute embedding_"):
            singularity(PCA().fit(X))
        for params, rows, message in (
            ({"metric": "precomputed", "init": "random"}, D, "metric == 'precomputed', must be a fit of rows"),
            ({"affinities": "precomputed", "init": "random"}, D, "affinities == 'precomputed', must be a fit of rows"),
            ({"metric": "manhattan"}, X, "metric == 'manhattan' has no principal axes"),
            ({"metric": lambda a, b: abs(a - b).sum()}, X, "has no principal axes"),
            ({"metric": "jaccard"}, X > 0.0, "metric == 'jaccard' has no principal axes"),
            ({"neighbors": KNeighborsTransformer()}, X, "neighbors == KNeighborsTransformer.* has a metric of its own"),
        ):
            model = TSNE(**{**QUICK, **({} if params.get("affinities") is None else {"perplexity": 30.0}), **params})
            with pytest.raises(ValueError, match=message):
                perturbation(model.fit(rows), rows)
