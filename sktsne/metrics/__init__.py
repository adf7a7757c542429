r"""Measures of the quality of an embedding: how well it keeps neighborhoods, its cost, and scorers for grid searches.

n is the number of rows. ρ_ij is the rank of row j among all other rows by its distance from row i, 1 for the nearest;
r_ij is the same rank among the points of the embedding. N_i^k and M_i^k are the k nearest neighbors of row i by ρ and
by r.

=========================== ==================================================================== ======================
trustworthiness             T(k) = 1 − 2/(nk(2n − 3k − 1)) Σ_i Σ_{j ∈ M_i^k} max(0, ρ_ij − k)    Venna & Kaski 2001
continuity                  C(k) = 1 − 2/(nk(2n − 3k − 1)) Σ_i Σ_{j ∈ N_i^k} max(0, r_ij − k)    Venna & Kaski 2001
neighborhood_preservation   Q_NX(k) = Σ_i |N_i^k ∩ M_i^k| / nk                                   Lee & Verleysen 2009
rnx_curve                   R_NX(k) = ((n − 1) Q_NX(k) − k) / (n − 1 − k)                        Lee et al. 2013
rnx_auc                     Σ_k R_NX(k) / k  /  Σ_k 1 / k,   k = 1, …, n − 2                     Lee et al. 2015
kl_divergence               C of the objectives, by sums over all pairs                          :mod:`.objectives`
point_costs                 C_i, C = Σ_i C_i: Σ_j p_ij log(p_ij / q_ij) or Σ_j p_{j|i} log(…)    :mod:`.objectives`
pbic                        2 C + log(n) · perplexity / n                                        Cao & Wang 2017
=========================== ==================================================================== ======================

All measures but the last three depend only on ranks, which do not change with the scale of the map. They are means over
the rows, so that a random sample of rows estimates them. Each judged row is compared with all n rows, one block of rows
at a time, so that memory grows with n and not with n².

Conventions: X of shape (n, n_features), the rows that were embedded, and embedding of shape (n, n_components) are
converted to float64. Of two equally distant rows, the row that comes first counts as the nearer one (Lee & Verleysen
2009), so that a perfect map has the best value even if rows repeat. Distances that differ only in their last digits
count as equal.
"""

from .divergence import kl_divergence, pbic, point_costs
from .ranks import Estimate, continuity, neighborhood_preservation, rnx_auc, rnx_curve, trustworthiness
from .scorers import (
    EmbeddingScorer,
    continuity_scorer,
    knn_accuracy,
    make_embedding_scorer,
    neighborhood_preservation_scorer,
    rnx_scorer,
    trustworthiness_scorer,
)

__all__ = [
    "EmbeddingScorer",
    "Estimate",
    "continuity",
    "continuity_scorer",
    "kl_divergence",
    "knn_accuracy",
    "make_embedding_scorer",
    "neighborhood_preservation",
    "neighborhood_preservation_scorer",
    "pbic",
    "point_costs",
    "rnx_auc",
    "rnx_curve",
    "rnx_scorer",
    "trustworthiness",
    "trustworthiness_scorer",
]
