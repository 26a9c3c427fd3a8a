"""Who is compared with whom, and what comes of it: the same for what has been stored and for what is about to be."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
    wanted = [entity for entity in entities if entity.is_live and entity.kind in (Kind.INDIVIDUAL, Kind.GROUP)]
    around = await people_around(
        view,
        scope,
        people={entity.guid for entity in wanted if entity.kind is Kind.INDIVIDUAL},
        groups={entity.guid for entity in wanted if entity.kind is Kind.GROUP},
    )
    names = {one: _name_of(one, roles) for one in {one for each in around.values() for one in each.people}}
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
            relatives=[names[one] for one in found.people],
            groups=found.groups,
        )
        for entity in wanted
        for found in (around.get(entity.guid, Around()),)
    ]


@dataclass(frozen=True, slots=True)
class Chosen:
    """With whom somebody is compared, and what their names are worth in this register."""

    guids: Collection[str]
    worth: "_Worth"


async def choose(
    view: Reading,
    scope: TenantScope,
    keys: Keys,
    *,
    also: Mapping[str, Collection[str]] | None = None,
    are_stored: bool = True,
) -> Mapping[str, Chosen]:
    """For each who has keys (by guid) those who share one of them, and those it is to be compared with `also`. If the
    keys are about to be stored, and are not yet, those who have them share them as well. One statement."""
    blocks = await queries.sharing(view, scope, {key for own in keys.values() for key in own}, most=MOST_IN_BLOCK)
    if not are_stored:
        blocks = _with(blocks, keys)
    chosen = {}
    for guid, own in keys.items():
        shared = Counter(other for key in own if key in blocks for other in blocks[key].guids)
        del shared[guid]
        guids = {other for other, _ in shared.most_common(MOST_COMPARED)} | set((also or {}).get(guid, ()))
        chosen[guid] = Chosen(guids, _Worth.of(own, blocks))
    return chosen


def _with(blocks: Mapping[str, queries.Block], keys: Keys) -> Mapping[str, queries.Block]:
    """The blocks as they will be when the keys are stored."""
    joined: dict[str, list[str]] = {}
    for guid, own in keys.items():
        for key in own:
            block = blocks.get(key)
            if block is None or (block.guids and guid not in block.guids):
                joined.setdefault(key, []).append(guid)
    grown = {}
    for key, guids in joined.items():
        there = [*(blocks[key].guids if key in blocks else ()), *guids]
        grown[key] = queries.Block(there if len(there) <= MOST_IN_BLOCK else (), len(there))
    return {**blocks, **grown}


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
    chosen = (await choose(view, scope, keys_of([subject])))[subject.guid]
    others = await entities_by_guid(view, scope, chosen.guids) if chosen.guids else ()
    return scores_of(subject, chosen, {each.guid: each for each in await subjects_among(view, scope, others, roles)})


@dataclass(frozen=True, slots=True)
class _Worth:
    """What somebody's names are worth in this register: two of them, and a single one."""

    two: float
    single: float

    @classmethod
    def of(cls, keys: Iterable[str], blocks: Mapping[str, queries.Block]) -> "_Worth":
        """Two who share a key may be the pair itself: those beyond are counted."""
        found = {key: blocks[key].size for key in keys if key in blocks}
        two = [size for key, size in found.items() if key.startswith(NAMES, _SORT)]
        single = [size for key, size in found.items() if key.startswith(NAME_AND_YEAR, _SORT)]
        return cls(
            worth_of_names(min(two, default=0.0) - 2), worth_of_names(_BIRTH_YEARS * (max(single, default=0.0) - 2))
        )

    def beside(self, own: Subject, other: Subject) -> float:
        """Of whom only one word is known, no more than that word is compared."""
        return self.single if min(len(own.features.names), len(other.features.names)) < 2 else self.two


def keys_of(subjects: Iterable[Subject]) -> dict[str, Sequence[str]]:
    """Blocking keys by guid. Each form has its own: nobody is compared across forms."""
    return {
        subject.guid: [f"{_sort(subject)}{key}"[:_LONGEST_KEY] for key in blocking_keys(subject.features)]
        for subject in subjects
    }


def _sort(subject: Subject) -> str:
    form = hashlib.sha256((subject.form or "").encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{subject.kind.value[0]}{form}"


_SORT, _LONGEST_KEY = 9, 120
_BIRTH_YEARS = 40
"""Over which those who share a name are spread, about: most registers are of the young."""
