"""A check that a fit does not need more memory than is available."""

from __future__ import annotations

import os
from pathlib import Path

# Bytes that a fit takes at its peak, by the bytes of a number in X: for each neighbor of each row, and for each number
# in a dense array of rows; and for each pair of rows if the affinities are of all pairs. Measured beside X for float32
# rows with 50 columns: 2.4 GB for 1,000,000 rows with 91 neighbors, and 6.3 GB for 10,000,000 rows with 15 neighbors.
PER_NEIGHBOR, PER_NUMBER, PER_PAIR = {4: 26, 8: 36}, {4: 10, 8: 16}, 32
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available_memory() -> int | None:
    """Return the bytes of memory that this process may use, or None if the system does not tell."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
    for path in map(Path, LIMITS):  # the limits of a container
        text = path.read_text().strip() if path.exists() else ""
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def estimated_memory(n_samples: int, n_features: int, n_neighbors: int, all_pairs: bool, itemsize: int) -> int:
    """Return the bytes of memory that a fit takes in addition to X; see `check_memory` for the parameters."""
    pairs = PER_PAIR * n_samples**2 if all_pairs else PER_NEIGHBOR[itemsize] * n_samples * n_neighbors
    return PER_NUMBER[itemsize] * n_samples * n_features + pairs


def check_memory(n_samples: int, n_features: int, n_neighbors: int, all_pairs: bool, itemsize: int) -> None:
    """Raise a MemoryError if a fit needs more memory than is available, because the system would kill its process.

    Parameters
    ----------
    n_samples, n_features : int
        The shape of X, with 0 features if X is sparse.
    n_neighbors : int
        The number of neighbors of each row.
    all_pairs : bool
        Whether the distances of all pairs of rows are computed.
    itemsize : int
        The bytes of a number in X, 4 or 8.
    """
    needed = estimated_memory(n_samples, n_features, n_neighbors, all_pairs, itemsize)
    available = available_memory()
    if available is None or needed <= available:
        return
    if all_pairs:
        what, advice = f"All pairs of {n_samples} samples", "method must not be 'exact'"
    else:
        what = f"{n_samples} samples with {n_neighbors} neighbors each"
        advice = "use affinities with fewer neighbors, or fit fewer rows and place the others by transform"
    raise MemoryError(
        f"{what} need about {needed / 1e9:.3g} GB of memory, and {available / 1e9:.3g} GB are available: {advice}."
    )
