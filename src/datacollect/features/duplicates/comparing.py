"""Who is compared with whom, and what comes of it: the same for what has been stored and for what is about to be."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datacollect.db import Reading
from datacollect.features.duplicates import queries
from datacollect.features.entities.entity import Entity, Kind
from datacollect.features.entities.service import entities_by_guid, names_around
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.matching.features import Features, Role, features_of
from datacollect.matching.keys import blocking_keys
from datacollect.matching.roles import roles_of_keys
from datacollect.matching.scoring import Score, compare

RULES = 1
"""Of keys and features. Another number lets every program be looked at anew."""
MOST_IN_BLOCK = 60
"""A key that more have says too little to compare all of them."""
MOST_COMPARED = 40
"""With one entity: those it shares most keys with."""

Roles = Mapping[str, Mapping[str, Role]]
"""By the form's name, by the field's path."""


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
) -> Subject:
    """`at` is when the data was told: ages count from there."""
    own = roles.get(form or "") or roles_of_keys(data)
    year = datetime.fromtimestamp(at / 1000, UTC).year
    features = features_of(data, own, told_in=year, area=area or "", relatives=relatives)
    return Subject(guid, kind, form, features, changed_at)


async def subjects_among(
    view: Reading, scope: TenantScope, entities: Sequence[Entity], roles: Roles
) -> Sequence[Subject]:
    """People and households among the entities, as they are now; records are neither."""
    wanted = [entity for entity in entities if entity.is_live and entity.kind in (Kind.INDIVIDUAL, Kind.GROUP)]
    around = await names_around(
        view,
        scope,
        people={entity.guid for entity in wanted if entity.kind is Kind.INDIVIDUAL},
        groups={entity.guid for entity in wanted if entity.kind is Kind.GROUP},
    )
    return [
        subject_of(
            entity.guid,
            entity.kind or Kind.INDIVIDUAL,
            entity.entity_name,
            entity.data,
            roles,
            at=entity.last_updated,
            changed_at=entity.changed_position,
            area=entity.area_id,
            relatives=around.get(entity.guid, ()),
        )
        for entity in wanted
    ]


async def compare_all(
    view: Reading,
    scope: TenantScope,
    subjects: Sequence[Subject],
    keys: Mapping[str, Sequence[str]],
    roles: Roles,
    *,
    also: Mapping[str, Collection[str]] | None = None,
) -> Mapping[str, Sequence[tuple[Subject, Score]]]:
    """Each subject (by guid) beside those that share one of its `keys`, and with those it is to be compared
    with `also`. A constant number of statements."""
    blocks = await queries.sharing(view, scope, {key for own in keys.values() for key in own}, most=MOST_IN_BLOCK)
    chosen: dict[str, set[str]] = {}
    for subject in subjects:
        shared = Counter(guid for key in keys[subject.guid] for guid in blocks.get(key, ()))
        del shared[subject.guid]
        chosen[subject.guid] = {guid for guid, _ in shared.most_common(MOST_COMPARED)}
        chosen[subject.guid] |= set((also or {}).get(subject.guid, ()))
    known = {subject.guid: subject for subject in subjects}
    missing = {guid for guids in chosen.values() for guid in guids} - known.keys()
    if missing:
        others = await entities_by_guid(view, scope, missing)
        known |= {each.guid: each for each in await subjects_among(view, scope, others, roles)}
    return {
        subject.guid: [
            (other, compare(subject.features, other.features))
            for guid in chosen[subject.guid]
            if (other := known.get(guid)) is not None and subject.is_comparable(other)
        ]
        for subject in subjects
    }


def keys_of(subjects: Iterable[Subject]) -> dict[str, Sequence[str]]:
    """Blocking keys by guid. Each form has its own: nobody is compared across forms."""
    return {
        subject.guid: [f"{_sort(subject)}{key}"[:_LONGEST_KEY] for key in blocking_keys(subject.features)]
        for subject in subjects
    }


def _sort(subject: Subject) -> str:
    form = hashlib.sha256((subject.form or "").encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{subject.kind.value[0]}{form}"


_LONGEST_KEY = 120
