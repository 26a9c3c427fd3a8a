"""Who holds a value: people and groups by an exact value of a field, whether the search index knows it or not.

The statements are as many, whoever is there or not. What they give need not hold the value: that is for the caller to
see, who knows what an equal value is. They spare the hub most of the entities.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from datacollect.db import Database, Reading
from datacollect.features.entities.finding.errors import SearchTooSlow
from datacollect.features.entities.indexing.queries import TERMS, read_index
from datacollect.features.entities.indexing.terms import IDENTIFIERS, WORDS, identifier_key
from datacollect.features.entities.indexing.values import LONGEST_KEY, key_of
from datacollect.features.entities.listings import LISTED
from datacollect.features.entities.rows import json_text
from datacollect.kernel.errors import TookTooLong
from datacollect.kernel.identity import TenantScope

MOST_HOLDERS = 20
"""Of one value, without regard to case: with so many, nobody can say who holds it."""

_MOST_TEXTS = 200
"""Where no index helps: entities that hold the text somewhere. The same holds for so many of them."""

_MOST_BYTES = 32 * 1024 * 1024
"""And for so much, as data of entities."""

_ATTEMPTS = 3

_MOST_NEW = 2_000
"""Changes that the index is behind by, and that are looked through without waiting for a turn."""

_Data = Mapping[str, str]
"""Data as JSON, by guid."""

_BY_INDEX = {
    "postgresql": f"""
SELECT asked.number, found.guid, found.data
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS asked (field, term, number)
CROSS JOIN LATERAL (
  SELECT e.guid, e.data::text AS data FROM {TERMS} t
  CROSS JOIN LATERAL (
    SELECT guid, data FROM entities WHERE tenant_id = $1 AND guid = t.guid AND NOT deleted AND type <> 'record' OFFSET 0) e
  WHERE t.tenant_id = $1 AND t.field = asked.field AND t.term = asked.term LIMIT $4) found""",
    "sqlite": f"""
SELECT asked.key, e.guid, e.data FROM json_each(?2) AS asked
CROSS JOIN entities e ON e.tenant_id = ?1 AND e.guid IN (
  SELECT t.guid FROM {TERMS} t
  CROSS JOIN entities h ON h.tenant_id = ?1 AND h.guid = t.guid AND h.deleted = 0 AND h.type <> 'record'
  WHERE t.tenant_id = ?1 AND t.field = asked.value ->> 0 AND t.term = asked.value ->> 1 LIMIT ?3)""",
}
_HOLDS = {
    "postgresql": """NOT e.deleted AND e.type <> 'record' AND EXISTS (
  SELECT 1 FROM unnest($2::text[]) AS asked (text) WHERE strpos(lower(e.data::text COLLATE "C"), asked.text) > 0)
LIMIT $3""",
    "sqlite": """e.deleted = 0 AND e.type <> 'record' AND EXISTS (
  SELECT 1 FROM json_each(?2) AS asked WHERE instr(lower(e.data), asked.value) > 0)
LIMIT ?3""",
}
_BY_TEXT = {
    "postgresql": f"""
SELECT e.guid, e.data::text AS data FROM entities e WHERE e.tenant_id = $1 AND {_HOLDS["postgresql"]}""",
    "sqlite": f"""
SELECT e.guid, e.data FROM entities e WHERE e.tenant_id = ?1 AND {_HOLDS["sqlite"]}""",
}
_NEW_BY_TEXT = {
    "postgresql": f"""
SELECT e.guid, e.data::text AS data FROM {LISTED["postgresql"]}
WHERE l.tenant_id = $1 AND l.position > $4 AND {_HOLDS["postgresql"]}""",
    "sqlite": f"""
SELECT e.guid, e.data FROM {LISTED["sqlite"]} WHERE l.tenant_id = ?1 AND l.position > ?4 AND {_HOLDS["sqlite"]}""",
}
"""Where no index knows the field, or the entities that are new: they are gone through for what holds the text anywhere."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A value, and the field that holds it; of `identifiers`, `type` says which of the items. For `WORDS`, a word of any
    searchable field: who has it is found where an index helps, unless they are many."""

    field: str
    value: str
    type: str = ""

    @property
    def is_word(self) -> bool:
        return self.field == WORDS

    @property
    def term(self) -> str | None:
        if self.is_word:
            return self.value
        return identifier_key(self.type, self.value) if self.field == IDENTIFIERS else key_of(self.value)

    @property
    def is_askable(self) -> bool:
        """Whether a record can hold it at all. A database takes no NUL, and half a character is none."""
        return 0 < len(self.value) <= LONGEST_KEY and self.value.isprintable()


@dataclass(frozen=True, slots=True)
class Found:
    """An entity that may hold what is sought."""

    guid: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Registers:
    """Where people are looked for: the database, how long that may take, and turns for what goes through a program."""

    database: Database
    seconds: float
    turns: asyncio.Semaphore


async def may_hold(registers: Registers, scope: TenantScope, sought: Sequence[Sought]) -> Sequence[Found]:
    """People and groups that exist, among them all who hold one of the values; none at all if those of one value are many.

    Some of them would be worse than none: one of two who hold a value would be taken for the only one. Raises `SearchTooSlow` where no index helps and the program is large.
    """
    asked = [one for one in sought if one.is_askable]
    for _ in range(_ATTEMPTS):
        async with registers.database.reading(scope) as view:
            index = await read_index(view, scope)
            if not all(one.is_word or index.has(one.field) for one in sought):
                break
            held = await _by_index(view, scope, asked)
            new: _Data | None = {}
            if index.beyond is not None and index.behind <= _MOST_NEW:
                new = await _by_text(view, scope, asked, behind=index.beyond)
            is_same = index.tells_as(await read_index(view, scope))
        if is_same and index.beyond is not None and index.behind > _MOST_NEW:
            new = await _gone_through(registers, scope, asked, behind=index.beyond)
        if is_same:
            return _found(held, new)
    return _found(await _gone_through(registers, scope, asked))


async def _gone_through(
    registers: Registers, scope: TenantScope, asked: Sequence[Sought], *, behind: int | None = None
) -> _Data | None:
    """As `_by_text`, for what may be many: in one of few turns, and not for long."""
    try:
        async with asyncio.timeout(registers.seconds):
            await registers.turns.acquire()
    except TimeoutError:
        raise SearchTooSlow() from None
    try:
        async with registers.database.reading(scope, seconds=registers.seconds) as view:
            return await _by_text(view, scope, asked, behind=behind)
    except TookTooLong:
        raise SearchTooSlow() from None
    finally:
        registers.turns.release()


async def _by_index(view: Reading, scope: TenantScope, asked: Sequence[Sought]) -> _Data | None:
    """As `_by_text`, of those that the index finds."""
    fields = [one.field for one in asked]
    terms = [one.term or "" for one in asked]
    wanted = [json_text(list(zip(fields, terms, strict=True)))] if view.dialect == "sqlite" else [fields, terms]
    rows, is_cut = await view.fetch_portion(
        _BY_INDEX[view.dialect], scope.tenant_id, *wanted, MOST_HOLDERS, texts=("data",), most_bytes=_MOST_BYTES
    )
    first = 0 if view.dialect == "sqlite" else 1
    many = {number for number, count in Counter(row[0] for row in rows).items() if count == MOST_HOLDERS}
    if is_cut or not all(asked[number - first].is_word for number in many):
        return None
    return {row[1]: row[2] for row in rows if row[0] not in many}


async def _by_text(view: Reading, scope: TenantScope, asked: Sequence[Sought], *, behind: int | None) -> _Data | None:
    """Those that hold one of the texts somewhere, and were last changed behind a position; None if they are many."""
    texts: Any = list(dict.fromkeys(_as_in_json(one.value) for one in asked if not one.is_word))
    if view.dialect == "sqlite":
        texts = json_text(texts)
    statement, position = (_BY_TEXT, []) if behind is None else (_NEW_BY_TEXT, [behind])
    rows, is_cut = await view.fetch_portion(
        statement[view.dialect], scope.tenant_id, texts, _MOST_TEXTS, *position, texts=("data",), most_bytes=_MOST_BYTES
    )
    return None if is_cut or len(rows) == _MOST_TEXTS else {row[0]: row[1] for row in rows}


def _as_in_json(text: str) -> str:
    """As the databases write it inside of JSON, and with ASCII letters in lower case, as they do."""
    written = msgspec.json.encode(text).decode()[1:-1]
    return "".join(letter.lower() if letter.isascii() else letter for letter in written)


def _found(*parts: _Data | None) -> Sequence[Found]:
    if None in parts:
        return ()
    data = {guid: text for part in parts if part is not None for guid, text in part.items()}
    return [Found(guid, msgspec.json.decode(text)) for guid, text in data.items()]
