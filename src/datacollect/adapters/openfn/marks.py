"""How far a pull has come.

At rest it is the newest time of change that was seen, as text that people can read. In the middle of an answer, or between
two pages of the server, it says which question was asked and how much of the answer is done with, so that a hub that ended
there asks the same again.
"""

import msgspec

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp

OVERLAP_MILLIS = 1000
"""What is asked for again, so that of items with equal times at the boundary none is missed: some systems keep whole
seconds only, and some read `since` as "later than". What is known already changes nothing."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question, and how much of the answer is done with."""

    since: int | None = None
    """What it asks for: changes since then, in milliseconds."""
    newest: int | None = None
    """The newest time seen before."""
    cursor: str | None = None
    """The server's word for its next page."""
    url: str | None = None
    """The server's address of its next page."""
    has_begun_anew: bool = False
    """The workflow did not know its own cursor any more, once."""
    after: tuple[int, str] | None = None
    """The place of the last item of this answer that is done with."""

    @property
    def question(self) -> "Mark":
        return msgspec.structs.replace(self, after=None)

    @property
    def opening(self) -> "Mark":
        """The question that began the pages this one is about, to be asked once more."""
        return Mark(since=self.since, newest=self.newest, has_begun_anew=True)

    @property
    def is_opening(self) -> bool:
        return self.cursor is None and self.url is None

    def onward(self, **changes: int | str | None) -> "Mark":
        """Of the next page."""
        return msgspec.structs.replace(self, **{"cursor": None, "url": None, "after": None, **changes})

    def past(self, place: tuple[int, str]) -> "Mark":
        return msgspec.structs.replace(self, after=place)

    def to_text(self) -> str:
        if self == at_rest(self.newest):
            return "" if self.newest is None else format_timestamp(Millis(self.newest))
        return msgspec.json.encode(self).decode()


def at_rest(newest: int | None) -> Mark:
    """Where the next run begins when everything up to `newest` is done with."""
    return Mark() if newest is None else Mark(since=max(0, newest - OVERLAP_MILLIS), newest=newest)


def read_mark(text: str | None) -> Mark:
    """A mark that cannot be read is none: everything is read anew, and what is known is known by its content."""
    if not text:
        return Mark()
    try:
        if text.startswith("{"):
            return msgspec.json.decode(text, type=Mark)
        return at_rest(parse_timestamp(text))
    except (msgspec.DecodeError, ValueError):
        return Mark()
