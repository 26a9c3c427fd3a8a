"""Who is compared with whom, and what comes of it: the same for what has been stored and for what is about to be."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from datacollect.db import Reading
from datacollect.features.duplicates import queries
from datacollect.features.entities.entity import Entity, Kind, default_name
from datacollect.features.entities.service import Around, Called, entities_by_guid, people_around
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.matching.features import Features, Role, features_of, name_in
from datacollect.matching.keys import NAME_AND_YEAR, NAMES, blocking_keys
from datacollect.matching.roles import roles_of_keys
from datacollect.matching.scoring import Score, compare, worth_of_names

RULES = 2
"""Of keys and features. Another number lets every program be looked at anew."""
MOST_IN_BLOCK = 60
"""A key that more have says too little to compare all of them."""
MOST_COMPARED = 15
"""With one entity: those it shares most keys with. Of made-up people (`datacollect.testing.people`), 200,000 of whom 30,000 were
registered before, nine came later in that order than those who were somebody else."""

Roles = Mapping[str, Mapping[str, Role]]
"""By the form's name, by the field's path."""
Keys = Mapping[str, Sequence[str]]
"""Blocking keys by guid."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be compared."""

    guid: str
    kind: Kind
    form: str | None
    features: Features
    changed_at: int
    """The position of its last change."""

    def is_comparable(self, other: "Subject") -> bool:
        """People with people, households with households, and each with those of its form."""
        return self.guid != other.guid and self.kind is other.kind and self.form == other.form


def subject_of(
    guid: str,
    kind: Kind,
    form: str | None,
    data: Mapping[str, Any],
    roles: Roles,
    *,
    at: Millis,
    changed_at: int = 0,
    area: str | None = None,
    relatives: Iterable[str] = (),
    groups: Iterable[str] = (),
) -> Subject:
    """`at` is when the data was told: ages count from there."""
    year = datetime.fromtimestamp(at / 1000, UTC).year
    if data.get("name") == default_name(kind, data):
        # What the hub calls those who have not told their name is no name.
        data = {name: value for name, value in data.items() if name != "name"}
    features = features_of(
        data,
        _roles_for(form, data, roles),
        told_in=year,
        area=area or "",
        relatives=relatives,
        groups=groups,
    )
    return Subject(guid, kind, form, features, changed_at)


def _roles_for(form: str | None, data: Mapping[str, Any], roles: Roles) -> Mapping[str, Role]:
    return roles.get(form or "") or roles_of_keys(data)


def _told_at(entity: Entity, roles: Roles) -> Millis:
    """When somebody's age was told, which may be long before they were last heard of; without an age it does not matter."""
    own = _roles_for(entity.entity_name, entity.data, roles)
    ages = {path.partition(".")[0] for path, role in own.items() if role is Role.AGE} & entity.data.keys()
    told = max((entity.stamp_of_field(field).time for field in ages), default=0)
    return Millis(told) if told > 0 else entity.last_updated


def _name_of(one: Called, roles: Roles) -> str:
    if one.data is None:
        return one.name
    told = {name: value for name, value in one.data.items() if name != "name"}
    return name_in(told, _roles_for(one.form, told, roles))


async def subjects_among(
    view: Reading, scope: TenantScope, entities: Sequence[Entity], roles: Roles
) -> Sequence[Subject]:
    """People and households among the entities, as they are now; records are neither."""
    return subjects_of(entities, await around_them(view, scope, entities), roles)


async def around_them(view: Reading, scope: TenantScope, entities: Sequence[Entity]) -> Mapping[str, Around]:
    """Whom they live with, by guid. Two statements at most."""
    wanted = [entity for entity in entities if entity.is_live]
    return await people_around(
        view,
        scope,
        people={entity.guid for entity in wanted if entity.kind is Kind.INDIVIDUAL},
        groups={entity.guid for entity in wanted if entity.kind is Kind.GROUP},
    )


def subjects_of(entities: Sequence[Entity], around: Mapping[str, Around], roles: Roles) -> Sequence[Subject]:
    return [
        subject_of(
            entity.guid,
            entity.kind or Kind.INDIVIDUAL,
            entity.entity_name,
            entity.data,
            roles,
            at=_told_at(entity, roles),
            changed_at=entity.changed_position,
            area=entity.area_id,
            relatives=[_name_of(one, roles) for one in found.people],
            groups=found.groups,
        )
        for entity in entities
        if entity.is_live and entity.kind in (Kind.INDIVIDUAL, Kind.GROUP)
        for found in (around.get(entity.guid) or Around(),)
    ]


@dataclass(frozen=True, slots=True)
class Chosen:
    """With whom somebody is compared, and what their names are worth in this register."""

    guids: Collection[str]
    worth: "_Worth"


class Blocks:
    """Who shares each key: those who have it, and those who are about to."""

    def __init__(self, stored: Mapping[str, queries.Shared], soon: Keys) -> None:
        self._stored = stored
        self._soon: dict[str, list[str]] = {}
        self._found: dict[str, queries.Block | None] = {}
        for guid, own in soon.items():
            for key in own:
                self._soon.setdefault(key, []).append(guid)

    def of(self, key: str) -> queries.Block | None:
        if key not in self._found:
            stored = self._stored.get(key)
            block = None if stored is None else queries.block_of(stored, most=MOST_IN_BLOCK)
            self._found[key] = _joined(block, self._soon.get(key, ()))
        return self._found[key]


def _joined(block: queries.Block | None, soon: Sequence[str]) -> queries.Block | None:
    """The block as it will be."""
    if block is not None and not block.guids:
        return block
    there = () if block is None else block.guids
    new = [guid for guid in soon if guid not in there]
    if not new:
        return block
    grown = [*there, *new]
    return queries.Block(grown if len(grown) <= MOST_IN_BLOCK else (), len(grown))


async def blocks_of(view: Reading, scope: TenantScope, keys: Keys, *, are_stored: bool = True) -> Blocks:
    """Who shares these keys (by guid). If they are about to be stored, and are not yet, those who have them share them as
    well. One statement."""
    stored = await queries.sharing(view, scope, {key for own in keys.values() for key in own}, most=MOST_IN_BLOCK)
    return Blocks(stored, {} if are_stored else keys)


def choose(guid: str, own: Sequence[str], blocks: Blocks, *, also: Collection[str] = ()) -> Chosen:
    """Those who share most of somebody's `own` keys, and those it is to be compared with `also`."""
    found = [(key, block) for key in own if (block := blocks.of(key)) is not None]
    shared = Counter(chain.from_iterable(block.guids for _, block in found))
    del shared[guid]
    guids = {other for other, _ in shared.most_common(MOST_COMPARED)}.union(also)
    return Chosen(guids, _Worth.of(dict(found)))


def scores_of(subject: Subject, chosen: Chosen, known: Mapping[str, Subject]) -> Sequence[tuple[Subject, Score]]:
    """The subject beside those of its chosen ones that are known, by guid, and can be compared with it."""
    return [
        (other, compare(subject.features, other.features, names_most=chosen.worth.beside(subject, other)))
        for guid in chosen.guids
        if (other := known.get(guid)) is not None and subject.is_comparable(other)
    ]


async def compare_one(
    view: Reading, scope: TenantScope, subject: Subject, roles: Roles
) -> Sequence[tuple[Subject, Score]]:
    """Somebody who is not stored beside those who share a key. A constant number of statements."""
    keys = keys_of([subject])
    chosen = choose(subject.guid, keys[subject.guid], await blocks_of(view, scope, keys))
    others = await entities_by_guid(view, scope, chosen.guids) if chosen.guids else ()
    return scores_of(subject, chosen, {each.guid: each for each in await subjects_among(view, scope, others, roles)})


@dataclass(frozen=True, slots=True)
class _Worth:
    """What somebody's names are worth in this register: two of them, and a single one."""

    two: float
    single: float

    @classmethod
    def of(cls, blocks: Mapping[str, queries.Block]) -> "_Worth":
        """By somebody's keys. Two who share one may be the pair itself: those beyond are counted."""
        two = [block.size for key, block in blocks.items() if key.startswith(NAMES, _SORT)]
        single = [block.size for key, block in blocks.items() if key.startswith(NAME_AND_YEAR, _SORT)]
        return cls(
            worth_of_names(min(two, default=0.0) - 2), worth_of_names(_BIRTH_YEARS * (max(single, default=0.0) - 2))
        )

    def beside(self, own: Subject, other: Subject) -> float:
        """Of whom only one word is known, no more than that word is compared."""
        return self.single if min(len(own.features.names), len(other.features.names)) < 2 else self.two


def keys_of(subjects: Iterable[Subject]) -> dict[str, Sequence[str]]:
    """Blocking keys by guid. Each form has its own: nobody is compared across forms."""
    return {
        subject.guid: [f"{sort}{key}"[:_LONGEST_KEY] for key in blocking_keys(subject.features)]
        for subject in subjects
        for sort in (f"{subject.kind.value[0]}{_digest_of(subject.form or '')}",)
    }


@lru_cache(maxsize=64)
def _digest_of(form: str) -> str:
    return hashlib.sha256(form.encode(errors="surrogatepass")).hexdigest()[:8]


_SORT, _LONGEST_KEY = 9, 120
_BIRTH_YEARS = 40
"""Over which those who share a name are spread, about: most registers are of the young."""
