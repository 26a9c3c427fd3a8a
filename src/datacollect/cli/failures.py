"""How commands fail: in one line that says what to do, without a traceback; or, if nobody has thought of it, with one
that tells neither people's data nor secrets."""

import contextlib
import os
import sys
from collections.abc import Iterator

from datacollect.kernel.errors import DataCollectError, Unavailable
from datacollect.logs import describe_exception, reason_of


class OutputFailed(DataCollectError):
    """The file cannot be written."""

    code = "OUTPUT_FAILED"
    help = "Check the folder's rights and free space."


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Raises `OutputFailed` unless all that was printed in the block has gone out. Python notices only when it ends."""
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:  # as it is for who was started with a closed one
                sys.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where it may try again what is left
            raise _not_printed(error) from error


def print_bytes(content: bytes) -> None:
    try:
        sys.stdout.buffer.write(content)
    except OSError as error:
        raise _not_printed(error) from error


def _not_printed(error: OSError) -> OutputFailed:
    return OutputFailed(f"Standard output cannot be written ({error.strerror}).")


def said_of(refused: DataCollectError) -> str:
    """Its message. Whoever is at the machine can do something about what keeps a database away, if they know what it is."""
    why = f" ({reason_of(refused)})" if isinstance(refused, Unavailable) and refused.__cause__ else ""
    return f"{refused.message}{why}"


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    try:
        yield
    except DataCollectError as refused:
        print(f"datacollect: {said_of(refused)}", file=sys.stderr)
        sys.exit(1)
    except Exception as crash:
        # Python would print the values of the statement that failed.
        print(describe_exception(crash), file=sys.stderr)
        print(f"datacollect: The command broke down ({reason_of(crash)}).", file=sys.stderr)
        sys.exit(1)
