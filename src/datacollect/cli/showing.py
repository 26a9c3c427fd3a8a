"""What commands show of their work."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
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


def print_json(value: Any, *, err: bool = False) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2), err=err)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they need to be; the last one is not padded."""
    lines = [[shown(str(cell)) for cell in row] for row in (headings, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """A line for each: its name, and what it is."""
    width = max(len(name) for name, _ in facts)
    for name, fact in facts:
        typer.echo(f"{name:{width}}  {shown(str(fact))}".rstrip())


def counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
