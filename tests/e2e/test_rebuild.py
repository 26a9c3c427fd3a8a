"""`datacollect rebuild` as an operator runs it: its lines, its exit codes, beside a hub, and killed in the middle."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from datacollect.assembly import FOLLOWERS, event_store
from datacollect.db import Database, open_database
from datacollect.db.database import closing
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.tables import events
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.rebuilding import BATCH
from datacollect.features.entities.tables import entities, rebuilds
from datacollect.kernel.clock import SystemClock
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import Tenant
from tests.e2e.conftest import Run, Serve
from tests.histories import event
from tests.processes import PATIENCE_SECONDS
from tests.states import derived_state, ruin
from tests.warm import Warm

pytestmark = pytest.mark.anyio


@dataclass
class Filled:
    """The database the command uses."""

    database: Database

    async def add(self, tenant: str, *batch: Event) -> TenantScope:
        scope = system_scope(TenantId(tenant))
        log = EventLog(event_store(self.database), [EntityProjection(FOLLOWERS)], SystemClock())
        async with self.database.transaction(scope) as tx:
            await log.create(tx, scope)
            await log.append(tx, scope, Tenant(scope.tenant_id, tenant), batch)
        return scope

    async def state(self, scope: TenantScope) -> object:
        return await derived_state(self.database, scope)

    async def reached(self, scope: TenantScope) -> int | None:
        """The position of a rebuild's checkpoint."""
        async with self.database.reading(scope) as view:
            found = select(rebuilds.c.position).where(rebuilds.c.tenant_id == scope.tenant_id)
            return (await view.execute(found)).scalar()


@pytest.fixture
async def filled(anyio_backend: str, migrated: str | None, environment: dict[str, str]) -> AsyncIterator[Filled]:
    async with closing(open_database(migrated, data_dir=Path(environment["DATA_DIR"]), pool_size=2)) as database:
        yield Filled(database)


HOUSEHOLD = event(
    "create-group", "g", {"entityName": "household", "name": "G", "members": [{"guid": "a", "name": "Ana", "age": 7}]}
)


async def rebuild(run: Run, *arguments: str) -> tuple[int, list[str], str]:
    ended = await asyncio.to_thread(run, "rebuild", *arguments)
    lines = [re.sub(r"\d+\.\d s$", "S s", line) for line in ended.stdout.splitlines()]
    return ended.returncode, lines, ended.stderr


async def test_a_changed_row_is_told_without_its_values_and_mended(run: Run, filled: Filled) -> None:
    scope = await filled.add("p", HOUSEHOLD)
    await filled.add("q", event("create-individual", "b", {"name": "Eva"}))
    live = await filled.state(scope)
    fine = [
        "ok: p: 1 event applied, 2 entities, 1 membership, S s",
        "ok: q: 1 event applied, 1 entity, 0 memberships, S s",
    ]
    assert await rebuild(run, "--check") == (0, fine, "")

    row = (entities.c.tenant_id == "p") & (entities.c.guid == "a")
    async with filled.database.transaction(scope) as tx:
        await tx.execute(update(entities).where(row).values(data={"name": "Secret", "age": 7}, name="Secret"))
    changed = await filled.state(scope)
    different = [
        "DIFFERENT: p: 3 differences; 1 event applied, 2 entities, 1 membership, S s",
        "  entity a: name differs",
        "  entity a: data.name differs",
        "  search term a in words: is missing",
        "  search term a in words: does not follow from the log",
    ]
    assert await rebuild(run, "--check", "--tenant", "p") == (3, different, "")
    code, lines, _ = await rebuild(run, "--check", "--show-values", "--tenant", "p")
    assert (code, lines[1:]) == (
        3,
        [
            "  entity a: name differs: 'Secret', by the log 'Ana'",
            "  entity a: data.name differs: '\"Secret\"', by the log '\"Ana\"'",
            "  search term a in words: is missing",
            "  search term a in words: does not follow from the log",
        ],
    )
    assert await filled.state(scope) == changed

    assert await rebuild(run, "--tenant", "p") == (0, fine[:1], "")
    assert await filled.state(scope) == live
    assert (await rebuild(run, "--check"))[0] == 0


async def test_rows_and_counts_that_do_not_follow_from_the_log_are_told(run: Run, filled: Filled) -> None:
    scope = await filled.add("p", HOUSEHOLD)
    await ruin(filled.database, scope)
    code, lines, _ = await rebuild(run, "--check")
    assert code == 3
    assert lines[1:] == [
        "  entity a: name differs",
        "  entity a: version differs",
        "  entity g: name differs",
        "  entity g: version differs",
        "  entity nobody: does not follow from the log",
        "  membership a in g: is missing",
        "  place in lists a: is missing",
        "  place in lists g: is missing",
        "  place in lists nobody: is missing",
        "  search term nobody in words: does not follow from the log",
        "  count of Unknown: 0, by the log 1",
        "  count of household: 0, by the log 1",
        "  count of x: 1, by the log 0",
    ]


async def test_an_event_that_cannot_be_applied_ends_with_3_and_changes_nothing(run: Run, filled: Filled) -> None:
    scope = await filled.add("p", HOUSEHOLD)
    async with filled.database.transaction(scope) as tx:
        await tx.execute(update(events).where(events.c.tenant_id == "p").values(body='"x"'))
    await ruin(filled.database, scope)
    ruined = await filled.state(scope)
    lines = [
        "WRONG: p: 1 event cannot be applied; the state is left as it is",
        f"  BODY_UNREADABLE at position 1 (event {HOUSEHOLD.guid})",
    ]
    assert await rebuild(run) == (3, lines, "")
    assert await filled.state(scope) == ruined


async def test_an_unknown_program_and_a_database_that_is_not_there_are_refused(run: Run, filled: Filled) -> None:
    assert await rebuild(run, "--tenant", "nobody") == (1, [], "datacollect: There is no program nobody.\n")
    ended = await asyncio.to_thread(run, "rebuild", without=("DATABASE_URL",), DATA_DIR="elsewhere")
    assert ended.returncode == 1
    assert ended.stderr.startswith("datacollect: There is no hub's data in DATA_DIR, elsewhere.")


async def test_a_running_hub_does_not_mind(run: Run, serve: Serve, filled: Filled) -> None:
    scope = await filled.add("p", HOUSEHOLD)
    live = await filled.state(scope)
    await ruin(filled.database, scope)
    with serve():
        assert (await rebuild(run))[0] == 0
        assert await filled.state(scope) == live


async def test_a_rebuild_that_was_killed_goes_on_where_it_stopped(
    run: Run, filled: Filled, environment: dict[str, str], tmp_path: Path, warm: Warm
) -> None:
    people = [event("create-individual", f"p-{number % 9_000}", {"n": number}, number) for number in range(3 * BATCH)]
    scope = await filled.add("p", *people)
    live = await filled.state(scope)
    await ruin(filled.database, scope)
    ruined = await filled.state(scope)
    process = warm.start(tmp_path, environment, ("rebuild",), tmp_path / "rebuild.log")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await filled.reached(scope) or 0) < BATCH:
                assert process.poll() is None
                await asyncio.sleep(0)
    finally:
        process.kill()
        process.wait()
    assert await filled.reached(scope) in (BATCH, 2 * BATCH)
    assert await filled.state(scope) == ruined
    assert (await rebuild(run))[0] == 0
    assert await filled.state(scope) == live
    assert await filled.reached(scope) is None


@pytest.mark.parametrize("argument", [(), ("--check",)])
async def test_a_newer_release_s_database_is_left_as_it_is(run: Run, filled: Filled, argument: tuple[str, ...]) -> None:
    """Its states are made by rules that this release does not have."""
    scope = await filled.add("p", HOUSEHOLD)
    async with filled.database.transaction(scope) as tx:
        await tx.execute(update(entities).where(entities.c.guid == "a").values(name="By newer rules"))
    async with filled.database.transaction() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    live = await filled.state(scope)
    code, lines, told = await rebuild(run, *argument)
    assert (code, lines) == (1, [])
    assert "which this release does not know" in told
    assert await filled.state(scope) == live
