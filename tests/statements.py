"""Which of the recorded statements a request makes for itself."""

import re
from collections.abc import Iterable

_BESIDE = re.compile(r"\b(users|programs|device_sync_summary|device_revocations|sync_activity|jobs)\b")


def hot(statements: Iterable[str]) -> list[str]:
    """Without what is looked up once a second (who asks, and of which program) and what is done beside the requests."""
    return [sql for sql in statements if not _BESIDE.search(sql)]
