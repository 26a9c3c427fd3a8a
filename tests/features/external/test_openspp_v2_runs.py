"""Whole runs with OpenSPP V2: people, groups, enrolments and reviews, from a device to the registry and back."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from datacollect.testing.openspp_v2 import OpenSppV2Registry
from tests.factories import make_event, make_program
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio

MARIA, ANA, SANTOS = (f"6f1c2d3e-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


@pytest.fixture
def registry() -> Any:
    with OpenSppV2Registry() as registry:
        registry.add_program(7, "Widows")
        yield registry
        assert registry.refused == []


async def exchange(calling_hub: tuple[Hub, AsyncClient], registry: OpenSppV2Registry, **options: Any) -> Exchange:
    hub, admin = calling_hub
    config = {"clientId": "dc", "clientSecret": "s3cret", "batchDelayMs": 0, **options}
    section = {"type": "openspp-v2-adapter", "url": registry.url, "adapterConfig": config}
    program = await make_program(admin, externalSync=section)
    return Exchange(admin, hub, program, remote=None, url=registry.url)  # type: ignore[arg-type]


async def fill(program: Exchange) -> None:
    """A household of two, the household first."""
    await program.push(
        make_event("create-group", entity=SANTOS, data={"entityName": "household", "name": "Santos"}),
        make_event(entity=MARIA, data={"entityName": "individual", "firstName": "Maria", "lastName": "Santos"}),
        make_event(entity=ANA, data={"entityName": "individual", "firstName": "Ana", "lastName": "Santos"}),
        make_event("add-member", entity=SANTOS, data={"members": [{"guid": guid, "name": "x", "type": "individual", "data": {"entityName": "individual"}} for guid in (MARIA, ANA)]}),
    )  # fmt: skip


async def test_a_household_arrives_whole_and_comes_back_as_itself(
    calling_hub: Any, registry: OpenSppV2Registry
) -> None:
    program = await exchange(calling_hub, registry)
    await fill(program)
    events = len(await program.events())
    first, second = await program.run(), await program.run()
    assert (first["status"], counts(first)) == ("success", (3, 0, 0, 0))
    assert (second["status"], counts(second)) == ("success", (0, 0, 0, 0))
    assert len(registry.people) == 2
    assert len(registry.groups[0].members) == 2
    assert len(await program.events()) == events


async def test_a_mapping_that_is_added_is_for_all_records(calling_hub: Any, registry: OpenSppV2Registry) -> None:
    program = await exchange(calling_hub, registry)
    await fill(program)
    await program.save(ANA, town="Lower", gender="F")
    await program.run()
    maria, ana = sorted(registry.people, key=lambda one: one.fields["name"]["given"], reverse=True)
    registry.edit(maria, address=[{"type": "physical", "city": "Upper"}])
    await program.run()
    config = (await program.admin.get(f"/api/apps/{program.program}")).json()
    config["externalSync"]["fieldMappings"] = [{"formField": "town", "opensppField": "address.city"}]
    assert (await program.admin.post("/api/apps", json=config)).status_code == 200
    program.hub.tenants.forget([TenantId(program.program)])
    events = len(await program.events())
    run = await program.run()
    assert run["status"] == "success", run
    assert ana.fields["address"][0]["city"] == "Lower"
    assert (await program.entity(MARIA))["data"]["town"] == "Upper"
    assert (await program.entity(ANA))["data"]["gender"] == "F"
    assert counts(await program.run()) == (0, 0, 0, 0)
    assert len(await program.events()) == events + 1


async def test_edits_of_both_sides_meet_and_deletes_travel(calling_hub: Any, registry: OpenSppV2Registry) -> None:
    program = await exchange(calling_hub, registry)
    await fill(program)
    await program.run()
    maria = next(one for one in registry.people if one.fields["name"]["given"] == "Maria")
    registry.edit(maria, telecom=[{"system": "phone", "value": "42", "use": "mobile"}])
    await program.push(
        make_event("update-individual", entity=MARIA, data={"lastName": "Cruz"}),
        make_event("delete-entity", entity=ANA, data={"reason": "moved"}),
    )
    run = await program.run()
    assert run["status"] == "success", run
    assert maria.fields["name"]["family"] == "Cruz"
    assert maria.fields["telecom"][0]["value"] == "42"
    assert (await program.entity(MARIA))["data"]["phone"] == "42"
    [ana] = [one for one in registry.people if one is not maria]
    assert ana.fields["active"] is False
    assert (await program.run())["status"] == "success"
    assert list(registry.groups[0].members) == [maria.number]
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_whoever_was_registered_there_arrives_here(calling_hub: Any, registry: OpenSppV2Registry) -> None:
    program = await exchange(calling_hub, registry)
    maria = registry.add_person(given="Maria", family="Santos", identifiers={"national_id": "PH-1"})
    registry.join(registry.add_group(name="Santos"), maria)
    first, second = await program.run(), await program.run()
    assert (first["status"], first["pulled"]) in (("success", 2), ("partial", 2)), first
    assert counts(second) == (0, 0, 0, 0), second
    people = {entity["name"]: entity for entity in await program.entities()}
    assert people["Maria Santos"]["guid"] != "PH-1"
    assert {event["userId"] for event in await program.events()} == {"openspp-v2-sync"}


async def test_an_enrolment_is_asked_for_and_its_end_reaches_the_devices(
    calling_hub: Any, registry: OpenSppV2Registry
) -> None:
    program = await exchange(calling_hub, registry)
    await fill(program)
    await program.push(make_event("enrol-in-program", entity=MARIA, data={"programId": 7, "programName": "Widows"}))
    run = await program.run()
    assert run["status"] == "success", run
    [reference] = registry.requests
    registry.reject(reference, "not yet")
    run = await program.run()
    assert [error["code"] for error in run["errors"]] == ["CR_REJECTED"]
    data = (await program.entity(MARIA))["data"]
    assert data["pendingProgramEnrolments"] == []
    assert data["rejectedPrograms"][0]["rejectionReason"] == "not yet"
    await program.push(make_event("enrol-in-program", entity=MARIA, data={"programId": 7, "programName": "Widows"}, timestamp="2035-01-01T00:00:00.000Z"))  # fmt: skip
    await program.run()
    assert len(registry.requests) == 2
    registry.apply(list(registry.requests)[1])
    run = await program.run()
    assert run["status"] == "success", run
    data = (await program.entity(MARIA))["data"]
    assert data["enrolledPrograms"][0]["programId"] == 7
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_a_review_ends_in_a_link_and_later_edits_are_asked_for(
    calling_hub: Any, registry: OpenSppV2Registry
) -> None:
    program = await exchange(calling_hub, registry, submitVia="change-request")
    await program.push(make_event(entity=MARIA, data={"entityName": "individual", "firstName": "Maria"}))
    assert (await program.run())["status"] == "success"
    assert counts(await program.run()) == (0, 0, 0, 0)
    [first] = registry.requests
    await program.push(make_event("update-individual", entity=MARIA, data={"firstName": "Ana"}))
    assert (await program.run())["status"] == "success"
    assert list(registry.requests) == [first]
    registry.apply(first)
    assert (await program.run())["status"] == "success"
    assert (await program.entity(MARIA))["data"]["firstName"] == "Ana"
    _, second = registry.requests
    registry.apply(second)
    assert (await program.run())["status"] == "success"
    assert [one.fields["name"]["given"] for one in registry.people] == ["Ana"]
    assert counts(await program.run()) == (0, 0, 0, 0)
    assert len(registry.requests) == 2


async def test_who_joins_here_stays_where_only_reviewers_change_the_registry(
    calling_hub: Any, registry: OpenSppV2Registry
) -> None:
    program = await exchange(calling_hub, registry, submitVia="change-request")
    ana, santos = registry.add_person(given="Ana"), registry.add_group(name="Santos")
    registry.join(santos, ana)
    await program.run()
    [group] = [one for one in await program.entities() if one["type"] == "group"]
    maria = {"guid": MARIA, "name": "Maria", "type": "individual"}
    await program.push(make_event("add-member", entity=group["guid"], data={"members": [maria]}))
    await program.run()
    registry.apply(next(iter(registry.requests)))
    await program.run()
    registry.edit(santos, name="Santos & Co")
    await program.run()
    after = await program.entity(group["guid"])
    assert (after["name"], len(after["memberIds"])) == ("Santos & Co", 2)


async def test_who_was_ended_there_and_is_saved_here_later_is_there_again(
    calling_hub: Any, registry: OpenSppV2Registry
) -> None:
    program = await exchange(calling_hub, registry)
    await program.push(make_event(entity=MARIA, data={"entityName": "individual", "firstName": "Maria"}))
    await program.run()
    [maria] = registry.people
    registry.edit(maria, active=False)
    await program.run()
    assert await program.entity(MARIA) is None
    late = {"data": {"entityName": "individual", "firstName": "Maria"}, "timestamp": "2035-01-01T00:00:00.000Z"}
    await program.push(make_event(entity=MARIA, **late))
    await program.run()
    assert maria.fields["active"] is True
    assert (await program.entity(MARIA))["data"]["firstName"] == "Maria"


async def test_an_edit_that_is_later_than_the_end_there_wins(calling_hub: Any, registry: OpenSppV2Registry) -> None:
    program = await exchange(calling_hub, registry)
    await program.push(make_event(entity=MARIA, data={"entityName": "individual", "firstName": "Maria"}))
    await program.run()
    [maria] = registry.people
    registry.edit(maria, active=False)
    calling_hub[0].clock.turn(seconds=1)
    late = {"data": {"firstName": "Ana"}, "timestamp": "2035-01-01T00:00:00.000Z"}
    await program.push(make_event("update-individual", entity=MARIA, **late))
    for _ in range(2):
        await program.run()
    assert (maria.fields["active"], maria.fields["name"]["given"]) == (True, "Ana")
    assert (await program.entity(MARIA))["data"]["firstName"] == "Ana"
