"""
A sequence of maps
==================

Objects are measured in five years. In these years one group splits in two, another one joins group B, and each year 40
of 400 objects leave and 40 others come. One map for each year shall show what changes, so nothing else should move from
map to map. :func:`sktsne.sequences.fit_sequence` fits such maps: the objects that were there the year before are held
near their places.
"""

from itertools import pairwise

import numpy as np

from sktsne import TSNE
from sktsne.plotting import plot_sequence
from sktsne.sequences import fit_sequence

rng = np.random.default_rng(0)
years = [2021, 2022, 2023, 2024, 2025]
keys = [np.arange(40 * k, 40 * k + 400) for k in range(5)]  # the objects of each year
n_objects = 400 + 4 * 40
group = rng.choice(["splits", "joins B", "B", "C", "D", "E"], size=n_objects)
center_of = {name: rng.normal(scale=4.0, size=10) for name in np.unique(group)}
centers = np.array([center_of[name] for name in group])
directions = rng.choice([-2.0, 2.0], size=n_objects)[:, None] * rng.normal(size=10)
noise = rng.normal(size=(n_objects, 10))


def measure(share):
    """Return the measurements of all objects when a share of the changes has happened."""
    means = centers + share * directions * (group == "splits")[:, None]
    return means + share * (center_of["B"] - centers) * (group == "joins B")[:, None] + noise


Xs = [measure(k / 4)[there] for k, there in enumerate(keys)]
groups = [group[there] for there in keys]

# %%
# **A map for each year on its own.** All groups move a little or far from year to year, whether they change or not. The
# lines lead to each point from its place in the year before.
alone = [TSNE(random_state=0).fit(X) for X in Xs]
displays = plot_sequence(alone, groups, names=years, keys=keys, lines=True)

# sphinx_gallery_thumbnail_number = 2

# %%
# **A sequence.** The groups that do not change stay where they are, and the two changes are plain to see. New objects
# start among their neighbors.
maps = fit_sequence(TSNE(random_state=0), Xs, keys=keys)
displays = plot_sequence(maps, groups, names=years, keys=keys, lines=True)


# %%
# How far does an object of the groups C, D and E move in a year, on average, where 1 is the standard deviation of the
# first map? And what is the cost of the maps, which a map on its own minimizes? A larger ``strength`` holds the objects
# more firmly. With 0.1 the maps hardly change any more, although the data do, and the cost tells that the map of the
# last year is not a good one.
def mean_move(maps):
    unchanged = np.isin(group, ["C", "D", "E"])
    moves = [
        np.linalg.norm(after.embedding_[:360] - before.embedding_[40:], axis=1)[unchanged[there[:360]]].mean()
        for (before, after), there in zip(pairwise(maps), keys[1:], strict=True)
    ]
    return np.mean(moves) / maps[0].embedding_.std()


strengths = {f"strength {strength}": strength for strength in (0, 0.01, 0.1)}
sequences = {
    name: fit_sequence(TSNE(random_state=0), Xs, keys=keys, strength=strength) for name, strength in strengths.items()
}
for name, fitted in {"on their own": alone, "strength 'auto'": maps, **sequences}.items():
    costs = np.round([model.kl_divergence_ for model in fitted], 2)
    print(f"{name:>15}: mean move {mean_move(fitted):.3f}, costs {costs}")
