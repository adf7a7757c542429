r"""Scores of reliability: which parts of a map to believe.

A map of t-SNE or SNE shows groups of noise, tears groups apart, and places every row somewhere. Each function returns
one number for each row of a fit, in the order of the rows. Low is unremarkable; high marks a point whose place must not
be believed. C_i is the Kullback-Leibler divergence of the conditional probabilities of row i in the data and in the
map; N_i and N_i' are the k nearest neighbors of point i in the map and in a map made again.

============ ================================================================================== ===================
perturbation max over small moves x' of row i of ‖f_i(x') − y_i‖ / R                            Liu et al. 2025
singularity  1 / λ_min(∂²L_i / ∂y²) at y = y_i                                                  Liu et al. 2025
significance (1 + number of null costs ≤ C_i) / (1 + number of null costs)                      Johnson et al. 2022
instability  1 − mean of |N_i ∩ N_i'| / k over maps made again; spread of the aligned positions Sun et al. 2023
outliers     mean density of the nearest neighbors of row i, divided by its own density         Breunig et al. 2000
============ ================================================================================== ===================

Conventions: ``estimator`` is a fitted `sktsne.TSNE` or `sktsne.SNE`, a pipeline with one, or a search with one as its
best estimator, and is not changed. X are the rows of its fit as they enter it. Scores are float64.
"""

from .distances import outliers
from .nulls import significance
from .scores import reliability_scores, singularity_scorer
from .sensitivity import perturbation, singularity
from .stability import Instability, instability

__all__ = [
    "Instability",
    "instability",
    "outliers",
    "perturbation",
    "reliability_scores",
    "significance",
    "singularity",
    "singularity_scorer",
]
