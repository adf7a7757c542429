from .perturbation import perturbation
from .singularity import singularity
