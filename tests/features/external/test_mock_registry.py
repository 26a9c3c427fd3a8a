"""Whole runs with the mock registry, over a real socket: what each side has reaches the other, once, and as it was."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.remote import DropAfter, Instead, RemoteSystem
from tests.factories import make_event, make_program
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry() -> Iterator[MockRegistry]:
    registry = MockRegistry(client_id="hub", client_secret="s3cret-of-the-hub")
    yield registry
    registry.close()


@pytest.fixture
def system(registry: MockRegistry) -> Iterator[RemoteSystem]:
    with RemoteSystem(registry.handle) as system:
        yield system


@pytest.fixture
async def exchange(calling_hub: tuple[Hub, AsyncClient], system: RemoteSystem) -> Exchange:
    hub, admin = calling_hub
    login = {"clientId": "hub", "clientSecret": "s3cret-of-the-hub"}
    program = await make_program(admin, externalSync={"type": "mock", "url": system.url, "adapterConfig": login})
    return Exchange(admin, hub, program, remote=None, url=system.url)  # type: ignore[arg-type]


async def register_family(exchange: Exchange) -> None:
    """As a form registers it whose fields are called otherwise than the registry's."""
    member = {"guid": "in-lan", "name": "Lan", "type": "individual", "data": {"entityName": "individual"}}
    await exchange.push(
        make_event("create-group", entity="hh-tran", data={"entityName": "household", "name": "Tran"}),
        make_event(
            entity="in-lan",
            data={"entityName": "individual", "name": "Lan", "first_name": "Lan", "gender": "F", "crop": "rice"},
        ),
        make_event("add-member", entity="hh-tran", data={"members": [member]}),
    )


async def edit(exchange: Exchange, group: str, event_type: str, **data: Any) -> None:
    """Later than whatever a pull brings."""
    await exchange.push(make_event(event_type, entity=group, data=data, timestamp="2035-01-01T00:00:00.000Z"))


def data_of(entity: Any) -> dict[str, Any]:
    return {name: value for name, value in entity["data"].items() if name != "externalId"}


async def test_each_side_gets_what_the_other_has_and_the_second_run_moves_nothing(
    exchange: Exchange, registry: MockRegistry
) -> None:
    await register_family(exchange)
    ana = registry.add_person(given_name="Ana", family_name="Cruz")
    registry.add_group("Cruz", members=[ana["uuid"]])
    before = {guid: data_of(await exchange.entity(guid)) for guid in ("in-lan", "hh-tran")}
    job = await exchange.run()
    assert counts(job) == (2, 2, 0, 0), job
    assert job["status"] == "success"
    assert sorted(one["name"] for one in registry.groups()) == ["Cruz", "Tran"]
    assert [len(one["memberships"]) for one in registry.groups()] == [1, 1]
    events = len(await exchange.events())
    assert counts(await exchange.run()) == (0, 0, 0, 0)
    assert len(await exchange.events()) == events
    for guid, data in before.items():
        assert data_of(await exchange.entity(guid)) == data


async def test_a_change_there_comes_under_the_names_of_the_form(exchange: Exchange, registry: MockRegistry) -> None:
    await register_family(exchange)
    await exchange.run()
    [lan] = registry.persons()
    registry.change(
        "persons", lan["uuid"], given_name="Lanh", family_name="Tran", attributes={**lan["attributes"], "crop": "corn"}
    )
    [tran] = registry.groups()
    registry.change("groups", tran["uuid"], name="Tran & Co")
    assert counts(await exchange.run()) == (0, 2, 0, 0)
    person, group = await exchange.entity("in-lan"), await exchange.entity("hh-tran")
    assert data_of(person) == {
        "entityName": "individual",
        "name": "Lan",
        "first_name": "Lanh",
        "lastName": "Tran",
        "gender": "F",
        "crop": "corn",
    }
    assert data_of(group) == {"entityName": "household", "name": "Tran & Co"}
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_edits_of_both_sides_at_once_end_in_one_record_on_both(
    exchange: Exchange, registry: MockRegistry
) -> None:
    await register_family(exchange)
    await exchange.run()
    [lan] = registry.persons()
    registry.change("persons", lan["uuid"], family_name="Nguyen")
    await exchange.push(make_event("update-individual", entity="in-lan", data={"crop": "corn"}))
    for _ in range(2):
        assert (await exchange.run())["status"] == "success"
    [there] = registry.persons()
    here = data_of(await exchange.entity("in-lan"))
    assert (there["family_name"], there["attributes"]["crop"]) == ("Nguyen", "corn")
    assert (here["lastName"], here["crop"]) == ("Nguyen", "corn")
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_joining_leaving_and_deleting_go_both_ways(exchange: Exchange, registry: MockRegistry) -> None:
    await register_family(exchange)
    await exchange.run()
    [lan], [tran] = registry.persons(), registry.groups()
    ana = registry.add_person(given_name="Ana")
    registry.join(tran["uuid"], ana["uuid"])
    await exchange.push(make_event("remove-member", entity="hh-tran", data={"memberId": "in-lan"}))
    for _ in range(2):
        await exchange.run()
    assert [one["person_uuid"] for one in registry.groups()[0]["memberships"]] == [ana["uuid"]]
    [member] = (await exchange.entity("hh-tran"))["memberIds"]
    assert (await exchange.entity(member))["externalId"] == ana["uuid"]
    await exchange.push(make_event("delete-entity", entity="in-lan", data={"reason": "moved"}))
    registry.remove("persons", ana["uuid"])
    await exchange.run()
    assert registry.persons() == []
    assert await exchange.entity(member) is None
    assert lan["uuid"] != ana["uuid"]


async def test_roles_that_were_given_there_stay(
    exchange: Exchange, registry: MockRegistry, system: RemoteSystem
) -> None:
    ana = registry.add_person(given_name="Ana")
    cruz = registry.add_group("Cruz", members=[ana["uuid"]])
    registry.join(cruz["uuid"], ana["uuid"], role="head")
    await exchange.run()
    [group] = [one for one in await exchange.entities() if one["type"] == "group"]
    await edit(exchange, group["guid"], "update-group", name="Cruz & Co")
    system.log.clear()
    assert counts(await exchange.run()) == (1, 0, 0, 0)
    [there] = registry.groups()
    assert there["name"] == "Cruz & Co"
    assert [(one["person_uuid"], one["role"]) for one in there["memberships"]] == [(ana["uuid"], "head")]
    assert [one.path for one in system.log if one.path.endswith("/members")] == []


async def test_a_member_that_could_not_be_taken_in_stays_in_the_group_there(
    exchange: Exchange, registry: MockRegistry
) -> None:
    ana, ben = registry.add_person(given_name="Ana"), registry.add_person(given_name="Ben\0")
    registry.add_group("Cruz", members=[ana["uuid"], ben["uuid"]])
    await exchange.run()
    [group] = [one for one in await exchange.entities() if one["type"] == "group"]
    await edit(exchange, group["guid"], "update-group", name="Cruz & Co")
    await exchange.run()
    await edit(exchange, group["guid"], "remove-member", memberId=group["memberIds"][0])
    await exchange.run()
    [there] = registry.groups()
    assert there["name"] == "Cruz & Co"
    assert [one["person_uuid"] for one in there["memberships"]] == [ben["uuid"]]


async def test_answers_that_are_lost_make_nobody_twice(
    exchange: Exchange, registry: MockRegistry, system: RemoteSystem
) -> None:
    await register_family(exchange)
    system.faults.add(DropAfter(), times=2, matches=lambda request: request.method == "POST" and "/v1/" in request.path)
    job = await exchange.run()
    assert job["status"] == "success", job
    assert (len(registry.persons()), len(registry.groups())) == (1, 1)
    assert counts(await exchange.run()) == (0, 0, 0, 0)


async def test_a_household_of_a_village_stays_in_it_where_the_registry_knows_no_groups_of_groups(
    exchange: Exchange, registry: MockRegistry
) -> None:
    await register_family(exchange)
    village = {"entityName": "village", "name": "Pak"}
    members = [
        {"guid": guid, "name": "x", "type": type_} for guid, type_ in (("hh-tran", "group"), ("in-lan", "individual"))
    ]
    await exchange.push(
        make_event("create-group", entity="vi-pak", data=village),
        make_event("add-member", entity="vi-pak", data={"members": members}),
    )
    for _ in range(2):
        assert (await exchange.run())["status"] == "success"
        assert sorted((await exchange.entity("vi-pak"))["memberIds"]) == ["hh-tran", "in-lan"]
    assert sorted(one["name"] for one in registry.groups()) == ["Pak", "Tran"]


@pytest.mark.parametrize("status", [404, 405])
async def test_an_hour_in_which_a_gateway_refuses_everybody_gives_nobody_up(
    exchange: Exchange, registry: MockRegistry, system: RemoteSystem, status: int
) -> None:
    for number in range(12):
        await exchange.save(f"in-{number}", name=f"Ana {number}")
    system.faults.add(
        Instead(status), times=None, matches=lambda one: one.method == "POST" and "/v1/persons" in one.path
    )
    assert counts(job := await exchange.run()) == (0, 0, 12, 0)
    assert job["status"] == "failed"
    system.faults.clear()
    assert counts(await exchange.run()) == (12, 0, 0, 0)
    assert len(registry.persons()) == 12


@pytest.mark.parametrize("status", [404, 406])
async def test_some_that_a_firewall_refuses_keep_nobody_else_back_in_either_direction(
    exchange: Exchange, registry: MockRegistry, system: RemoteSystem, status: int
) -> None:
    system.faults.add(Instead(status), times=None, matches=lambda one: one.method == "POST" and b"select" in one.body)
    for number in range(7):
        await exchange.save(f"in-{number}", name=f"select {number}")
    registry.add_person(given_name="Ana", family_name="Cruz")
    assert counts(await exchange.run()) == (0, 1, 7, 0)
    await exchange.save("in-new", name="Lan")
    registry.add_person(given_name="Ben", family_name="Cruz")
    assert counts(await exchange.run()) == (1, 1, 7, 0)
    system.faults.clear()
    assert counts(await exchange.run()) == (7, 0, 0, 0)
