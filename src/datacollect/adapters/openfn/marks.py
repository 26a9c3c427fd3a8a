"""How far a pull has come: the question to ask next, and what of its answer is known already.

In the middle of an answer, or between two pages of the server, it holds enough for a hub that ended there to go on there.
"""

import msgspec

OVERLAP_MILLIS = 1000
"""What is asked for again, so that of items with equal times at the boundary none is missed: some systems keep whole
seconds only, and some read `since` as "later than"."""
MOST_KNOWN = 200
"""Items of the overlap that are remembered. Any more are told again, which changes nothing."""

Place = tuple[int, str]
"""Of an item among the others: its time in milliseconds, and a digest of it."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question, and how much of the answer is done with. Times in milliseconds."""

    since: int | None = None
    """What it asks for: changes since then."""
    newest: int | None = None
    """The newest time seen before."""
    cursor: str | None = None
    """The server's word for its next page."""
    url: str | None = None
    """The server's address of its next page."""
    has_begun_anew: bool = False
    """The workflow did not know its own cursor any more, once."""
    known: tuple[Place, ...] = ()
    """Items around `newest` that are done with."""
    after: Place | None = None
    """The last item of this answer that is done with."""

    @property
    def question(self) -> "Mark":
        return msgspec.structs.replace(self, after=None)

    @property
    def is_opening(self) -> bool:
        """Whether the workflow is asked in our words, and not in its own."""
        return self.cursor is None and self.url is None

    def begun_anew(self) -> "Mark":
        """The question that began the pages this one is about."""
        return msgspec.structs.replace(self, cursor=None, url=None, after=None, has_begun_anew=True)

    def past(self, place: Place) -> "Mark":
        return msgspec.structs.replace(self, after=place)

    def to_text(self) -> str:
        return msgspec.json.encode(self).decode()


def read_mark(text: str | None) -> Mark:
    """A mark that cannot be read is none: everything is read anew, and what is known changes nothing."""
    try:
        return msgspec.json.decode(text, type=Mark) if text else Mark()
    except msgspec.DecodeError:
        return Mark()
