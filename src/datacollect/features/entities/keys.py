"""Short forms of texts that lists are sorted and filtered by. Pure.

They are stored, because a name may be as long as an event, and an index holds no more than some hundred bytes.
"""

import unicodedata

LONGEST_KEY = 100
"""Characters: at most four bytes each, and PostgreSQL's indexes take 2,700."""


def sort_name(name: str | None) -> str:
    """A name as it is sorted: without case and accents."""
    return fold(name[: 2 * LONGEST_KEY])[:LONGEST_KEY] if name else ""


def form_key(entity_name: str | None) -> str:
    """The beginning of a form's name; empty for none."""
    return entity_name[:LONGEST_KEY] if entity_name else ""


def fold(text: str) -> str:
    """Without case and accents: `Ángela` and `ANGELA` are `angela`."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(mark for mark in apart if not unicodedata.combining(mark))
