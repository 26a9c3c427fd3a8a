"""A rebuild gives what is live, byte for byte, wherever it is cut off and whatever is going on beside it."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import delete, select, update

import datacollect
from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import EVERY_TENANT, Database, Reading, Tx
from datacollect.eventstore.event import Event, Origin
from datacollect.eventstore.store import EventStore, Head, StoredEvent
from datacollect.eventstore.tables import events, log_heads
from datacollect.eventstore.upcasting import Upcaster, Upcasters
from datacollect.features.conflicts.tables import conflicts
from datacollect.features.entities import rebuilt
from datacollect.features.entities.errors import RebuildTakenOver
from datacollect.features.entities.rebuilding import Rebuilder, rules_tag
from datacollect.features.entities.tables import entities, entities_rebuild, members, members_rebuild, rebuilds
from datacollect.http.hub import Hub
from datacollect.kernel.errors import NotFound
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.factories import new_id
from tests.histories import Chance, event
from tests.states import derived_state, ruin

BATCH = 20
"""Small, so that a history takes several."""


class Killed(BaseException):
    """What a test ends a rebuild with; nothing catches it."""


@pytest.fixture
async def scope(hub: Hub) -> TenantScope:
    return await new_tenant(hub)


async def new_tenant(hub: Hub) -> TenantScope:
    scope = system_scope(TenantId(new_id()))
    async with hub.db.transaction(scope) as tx:
        await hub.log.create(tx, scope)
    return scope


async def append(hub: Hub, scope: TenantScope, *batch: Event, origin: Origin = Origin.CLIENT) -> None:
    """One batch; what cannot be applied is left out."""
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        tenant = Tenant(scope.tenant_id, "Program")
        await hub.log.append(tx, scope, tenant, batch, origin=origin, on_rejection=lambda _: None)


async def live_through(hub: Hub, scope: TenantScope, seed: int, batches: int = 25) -> None:
    chance = Chance(seed)
    for _ in range(batches):
        await append(hub, scope, *chance.batch(), origin=chance.origin())


def rebuilder(hub: Hub, *, batch: int = BATCH, upcasters: Upcasters | None = None) -> Rebuilder:
    return Rebuilder(hub.db, event_store(hub.db), hub.clock, followers=FOLLOWERS, upcasters=upcasters, batch=batch)


async def stored(hub: Hub, scope: TenantScope) -> Mapping[str, Any]:
    return await derived_state(hub.db, scope)


async def leftovers(hub: Hub, scope: TenantScope) -> int:
    async with hub.db.reading(scope) as view:
        return sum(
            [
                len((await view.execute(select(table.c.tenant_id).where(table.c.tenant_id == scope.tenant_id))).all())
                for table in (entities_rebuild, members_rebuild, rebuilds)
            ]
        )


@pytest.mark.parametrize("seed", range(8))
async def test_a_rebuild_makes_the_live_rows_again(hub: Hub, scope: TenantScope, seed: int) -> None:
    await live_through(hub, scope, seed)
    live = await stored(hub, scope)
    assert live["entities"] and live["members"] and live["figures"] and live["conflicts"]
    assert (await rebuilder(hub).check(scope)).ok
    await ruin(hub.db, scope)
    checked = await rebuilder(hub).check(scope)
    assert not checked.ok
    assert checked.different >= len(live["entities"]) + len(live["members"]) + 1
    outcome = await rebuilder(hub, batch=BATCH + seed).rebuild(scope)
    assert outcome.ok
    assert await stored(hub, scope) == live
    assert outcome.entities == sum(live["figures"].values())
    assert await leftovers(hub, scope) == 0


async def test_what_no_event_says_is_kept(hub: Hub, scope: TenantScope) -> None:
    await append(hub, scope, event("create-individual", "a", {"name": "Ana"}))
    async with hub.db.transaction(scope) as tx:
        row = (entities.c.tenant_id == scope.tenant_id) & (entities.c.guid == "a")
        await tx.execute(update(entities).where(row).values(initial={"name": "Anna"}, version=7))
    assert (await rebuilder(hub).rebuild(scope)).ok
    async with hub.db.reading(scope) as view:
        found = (await view.execute(select(entities.c.initial, entities.c.version).where(row))).one()
    assert tuple(found) == ({"name": "Anna"}, 1)


async def test_a_decided_conflict_stays_decided(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 1)
    mine = conflicts.c.tenant_id == scope.tenant_id
    async with hub.db.transaction(scope) as tx:
        guid = (await tx.execute(select(conflicts.c.guid).where(mine).limit(1))).scalar_one()
        decided = update(conflicts).where(mine, conflicts.c.guid == guid)
        await tx.execute(decided.values(resolved_ms=1, resolution="local", resolved_by="eva"))
    live = await stored(hub, scope)
    async with hub.db.transaction(scope) as tx:
        await tx.execute(delete(conflicts).where(mine, conflicts.c.guid != guid))
    await rebuilder(hub).rebuild(scope)
    assert await stored(hub, scope) == live


@pytest.mark.parametrize("batches", [0, 1, 3])
async def test_a_rebuild_that_was_cut_off_goes_on_where_it_stopped(hub: Hub, scope: TenantScope, batches: int) -> None:
    await live_through(hub, scope, 5, batches=60)
    live = await stored(hub, scope)
    await ruin(hub.db, scope)
    ruined = await stored(hub, scope)
    with pytest.raises(Killed):
        await rebuilder(hub).rebuild(scope, progress=stop_after(batches))
    ruined_still = await stored(hub, scope)
    assert (ruined_still | {"conflicts": 0}) == (ruined | {"conflicts": 0})
    seen: list[int] = []
    assert (await rebuilder(hub).rebuild(scope, progress=seen.append)).ok
    assert seen[0] == BATCH * (batches + 2)
    assert await stored(hub, scope) == live


def stop_after(batches: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done > BATCH * batches:
            raise Killed

    return progress


def overtaken(hub: Hub) -> EventStore:
    """A purge begins, and has deleted all there is, as soon as somebody has seen that there is a log."""

    class Overtaken(type(event_store(hub.db))):  # type: ignore[misc]
        async def head(self, view: Reading, scope: TenantScope) -> Head | None:
            found: Head | None = await super().head(view, scope)
            if not isinstance(view, Tx):  # as one does that holds it
                await take_head_away(hub, scope)
            return found

    store: EventStore = Overtaken()
    return store


async def take_head_away(hub: Hub, scope: TenantScope) -> None:
    async with hub.db.transaction(scope) as tx:
        await tx.execute(delete(log_heads).where(log_heads.c.tenant_id == scope.tenant_id))


async def test_a_rebuild_that_a_purge_comes_before_leaves_nothing(hub: Hub, scope: TenantScope) -> None:
    """What it began belonged to nobody, or to the program that was made anew, and it ended with an AssertionError."""
    await append(hub, scope, event("create-individual", "a", {"name": "Ana"}))
    with pytest.raises(NotFound):
        await Rebuilder(hub.db, overtaken(hub), hub.clock, followers=FOLLOWERS).rebuild(scope)
    assert await leftovers(hub, scope) == 0


async def test_a_rebuild_ends_with_a_purge_that_begins(hub: Hub, scope: TenantScope) -> None:
    await append(hub, scope, *(event("create-individual", f"p-{number}", {"n": 1}) for number in range(BATCH + 1)))
    begun = rebuilder(hub)
    work = await begun._begin(scope, "rebuild", FOLLOWERS)
    await take_head_away(hub, scope)
    with pytest.raises(NotFound):
        async with begun._caught_up(work, None):
            pass


@pytest.mark.parametrize("how", ["restored", "rules", "check"])
async def test_a_checkpoint_that_does_not_fit_is_thrown_away(hub: Hub, scope: TenantScope, how: str) -> None:
    await live_through(hub, scope, 6)
    live = await stored(hub, scope)
    begun = rebuilder(hub)
    with pytest.raises(Killed):
        await (begun.check if how == "check" else begun.rebuild)(scope, progress=stop_after(1))
    mine = rebuilds.c.tenant_id == scope.tenant_id
    async with hub.db.transaction(scope) as tx:
        # What was made so far is wrong, and there is more of it than there should be.
        await tx.execute(
            update(entities_rebuild).where(entities_rebuild.c.tenant_id == scope.tenant_id).values(name="x")
        )
        await tx.execute(
            entities_rebuild.insert().values(
                tenant_id=scope.tenant_id,
                guid="nobody",
                version=1,
                data={},
                stamps="[1,1]",
                deleted=False,
                changed_position=1,
                last_updated=1,
                gone_position=0,
            )
        )
        if how == "restored":
            await tx.execute(update(rebuilds).where(mine).values(chain_hash=b"of another history"))
        elif how == "rules":
            await tx.execute(update(rebuilds).where(mine).values(made_by="rebuild 0.0.1"))
    seen: list[int] = []
    assert (await rebuilder(hub).rebuild(scope, progress=seen.append)).ok
    assert seen[0] == BATCH
    assert await stored(hub, scope) == live


@pytest.mark.parametrize(
    "changed",
    ["features/entities/projection.py", "features/entities/reach.py", "kernel/canonical.py", "eventstore/log.py"],
)
def test_a_rebuild_is_not_gone_on_with_by_other_rules(tmp_path: Path, changed: str) -> None:
    here = Path(datacollect.__file__).parent
    for part in ("kernel", "eventstore", "features/entities"):
        shutil.copytree(here / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    before = rules_tag(Upcasters())
    assert rules_tag(Upcasters(), sources=tmp_path) == before
    with (tmp_path / changed).open("a") as file:
        file.write("# another rule\n")
    assert rules_tag(Upcasters(), sources=tmp_path) != before


async def test_a_checkpoint_beyond_the_end_of_the_log_is_thrown_away(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 6, batches=3)
    live = await stored(hub, scope)
    with pytest.raises(Killed):
        await rebuilder(hub, batch=1).rebuild(scope, progress=stop_after(0))
    async with hub.db.transaction(scope) as tx:
        await tx.execute(update(rebuilds).where(rebuilds.c.tenant_id == scope.tenant_id).values(position=10**6))
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, scope) == live


async def test_of_two_rebuilds_the_later_one_goes_on(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 7)
    live = await stored(hub, scope)
    await ruin(hub.db, scope)
    outcomes = await asyncio.gather(*(rebuilder(hub, batch=2).rebuild(scope) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(outcome, RebuildTakenOver) or outcome.ok for outcome in outcomes)
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, scope) == live


class PausingStore:
    """A store whose reader lets others go on first."""

    def __init__(self, store: EventStore, before: Callable[[int], Awaitable[None]]) -> None:
        self._store = store
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_rows(self, view: Reading, scope: TenantScope, *, after: int, limit: int) -> Sequence[StoredEvent]:
        await self._before(after)
        return await self._store.read_rows(view, scope, after=after, limit=limit)


async def test_who_takes_over_goes_on_from_where_the_other_one_has_come_meanwhile(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 7)
    live = await stored(hub, scope)
    begun, looked, moved, ended = (asyncio.Event() for _ in range(4))

    async def go_first(after: int) -> None:
        if after == 2:
            begun.set()
            await looked.wait()
        elif after == 6:
            moved.set()
            await ended.wait()

    async def look(after: int) -> None:
        if not looked.is_set():
            looked.set()
            await moved.wait()

    first, second = (
        Rebuilder(hub.db, cast(EventStore, PausingStore(event_store(hub.db), before)), hub.clock, batch=2)
        for before in (go_first, look)
    )
    async with asyncio.timeout(20):
        going = asyncio.create_task(first.rebuild(scope))
        await begun.wait()
        assert (await second.rebuild(scope)).ok
        ended.set()
        with pytest.raises(RebuildTakenOver):
            await going
    assert await stored(hub, scope) == live


async def test_pushes_at_once_rebuild_to_what_they_left(hub: Hub, scope: TenantScope) -> None:
    await asyncio.gather(*(live_through(hub, scope, seed, batches=12) for seed in range(6)))
    live = await stored(hub, scope)
    await ruin(hub.db, scope)
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, scope) == live


async def test_what_is_pushed_during_a_rebuild_is_in_it(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 3)
    done = asyncio.Event()

    async def push_on() -> None:
        seed = 100
        while not done.is_set():
            await live_through(hub, scope, seed, batches=1)
            seed += 1

    pushing = asyncio.create_task(push_on())
    try:
        for _ in range(2):
            assert (await rebuilder(hub).rebuild(scope)).ok
            assert (await rebuilder(hub).check(scope)).ok
    finally:
        done.set()
        await pushing
    assert (await rebuilder(hub).check(scope)).ok


async def test_a_reader_never_sees_a_mixture(hub: Hub, scope: TenantScope) -> None:
    for number in range(60):
        await append(hub, scope, event("create-individual", f"p-{number}", {"entityName": "person"}))
    mine = entities.c.tenant_id == scope.tenant_id
    async with hub.db.transaction(scope) as tx:
        await tx.execute(update(entities).where(mine).values(name="old"))
    done = asyncio.Event()
    seen: set[frozenset[str | None]] = set()

    async def look() -> None:
        while True:
            last = done.is_set()
            async with hub.db.reading(EVERY_TENANT) as view:
                names = [row.name for row in await view.execute(select(entities.c.name).where(mine))]
            assert len(names) == 60
            seen.add(frozenset(names))
            if last:
                return

    looking = asyncio.create_task(look())
    try:
        await rebuilder(hub, batch=10).rebuild(scope)
    finally:
        done.set()
        await looking
    assert seen <= {frozenset({"old"}), frozenset({"Unnamed Individual"})}
    assert frozenset({"Unnamed Individual"}) in seen


async def test_a_closed_log_is_rebuilt_too(hub: Hub, scope: TenantScope) -> None:
    await live_through(hub, scope, 9, batches=5)
    live = await stored(hub, scope)
    async with hub.db.transaction(scope) as tx:
        await hub.log.close(tx, scope)
    await ruin(hub.db, scope)
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, scope) == live


async def test_an_empty_log_empties_the_state(hub: Hub, scope: TenantScope) -> None:
    live = await stored(hub, scope)
    await ruin(hub.db, scope)
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, scope) == live


async def test_without_a_log_there_is_nothing_to_rebuild(hub: Hub) -> None:
    with pytest.raises(NotFound):
        await rebuilder(hub).rebuild(system_scope(TenantId("nobody")))


async def test_another_programs_rows_are_left_alone(hub: Hub, scope: TenantScope) -> None:
    other = await new_tenant(hub)
    await live_through(hub, scope, 2)
    await live_through(hub, other, 2)
    await ruin(hub.db, other)
    ruined = await stored(hub, other)
    assert (await rebuilder(hub).rebuild(scope)).ok
    assert await stored(hub, other) == ruined


async def test_older_layouts_are_read_as_live(hub: Hub, scope: TenantScope) -> None:
    def split(data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, "name": data["fullName"]}

    await append(hub, scope, event("create-individual", "a", {"fullName": "Ana"}))
    upcasters = Upcasters([Upcaster("create-individual", 1, 2, split)])
    assert (await rebuilder(hub, upcasters=upcasters).rebuild(scope)).ok
    assert [row[4] for row in (await stored(hub, scope))["entities"]] == ["Ana"]


async def _edit(database: Database, scope: TenantScope, position: int, **values: object) -> None:
    async with database.transaction(scope) as tx:
        row = (events.c.tenant_id == scope.tenant_id) & (events.c.position == position)
        await tx.execute(update(events).where(row).values(**values) if values else delete(events).where(row))


@pytest.mark.parametrize(
    ("edits", "failures"),
    [
        ({2: {"body": "nonsense"}, 31: {"body": "{}"}}, [(2, "BODY_UNREADABLE"), (31, "BODY_UNREADABLE")]),
        ({25: {"body": event("no-such-type", "a", {"n": 1}).body()}}, [(25, "UNKNOWN_EVENT_TYPE")]),
        ({12: {}}, [(12, "POSITION_MISSING")]),
        ({40: {}}, [(39, "HEAD_DIFFERS")]),
        ({7: {"origin": "nowhere"}}, [(7, "ROW_UNREADABLE")]),
    ],
)
async def test_what_cannot_be_applied_is_told_and_nothing_is_changed(
    hub: Hub, scope: TenantScope, edits: Mapping[int, Mapping[str, object]], failures: Sequence[tuple[int, str]]
) -> None:
    for number in range(40):
        await append(hub, scope, event("create-individual", f"p-{number % 7}", {"n": number}, number))
    await ruin(hub.db, scope)
    ruined = await stored(hub, scope)
    for position, values in edits.items():
        await _edit(hub.db, scope, position, **values)
    for outcome in (await rebuilder(hub).rebuild(scope), await rebuilder(hub).check(scope)):
        assert not outcome.ok
        assert outcome.failed == len(failures)
        assert [(failure.position, failure.code) for failure in outcome.failures] == failures
    assert await stored(hub, scope) == ruined
    assert await leftovers(hub, scope) == 0


async def test_a_failure_is_not_forgotten_by_a_rebuild_that_was_cut_off(hub: Hub, scope: TenantScope) -> None:
    for number in range(100):
        await append(hub, scope, event("create-individual", f"p-{number}", {"n": number}, number))
    await _edit(hub.db, scope, 2, body="nonsense")
    with pytest.raises(Killed):
        await rebuilder(hub).rebuild(scope, progress=stop_after(2))
    outcome = await rebuilder(hub).rebuild(scope)
    assert [(failure.position, failure.code) for failure in outcome.failures] == [(2, "BODY_UNREADABLE")]


async def test_a_check_tells_each_row_that_differs(hub: Hub, scope: TenantScope) -> None:
    household = {"name": "G", "members": [{"guid": "a", "n": 1}, {"guid": "b", "n": 1}]}
    await append(hub, scope, event("create-group", "g", household))
    await hub.indexes.catch_up(scope)
    mine = entities.c.tenant_id == scope.tenant_id
    async with hub.db.transaction(scope) as tx:
        await tx.execute(
            update(entities).where(mine, entities.c.guid == "a").values(data={"n": 1.0, "name": "Unnamed Individual"})
        )
        await tx.execute(delete(entities).where(mine, entities.c.guid == "b"))
        ended = update(members).where(members.c.tenant_id == scope.tenant_id, members.c.member_guid == "a")
        await tx.execute(ended.values(present=False))
        await tx.execute(update(log_heads).where(log_heads.c.tenant_id == scope.tenant_id).values(figures='{"f":2}'))
    before = await stored(hub, scope)
    outcome = await rebuilder(hub).check(scope)
    assert [(d.kind, d.key, d.live is None, d.rebuilt is None) for d in outcome.differences] == [
        ("entity", ("a",), False, False),
        ("entity", ("b",), True, False),
        ("membership", ("g", "a"), False, False),
        ("search term", ("words", "b"), False, True),
        ("search term", ("words", "b"), False, True),
    ]
    assert outcome.figures == [("Unknown", 0, 3), ("f", 2, 0)]
    assert outcome.different == 7
    assert await stored(hub, scope) == before


async def test_more_rows_than_one_range_are_exchanged(
    hub: Hub, scope: TenantScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_RANGE_END", "_REBUILT_END"):
        monkeypatch.setattr(rebuilt, name, getattr(rebuilt, name).replace("OFFSET 5000", "OFFSET 500"))
    people = [event("create-individual", f"p-{n}", {"n": n}) for n in range(503)]
    group = event("create-group", "g", {"members": [{"guid": f"m-{n}", "n": 1} for n in range(510)]})
    await append(hub, scope, *people)
    await append(hub, scope, group)
    live = await stored(hub, scope)
    await ruin(hub.db, scope)
    unlisted = len(live["entities"]) + 1
    assert (await rebuilder(hub, batch=200).check(scope)).different == len(
        live["entities"]
    ) + 510 + 1 + 2 + 1 + unlisted
    assert (await rebuilder(hub, batch=200).rebuild(scope)).ok
    assert await stored(hub, scope) == live
    assert await leftovers(hub, scope) == 0
