"""What order a list is in, where a page of it begins, and what it shows. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from datacollect.features.entities.finding.errors import InvalidListParameter
from datacollect.features.entities.finding.filters import Parameters, one
from datacollect.kernel.cursor import read_place, write_place

DEFAULT_LIMIT = 100
HIGHEST_LIMIT = 1000
MOST_LIST_BYTES = 16 * 1024 * 1024
"""Of the data of entities in one answer: a page ends with the one that reaches it, and the next one begins there."""
FURTHEST_OFFSET = 100_000
MOST_FIELDS = 100

_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})")
_FIELD = re.compile(
    r"(guid|id|name|entityName|type|externalId|data|memberIds|lastUpdated|data(\.[A-Za-z0-9_]{1,100}){1,10})"
)


class Sort(Enum):
    """What a list is ordered by; each is the order of an index, so that a page costs a page."""

    LAST_UPDATED = "lastUpdated"
    NAME = "name"
    ENTITY_NAME = "entityName"
    GUID = "guid"

    @property
    def columns(self) -> Sequence[str]:
        """The position in the log stands for the time: it never falls, and no two changes share one."""
        return _COLUMNS[self]


_COLUMNS = {
    Sort.LAST_UPDATED: ("changed_position", "guid"),
    Sort.NAME: ("sort_name", "guid"),
    Sort.ENTITY_NAME: ("form_key", "changed_position", "guid"),
    Sort.GUID: ("guid",),
}


@dataclass(frozen=True, slots=True)
class Order:
    sort: Sort
    descending: bool = False

    @property
    def is_by_change(self) -> bool:
        """Whether where entities were last changed has a part in it."""
        return "changed_position" in self.sort.columns

    @property
    def text(self) -> str:
        return f"-{self.sort.value}" if self.descending else self.sort.value


NEWEST: Final = Order(Sort.LAST_UPDATED, descending=True)
BY_GUID: Final = Order(Sort.GUID)

Key = tuple[str | int, ...]
"""Where an entity stands in an order: the values of its columns."""


class Total(Enum):
    """Whether a list says how many entities it is a part of."""

    CHEAP = ""
    """If that is known, or soon counted."""
    EXACT = "exact"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PageWanted:
    """A stretch of a list."""

    limit: int
    order: Order = NEWEST
    after: Key | None = None
    offset: int = 0
    total: Total = Total.CHEAP
    fields: tuple[str, ...] | None = None
    """None: all of the entity."""

    def shows(self, member: str) -> bool:
        """Whether a member of entities, or something in it, is shown."""
        return self.fields is None or any(name.partition(".")[0] == member for name in self.fields)


def read_page(query: Parameters) -> PageWanted:
    """The page among a request's parameters. Raises `InvalidListParameter`."""
    order = _read_order(one(query, "sort"))
    cursor, offset = one(query, "cursor"), _read_offset(one(query, "offset"))
    if cursor and offset:
        raise InvalidListParameter("offset", "cannot be given together with a cursor")
    after = read_cursor(cursor, order) if cursor else None
    return PageWanted(
        lenient_limit((query.get("limit") or [""])[0]),
        order,
        after,
        offset,
        _read_total(one(query, "count"), first=after is None),
        read_fields(one(query, "fields")),
    )


def lenient_limit(text: str) -> int:
    """As lenient as the contract is: what is not a positive number is the default."""
    number = _NUMBER.match(text)
    wanted = int(number[1]) if number else 0
    return min(wanted, HIGHEST_LIMIT) if wanted > 0 else DEFAULT_LIMIT


def write_cursor(order: Order, key: Key) -> str:
    return write_place([order.text, *key])


def read_cursor(text: str, order: Order) -> Key:
    """Where the page before ended. Raises `InvalidListParameter` for what is not a cursor of that order."""
    try:
        sort, *key = read_place(text)
    except ValueError:
        raise InvalidListParameter("cursor", "must be sent as it was delivered") from None
    kinds = [int if column == "changed_position" else str for column in order.sort.columns]
    if sort != order.text or [type(value) for value in key] != kinds or not all(map(_is_storable, key)):
        raise InvalidListParameter("cursor", "belongs to a list in another order")
    return tuple(key)


def _is_storable(value: str | int) -> bool:
    return "\0" not in value if isinstance(value, str) else abs(value) < 1 << 63


def read_fields(text: str) -> tuple[str, ...] | None:
    """The names in a list such as `guid,name,data.age`. Raises `InvalidListParameter`."""
    if not text:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if len(names) > MOST_FIELDS:
        raise InvalidListParameter("fields", f"may name at most {MOST_FIELDS} fields")
    for name in names:
        if not _FIELD.fullmatch(name):
            raise InvalidListParameter(
                "fields", "must name members of an entity (guid, name, …), or of its data as data.<field>"
            )
    return names


def _read_order(text: str) -> Order:
    if not text:
        return NEWEST
    try:
        return Order(Sort(text.removeprefix("-")), descending=text.startswith("-"))
    except ValueError:
        known = ", ".join(sort.value for sort in Sort)
        raise InvalidListParameter("sort", f"must be one of {known}, with - in front for falling order") from None


def _read_offset(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidListParameter("offset", "must be a whole number")
    if text and int(text) > FURTHEST_OFFSET:
        raise InvalidListParameter("offset", f"must be at most {FURTHEST_OFFSET}; further on use `cursor`")
    return int(text or 0)


def _read_total(text: str, *, first: bool) -> Total:
    try:
        return Total(text) if text or first else Total.NONE
    except ValueError:
        raise InvalidListParameter("count", "must be exact or none") from None
