"""What must hold when a schedule has come to rest. Each law looks at the evidence and tells what contradicts it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import Head, StoredEvent
from datacollect.features.entities.entity import Membership
from datacollect.features.entities.model import apply
from datacollect.features.entities.projection import form_of
from datacollect.features.entities.rows import load
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import Touched, touched
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.testing.devices import Generation
from datacollect.testing.simulation.schedule import DeviceSpec
from datacollect.testing.simulation.world import DEFAULT_PAGE, MOST_EVENTS, Breach, Participant, World


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is left when a schedule is over."""

    world: World
    log: Sequence[StoredEvent]
    head: Head
    stored: States
    rebuilt: States

    def due_to(self, _spec: DeviceSpec) -> Sequence[StoredEvent]:
        """The events a device must have been delivered, in order. Limited devices will have their own."""
        return self.log


_WRITES = frozenset({"create-individual", "update-individual"})

Law = Callable[[Evidence], Iterator[str]]


async def gather_evidence(world: World) -> Evidence:
    scope = system_scope(world.tenant.id)
    store = world.cores[0].store
    log = await store.read_rows(world.view, scope, after=0, limit=MOST_EVENTS)
    head = await store.head(world.view, scope)
    stored = await _stored_states(world.view, scope)
    assert head is not None
    return Evidence(world, log, head, stored, _replay((row.body for row in log), log))


def broken_laws(evidence: Evidence) -> list[Breach]:
    return [Breach(name, text) for name, law in LAWS.items() for text in law(evidence)]


async def _stored_states(view: Reading, scope: TenantScope) -> States:
    """Every entity and membership of the tenant."""
    mark = "?" if view.dialect == "sqlite" else "$1"
    entities = await view.fetch(f"SELECT guid FROM entities WHERE tenant_id = {mark}", scope.tenant_id)
    pairs = await view.fetch(f"SELECT group_guid, member_guid FROM members WHERE tenant_id = {mark}", scope.tenant_id)
    needed = Touched(guids={row[0] for row in entities}, pairs={(row[0], row[1]) for row in pairs})
    # Loading only reads, so a view will do.
    return await load(cast(Tx, view), scope, needed)


def _replay(bodies: Iterable[str], log: Sequence[StoredEvent]) -> States:
    """What the pure functions make of events in that order, each recorded when the hub recorded it."""
    rows = {row.guid: row for row in log}
    states = States()
    for position, body in enumerate(bodies, 1):
        event = event_from_body(body)
        row = rows[event.guid]
        states.accept(apply(states, event, Context(position, row.recorded_at, row.origin)))
    return states


# -- the laws


def _no_skip(evidence: Evidence) -> Iterator[str]:
    """Every event in the log has been delivered to every device it is due to."""
    for participant in evidence.world.participants:
        missing = [row for row in evidence.due_to(participant.spec) if row.body not in participant.received]
        if missing:
            listed = "; ".join(_describe(row) for row in missing[:3])
            yield f"{participant.name} was never delivered {len(missing)} of {len(evidence.log)} events: {listed}"


def _one_order(evidence: Evidence) -> Iterator[str]:
    """First deliveries come in the log's order, on every device."""
    positions = {row.body: row.position for row in evidence.log}
    for participant in evidence.world.participants:
        order = [positions[body] for body in participant.received if body in positions]
        if order != sorted(order):
            yield f"{participant.name} was delivered the positions {order} in this order"


def _isolation(evidence: Evidence) -> Iterator[str]:
    """Nothing of another tenant reaches a device. All tenants use the same guids, so that mixing them shows."""
    mine = {row.body for row in evidence.log}
    for participant in evidence.world.participants:
        foreign = [body for body in participant.received if body not in mine]
        if foreign:
            yield f"{participant.name} was delivered {len(foreign)} texts that are not in the log: {foreign[0]}"
    mark = f'"program":"{evidence.world.tenant.id}"'
    for row in evidence.log:
        if mark not in row.body:
            yield f"the log holds an event of another tenant: {row.body}"


def _once(evidence: Evidence) -> Iterator[str]:
    """The log holds each event once, at dense positions, and the head describes its end."""
    guids = Counter(row.guid for row in evidence.log)
    twice = [guid for guid, count in guids.items() if count > 1]
    if twice:
        yield f"the log holds {twice} more than once"
    positions = [row.position for row in evidence.log]
    if positions != list(range(1, len(positions) + 1)) or evidence.head.position != len(positions):
        yield f"the log's positions are {positions}, its head is at {evidence.head.position}"
    recorded = [row.recorded_at for row in evidence.log]
    if recorded != sorted(recorded):
        yield f"the times of recording fall: {recorded}"


def _rebuild(evidence: Evidence) -> Iterator[str]:
    """Stored states are those that the log gives: data, versions, stamps, memberships and counts."""
    stored, rebuilt = evidence.stored, evidence.rebuilt
    yield from _differences("the hub's entity", stored.entities, rebuilt.entities)
    yield from _differences("the hub's membership", _memberships(stored), _memberships(rebuilt))
    counts = Counter(form for entity in rebuilt.entities.values() if (form := form_of(entity)))
    if dict(evidence.head.figures) != dict(counts):
        yield f"the hub counts {dict(evidence.head.figures)}, the log gives {dict(counts)}"


def _last_writer(evidence: Evidence) -> Iterator[str]:
    """Each field has the value that was written last: by the devices' clocks, as far as they are not ahead of the hub.

    Reckoned here anew, so that the rule itself is tested and not only its being kept. Where groups and deletes come in
    it is more than this, and left to the tests of the model.
    """
    written: dict[str, dict[str, tuple[tuple[int, int], Any]]] = {}
    beyond: set[str] = set()
    for row in evidence.log:
        event = event_from_body(row.body)
        if event.type not in _WRITES:
            beyond |= touched([event]).guids
            continue
        stamp = (min(row.occurred_at, row.recorded_at), row.position)
        fields_of = written.setdefault(event.entity_guid, {})
        for name, value in event.data.items():
            fields_of[name] = max(fields_of.get(name, (stamp, value)), (stamp, value), key=lambda item: item[0])
    expected = {
        guid: {"name": "Unnamed Individual"} | {name: value for name, (_, value) in fields_of.items()}
        for guid, fields_of in written.items()
        if guid not in beyond
    }
    held = _data(evidence.stored)
    yield from _differences("by the last writers, entity", {guid: held.get(guid) for guid in expected}, expected)


def _durable(evidence: Evidence) -> Iterator[str]:
    """What was answered is stored; what was cut off before its commit is not."""
    stored = {row.guid for row in evidence.log}
    lost = [guid for guid in evidence.world.acknowledged if guid not in stored]
    if lost:
        yield f"{len(lost)} acknowledged events are not in the log: {lost[:3]}"
    uncommitted = [guid for guid in stored if guid not in evidence.world.committed]
    if uncommitted:
        yield f"{len(uncommitted)} events are in the log without a commit: {uncommitted[:3]}"


def _convergence(evidence: Evidence) -> Iterator[str]:
    """A device that applies what it received, in the order in which it received it, holds the hub's data."""
    in_log = [row.body for row in evidence.log]
    for participant in evidence.world.participants:
        received = list(participant.received)
        if received == in_log:
            held = evidence.rebuilt
        elif set(received) <= set(in_log):
            held = _replay(received, evidence.log)
        else:
            continue  # told by the law of isolation
        yield from _differences(f"{participant.name}'s entity", _data(held), _data(evidence.stored))
        yield from _differences(f"{participant.name}'s group", _present(held), _present(evidence.stored))


def _bounded(evidence: Evidence) -> Iterator[str]:
    """While clocks agree, a sync brings again at most one page, and what the device has just sent."""
    if not evidence.world.schedule.calm:
        return
    for sync in evidence.world.syncs:
        most = most_again(evidence.world.participants[sync.device]) + sync.own
        if sync.report.redelivered > most:
            name = evidence.world.participants[sync.device].name
            yield f"a sync of {name} brought {sync.report.redelivered} known events again; at most {most} may be"


def most_again(participant: Participant) -> int:
    """The kept mark names an event of the last page: what follows it there comes again, and with v1 it itself too."""
    page = participant.spec.page_size or DEFAULT_PAGE
    return page - 1 + (participant.spec.generation is Generation.V1)


LAWS: Mapping[str, Law] = {
    "no skip": _no_skip,
    "one order": _one_order,
    "isolation": _isolation,
    "once": _once,
    "rebuild": _rebuild,
    "last writer": _last_writer,
    "durable": _durable,
    "convergence": _convergence,
    "bounded re-delivery": _bounded,
}


def _memberships(states: States) -> dict[tuple[str, str], Membership]:
    return {(held.group_guid, held.member_guid): held for held in states.memberships()}


def _data(states: States) -> dict[str, Any]:
    return {guid: dict(entity.data) for guid, entity in states.entities.items() if entity.is_live}


def _present(states: States) -> dict[str, dict[str, bool]]:
    """Members by group."""
    found: dict[str, dict[str, bool]] = {}
    for held in states.memberships():
        if held.present:
            found.setdefault(held.group_guid, {})[held.member_guid] = True
    return found


def _differences(what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted({*found, *expected}):
        one, other = found.get(key), expected.get(key)
        if one == other:
            continue
        if one is None or other is None:
            yield f"{what} {key} {'is missing' if one is None else 'is too much'}"
            continue
        parts, others = _parts(one), _parts(other)
        unequal = [name for name in {**parts, **others} if parts.get(name) != others.get(name)]
        told = "; ".join(f"{name} is {parts.get(name)}, should be {others.get(name)}" for name in unequal)
        yield f"{what} {key}: {told}"


def _parts(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    return {item.name: getattr(value, item.name) for item in fields(value)}


def _describe(row: StoredEvent) -> str:
    return f"position {row.position}, {row.type} made at {format_timestamp(row.occurred_at)} on {row.device_id}"
