"""Print the section of a release in the changelog, or fail where the release is not ready.

Usage: ``python .ci/changelog.py v0.1.0``. The tag must name the version of the package, and the changelog must say on
which day that version is released: ``## 0.1.0 (2026-12-31)``.
"""

import re
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def section(changelog: str, version: str, tag: str) -> str:
    """Return the text of a version in the changelog; raise a ValueError unless tag, version and changelog agree."""
    if tag != f"v{version}":
        raise ValueError(f"The tag is {tag}, must be v{version}: sktsne/_version.py says {version}.")
    found = re.search(
        rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)", changelog, flags=re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md must have a heading with the day of the release, '## {version} (2026-12-31)'.")
    return found[1].strip()


def main(tag: str) -> None:
    """Print the section of the version that is in this checkout."""
    version = runpy.run_path(str(ROOT / "sktsne" / "_version.py"))["__version__"]
    try:
        print(section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version, tag))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
