"""Which of the rows that come back was which of the rows that were shown. Pure; takes time in proportion to the rows."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from datacollect.kernel.canonical import canonical_json


@dataclass(frozen=True, slots=True)
class Matched:
    """Places of rows: by that of a row that was sent, that of the row that was shown. What is in neither is new."""

    back: Mapping[int, int]
    """Rows that come back as they were shown."""
    changed: Mapping[int, int]
    doubtful: Sequence[int]
    """Shown ones that were changed or taken away: nobody can say which."""


def matched(sent: Sequence[Any], shown: Sequence[Any], closed: Collection[str]) -> Matched:
    """`closed` are the keys of a row that are shown and that nobody fills in.

    A row that does not come back as it was is told by these values, if no other has the same, or else by standing where
    one is missing between its neighbours, if as many stand there as are missing. Neighbours in another order tell nothing.
    """
    back = _back(sent, shown)
    known = back | _by_closed_values(sent, shown, sorted(closed), back)
    changed = {place: known[place] for place in known.keys() - back.keys()}
    if not _is_ordered(known):
        taken = set(known.values())
        left = [place for place in range(len(shown)) if place not in taken]
        return Matched(back, changed, left if len(known) < len(sent) else [])
    doubtful: list[int] = []
    for came, missing in _gaps(known, len(sent), len(shown)):
        if len(came) == len(missing):
            changed |= zip(came, missing, strict=True)
        elif came:
            doubtful += missing
    return Matched(back, changed, doubtful)


def _back(sent: Sequence[Any], shown: Sequence[Any]) -> dict[int, int]:
    """Those that stand where they stood, and then the others. To compare each row with each other one, a citizen's
    mebibyte of empty rows would take minutes."""
    texts = [canonical_json(row) for row in sent]
    found: dict[int, int] = {}
    left: dict[bytes, deque[int]] = {}
    for place, row in enumerate(shown):
        text = canonical_json(row)
        if place < len(texts) and texts[place] == text:
            found[place] = place
        else:
            left.setdefault(text, deque()).append(place)
    for place, text in enumerate(texts):
        if place not in found and left.get(text):
            found[place] = left[text].popleft()
    return found


def _by_closed_values(
    sent: Sequence[Any], shown: Sequence[Any], closed: Sequence[str], back: Mapping[int, int]
) -> dict[int, int]:
    if not closed:
        return {}
    taken = set(back.values())
    came = _places_by_values(((place, row) for place, row in enumerate(sent) if place not in back), closed)
    missing = _places_by_values(((place, row) for place, row in enumerate(shown) if place not in taken), closed)
    return {place: missing[values] for values, place in came.items() if values in missing}


def _places_by_values(rows: Iterable[tuple[int, Any]], closed: Sequence[str]) -> dict[bytes, int]:
    """Of rows that say anything there, and no other the same."""
    places: dict[bytes, list[int]] = {}
    for place, row in rows:
        values = {key: row.get(key) for key in closed} if isinstance(row, Mapping) else {}
        if any(value not in (None, "", [], {}) for value in values.values()):
            places.setdefault(canonical_json(values), []).append(place)
    return {values: found[0] for values, found in places.items() if len(found) == 1}


def _is_ordered(known: Mapping[int, int]) -> bool:
    return all(known[before] < known[after] for before, after in pairwise(sorted(known)))


def _gaps(known: Mapping[int, int], sent: int, shown: int) -> Iterable[tuple[Sequence[int], Sequence[int]]]:
    """The places of unknown rows between the same neighbours: of those that were sent, and of those that are missing."""
    ends = [(-1, -1), *sorted(known.items()), (sent, shown)]
    for (came_after, missing_after), (came_before, missing_before) in pairwise(ends):
        yield range(came_after + 1, came_before), range(missing_after + 1, missing_before)
