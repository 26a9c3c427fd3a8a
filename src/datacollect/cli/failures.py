"""How commands fail: in one line that says what to do, without a traceback; or, if nobody has thought of it, with one
that tells neither people's data nor secrets."""

import contextlib
import sys
from collections.abc import Iterator

from datacollect.kernel.errors import DataCollectError
from datacollect.logs import describe_exception, reason_of


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    try:
        yield
    except DataCollectError as refused:
        print(f"datacollect: {refused.message}", file=sys.stderr)
        sys.exit(1)
    except Exception as crash:
        # Python would print the values of the statement that failed.
        print(describe_exception(crash), file=sys.stderr)
        print(f"datacollect: The command broke down ({reason_of(crash)}).", file=sys.stderr)
        sys.exit(1)
