"""The records a program starts with, and the events that bring them into being. Source: the contract's programs, 3.2.

Forms on top come first, then those below them, parents before children. Each record is a create event, and a member of
a group also an `add-member`. Guids are derived, so a second upload finds them in the log and adds only what is new.

Data whose name matches no form: the contract's text says it is skipped, but the recorded traffic of the public server
shows it delivered as `create-individual` with its `entityName` (exchanges 16 and 39: an area list that forms choose
from). We follow the recording, because skipping would lose data the uploader meant; the upload's answer says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from datacollect.eventstore.event import Event
from datacollect.eventstore.integrity import hash_event
from datacollect.eventstore.log import Appended
from datacollect.eventstore.store import HeldEvent
from datacollect.features.tenants.model import EntityType, FormKind, classify, levels
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId, derived_guid

SEEDER = "admin"
"""The `userId` of seed events."""

AT_ONCE = 1_000
"""As many events at most are seeded in the transaction that stores the program."""

BATCH_RECORDS = 50
BATCH_CHARACTERS = 128 * 1024
"""What a job seeds in one transaction. See docs/decisions/0032 for the measurement."""

MOST_REJECTIONS = 20
"""As many are told one by one; the others are counted."""

_FORMLESS = FormKind("individual", parent_is_group=False)


class SeedRecord(msgspec.Struct, frozen=True, array_like=True):
    """One record with what its form means, so that it can be seeded later, whatever becomes of the config."""

    form: str
    type: EntityType
    joins: bool
    """Whether it becomes a member of its parent."""
    name: str
    """The display name."""
    item: dict[str, Any]
    """As it stands in the config."""

    @property
    def events(self) -> int:
        return 2 if self.joins else 1


class Batch(NamedTuple):
    """Records that are seeded together, as they are stored until then."""

    text: str
    records: int
    events: int


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """All that is to be seeded, in order."""

    batches: Sequence[Batch] = ()

    @property
    def records(self) -> int:
        return sum(batch.records for batch in self.batches)

    @property
    def events(self) -> int:
        return sum(batch.events for batch in self.batches)


class Rejected(msgspec.Struct, frozen=True, rename="camel"):
    """An event of a record that could not be applied, and why."""

    type: str
    entity_guid: str
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of records. Each is counted once, under the first of these that is true of any of its events."""

    rejected: int = 0
    changed: int = 0
    """Held, but with other content: the log keeps what it holds."""
    added: int = 0
    existing: int = 0
    rejections: Sequence[Rejected] = ()
    """The first ones, at most one for each record."""

    @property
    def done(self) -> int:
        return self.rejected + self.changed + self.added + self.existing

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.rejected + other.rejected,
            self.changed + other.changed,
            self.added + other.added,
            self.existing + other.existing,
            (*self.rejections, *other.rejections)[:MOST_REJECTIONS],
        )


@dataclass(frozen=True, slots=True)
class Seeding:
    """How far a program's latest seeding is."""

    total: int
    """Records; `tally` says what became of how many."""
    tally: Tally
    next_at: Millis
    """The time of the next event."""
    started_at: Millis
    finished_at: Millis | None

    @property
    def is_under_way(self) -> bool:
        return self.finished_at is None


def seed_records(forms: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]]) -> Iterator[SeedRecord]:
    """The records in the order in which they are seeded."""
    kinds, depth = classify(forms), levels(forms)
    name_fields = {form["name"]: form.get("nameField") or None for form in forms}
    for group in sorted(seeds, key=lambda group: depth.get(group["name"], 0)):
        form = group["name"]
        kind = kinds.get(form, _FORMLESS)
        has_members = kind.parent_is_group and kind.category == "entity"
        for item in group["data"]:
            joins = has_members and bool(item.get("parentId"))
            yield SeedRecord(form, kind.entity_type, joins, _display_name(item, name_fields.get(form)), item)


def plan_of(
    records: Iterable[SeedRecord],
    *,
    most_records: int = BATCH_RECORDS,
    most_characters: int = BATCH_CHARACTERS,
    pause: Callable[[], None] = lambda: None,
) -> SeedPlan:
    """Put records into batches; `pause` is called after each one."""
    batches: list[Batch] = []
    texts: list[str] = []
    events = characters = 0

    def close() -> None:
        batches.append(Batch(f"[{','.join(texts)}]", len(texts), events))
        pause()

    for record in records:
        text = _encoder.encode(record).decode()
        if texts and (len(texts) >= most_records or characters + len(text) > most_characters):
            close()
            texts, events, characters = [], 0, 0
        texts.append(text)
        events += record.events
        characters += len(text)
    if texts:
        close()
    return SeedPlan(batches)


def records_of(text: str) -> list[SeedRecord]:
    """The records of a batch."""
    return _decoder.decode(text)


class Draft(NamedTuple):
    """A seed event that has no time yet, and the index of its record."""

    record: int
    guid: str
    entity_guid: str
    type: str
    data: dict[str, Any]

    def at(self, occurred_at: Millis) -> Event:
        return Event(self.guid, self.entity_guid, self.type, self.data, occurred_at, SEEDER)


def drafts_of(tenant_id: TenantId, records: Sequence[SeedRecord]) -> list[Draft]:
    return [draft for index, record in enumerate(records) for draft in _drafts(tenant_id, index, record)]


def first_moment(events: int, *, now: Millis, not_before: Millis) -> Millis:
    """When the first of so many events is said to have happened: so that the last one is at `now`.

    Each has a millisecond of its own, because a v1 device comes back with a plain timestamp and gets all events from
    the first one of that time on again. That is also why none gets one that earlier seeds of the program had.
    """
    return Millis(max(now - events + 1, not_before))


def fresh_events(drafts: Sequence[Draft], held: Mapping[str, HeldEvent], first: Millis) -> list[Event]:
    """The events the log does not hold, at one millisecond after the other. What it holds takes no time away.

    Of a record that it holds otherwise nothing is fresh: under another parent it would be in the household of both.
    """
    other = {draft.record for draft in drafts if draft.guid in held and not _is_same(draft, held[draft.guid])}
    fresh = [draft for draft in drafts if draft.guid not in held and draft.record not in other]
    return [draft.at(Millis(first + index)) for index, draft in enumerate(fresh)]


def tally(drafts: Sequence[Draft], held: Mapping[str, HeldEvent], appended: Appended | None) -> Tally:
    """What became of each record."""
    refused = {rejection.event.guid: rejection for rejection in appended.rejections} if appended else {}
    fate: dict[int, int] = {}
    told: dict[int, Rejected] = {}
    for draft in drafts:
        if draft.guid in refused:
            now = _REJECTED
            told.setdefault(draft.record, _told(draft, refused[draft.guid].reason.message))
        elif draft.guid not in held:
            now = _ADDED
        else:
            now = _EXISTING if _is_same(draft, held[draft.guid]) else _CHANGED
        fate[draft.record] = min(now, fate.get(draft.record, now))
    fates = list(fate.values())
    return Tally(
        fates.count(_REJECTED),
        fates.count(_CHANGED),
        fates.count(_ADDED),
        fates.count(_EXISTING),
        tuple(told.values())[:MOST_REJECTIONS],
    )


def seeding_warnings(told: Tally) -> Iterator[str]:
    """What of a seeding its uploader should know, in the words the contract begins them with."""
    for one in told.rejections:
        yield (
            "Program saved, but starting its runtime instance failed: "
            f'{one.type} of seed "{one.entity_guid}": {one.message}'
        )
    if told.rejected > len(told.rejections):
        yield f"{told.rejected - len(told.rejections)} more seeds could not be applied"
    if told.changed:
        yield f"{told.changed} seeds were seeded before with other content; what is there stays as it is"


_REJECTED, _CHANGED, _ADDED, _EXISTING = range(4)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[SeedRecord])


def _display_name(item: Mapping[str, Any], name_field: str | None) -> str:
    """By the form's `nameField` if the item has a text there; else its name, else its id."""
    named = item.get(name_field) if name_field else None
    return named if named and isinstance(named, str) else item["name"] or item["id"]


def _drafts(tenant_id: TenantId, index: int, record: SeedRecord) -> Iterator[Draft]:
    item = record.item
    guid, parent = item["id"], item.get("parentId")
    data = {**item, "entityName": record.form, "name": record.name}
    if parent:
        # Where v1 devices look for the parent.
        data.setdefault("parentGuid", parent)
    yield Draft(index, derived_guid(tenant_id, "seed", guid), guid, f"create-{record.type}", data)
    if record.joins and parent:
        member = {"guid": guid, "name": record.name, "type": record.type}
        joining = derived_guid(tenant_id, f"seed-member-{parent}", guid)
        yield Draft(index, joining, parent, "add-member", {"members": [member]})


def _is_same(draft: Draft, held: HeldEvent) -> bool:
    return hash_event(draft.at(held.occurred_at)).content == held.content_hash


def _told(draft: Draft, message: str) -> Rejected:
    return Rejected(draft.type, draft.entity_guid, message)
