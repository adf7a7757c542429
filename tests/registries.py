"""The registries that tests are parametrized over: an entry that is added to one gets its tests."""

from inspect import signature

import numpy as np

from sktsne.kernels import KERNELS

# Kernels whose sums are approximate, and in single precision.
APPROXIMATE = [name for name, kernel in KERNELS.items() if kernel.dtype == np.float32]


def takes_components(kernel, d):
    """Return whether a kernel takes d components: ``max_components`` is None where there is no limit."""
    return kernel.max_components is None or d <= kernel.max_components


def takes_angle(kernel):
    """Return whether a kernel has the option ``angle``, with which 0 is exact."""
    return "angle" in getattr(kernel, "options", ()) or "angle" in signature(kernel).parameters


def exact_options(kernel):
    """Return the options with which a kernel's sums are exact, an empty dict where it is exact, None where none are."""
    if takes_angle(kernel):
        return {"angle": 0.0}
    return {} if kernel.dtype == np.float64 else None
