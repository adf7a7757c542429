"""Print the oldest supported version of each package that sktsne, its extras for users and its tests need.

`pyproject.toml` states these versions as lower bounds, and `.ci/run` installs exactly them.
"""

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lower_bounds(requirements: Iterable[str], extras: dict[str, list[str]]) -> Iterator[str]:
    """Yield each requirement with its lower bound as the only version; extras of sktsne stand for what they name."""
    for requirement in requirements:
        if requirement.startswith("sktsne["):
            for extra in requirement.removeprefix("sktsne[").removesuffix("]").split(","):
                yield from lower_bounds(extras[extra], extras)
        else:
            package, lower_bound = requirement.split(">=")
            yield f"{package}=={lower_bound}"


def oldest() -> list[str]:
    """Return the requirements of `pyproject.toml` with their lower bounds."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return list(lower_bounds([*project["dependencies"], "sktsne[test]"], project["optional-dependencies"]))


if __name__ == "__main__":
    print(*oldest(), sep="\n")
