"""What commands show of their work."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import typer


@contextlib.contextmanager
def progress_bar(label: str, length: int) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error, if somebody sees it; gives what to call with how much of `length` is done."""
    if not sys.stderr.isatty():
        yield None
        return
    with typer.progressbar(length=length, label=shown(label), file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


def shown(text: str) -> str:
    """A text from the database as one line: whoever changed it must not be able to write lines of ours."""
    return text if text.isprintable() else ascii(text)
