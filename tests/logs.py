"""What was logged while a test looked."""

from collections.abc import Iterable
from typing import Any


def told(lines: Iterable[Any], of: str) -> list[Any]:
    """The lines of one part of the hub: those whose event begins with its name and a dot.

    The hubs that tests share go on in this process, and may have told something of theirs meanwhile.
    """
    return [line for line in lines if line["event"].startswith(f"{of}.")]
