"""What a database says of its own files, and no request can help."""

import structlog

from datacollect.kernel.errors import DatabaseDamaged

_HELP = (
    "A part of the database cannot be read: its disk, or the machine's memory, may be failing. Requests that need it are"
    " answered with 503. See docs/how-to/when-something-is-wrong.md."
)

_log = structlog.get_logger(component="database")


def found_damaged(reason: str) -> DatabaseDamaged:
    """Tell the log, with the database's words: they name files, tables and pages, and nobody's data."""
    _log.error("database.damaged", reason=reason, help=_HELP)
    return DatabaseDamaged()
