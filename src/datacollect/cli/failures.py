"""How commands fail: in one line that says what to do, without a traceback."""

import contextlib
import sys
from collections.abc import Iterator

from datacollect.kernel.errors import DataCollectError


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    try:
        yield
    except DataCollectError as refused:
        print(f"datacollect: {refused.message}", file=sys.stderr)
        sys.exit(1)
