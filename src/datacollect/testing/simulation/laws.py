"""What must hold when a schedule has come to rest. Each law looks at the evidence and tells what contradicts it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.projection import Context
from datacollect.eventstore.store import Head, StoredEvent
from datacollect.features.entities.entity import Membership
from datacollect.features.entities.model import States, apply
from datacollect.features.entities.projection import form_of
from datacollect.features.entities.rows import load
from datacollect.features.entities.touched import Touched
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
        yield from _differences(f"{participant.name}'s members of", _present(held), _present(evidence.stored))


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
    "durable": _durable,
    "convergence": _convergence,
    "bounded re-delivery": _bounded,
}


def _memberships(states: States) -> dict[tuple[str, str], Membership]:
    return {(held.group_guid, held.member_guid): held for held in states.memberships()}


def _data(states: States) -> dict[str, Any]:
    return {guid: dict(entity.data) for guid, entity in states.entities.items() if entity.is_live}


def _present(states: States) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for held in sorted(states.memberships(), key=lambda held: held.member_guid):
        if held.present:
            found.setdefault(held.group_guid, []).append(held.member_guid)
    return found


def _differences(what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted({*found, *expected}):
        if found.get(key) != expected.get(key):
            yield f"{what} {key} is {found.get(key)}, and should be {expected.get(key)}"


def _describe(row: StoredEvent) -> str:
    return f"position {row.position}, {row.type} made at {format_timestamp(row.occurred_at)} on {row.device_id}"
