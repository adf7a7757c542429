"""The snippets of a page of the guide, by the heading that they stand under."""

import re
import textwrap
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide"


def snippets(page, language="python"):
    """Return the code under each heading of a page; that under the title comes first."""
    parts = re.split(r"^(.+)\n(?:=+|-+)\n", (GUIDE / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    block = rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)"
    found = {
        heading: "\n".join(map(textwrap.dedent, re.findall(block, text, flags=re.MULTILINE)))
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {heading: code for heading, code in found.items() if code}


def run(code, names):
    """Run code where what it imports is installed, and skip the test elsewhere."""
    for module in re.findall(r"^(?:import|from) ([\w.]+)", code, flags=re.MULTILINE):
        pytest.importorskip(module)
    exec(compile(code, "snippet", "exec"), names)
