"""The scores of reliability on data of which the truth is known, as in the gallery example.

Each comment "seen" tells the values over the data sets of ten seeds.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from sktsne import TSNE
from sktsne.reliability import instability, outliers, perturbation, reliability_scores, significance, singularity


def shares(scores, threshold, rows):
    """Return the share of ``rows`` with scores above a threshold, and that of all other rows."""
    high = scores > threshold
    return np.mean(high[rows]), np.mean(high[~rows])


def groups_of(rng, n_groups, size, spread):
    return rng.normal(size=(n_groups * size, 10)) + rng.normal(scale=spread, size=(n_groups, 10)).repeat(size, axis=0)


def significant_share(X):
    """Return the share of significant rows in a map with a perplexity so small that it shows groups of any rows."""
    return np.mean(significance(TSNE(perplexity=5, random_state=0).fit(X), X, n_nulls=2, random_state=0) <= 0.05)


def gap(X):
    """Return the widest gap along the longest axis of points, without the fifth of the points at each end.

    The unit is the distance between the two fifths.
    """
    along = np.sort(PCA(1, svd_solver="full").fit_transform(X).ravel())
    middle = along[len(along) // 5 : -(len(along) // 5)]
    return np.diff(middle).max() / np.ptp(middle)


def swiss_roll(rng, n):
    """Return rows of a Swiss roll and their places on the flat sheet, which are spread evenly."""
    angles = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2000)
    curve = np.stack([angles * np.cos(angles), angles * np.sin(angles)], axis=1)
    lengths = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1)))
    sheet = rng.uniform(size=(n, 2)) * (lengths[-1], 20.0)
    return np.column_stack([*(np.interp(sheet[:, 0], lengths, x) for x in curve.T), sheet[:, 1]]), sheet


def torn_rows(sheet, Y):
    """Return whether one of the six nearest rows on the sheet is over four times as far in the map as is usual."""
    neighbors = NearestNeighbors(n_neighbors=6).fit(sheet).kneighbors(return_distance=False)
    distances = np.linalg.norm(Y[neighbors] - Y[:, None], axis=2)
    return distances.max(axis=1) > 4.0 * np.median(distances)


def test_groups_that_a_small_perplexity_makes_of_a_cloud_are_not_significant(rng):
    assert significant_share(rng.normal(size=(400, 10))) < 0.02  # seen: 0


def test_groups_of_the_data_are_significant_at_the_same_perplexity(rng):
    assert significant_share(groups_of(rng, 40, 10, spread=5.0)) > 0.8  # seen: from 0.995


def test_perturbation_marks_the_points_beside_a_gap_that_the_map_invents(rng):
    X = rng.normal(size=(1000, 2))
    X[:500, 0] += 4.5
    model = TSNE(perplexity=100, random_state=0).fit(X)
    assert gap(model.embedding_) > 3.0 * gap(X)  # seen: 5.8 to 22 times
    halfway = np.abs(X[:, 0] - 2.25) < 0.5
    beside, elsewhere = shares(perturbation(model, X), 2.0, halfway)
    assert beside > 0.2  # seen: 0.40 to 0.69
    assert elsewhere < 0.03  # seen: up to 0.004


def test_singularity_and_others_mark_the_tears_of_a_sheet(rng):
    X, sheet = swiss_roll(rng, 1000)
    model = TSNE(random_state=0).fit(X)
    torn = torn_rows(sheet, model.embedding_)
    assert 0.02 < np.mean(torn) < 0.15  # seen: 0.041 to 0.071
    scores = singularity(model)
    at_tears, _ = shares(scores, np.quantile(scores, 0.9), torn)
    assert at_tears > 0.2  # 0.1 would be chance; seen: 0.34 to 0.66, and at most 0.087 of all other rows
    at_tears, elsewhere = shares(perturbation(model, X), 2.0, torn)
    assert at_tears > 0.06  # seen: 0.13 to 0.39
    assert elsewhere < 0.03  # seen: up to 0.002
    changes = instability(model, n_fits=3, random_state=0).neighbors
    assert np.mean(changes[torn]) > 1.3 * np.mean(changes[~torn])  # seen: 2.2 to 5.1 times


# The value above which a score marks a row, and the share of the rows of separated groups that it may mark.
MARKED = {
    "perturbation": (2.0, 0.03),  # seen: up to 0.006
    "singularity": (5.0, 0.1),  # seen: up to 0.028
    "significance": (0.05, 0.15),  # seen: 0
    "instability": (0.5, 0.1),  # seen: up to 0.025
    "outliers": (2.0, 0.03),  # seen: 0
}


def test_hardly_a_point_of_separated_groups_is_marked(rng):
    X = groups_of(rng, 8, 40, spread=9.0)
    scores = reliability_scores(TSNE(random_state=0).fit(X), X, random_state=0)
    assert list(scores) == list(MARKED)
    for name, (threshold, share) in MARKED.items():
        assert np.mean(scores[name] > threshold) < share, name


def test_planted_outliers_are_found(rng):
    X = np.vstack([groups_of(rng, 8, 40, spread=9.0), rng.uniform(-40.0, 40.0, size=(10, 10))])
    planted = np.arange(330) >= 320
    factors = outliers(TSNE(random_state=0).fit(X), X)
    marked = factors > 2.0
    assert np.mean(planted[marked]) > 0.8  # precision, seen: 1; the largest factor of a group was 1.4
    assert np.mean(marked[planted]) > 0.8  # recall, seen: 1; the smallest factor of a planted row was 8.7
