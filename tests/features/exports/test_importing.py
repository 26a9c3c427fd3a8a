"""What was exported is imported to the same state, whichever engine it comes from and goes to; or nothing is stored."""

import asyncio
import itertools
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from datacollect.assembly import DECISIONS, FOLLOWERS, POLICIES, event_store
from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.migrate import migrate
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog, Rejection
from datacollect.eventstore.tables import events, log_heads
from datacollect.eventstore.verification import verify
from datacollect.features.conflicts.tables import conflicts
from datacollect.features.entities.links.service import StoredLink, keep_links, set_current
from datacollect.features.entities.projection import EntityProjection
from datacollect.features.entities.tables import entities, members
from datacollect.features.exports.errors import (
    FileContradictsItself,
    FileUnreadable,
    ImportRefused,
    ProgramNotEmpty,
    StateDiffers,
)
from datacollect.features.exports.importing import Importer
from datacollect.features.exports.model import Format, Order, What
from datacollect.features.exports.service import Exporter
from datacollect.features.reviews.model import Policy, PolicyRow
from datacollect.features.reviews.queries import list_policies, store_policy
from datacollect.features.tenants.service import archive, restore, take_up
from datacollect.features.tenants.tables import programs
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import Role, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES, Tenant
from datacollect.testing.clock import TurnableClock
from datacollect.testing.postgres import fresh_database
from tests.histories import GUIDS, ChanceOfAll, event
from tests.memory import MemoryDatabase
from tests.states import derived_state

pytestmark = pytest.mark.anyio

CONFIG = {
    "name": "Program",
    "version": "7",
    "entityForms": [{"id": "f", "name": "person", "title": "Person", "formio": {"components": []}}],
}
EVERYTHING = Order(Format.JSON, What.ALL)
_names = (f"import-{number}" for number in itertools.count())


class Place:
    """A database, with what exports and imports there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = event_store(database)
        self.clock = TurnableClock()
        self.log = EventLog(self.store, [EntityProjection(FOLLOWERS)], self.clock)
        self.importer = Importer(database, self.store, self.log, self.clock, FOLLOWERS, DECISIONS, POLICIES)

    async def new_program(self) -> TenantScope:
        scope = system_scope(TenantId(next(_names)))
        async with self.database.transaction(scope) as tx:
            await take_up(tx, self.log, scope, CONFIG, now=self.clock.now())
        return scope

    async def append(self, scope: TenantScope, *batch: Event, chance: ChanceOfAll | None = None) -> None:
        tenant = Tenant(scope.tenant_id, "Program", custom_event_types=CUSTOM_EVENT_TYPES)
        more: dict[str, Any] = {} if chance is None else {"origin": chance.origin(), "on_rejection": _go_on}
        async with self.database.transaction(scope) as tx:
            await self.log.append(tx, scope, tenant, batch, device_id="tablet", **more)
        self.clock.turn(seconds=1)

    async def export(self, scope: TenantScope) -> bytes:
        exporter = Exporter(self.database, self.log, self.clock, DECISIONS, POLICIES, at_once=1)
        async with exporter.export(scope, Tenant(scope.tenant_id, "Program"), EVERYTHING) as export:
            return b"".join([piece async for piece in export.pieces])

    async def head(self, scope: TenantScope) -> Any:
        columns = [
            column for column in log_heads.columns if column.name not in ("tenant_id", "epoch", "epoch_position")
        ]
        async with self.database.reading(scope) as view:
            return tuple((await view.execute(select(*columns).where(log_heads.c.tenant_id == scope.tenant_id))).one())

    async def rows(self, scope: TenantScope) -> dict[str, int]:
        found = {}
        async with self.database.reading(scope) as view:
            for table in (events, entities, members, conflicts, log_heads):
                count = select(func.count()).where(table.c.tenant_id == scope.tenant_id)
                found[table.name] = int((await view.execute(count)).scalar_one())
            named = select(func.count()).where(programs.c.id == scope.tenant_id)
            found["programs"] = int((await view.execute(named)).scalar_one())
        return {name: count for name, count in found.items() if count}


def _go_on(_: Rejection) -> None:
    """Histories hold events that cannot be applied."""


@dataclass
class Both:
    sqlite: Place
    postgres: Place


@pytest.fixture(scope="module")
async def both(anyio_backend: str, postgres_server: str) -> AsyncIterator[Both]:
    memory = MemoryDatabase()
    async with fresh_database(postgres_server) as url:
        postgres = open_database(url, data_dir=Path("unused"), pool_size=4)
        await migrate(postgres)
        yield Both(Place(memory), Place(postgres))
        await postgres.close()
    await memory.close()


@pytest.fixture
async def place(database: Database) -> Place:
    return Place(database)


async def test_a_program_that_somebody_makes_meanwhile_keeps_its_config(both: Both) -> None:
    """SQLite has one writer. On PostgreSQL who imports waits for the one who makes it, and finds it then."""
    place, scope = both.postgres, system_scope(TenantId(next(_names)))

    async def take_up_as(name: str) -> bool:
        async with place.database.transaction(scope) as tx:
            return await take_up(tx, place.log, scope, CONFIG | {"name": name}, now=place.clock.now())

    async with place.database.transaction(scope) as tx:
        assert await take_up(tx, place.log, scope, CONFIG | {"name": "Theirs"}, now=place.clock.now())
        importing = asyncio.create_task(take_up_as("Ours"))
        await until_somebody_waits(place.database)
    assert not await importing
    async with place.database.reading() as view:
        found = (
            await view.execute(select(programs.c.name, programs.c.revision).where(programs.c.id == scope.tenant_id))
        ).one()
    assert tuple(found) == ("Theirs", 1)


async def until_somebody_waits(database: Database) -> None:
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    async with asyncio.timeout(60), database.reading() as view:
        while not await view.fetch(waiting):
            pass


def without_times(exported: bytes) -> Any:
    """What must be the same: all but who exported when. Entities come in the order of each engine's guids."""
    document = json.loads(exported)
    for name in ("exportedAt", "configId", "programRevision", "artifactId"):
        del document["metadata"][name]
    document["metadata"]["program"].pop("id", None)
    document["entities"] = {pair["guid"]: pair for pair in document["entities"]}
    return document


HISTORIES = int(os.environ.get("HUB_IMPORT_HISTORIES", "12"))


@pytest.mark.parametrize(
    "way", ["sqlite to sqlite", "sqlite to postgres", "postgres to sqlite", "postgres to postgres"]
)
async def test_any_history_is_the_same_after_export_and_import(way: str, both: Both, tmp_path: Path) -> None:
    source, target = (getattr(both, name) for name in way.split(" to "))
    for seed in range(HISTORIES):
        scope = await source.new_program()
        chances = [ChanceOfAll(seed * 100 + each) for each in range(3)]
        for _ in range(6):
            for chance in chances:
                await source.append(scope, *chance.batch(), chance=chance)
        exported = await source.export(scope)
        file = tmp_path / f"{seed}.json"
        file.write_bytes(exported)
        copy = system_scope(TenantId(next(_names)))
        imported = await target.importer.take_in(file, tenant_id=copy.tenant_id)
        assert imported.created
        assert without_times(await target.export(copy)) == without_times(exported), seed
        assert (await target.head(copy))[:4] == (await source.head(scope))[:4]
        await _require_same_state(source, scope, target, copy)
        async with target.database.reading(copy) as view:
            assert (await verify(view, target.store, copy)).ok


async def _require_same_state(source: Place, scope: TenantScope, target: Place, copy: TenantScope) -> None:
    """Every column of every derived row; of JSON the value, as engines write it differently."""

    assert _comparable(await derived_state(target.database, copy)) == _comparable(
        await derived_state(source.database, scope)
    )


def _comparable(state: Any) -> Any:
    # The first column is the tenant. Texts of JSON, and truth values, are what each engine makes of them.
    entities = [[*row[1:-1], json.loads(row[-1])] for row in state["entities"]]
    found = {
        "entities": [[int(value) if value is True or value is False else value for value in row] for row in entities],
        "members": [
            [int(value) if isinstance(value, bool) else value for value in row[1:]] for row in state["members"]
        ],
        "figures": state["figures"],
        "conflicts": [
            row
            | {"tenant_id": "", "remote_version": json.loads(row["remote_version"]), "lost": json.loads(row["lost"])}
            for row in state["conflicts"]
        ],
    }
    for rows in (found["entities"], found["members"], found["conflicts"]):
        rows.sort(key=lambda row: json.dumps(row, sort_keys=True))
    return found


async def exported_program(place: Place, tmp_path: Path, *more: Event) -> tuple[TenantScope, Path]:
    scope = await place.new_program()
    await place.append(
        scope,
        event("create-group", "g", {"name": "G", "entityName": "household", "members": [{"guid": "a", "name": "Ana"}]}),
        event("update-individual", "a", {"age": 1.5, "big": 2**70, "entityName": "person"}, 2_000),
        event("create-individual", "b", {"name": "Bo \U0001f600"}, 3_000),
        event("delete-entity", "b", {"reason": "x"}, 4_000),
        *more,
    )
    file = tmp_path / "export.json"
    file.write_bytes(await place.export(scope))
    return scope, file


async def test_the_copy_continues_the_log(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    copy = system_scope(TenantId(next(_names)))
    await place.importer.take_in(file, tenant_id=copy.tenant_id)
    await place.append(copy, event("update-individual", "a", {"age": 2}, 9_000))
    async with place.database.reading(copy) as view:
        outcome = await verify(view, place.store, copy)
    assert outcome.ok and outcome.sound.position == 5


async def test_a_reformatted_file_is_the_same_file(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    # As an editor saves it, which also puts a mark before it.
    file.write_text(json.dumps(json.loads(file.read_bytes()), indent=3, sort_keys=False), encoding="utf-8-sig")
    imported = await place.importer.take_in(file, tenant_id=TenantId(next(_names)))
    assert (imported.head.position, imported.entities) == (4, 2)


async def test_a_backslash_that_somebody_wrote_is_none_of_json(place: Place, tmp_path: Path) -> None:
    scope, file = await exported_program(place, tmp_path, event("create-individual", "c", {"path": r"C:\u0000"}, 5_000))
    imported = await place.importer.take_in(file, tenant_id=TenantId(next(_names)))
    assert imported.head.position == (await place.head(scope))[0] == 5


async def test_large_numbers_are_the_same_on_both_engines(both: Both, tmp_path: Path) -> None:
    """PostgreSQL gives them back with all their digits."""
    for source, target in ((both.sqlite, both.postgres), (both.postgres, both.sqlite)):
        large = event("create-individual", "c", {"far": 1e22, "deep": [{"n": -2.5e30}]}, 5_000)
        _, file = await exported_program(source, tmp_path, large)
        assert (await target.importer.take_in(file, tenant_id=TenantId(next(_names)))).entities == 3


async def test_the_keys_of_another_system_stay_behind(place: Place, tmp_path: Path) -> None:
    scope, file = await exported_program(place, tmp_path)
    async with place.database.transaction(scope) as tx:
        await keep_links(tx, scope, "registry", [StoredLink("a", "R-7")])
        await set_current(tx, scope, "registry")
    file.write_bytes(await place.export(scope))
    assert b'"externalId":"R-7"' in file.read_bytes()
    copy = system_scope(TenantId(next(_names)))
    assert (await place.importer.take_in(file, tenant_id=copy.tenant_id)).entities == 2
    assert b"externalId" not in await place.export(copy)


async def test_review_policies_travel_and_replace_none(place: Place, tmp_path: Path) -> None:
    """Without them what needed a supervisor would be approved by nobody."""
    scope, file = await exported_program(place, tmp_path)
    update = PolicyRow(new_guid(), "update-individual", Policy.INTERNAL_REVIEW, Role.PROGRAM_ADMIN, due_days=7)
    delete = PolicyRow(new_guid(), "delete-entity", Policy.EXTERNAL_DELEGATE, None, "openspp-v2")
    theirs = replace(update, id=new_guid(), required_role=Role.SUPERVISOR, due_days=None)
    async with place.database.transaction(scope) as tx:
        for row in (update, delete):
            await store_policy(tx, scope, row, now=place.clock.now())
    file.write_bytes(await place.export(scope))

    made, empty = system_scope(TenantId(next(_names))), await place.new_program()
    async with place.database.transaction(empty) as tx:
        await store_policy(tx, empty, theirs, now=place.clock.now())
    for copy, expected in ((made, [delete, update]), (empty, [delete, theirs])):
        await place.importer.take_in(file, tenant_id=copy.tenant_id)
        async with place.database.reading(copy) as view:
            found = await list_policies(view, copy)
        assert [replace(row, id="") for row in found] == [replace(row, id="") for row in expected]


async def test_a_printed_code_leads_to_the_program_that_has_moved(both: Both, tmp_path: Path) -> None:
    """To it alone: where the program is there already its copy has a code of its own."""
    source, target = both.sqlite, both.postgres
    scope, file = await exported_program(source, tmp_path)
    printed = json.loads(file.read_bytes())["metadata"]["artifactId"]
    copy, other = [system_scope(TenantId(next(_names))) for _ in range(2)]
    await target.importer.take_in(file, tenant_id=copy.tenant_id)
    await target.importer.take_in(file)
    found = {}
    async with target.database.reading() as view:
        for each in (scope, copy):
            asked = select(programs.c.artifact_id).where(programs.c.id == each.tenant_id)
            found[each] = (await view.execute(asked)).scalar_one()
    assert found[scope] == printed != found[copy]

    document = json.loads(file.read_bytes())
    document["metadata"]["configId"] = other.tenant_id
    file.write_text(json.dumps(document))
    assert (await target.importer.take_in(file)).created


async def test_an_archived_program_stays_archived(place: Place, tmp_path: Path) -> None:
    scope, file = await exported_program(place, tmp_path)
    async with place.database.transaction(scope) as tx:
        await archive(tx, scope, log=place.log, now=(archived_at := place.clock.now()))
    file.write_bytes(await place.export(scope))
    made, empty = system_scope(TenantId(next(_names))), await place.new_program()
    for copy, expected in ((made, archived_at), (empty, None)):
        assert (await place.importer.take_in(file, tenant_id=copy.tenant_id)).entities == 2
        found = select(programs.c.archived_ms).where(programs.c.id == copy.tenant_id)
        async with place.database.reading() as view:
            assert (await view.execute(found)).scalar_one() == expected
    await place.append(empty, event("create-individual", "c", {"name": "Cy"}, 9_000))
    with pytest.raises(TenantUnknown):
        await place.append(made, event("create-individual", "c", {"name": "Cy"}, 9_000))
    async with place.database.transaction(made) as tx:
        await restore(tx, made, log=place.log, now=place.clock.now())
    await place.append(made, event("create-individual", "c", {"name": "Cy"}, 9_000))


async def test_a_file_of_an_earlier_release_has_no_review_policies(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    document = json.loads(file.read_bytes())
    del document["metadata"]["reviewPolicies"]
    file.write_text(json.dumps(document))
    assert (await place.importer.take_in(file, tenant_id=TenantId(next(_names)))).entities == 2


async def test_an_empty_program_is_imported_into(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    empty = await place.new_program()
    imported = await place.importer.take_in(file, tenant_id=empty.tenant_id)
    assert not imported.created
    assert (await place.rows(empty))["events"] == 4


async def test_a_program_with_events_is_left_alone(place: Place, tmp_path: Path) -> None:
    scope, file = await exported_program(place, tmp_path)
    before = await place.rows(scope)
    with pytest.raises(ProgramNotEmpty, match="4 events"):
        await place.importer.take_in(file)
    assert await place.rows(scope) == before


Change = Callable[[dict[str, Any]], object]


def _event(index: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: document["events"][index]  # type: ignore[no-any-return]


CHANGES: dict[str, tuple[Change, type[ImportRefused], str]] = {
    "data of an event": (lambda d: d["events"][1]["data"].update(age=2), FileContradictsItself, r"position 2 \("),
    "the order of events": (lambda d: d["events"].reverse(), FileContradictsItself, "should have position 1"),
    "an event left out": (lambda d: d["events"].pop(1), FileContradictsItself, "position 3 .* should have position 2"),
    "the last event left out": (lambda d: d["events"].pop(), FileContradictsItself, "has 3 events"),
    "a chain hash": (
        lambda d: d["events"][2]["hub"].update(chainHash="v3:" + "0" * 64), FileContradictsItself, "position 3"),
    "the head": (lambda d: d["metadata"]["head"].update(chainHash="v3:" + "0" * 64), FileContradictsItself, "chain"),
    "recorded times": (
        lambda d: d["events"][3]["hub"].update(recordedAt="2001-01-01T00:00:00.000Z"), FileContradictsItself, "position 4"),
    "an entity's data": (
        lambda d: d["entities"][0]["modified"]["data"].update(age=9), StateDiffers, "Entity a .*data.age"),
    "an entity's version": (lambda d: d["entities"][1]["modified"].update(version=9), StateDiffers, "Entity g .*version"),
    "an entity left out": (lambda d: d["entities"].pop(), StateDiffers, "the file has 1"),
    "an entity too many": (
        lambda d: d["entities"].append({"guid": "zz", "modified": {}}), StateDiffers, "no entity zz"),
    "a deleted entity": (
        lambda d: d["entities"].append({"guid": "b", "modified": {}}), StateDiffers, "no entity b"),
    "members": (lambda d: d["entities"][1]["modified"].update(memberIds=[]), StateDiffers, "memberIds"),
    "the counts": (lambda d: d["metadata"].update(entitiesByForm={}), StateDiffers, "each form"),
    "what it holds": (lambda d: d["metadata"].update(what="entities"), FileUnreadable, "part of a program"),
    "its format": (lambda d: d["metadata"].update(format="x"), FileUnreadable, "no export"),
    "its layout": (lambda d: d["metadata"].update(formatVersion=2), FileUnreadable, "another layout"),
    "a review policy": (
        lambda d: d["metadata"].update(reviewPolicies=[{"eventType": "x", "policy": "none"}]), FileUnreadable, "policies"),
    "its code": (lambda d: d["metadata"].update(artifactId="../x"), FileUnreadable, "artifactId"),
    "when it was archived": (
        lambda d: d["metadata"].update(archivedAt="yesterday"), FileUnreadable, "archiving"),
    "an event's members": (lambda d: d["events"][0].pop("userId"), FileUnreadable, "event 1 of the file"),
    "a time": (lambda d: d["events"][0].update(timestamp="yesterday"), FileUnreadable, "event 1 of the file"),
    "an origin": (lambda d: d["events"][0]["hub"].update(origin="moon"), FileUnreadable, "event 1 of the file"),
    "an entity's guid": (lambda d: d["entities"][0].pop("guid"), FileUnreadable, "Entity 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
async def test_a_changed_file_leaves_nothing_and_says_what_differs(name: str, place: Place, tmp_path: Path) -> None:
    change, error, text = CHANGES[name]
    _, file = await exported_program(place, tmp_path)
    document = json.loads(file.read_bytes())
    document["entities"].sort(key=lambda pair: pair["guid"])
    change(document)
    file.write_text(json.dumps(document))
    copy = system_scope(TenantId(next(_names)))
    with pytest.raises(error, match=text):
        await place.importer.take_in(file, tenant_id=copy.tenant_id)
    assert await place.rows(copy) == {}


async def test_a_file_that_breaks_off_leaves_nothing(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    whole = file.read_bytes()
    copy = system_scope(TenantId(next(_names)))
    for length in [*random.Random(1).sample(range(1, len(whole) - 3), 25), 0]:
        file.write_bytes(whole[:length])
        with pytest.raises(FileUnreadable):
            await place.importer.take_in(file, tenant_id=copy.tenant_id)
        assert await place.rows(copy) == {}


async def test_the_same_guid_twice_is_told(place: Place, tmp_path: Path) -> None:
    """Nobody can make such a file without computing the chain; then the log itself must refuse it."""
    twice = event("update-individual", "a", {"n": 1}, 5_000)
    _, file = await exported_program(place, tmp_path, twice)
    document = json.loads(file.read_bytes())
    again = {**document["events"][4], "hub": {**document["events"][4]["hub"], "position": 6}}
    document["events"].append(again | {"hub": again["hub"] | {"chainHash": _chained(document["events"][4])}})
    file.write_text(json.dumps(document))
    copy = system_scope(TenantId(next(_names)))
    with pytest.raises(FileContradictsItself, match="guid of an event before it"):
        await place.importer.take_in(file, tenant_id=copy.tenant_id)
    assert await place.rows(copy) == {}


def _chained(last: dict[str, Any]) -> str:
    from datacollect.eventstore.anchors import chain_text
    from datacollect.eventstore.event import event_from_body
    from datacollect.eventstore.integrity import hash_event

    body = json.dumps({key: value for key, value in last.items() if key != "hub"})
    previous = bytes.fromhex(last["hub"]["chainHash"].removeprefix("v3:"))
    return chain_text(hash_event(event_from_body(body)).chained_to(previous))


async def test_an_anchor_that_says_otherwise_is_believed(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    copy = system_scope(TenantId(next(_names)))
    with pytest.raises(FileContradictsItself, match=r"position 3 .*anchor"):
        await place.importer.take_in(file, tenant_id=copy.tenant_id, anchors={3: [b"x" * 32]})
    assert await place.rows(copy) == {}


async def test_a_device_goes_on_from_its_cursor(place: Place, tmp_path: Path) -> None:
    """Also from one of an event that was pushed after the export and is lost: then it gets what it may have missed."""
    from datacollect.kernel.cursor import Cursor

    scope, file = await exported_program(place, tmp_path)
    document = json.loads(file.read_bytes())
    copy = system_scope(TenantId(next(_names)))
    await place.importer.take_in(file, tenant_id=copy.tenant_id)
    async with place.database.reading(copy) as view:
        known = Cursor(Millis(2_000), document["events"][1]["guid"])
        assert await place.store.resolve(view, copy, known) == 2
        assert await place.store.resolve(view, copy, Cursor(Millis(99_000), "lost")) == 4
        epoch = select(log_heads.c.epoch, log_heads.c.epoch_position).where(log_heads.c.tenant_id == copy.tenant_id)
        renewed = (await view.execute(epoch)).one()
    async with place.database.reading(EVERY_TENANT) as view:
        old = (await view.execute(select(log_heads.c.epoch).where(log_heads.c.tenant_id == scope.tenant_id))).scalar()
    assert (renewed[0] != old, renewed[1]) == (True, 4)


async def test_guids_of_other_programs_do_not_matter(place: Place, tmp_path: Path) -> None:
    _, file = await exported_program(place, tmp_path)
    names: Sequence[str] = [next(_names), next(_names)]
    for name in names:
        imported = await place.importer.take_in(file, tenant_id=TenantId(name))
        assert imported.entities == 2
    assert len(GUIDS) == 9
