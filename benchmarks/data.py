"""The data of the benchmarks: digits, MNIST, and any number of deformed digits of MNIST or of rows of a hierarchy.

MNIST is reduced to 50 dimensions by a PCA of all its 70,000 images, and stored in float32. A deformed digit is an image
of MNIST that is turned, shifted and bent at random, and then projected onto the same 50 directions. The rows of the
hierarchy are drawn from 1,000 Gaussians, whose means lie around 100 points, which lie around 10 points, the classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_digits
from sklearn.decomposition import PCA

SIDE = 28
COMPONENTS = 50
# The random deformation: the largest rotation in degrees, the largest shift in pixels, and the root mean square of the
# bending in pixels. The bending is uniform noise, smoothed by a Gaussian (Simard et al. 2003) with their standard
# deviation of 4 pixels.
ROTATION, SHIFT, BENDING, SMOOTHNESS = 10.0, 1.5, 0.5, 4.0
# The number of images that are deformed at once. Each batch has a random state of its own, so that a longer file begins
# like a shorter file.
BATCH = 1000

# The numbers of branches at each level of the hierarchy, and the standard deviations: of the branches of each level
# around their common mean, and of the rows around theirs.
BRANCHES, SPREADS = (10, 10, 10), (2.0, 1.0, 0.7, 1.0)

DEFAULT_SIZES = {"digits": 1797, "mnist": 70_000, "deformed": 100_000, "hierarchy": 100_000}


def prepare(
    name: str, sizes: list[int], folder: Path, mnist: Path | None = None
) -> tuple[dict[int, Path], NDArray[np.integer]]:
    """Write a file with the first n rows for each n of ``sizes``; return the files and the labels of the longest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: NDArray[np.floating]
    if name == "digits":
        rows, labels = load_digits(return_X_y=True)
    elif name == "mnist":
        images, labels = load_mnist(mnist)
        rows = reduction(images).transform(images.astype(np.float32))
    elif name == "hierarchy":
        rows, labels = hierarchy(max(sizes))
    else:
        images, labels = load_mnist(mnist)
        rows, labels = write_deformed(folder / "deformed.npy", max(sizes), images, labels)
    if max(sizes) > len(rows):
        raise ValueError(f"n must be at most {len(rows)}, the number of rows of {name}; got {max(sizes)}.")
    files = {n: folder / f"{name}-{n}.npy" for n in sizes}
    for n, file in files.items():
        np.save(file, rows[:n])
    return files, labels


def hierarchy(n: int) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Return n rows of the hierarchy, and their classes."""
    random = np.random.default_rng(0)
    means = np.zeros((1, COMPONENTS))
    for count, spread in zip(BRANCHES, SPREADS, strict=False):
        means = np.repeat(means, count, axis=0)
        means += spread * random.normal(size=means.shape)
    leaves = random.integers(len(means), size=n)
    rows = means[leaves].astype(np.float32)
    for start in range(0, n, BATCH):
        part = rows[start : start + BATCH]
        part += SPREADS[-1] * random.standard_normal(part.shape, dtype=np.float32)
    return rows, leaves * BRANCHES[0] // len(means)


def load_mnist(path: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (70000, 784) and labels of an NPZ file with ``X`` and ``y``, or, without a path, of openml.org."""
    if path is not None:
        with np.load(path) as arrays:
            return arrays["X"], arrays["y"]
    images, labels = fetch_openml("mnist_784", return_X_y=True, as_frame=False)
    return images.astype(np.uint8), labels.astype(np.uint8)


def reduction(images: NDArray[np.uint8]) -> PCA:
    """Return a PCA that is fitted to the images."""
    return PCA(COMPONENTS, random_state=0).fit(images.astype(np.float32))


def write_deformed(
    path: Path, n: int, images: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Write n deformed and reduced images to an NPY file; return its memory map, and the labels of the images."""
    pca = reduction(images)
    rows = np.lib.format.open_memmap(path, "w+", np.float32, (n, COMPONENTS))
    new_labels = np.empty(n, dtype=labels.dtype)
    for batch, start in enumerate(range(0, n, BATCH)):
        random = np.random.default_rng([seed, batch])
        # A part of a batch would depend on n, so that the whole batch is always made.
        chosen = random.integers(len(images), size=BATCH)
        deformed = deform(images[chosen].reshape(-1, SIDE, SIDE), random).reshape(BATCH, -1)
        stop = min(n, start + BATCH)
        rows[start:stop] = pca.transform(deformed)[: stop - start]
        new_labels[start:stop] = labels[chosen[: stop - start]]
    rows.flush()
    return rows, new_labels


def deform(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Return the images, of shape (b, 28, 28), each turned, shifted and bent at random."""
    b = len(images)
    angles = np.radians(random.uniform(-ROTATION, ROTATION, (b, 1, 1))).astype(np.float32)
    shifts = random.uniform(-SHIFT, SHIFT, (2, b, 1, 1)).astype(np.float32)
    smoothing = _smoothing()
    bending = smoothing @ (2.0 * random.random((2, b, SIDE, SIDE), dtype=np.float32) - 1.0) @ smoothing
    center = np.float32((SIDE - 1) / 2)
    across = np.arange(SIDE, dtype=np.float32) - center
    down = across[:, None]
    cosines, sines = np.cos(angles), np.sin(angles)
    rows = cosines * down - sines * across + shifts[0] + bending[0] + center
    columns = sines * down + cosines * across + shifts[1] + bending[1] + center
    return _interpolate(images, rows, columns)


def _smoothing() -> NDArray[np.float32]:
    """Return the symmetric matrix of Gaussians that smooths noise, uniform from -1 to 1, along an axis."""
    offsets = np.arange(SIDE)[:, None] - np.arange(SIDE)
    gaussians = np.exp(-0.5 * (offsets / SMOOTHNESS) ** 2)
    # Smoothing along both axes turns the variance 1/3 of the noise into (Σ g²)² / 3, in the middle to be BENDING².
    squares = np.sum(gaussians[SIDE // 2] ** 2)
    return (gaussians * np.sqrt(np.sqrt(3.0) * BENDING / squares)).astype(np.float32)


def _interpolate(
    images: NDArray[np.uint8], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the images at other places, interpolated bilinearly, and zero outside."""
    width = SIDE + 2
    padded = np.zeros((len(images), width, width), dtype=np.float32)
    padded[:, 1:-1, 1:-1] = images
    last = np.float32(width - 1.001)
    rows, columns = np.clip(rows + 1, 0, last), np.clip(columns + 1, 0, last)
    row, column = np.floor(rows), np.floor(columns)
    below, right = rows - row, columns - column
    first = np.arange(len(images))[:, None, None] * width**2
    corner = first + (row * width + column).astype(np.int64)
    pixels = padded.ravel()
    top_left, top_right, bottom_left, bottom_right = (pixels.take(corner + k) for k in (0, 1, width, width + 1))
    top = top_left + right * (top_right - top_left)
    bottom = bottom_left + right * (bottom_right - bottom_left)
    return top + below * (bottom - top)
