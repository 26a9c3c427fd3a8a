"""Much of something, some at a time."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_One = TypeVar("_One")


def parts(values: Sequence[_One], size: int) -> Iterator[Sequence[_One]]:
    """The values in order, `size` at a time; the last part may be shorter, and of none there is none."""
    return (values[begin : begin + size] for begin in range(0, len(values), size))
