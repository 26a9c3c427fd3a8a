"""How much speaks for two records being of one person, evidence by evidence."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz.distance import OSA

from datacollect.matching.dates import Birth
from datacollect.matching.features import Features
from datacollect.matching.names import closeness

PROBABLE = 15.0
"""Bits from which on a pair is told to people: a name alone, however long, is not enough."""

_NAME_MOST = 13.0
_HOUSEHOLD_MOST = 7.0
"""What says where somebody lives says it of everybody who lives there: together it counts as one evidence."""
_REGISTERED_TOGETHER = -8.0
"""Whoever filled in a household had both before their eyes: they are brothers and sisters, and often twins."""
_CLASH_MOST = 7.0
"""Of a name in which a word is clearly another one: as much as a family name alone."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One comparison. `about` and `found` are for people and for programs: stable words, never values."""

    about: str
    found: str
    bits: float


@dataclass(frozen=True, slots=True)
class Score:
    bits: float
    evidence: tuple[Evidence, ...]


_evidence = lru_cache(maxsize=1024)(Evidence)
"""There are few that differ, and every comparison makes some."""


def worth_of_names(others: float) -> float:
    """What names are worth, in bits, that so many others of the register have. Each doubling of them is a bit less: so many
    more could be meant. That holds for a small register and for a large one, so the threshold can be the same in both."""
    return max(1.0, _NAME_MOST - math.log2(1 + max(0.0, others)))


def compare(one: Features, other: Features, *, names_most: float = _NAME_MOST) -> Score:
    """Symmetric. Nothing is concluded from what either does not tell. `names_most` is what their names are worth."""
    names = _worth(list(_names(one, other)), names_most)
    own = [*names, *_birth(one.birth, other.birth), *_identifiers(one, other)]
    if one.entered.is_the_same(other.entered):
        own.append(_evidence("record", "everything the same", 10.0))
    around = _together() if one.groups & other.groups else _shared(list(_surroundings(one, other)))
    evidence = tuple(sorted((*own, *around), key=lambda each: -abs(each.bits)))
    return Score(round(sum(each.bits for each in evidence), 2), evidence)


def _names(one: Features, other: Features) -> Iterator[Evidence]:
    if one.given and one.family and other.given and other.family:
        yield from min(
            _parted(one, other), _swapped(one, other), key=lambda found: -sum(evidence.bits for evidence in found)
        )
        return
    if one.names and other.names:
        yield from _whole(one.names, other.names)


def _parted(one: Features, other: Features) -> list[Evidence]:
    return [_given(one.given, other.given), _family(one.family, other.family)]


def _swapped(one: Features, other: Features) -> list[Evidence]:
    crossed = min(_best(one.given, other.family), _best(one.family, other.given))
    return [_evidence("name", "given and family name swapped", 10.0 if crossed >= 0.92 else -20.0)]


def _given(one: Sequence[str], other: Sequence[str]) -> Evidence:
    alike = _best(one, other)
    if alike == 1.0:
        return _evidence("givenName", "same", 6.0)
    if alike >= 0.9:
        return _evidence("givenName", "close", 4.0)
    if any(a[0] == b[0] and 1 in (len(a), len(b)) for a in one for b in other):
        return _evidence("givenName", "same initial", 1.5)
    if alike >= 0.8:
        return _evidence("givenName", "alike", 0.5)
    return _evidence("givenName", "different", -12.0)


def _family(one: Sequence[str], other: Sequence[str]) -> Evidence:
    alike = _best(one, other)
    if alike == 1.0:
        return _evidence("familyName", "same", 7.0)
    if alike >= 0.9:
        return _evidence("familyName", "close", 5.0)
    if alike >= 0.8:
        return _evidence("familyName", "alike", 1.5)
    return _evidence("familyName", "different", -4.0)


def _whole(one: Sequence[str], other: Sequence[str]) -> Iterator[Evidence]:
    """Words in any order, some of them missing: each word of the shorter name finds its best in the longer one."""
    # Of two of one length always the same finds its words in the other one: it is no matter who is compared with whom.
    told = (tuple(dict.fromkeys(one)), tuple(dict.fromkeys(other)))
    shorter, longer = sorted(told, key=lambda words: (len(words), words))
    left, bits, missed, slips = list(longer), 0.0, list[str](), 0
    for word in shorter:
        best, alike = _nearest(word, left)
        if best is not None and alike >= 0.9:
            left.remove(best)
            bits += 6.0 if alike == 1.0 else 4.5
            slips += alike < 1.0
        elif best is not None and best[0] == word[0] and 1 in (len(best), len(word)):
            left.remove(best)
            bits += 1.5
        else:
            missed.append(word)
    if missed and left:
        yield _clash(bits, shorter, missed, longer, left)
    else:
        yield _evidence("name", "close" if slips else "same words", min(bits, _NAME_MOST) - 0.5 * len(left))


def _nearest(word: str, others: Sequence[str]) -> tuple[str | None, float]:
    """The first of those it is most like, and how much that is."""
    if word in others:
        return word, 1.0
    best, most = None, -1.0
    for each in others:
        if (alike := closeness(word, each)) > most:
            best, most = each, alike
    return best, most if best is not None else 0.0


def _clash(
    bits: float, shorter: Sequence[str], missed: Sequence[str], longer: Sequence[str], left: Sequence[str]
) -> Evidence:
    """A word of either is not in the other. If both begin with it, it is the given name of somebody else: brothers,
    sisters, and twins share all the others. If they begin with one word, somebody may have married."""
    if len(missed) == 1 and shorter[0] not in missed and longer[0] not in left:
        return _evidence("name", "one word different", min(bits, _CLASH_MOST) - 4.0)
    return _evidence("name", "different", min(bits, _CLASH_MOST) - 12.0 * len(missed))


def _worth(names: list[Evidence], most: float) -> list[Evidence]:
    """Cut what speaks for them down to what names that so many have are worth."""
    total = sum(each.bits for each in names if each.bits > 0)
    if total <= most:
        return names
    share = most / total
    return [
        _evidence(e.about, f"{e.found}, as of others", round(e.bits * share, 2)) if e.bits > 0 else e for e in names
    ]


def _together() -> list[Evidence]:
    """Where they live is the same because they live together, and says nothing."""
    return [_evidence("household", "registered together", _REGISTERED_TOGETHER)]


def _birth(one: Birth | None, other: Birth | None) -> Iterator[Evidence]:
    if one is None or other is None:
        return
    apart = abs(one.year - other.year)
    if one.is_whole and other.is_whole:
        if one == other:
            yield _evidence("birthDate", "same", 5.0 if one.is_placeholder else 11.0)
            return
        if (one.year, one.month, one.day) == (other.year, other.day, other.month):
            yield _evidence("birthDate", "day and month swapped", 8.0)
            return
        if one.is_placeholder or other.is_placeholder:
            yield _evidence("birthDate", "year the same" if not apart else "year differs", _by_years(apart, 1))
            return
        if OSA.distance(one.digits(), other.digits(), score_cutoff=1) <= 1:
            yield _evidence("birthDate", "one digit differs", 7.0)
            return
        if (one.month, one.day) == (other.month, other.day):
            yield _evidence("birthDate", "day and month the same", 3.0)
            return
        if not apart:
            same = one.month == other.month or one.day == other.day
            yield _evidence("birthDate", *(("partly the same", 1.0) if same else ("only the year the same", -1.0)))
            return
        yield _evidence("birthDate", "different", -6.0)
        return
    slack = max(1, one.slack + other.slack)
    yield _evidence("birthDate", "age agrees" if apart <= slack else "age differs", _by_years(apart, slack))


def _by_years(apart: int, slack: int) -> float:
    if not apart:
        return 4.0
    if apart <= slack:
        return 2.0 if apart <= 1 else 1.0
    return -2.0 if apart <= slack + 2 else -6.0


def _identifiers(one: Features, other: Features) -> Iterator[Evidence]:
    if one.documents and other.documents:
        yield from _documents(one.documents, other.documents)
    if one.emails and other.emails:
        yield _evidence("email", *(("same", 8.0) if one.emails & other.emails else ("different", -0.5)))
    if one.sex and other.sex:
        yield _evidence("sex", *(("same", 0.9) if one.sex == other.sex else ("different", -4.0)))


def _documents(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Evidence]:
    mine, theirs = set(one.values()), set(other.values())
    if mine & theirs:
        yield _evidence("document", "same", 16.0)
    elif any(len(a) >= 6 and OSA.distance(a, b, score_cutoff=1) <= 1 for a in mine for b in theirs):
        yield _evidence("document", "one character differs", 9.0)
    elif any(one[path] != other[path] for path in one.keys() & other.keys()):
        yield _evidence("document", "different", -4.0)


def _surroundings(one: Features, other: Features) -> Iterator[Evidence]:
    if one.phones and other.phones:
        yield _evidence("phone", *(("same", 6.0) if one.phones & other.phones else ("different", -0.5)))
    if one.address and other.address:
        yield _evidence("address", *_overlap(one.address, other.address))
    if one.locality and other.locality:
        alike = closeness(" ".join(one.locality), " ".join(other.locality))
        yield _evidence("locality", *(("same", 2.5) if alike >= 0.9 else ("different", -1.0)))
    if one.postcode and other.postcode:
        yield _evidence("postcode", *_postcode(one.postcode, other.postcode))
    if one.area and other.area:
        yield _evidence("area", *(("same", 2.0) if one.area == other.area else ("different", -0.5)))
    if one.relatives and other.relatives:
        yield _evidence("relatives", *_in_common(one.relatives, other.relatives))


def _in_common(one: frozenset[str], other: frozenset[str]) -> tuple[str, float]:
    """One name of many is shared by chance where a few names are everybody's; a whole household is not."""
    common, fewer = len(one & other), min(len(one), len(other))
    if not common:
        return "0 in common", -0.5 if fewer < 3 else -1.5
    return f"{common} in common", round(min(2.0 * common, 6.0) * (common / fewer), 2)


def _postcode(one: str, other: str) -> tuple[str, float]:
    if one == other:
        return "same", 3.0
    if OSA.distance(one, other, score_cutoff=1) <= 1:
        return "one character differs", 1.5
    return "different", -1.0


def _overlap(one: frozenset[str], other: frozenset[str]) -> tuple[str, float]:
    found = sum(1.0 if word in other else max((closeness(word, each) >= 0.9) * 0.8 for each in other) for word in one)
    share = found / max(len(one), len(other))
    if share >= 0.75:
        return "same", 5.0
    if share >= 0.4:
        return "partly the same", 2.5
    return "different", -1.5


def _shared(around: list[Evidence]) -> list[Evidence]:
    """Cut what speaks for them down to what one household has in common anyway."""
    total = sum(each.bits for each in around if each.bits > 0)
    if total <= _HOUSEHOLD_MOST:
        return around
    share = _HOUSEHOLD_MOST / total
    return [_evidence(e.about, e.found, round(e.bits * share, 2) if e.bits > 0 else e.bits) for e in around]


def _best(one: Sequence[str], other: Sequence[str]) -> float:
    return max((closeness(a, b) for a in one for b in other), default=0.0)
