"""The index of a running hub: it follows pushes, and what forms mark."""

from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import delete, select, text, update
from structlog.testing import capture_logs

from datacollect.app import LateStart
from datacollect.features.entities.indexing.queries import read_index
from datacollect.features.entities.indexing.reindexing import enqueue_missing
from datacollect.features.entities.indexing.state import RULES
from datacollect.features.entities.indexing.tables import search_indexes, search_terms
from datacollect.features.tenants.searchable import REINDEX
from datacollect.http.hub import Hub
from datacollect.jobs import find_active
from datacollect.kernel.errors import Unavailable
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from tests.factories import make_config, make_event, make_program, push
from tests.features.conftest import Alone, Installation

pytestmark = pytest.mark.anyio

WORD = ""


def forms(*searchable: str) -> list[dict[str, Any]]:
    components = [{"type": "textfield", "key": key, "input": True, "dbIndex": True} for key in searchable]
    return [{"id": "f1", "name": "individual", "title": "Person", "formio": {"components": components}}]


@pytest.fixture
async def scope(admin: AsyncClient) -> TenantScope:
    """A program in which phones and cards are searchable."""
    return system_scope(TenantId(await make_program(admin, entityForms=forms("phone", "card"))))


async def terms(hub: Hub, scope: TenantScope, guid: str = "a") -> set[tuple[str, str]]:
    await hub.indexes.catch_up(scope)
    async with hub.db.reading(scope) as view:
        rows = select(search_terms.c.field, search_terms.c.term)
        of_entity = rows.where(search_terms.c.tenant_id == scope.tenant_id, search_terms.c.guid == guid)
        return {(row.field, row.term) for row in await view.execute(of_entity)}


async def test_the_index_follows_what_is_pushed(admin: AsyncClient, hub: Hub, scope: TenantScope) -> None:
    program = scope.tenant_id
    await push(admin, program, make_event(entity="a", data={"name": "Ana Ruiz", "phone": "0912 345", "card": 7}))
    of_name = {(WORD, "ana"), (WORD, "ruiz")}
    of_phone = {(WORD, "0912"), (WORD, "345"), (WORD, "0912345"), ("phone", "=0912 345")}
    of_card = {("card", "#c01c000000000000=7")}
    assert await terms(hub, scope) == of_name | of_phone | of_card

    await push(admin, program, make_event("update-individual", entity="a", data={"phone": "", "name": "Ana Roy"}))
    assert await terms(hub, scope) == {(WORD, "ana"), (WORD, "roy")} | of_card

    await push(admin, program, make_event("delete-entity", entity="a", data={"reason": "x"}))
    assert await terms(hub, scope) == set()

    await push(admin, program, make_event("update-individual", entity="a", data={"card": 7}))
    assert await terms(hub, scope) == {(WORD, "unnamed"), (WORD, "individual")} | of_card


async def test_members_inside_a_groups_event_and_seeds_are_in_the_index(admin: AsyncClient, hub: Hub) -> None:
    seeds = [{"name": "individual", "data": [{"id": "s", "name": "Kofi", "card": "C-1"}]}]
    program = await make_program(admin, entityForms=forms("card"), entityData=seeds)
    await hub.jobs.drain()
    group = {"name": "G", "members": [{"guid": "m", "name": "Mia", "card": "C-2"}]}
    await push(admin, program, make_event("create-group", entity="g", data=group))
    scope = system_scope(TenantId(program))
    assert ("card", "=c-1") in await terms(hub, scope, "s")
    assert {(WORD, "mia"), ("card", "=c-2")} < await terms(hub, scope, "m")
    await push(admin, program, make_event("delete-entity", entity="g", data={"reason": "x"}))
    assert await terms(hub, scope, "m") == set()


async def test_a_change_of_nothing_that_is_looked_for_writes_nothing(
    admin: AsyncClient, hub: Hub, scope: TenantScope
) -> None:
    person = {"name": "Ana", "phone": "0912", "age": 7}
    await push(admin, scope.tenant_id, make_event(entity="a", data=person))
    with hub.db.statements.record() as statements:
        await push(admin, scope.tenant_id, make_event("update-individual", entity="a", data=person | {"age": 8}))
    assert [sql for sql in statements if "search_terms" in sql] == []


async def test_the_number_of_statements_does_not_depend_on_how_much_changes(
    admin: AsyncClient, hub: Hub, scope: TenantScope
) -> None:
    counts = []
    for size in (1, 50):
        people = [make_event(data={"name": "Ana", "phone": "1"}) for _ in range(size)]
        await push(admin, scope.tenant_id, *people)
        changes = [
            make_event("update-individual", entity=person["entityGuid"], data={"phone": "2"}) for person in people
        ]
        with hub.db.statements.record() as statements:
            await push(admin, scope.tenant_id, *changes)
        counts.append(len([sql for sql in statements if "search_terms" in sql]))
    assert counts == [2, 2]


async def test_other_marks_in_the_forms_reindex_what_is_there(admin: AsyncClient, hub: Hub, scope: TenantScope) -> None:
    program = scope.tenant_id
    await push(admin, program, make_event(entity="a", data={"name": "Ana", "phone": "0912", "village": "Salt Flats"}))
    config = make_config(program, entityForms=forms("card", "village"))
    assert (await admin.put(f"/api/apps/{program}", json=config)).status_code == 200
    await hub.jobs.drain()
    assert ("village", "=salt flats") in await terms(hub, scope)
    assert (WORD, "flats") in await terms(hub, scope)
    assert not [term for term in await terms(hub, scope) if "phone" in term or "0912" in term]
    async with hub.db.reading(scope) as view:
        index = await read_index(view, scope)
    tenant = await hub.tenants.find(program)
    assert tenant is not None
    assert index.fields == tenant.searchable == ("externalId", "nationalId", "card", "village")


async def test_a_change_that_marks_the_same_fields_starts_no_job(
    admin: AsyncClient, hub: Hub, scope: TenantScope
) -> None:
    config = make_config(scope.tenant_id, name="Other", entityForms=forms("phone", "card"))
    with hub.db.statements.record() as statements:
        assert (await admin.put(f"/api/apps/{scope.tenant_id}", json=config)).status_code == 200
    assert [sql for sql in statements if "INSERT INTO jobs" in sql] == []


@pytest.mark.parametrize("older", ["without an index", "by other rules", "given up on the way"])
async def test_a_program_that_is_not_in_the_index_is_brought_there_when_a_hub_starts(
    admin: AsyncClient, hub: Hub, scope: TenantScope, older: str
) -> None:
    await push(admin, scope.tenant_id, make_event(entity="a", data={"name": "Ana", "phone": "0912"}))
    mine = search_indexes.c.tenant_id == scope.tenant_id
    async with hub.db.transaction(scope) as tx:
        match older:
            case "without an index":
                await tx.execute(delete(search_indexes).where(mine))
                await tx.execute(delete(search_terms).where(search_terms.c.tenant_id == scope.tenant_id))
            case "by other rules":
                await tx.execute(update(search_indexes).where(mine).values(rules=RULES + 1))
                await tx.execute(
                    search_terms.insert().values(tenant_id=scope.tenant_id, field="x", term="old", guid="a")
                )
            case _:
                changed = update(search_indexes).where(mine)
                await tx.execute(changed.values(next_fields='["other"]', begun_position=1))
    await push(admin, scope.tenant_id, make_event(entity="b", data={"name": "Bo"}))
    await enqueue_missing(hub.db, hub.clock.now)
    await hub.jobs.drain()
    found = await terms(hub, scope)
    assert {term for term in found if term[0] == WORD} == {(WORD, "ana"), (WORD, "0912")}
    assert [field for field, _ in found if field != WORD] == ["phone"]
    assert await terms(hub, scope, "b") == {(WORD, "bo")}
    async with hub.db.reading(scope) as view:
        assert (await read_index(view, scope)).has("phone")
        assert await find_active(view, scope, REINDEX) is None


_NO_ROOM = (
    "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$",
    "CREATE TRIGGER no_room BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION no_room()",
)


async def test_a_hub_that_finds_no_room_for_a_job_starts_and_makes_the_index_later(installation: Installation) -> None:
    async with installation.running() as (app, client):
        hub: Hub = app.state.hub
        if hub.db.dialect == "sqlite":
            pytest.skip("SQLite's triggers cannot say that the disk is full")
        admin = await Alone(app, client, installation.clock).admin()
        scope = system_scope(TenantId(await make_program(admin)))
        await push(admin, scope.tenant_id, make_event(entity="a", data={"name": "Ana"}))
        await hub.jobs.drain()
        async with hub.db.transaction(scope) as tx:
            await tx.execute(delete(search_indexes).where(search_indexes.c.tenant_id == scope.tenant_id))
            for statement in _NO_ROOM:
                await tx.execute(text(statement))
    with capture_logs() as logged:
        async with installation.running() as (app, _):
            assert "jobs.not_put_in_line" in [line["event"] for line in logged]
            hub = app.state.hub
            late = LateStart(hub)
            with pytest.raises(Unavailable):
                await late.look()
            async with hub.db.transaction() as tx:
                await tx.execute(text("DROP TRIGGER no_room ON jobs"))
            await late.look()
            await hub.jobs.drain()
            assert (WORD, "ana") in await terms(hub, scope)


async def test_what_other_rules_have_made_is_not_kept_up_but_made_anew(
    admin: AsyncClient, hub: Hub, scope: TenantScope
) -> None:
    await push(admin, scope.tenant_id, make_event(entity="a", data={"name": "Ana"}))
    async with hub.db.transaction(scope) as tx:
        mine = search_indexes.c.tenant_id == scope.tenant_id
        await tx.execute(update(search_indexes).where(mine).values(rules=RULES + 1))
    await push(admin, scope.tenant_id, make_event("update-individual", entity="a", data={"name": "Eva"}))
    await hub.jobs.drain()
    assert await terms(hub, scope) == {(WORD, "eva")}


async def test_without_an_index_nothing_is_kept_and_nothing_is_asked_until_there_is_one_again(
    installation: Installation,
) -> None:
    async with installation.running() as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        scope = system_scope(TenantId(await make_program(admin)))
        await push(admin, scope.tenant_id, make_event(entity="a", data={"name": "Ana"}))
    async with installation.running(search_index=False) as (app, client):
        admin = await Alone(app, client, installation.clock).admin()
        await push(admin, scope.tenant_id, make_event("update-individual", entity="a", data={"name": "Eva"}))
        async with app.state.hub.db.reading(scope) as view:
            assert not (await read_index(view, scope)).has_words_of(("externalId", "nationalId"))
    async with installation.running() as (app, client):
        await app.state.hub.jobs.drain()
        assert await terms(app.state.hub, scope) == {(WORD, "eva")}
        async with app.state.hub.db.reading(scope) as view:
            assert (await read_index(view, scope)).has_words_of(("externalId", "nationalId"))


async def test_where_citizens_sign_in_what_they_sign_in_by_is_indexed(admin: AsyncClient, hub: Hub) -> None:
    """Whatever the forms say of these fields; and each of other systems' names by itself."""
    section = {"enabled": True, "authMethods": ["otp", "id"], "allowedForms": [], "requireReview": False}
    hidden = forms("phone")
    hidden[0]["formio"]["components"][0]["searchable"] = False
    program = await make_program(admin, entityForms=hidden, selfService=section)
    own = system_scope(TenantId(program))
    named = [{"type": "national-id", "value": "N-1"}, {"type": "tax", "value": 7}, {"type": "odd", "value": True}, "x"]
    await push(admin, program, make_event(entity="a", data={"name": "Ana", "phone": "+1", "identifiers": named}))
    found = {(field, term) for field, term in await terms(hub, own) if field != WORD}
    assert found == {("phone", "=+1"), ("identifiers", "=national-id:n-1"), ("identifiers", "=tax:7")}
    changed = make_event("update-individual", entity="a", data={"identifiers": named[1:2]})
    await push(admin, program, changed)
    assert {term for field, term in await terms(hub, own) if field == "identifiers"} == {"=tax:7"}


async def test_switching_self_service_on_has_the_factors_indexed(admin: AsyncClient, hub: Hub) -> None:
    program = await make_program(admin)
    own = system_scope(TenantId(program))
    await push(admin, program, make_event(entity="a", data={"name": "Ana", "email": "Ana@x.example"}))
    assert ("email", "=ana@x.example") not in await terms(hub, own)
    section = {"enabled": True, "authMethods": ["otp"], "allowedForms": [], "requireReview": False}
    config = make_config(program, selfService=section)
    assert (await admin.put(f"/api/apps/{program}", json=config)).status_code == 200
    await hub.jobs.drain()
    assert ("email", "=ana@x.example") in await terms(hub, own)
