"""Logs: one JSON object per line on standard output, libraries' lines included.

Event names are dotted and in the past tense, with fields. Ids and counts only: no bodies, headers, tokens, names.
"""

import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, BinaryIO, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from datacollect.kernel.errors import Unavailable

NAME = "datacollect-hub"

_SILENT = logging.CRITICAL + 10
_MESSAGE_LENGTH = 300

_NAMES_OF_CODE = (AttributeError, ImportError, NameError, TypeError, OSError)
"""What these quote is written in the source, or in the settings: it tells nothing of people."""

_QUOTED = re.compile(r"""(['"]).*?(?:\1|$)""")

_READ = ("alembic", "asyncio", "uvicorn")
"""Libraries whose lines below "warning" were read, and tell of nobody. Others write what is secret there: parameters of
statements (password hashes, people's data), addresses with codes in them, headers, what a photo says of where it was
taken. So nothing of theirs at no level, whichever they are."""


def configure_logging(level: str, *, stream: TextIO | None = None) -> None:
    """Set up logging for this process, on standard output by default. `level` is a name of `settings.LogLevel`."""
    stream = stream or sys.stdout
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
        logger_factory=structlog.BytesLoggerFactory(cast(BinaryIO, _Lines(stream.buffer))),
        cache_logger_on_first_use=True,
    )
    _redirect_standard_library(shared, threshold, stream)


class _Lines:
    """Where lines go. A disk that is full, or a pipe that nobody reads any more, is nobody's failure: neither a request nor
    a job ends because it could not be told of. When lines are written again one of them says how many had to wait or are lost."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held_up = 0

    def write(self, line: bytes) -> int:
        try:
            self._stream.write(line)
            self._stream.flush()
        except (OSError, ValueError):  # a stream that is closed, as well
            self._held_up += 1
        else:
            self._tell_of_them()
        return len(line)

    def flush(self) -> None:
        """Each line is, by itself."""

    def _tell_of_them(self) -> None:
        if not self._held_up:
            return
        count, self._held_up = self._held_up, 0
        told = {"event": "log.held_up", "lines": count, "level": "warning", "timestamp": _now(), "name": NAME}
        self.write(_encode(told) + b"\n")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _redirect_standard_library(shared: list[Processor], threshold: int, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_first_line, structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: _encode(event).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    # They talk a lot (every migration); it is of use to developers only.
    for name in _READ:
        logging.getLogger(name).setLevel(threshold if threshold <= logging.DEBUG else root.level)


def _first_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """asyncio tells of a task that failed in the next one, with what its exception says, values and all; the exception
    itself comes beside it."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _add_name(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["name"] = NAME
    return event


def _add_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, Unavailable):
        # As long as the database is away this is said again and again, and where it was noticed says nothing.
        event["reason"] = reason_of(error)
    elif isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


def reason_of(error: BaseException) -> str:
    """One line: the driver's own word ("connection refused") is the innermost cause, the outer ones are wrapping."""
    return describe_exception(first_cause(error)).rpartition("\n")[2]


def first_cause(error: BaseException) -> BaseException:
    """What all the others came from."""
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = cause
    return error


def describe_exception(error: BaseException) -> str:
    """Where it came from and what it says without the values it quotes, causes first."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [describe_exception(cause)] if cause is not None else []
    if isinstance(error, BaseExceptionGroup):
        lines += [describe_exception(inner) for inner in error.exceptions]
    lines += [text.rstrip() for text in traceback.format_tb(error.__traceback__)]
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "\n".join([*lines, f"{name}: {_without_values(error)}"])


def _without_values(error: BaseException) -> str:
    """The first line, for drivers put the values of a failed statement into the next ones, without what it quotes.

    Values may be personal data, or passwords.
    """
    first_line = str(error).partition("\n")[0][:_MESSAGE_LENGTH]
    module = type(error).__module__
    if module.startswith("sqlalchemy"):
        # It repeats what the driver says; the driver's own error stands before it, as its cause.
        return first_line.partition(")")[0] + ")" if first_line.startswith("(") else _QUOTED.sub("'...'", first_line)
    if module.startswith("asyncpg"):
        return _of_postgres(error, first_line)
    return first_line if isinstance(error, _NAMES_OF_CODE) else _QUOTED.sub("'...'", first_line)


def _of_postgres(error: BaseException, first_line: str) -> str:
    """PostgreSQL quotes names of tables and constraints, which help, except where it says that a value is none."""
    about_a_value = type(error).__name__ == "DataError" or str(getattr(error, "sqlstate", "")).startswith("22")
    return first_line.partition(": ")[0] if about_a_value else first_line


def _encode(event: Any, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)
