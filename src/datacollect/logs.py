"""Logs: one JSON object per line on standard output, libraries' lines included.

Event names are dotted and in the past tense, with fields. Ids and counts only: no bodies, headers, tokens, names.
"""

import logging
import sys
import traceback
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor

NAME = "datacollect-hub"

_SILENT = logging.CRITICAL + 10
_MESSAGE_LENGTH = 300

_TELLTALES = ("aiosqlite", "sqlalchemy", "asyncpg", "httpcore2")
"""Libraries that write below "warning" what is secret: parameters of statements (password hashes, people's data),
headers of answers. At no level."""


def configure_logging(level: str) -> None:
    """Set up logging for this process. `level` is a name of `settings.LogLevel`."""
    threshold = _SILENT if level == "silent" else logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_name,
        _add_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_encode)],
        wrapper_class=structlog.make_filtering_bound_logger(min(threshold, logging.CRITICAL)),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    _redirect_standard_library(shared, threshold)


def _redirect_standard_library(shared: list[Processor], threshold: int) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: _encode(event).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries talk a lot below "warning" (every job of SQLite, every migration); it is of use to developers only.
    root.setLevel(threshold if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    for name in _TELLTALES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _add_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["name"] = NAME
    return event


def _add_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def describe_exception(error: BaseException) -> str:
    """Where it came from and the first line of what it says, causes first.

    Only the first line, because drivers put the values of a failed statement into the next ones: personal data.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [describe_exception(cause)] if cause is not None else []
    if isinstance(error, BaseExceptionGroup):
        lines += [describe_exception(inner) for inner in error.exceptions]
    lines += [text.rstrip() for text in traceback.format_tb(error.__traceback__)]
    first_line = str(error).partition("\n")[0][:_MESSAGE_LENGTH]
    if type(error).__name__ == "DataError":
        # asyncpg quotes the value it could not send in its first line already.
        first_line = first_line.partition(": ")[0]
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "\n".join([*lines, f"{name}: {first_line}"])


def _encode(event: Any, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
