"""Does what a cell found agree with what the hub had acknowledged?"""

from collections.abc import Mapping
from typing import Any


def loss(cell: Mapping[str, Any]) -> str | None:
    """What is missing, in words, or None. More than was acknowledged is no loss: an answer may have been cut off."""
    check = cell.get("check", {})
    if "fewest_distinct" in check:
        return _pull_loss(check)
    if "acknowledged" not in check:
        return None
    there = check["survived"] if "survived" in check else check["held"] - check.get("before", 0)
    missing = check["acknowledged"] - there
    return f"{missing:,} of {check['acknowledged']:,} acknowledged events are not there" if missing > 0 else None


def _pull_loss(check: Mapping[str, Any]) -> str | None:
    if not check["complete"]:
        return "a client did not reach the end in its time"
    missing = check["held"] - check["fewest_distinct"]
    return f"a client got {missing:,} of {check['held']:,} events too few" if missing > 0 else None
