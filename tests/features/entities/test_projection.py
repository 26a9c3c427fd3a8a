"""Stored states are what the events give: whatever the batches, on both engines, in a constant number of statements."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from datacollect.db import Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.projection import Context
from datacollect.features.entities.model import apply
from datacollect.features.entities.projection import form_of
from datacollect.features.entities.rows import load
from datacollect.features.entities.states import States
from datacollect.features.entities.touched import Touched
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.factories import new_id
from tests.histories import GUIDS, Chance, event


@pytest.fixture
async def scope(hub: Hub) -> TenantScope:
    scope = system_scope(TenantId(new_id()))
    async with hub.db.transaction(scope) as tx:
        await hub.log.create(tx, scope)
    return scope


async def append(hub: Hub, scope: TenantScope, *events: Event, origin: Origin = Origin.CLIENT) -> None:
    """One batch; what cannot be applied is left out."""
    async with hub.db.transaction(scope) as tx:
        tenant = Tenant(scope.tenant_id, "Program")
        await hub.log.append(tx, scope, tenant, events, origin=origin, on_rejection=lambda _: None)


async def stored_states(tx: Tx, scope: TenantScope) -> States:
    pairs = {(group, member) for group in GUIDS for member in GUIDS}
    return await load(tx, scope, Touched(guids=set(GUIDS), pairs=pairs))


async def rebuilt_states(tx: Tx, scope: TenantScope) -> States:
    """What the log gives when it is applied again from the beginning, all states at hand."""
    place = "$1" if tx.dialect == "postgresql" else "?"
    states = States()
    for position, recorded, origin, body in await tx.fetch(
        f"SELECT position, recorded_ms, origin, body FROM events WHERE tenant_id = {place} ORDER BY position",
        scope.tenant_id,
    ):
        wire = msgspec.json.decode(body)
        time = parse_timestamp(wire["timestamp"])
        again = Event(wire["guid"], wire["entityGuid"], wire["type"], wire["data"], time, wire["userId"])
        states.accept(apply(states, again, Context(position, Millis(recorded), Origin(origin))))
    return states


def memberships(states: States) -> dict[tuple[str, str], Any]:
    return {(held.group_guid, held.member_guid): held for held in states.memberships()}


@pytest.mark.parametrize("seed", range(12))
async def test_rebuilding_from_the_log_gives_the_stored_states(hub: Hub, scope: TenantScope, seed: int) -> None:
    chance = Chance(seed)
    for _ in range(25):
        await append(hub, scope, *chance.batch(), origin=chance.origin())
    async with hub.db.transaction(scope) as tx:
        stored, rebuilt = await stored_states(tx, scope), await rebuilt_states(tx, scope)
        head = await hub.log.head(tx, scope)
    assert stored.entities == rebuilt.entities
    assert memberships(stored) == memberships(rebuilt)
    assert head is not None
    assert head.position > 25
    assert head.figures == Counter(form for entity in rebuilt.entities.values() if (form := form_of(entity)))


async def test_random_events_reach_every_corner(hub: Hub) -> None:
    """Guards the test above: its events really lose, nest, die, revive and are refused."""
    outcomes: Counter[str] = Counter()
    for seed in range(12):
        chance, states = Chance(seed), States()
        for position in range(1, 80):
            try:
                changes = apply(states, chance.event(), Context(position, Millis(10**6)))
            except Exception as refused:
                outcomes[getattr(refused, "code", "CRASH")] += 1
                continue
            before = dict(states.entities)
            states.accept(changes)
            outcomes["lost"] += bool(changes.lost)
            for guid, entity in changes.entities.items():
                was = before.get(guid)
                outcomes["died"] += was is not None and was.is_live and not entity.is_live
                outcomes["revived"] += was is not None and not was.is_live and entity.is_live
            outcomes["joined"] += any(held.present for held in changes.memberships())
    assert outcomes["CRASH"] == 0
    corners = ["lost", "died", "revived", "joined", "MEMBER_CYCLE", "INVALID_GROUP", "ENTITY_KIND_MISMATCH"]
    assert min(outcomes[corner] for corner in corners) > 5, outcomes


@pytest.mark.parametrize("count", [1, 200])
async def test_the_number_of_statements_does_not_depend_on_the_batch(hub: Hub, scope: TenantScope, count: int) -> None:
    people: Sequence[Event] = [event("create-individual", f"p-{n}", {"name": "Ana"}) for n in range(count)]
    group = event("create-group", "g", {"name": "G", "members": [{"guid": f"p-{n}", "a": 1} for n in range(count)]})
    await append(hub, scope, event("create-individual", "first", {"name": "Bo"}))  # which begins the index
    with hub.db.statements.record() as statements:
        await append(hub, scope, *people)
    with hub.db.statements.record() as with_members:
        await append(hub, scope, group)
    with hub.db.statements.record() as deleting:
        await append(hub, scope, event("delete-entity", "g", {"x": 1}, 2_000))
    assert [statement for statement in statements if "INSERT INTO members" in statement] == []
    of_entities = [
        [sql for sql in recorded if "entities" in sql or "members" in sql]
        for recorded in (statements, with_members, deleting)
    ]
    # Of who is deleted it is asked whether they have come back since, as in a rebuild.
    # What was there is changed by a statement of its own on SQLite.
    assert [len(recorded) for recorded in of_entities] == [2, 4 if hub.db.dialect == "sqlite" else 3, 4]
    assert len(statements) <= (6 if hub.db.dialect == "sqlite" else 5)


async def test_a_refused_event_leaves_no_trace_in_states_or_figures(hub: Hub, scope: TenantScope) -> None:
    await append(
        hub,
        scope,
        event("create-individual", "a", {"entityName": "person"}),
        event("create-group", "g", {"entityName": "household", "members": [{"guid": "b", "n": 1}, {"n": 2}]}),
        event("create-individual", "c", {"entityName": "person"}),
    )
    async with hub.db.transaction(scope) as tx:
        states = await load(tx, scope, Touched(guids={"a", "b", "c", "g"}))
        head = await hub.log.head(tx, scope)
    assert set(states.entities) == {"a", "c"}
    assert head is not None
    assert (head.figures, head.position) == ({"person": 2}, 2)


async def test_an_entity_that_changes_its_form_is_counted_under_the_new_one(hub: Hub, scope: TenantScope) -> None:
    await append(hub, scope, event("create-individual", "a", {"entityName": "person"}))
    await append(hub, scope, event("update-individual", "a", {"entityName": ""}, 2_000))
    async with hub.db.reading(scope) as view:
        head = await hub.log.head(view, scope)
    assert head is not None
    assert head.figures == {"Unknown": 1}


async def test_tenants_with_equal_guids_do_not_meet(hub: Hub, scope: TenantScope) -> None:
    other = system_scope(TenantId(new_id()))
    async with hub.db.transaction(other) as tx:
        await hub.log.create(tx, other)
    await append(hub, scope, event("create-group", "g", {"name": "Ours", "members": [{"guid": "a", "n": 1}]}))
    await append(hub, other, event("create-group", "g", {"name": "Theirs"}))
    await append(hub, other, event("delete-entity", "g", {"x": 1}, 2_000))
    async with hub.db.transaction(scope) as tx:
        states = await load(tx, scope, Touched(guids={"g", "a"}, pairs={("g", "a")}))
    assert states.entities["g"].name == "Ours"
    assert states.entities["a"].is_live
    assert states.members_of("g")["a"].present


async def live(hub: Hub, scope: TenantScope, *guids: str) -> set[str]:
    async with hub.db.transaction(scope) as tx:
        states = await load(tx, scope, Touched(guids=set(guids)))
    return {guid for guid, entity in states.entities.items() if entity.is_live}


def household(guid: str, *members: dict[str, Any]) -> Event:
    return event("create-group", guid, {"name": guid, "members": list(members)})


async def test_a_member_of_another_group_stays_though_the_batch_does_not_name_that_group(
    hub: Hub, scope: TenantScope
) -> None:
    await append(hub, scope, household("g", {"guid": "a", "n": 1}, {"guid": "b", "n": 1}))
    await append(hub, scope, household("h", {"guid": "a", "n": 1}))
    await append(hub, scope, event("delete-entity", "g", {"x": 1}, 2_000))
    assert await live(hub, scope, "g", "h", "a", "b") == {"h", "a"}


async def test_what_a_batch_attaches_and_then_deletes_goes_with_all_below_it(hub: Hub, scope: TenantScope) -> None:
    await append(hub, scope, household("h", {"guid": "i", "type": "group", "members": [{"guid": "a", "n": 1}]}))
    await append(
        hub,
        scope,
        household("g", {"guid": "h", "type": "group"}),
        event("delete-entity", "g", {"x": 1}, 2_000),
    )
    assert await live(hub, scope, "g", "h", "i", "a") == set()


async def test_a_cycle_through_groups_the_batch_does_not_name_is_refused(hub: Hub, scope: TenantScope) -> None:
    await append(hub, scope, household("g", {"guid": "h", "type": "group"}))
    await append(hub, scope, household("h", {"guid": "i", "type": "group"}))
    refused: list[str] = []
    async with hub.db.transaction(scope) as tx:
        await hub.log.append(
            tx,
            scope,
            Tenant(scope.tenant_id, "Program"),
            [event("add-member", "i", {"members": [{"guid": "g"}]}, 2_000)],
            on_rejection=lambda rejection: refused.append(rejection.reason.code),
        )
    assert refused == ["MEMBER_CYCLE"]
