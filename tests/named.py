"""Which tests a file has, for pages that name them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Looked for as text: the tree of a large file takes a hundred times as long, and half a second.
_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def known_tests(path: str) -> set[str]:
    """Their names; none where there is no such file."""
    file = ROOT / path
    return set(_TEST.findall(file.read_text())) if file.exists() else set()
