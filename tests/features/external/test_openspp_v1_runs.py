"""Whole runs with OpenSPP V1: people and households, from a device to the registry and back."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.ids import TenantId
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.remote import DropAfter, Request
from tests.factories import make_event, make_program
from tests.features.external.exchanging import Exchange, counts

pytestmark = pytest.mark.anyio

LAN, MINH, HOME = (f"6f1c2d3e-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
PASSWORD = "s3cret-of-odoo"
MAPPINGS = [
    {"formField": "firstName", "opensppField": "given_name"},
    {"formField": "lastName", "opensppField": "family_name"},
    {"formField": "phone", "opensppField": "phone"},
    {"formField": "born", "opensppField": "birthdate", "transformer": {"type": "date"}},
]


@pytest.fixture
def odoo() -> Iterator[FakeOdoo]:
    with FakeOdoo() as odoo:
        odoo.add_user("registrar", PASSWORD)
        yield odoo


async def exchange(calling_hub: tuple[Hub, AsyncClient], odoo: FakeOdoo, **options: Any) -> Exchange:
    hub, admin = calling_hub
    account = {"database": odoo.database, "username": "registrar", "password": PASSWORD, "batchDelayMs": 0, **options}
    section = {"type": "openspp-adapter", "url": odoo.url, "adapterConfig": account, "fieldMappings": MAPPINGS}
    program = await make_program(admin, externalSync=section)
    return Exchange(admin, hub, program, remote=None, url=odoo.url)  # type: ignore[arg-type]


async def fill(program: Exchange) -> None:
    """A household of two, the household first."""
    await program.save(HOME, "group", name="Tran")
    await program.save(LAN, firstName="Lan", lastName="Tran", phone="1")
    await program.save(MINH, firstName="Minh", lastName="Tran", born="1990-02-03")
    members = [{"guid": guid, "name": "x", "type": "individual"} for guid in (LAN, MINH)]
    await program.push(make_event("add-member", entity=HOME, data={"members": members}))


def partner(odoo: FakeOdoo, guid: str) -> Any:
    return next(one for one in odoo.partners() if one["ref"] == guid)


async def test_a_household_arrives_whole_and_a_second_run_does_nothing(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo)
    await fill(program)
    events = len(await program.events())
    first, second = await program.run(), await program.run()
    assert (first["status"], counts(first)) == ("success", (3, 0, 0, 0)), first
    assert (second["status"], counts(second)) == ("success", (0, 0, 0, 0)), second
    assert len(odoo.partners()) == 3
    assert len(odoo.members_of(partner(odoo, HOME)["id"])) == 2
    assert len(await program.events()) == events
    assert odoo.calls["res.partner.write"] == 0


async def test_a_mapping_that_is_added_is_for_all_records(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo, groups=False)
    await fill(program)
    await program.save(LAN, email="lan@example.org")
    there = odoo.add_partner(name="ANA", given_name="Ana", email="ana@example.org")
    await program.run()
    assert partner(odoo, LAN)["email"] is None
    config = (await program.admin.get(f"/api/apps/{program.program}")).json()
    section = config["externalSync"]
    section["fieldMappings"] = [*MAPPINGS, {"formField": "email", "opensppField": "email"}]
    section["adapterConfig"]["groups"] = True
    assert (await program.admin.post("/api/apps", json=config)).status_code == 200
    program.hub.tenants.forget([TenantId(program.program)])
    run = await program.run()
    assert run["status"] == "success", run
    assert partner(odoo, LAN)["email"] == "lan@example.org"
    assert len(odoo.members_of(partner(odoo, HOME)["id"])) == 2
    emails = {one["data"].get("email") for one in await program.entities() if one["externalId"] == str(there)}
    assert emails == {"ana@example.org"}
    events = len(await program.events())
    assert counts(await program.run()) == (0, 0, 0, 0)
    assert len(await program.events()) == events


async def test_edits_of_both_sides_meet(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo, deletes="archive")
    await fill(program)
    await program.run()
    lan = partner(odoo, LAN)
    odoo.write_partner(lan["id"], phone="from the registry")
    await program.save(LAN, lastName="Nguyen")
    await program.push(make_event("delete-entity", entity=MINH, data={"reason": "moved"}))
    run = await program.run()
    assert run["status"] == "success", run
    lan = partner(odoo, LAN)
    assert (lan["family_name"], lan["phone"]) == ("Nguyen", "from the registry")
    assert (await program.entity(LAN))["data"]["phone"] == "from the registry"
    assert partner(odoo, MINH)["active"] is False
    await program.run()
    assert odoo.members_of(partner(odoo, HOME)["id"]) == [lan["id"]]
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_what_is_filled_in_there_arrives_although_another_field_is_edited_here(
    calling_hub: Any, odoo: FakeOdoo
) -> None:
    program = await exchange(calling_hub, odoo)
    await program.save(LAN, firstName="Lan", lastName="Tran")
    await program.run()
    odoo.write_partner(partner(odoo, LAN)["id"], phone="7")
    await program.save(LAN, lastName="Nguyen")
    await program.run()
    assert partner(odoo, LAN)["family_name"] == "Nguyen"
    assert (await program.entity(LAN))["data"]["phone"] == "7"
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_one_field_changed_on_both_sides_is_settled_by_the_later_edit(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo)
    await fill(program)
    await program.run()
    odoo.write_partner(partner(odoo, LAN)["id"], phone="there")
    late = make_event("update-individual", entity=LAN, data={"phone": "here"}, timestamp="2035-01-01T00:00:00.000Z")
    await program.push(late)
    run = await program.run()
    assert [error["code"] for error in run["errors"]] == ["CONFLICT"], run
    run = await program.run()
    assert run["status"] == "success", run
    assert partner(odoo, LAN)["phone"] == "here" == (await program.entity(LAN))["data"]["phone"]
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_whoever_was_registered_there_arrives_here(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo)
    lan = odoo.add_partner(name="TRAN, LAN", given_name="Lan", birthdate="1990-02-03")
    odoo.add_partner(name="Home", is_group=True, group_membership_ids=[[0, 0, {"individual": lan}]])
    first, second = await program.run(), await program.run()
    assert (first["status"], first["pulled"]) == ("success", 2), first
    assert counts(second) == (0, 0, 0, 0), second
    people = [one for one in await program.entities() if one["type"] == "individual"]
    data = (await program.entity(people[0]["guid"]))["data"]
    assert (data["firstName"], data["born"], data["entityName"]) == ("Lan", "1990-02-03", "individual")
    assert {event["userId"] for event in await program.events()} == {"external-openspp"}
    # Changed here, it goes back to the registrant it came from.
    changed = {"entity": people[0]["guid"], "data": {"phone": "7"}, "timestamp": "2035-01-01T00:00:00.000Z"}
    await program.push(make_event("update-individual", **changed))
    assert counts(await program.run())[0] == 1
    assert (odoo.partner(lan)["phone"], len(odoo.partners())) == ("7", 2)


async def test_what_nobody_has_filled_in_there_does_not_beat_an_edit_that_comes_late(
    calling_hub: Any, odoo: FakeOdoo
) -> None:
    program = await exchange(calling_hub, odoo)
    await program.save(LAN, firstName="Lan", lastName="Tran")
    await program.run()
    odoo.write_partner(partner(odoo, LAN)["id"], family_name="Nguyen")
    await program.run()
    data = (await program.entity(LAN))["data"]
    assert data["lastName"] == "Nguyen" and "phone" not in data
    # Entered before the registry's change, on a device that had no connection.
    early = "2025-01-01T00:00:00.000Z"
    await program.push(make_event("update-individual", entity=LAN, data={"phone": "1"}, timestamp=early))
    await program.run()
    assert partner(odoo, LAN)["phone"] == "1" == (await program.entity(LAN))["data"]["phone"]


async def test_what_was_emptied_there_is_emptied_here(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo)
    await fill(program)
    await program.run()
    odoo.write_partner(partner(odoo, LAN)["id"], phone=False)
    await program.run()
    assert (await program.entity(LAN))["data"]["phone"] == ""
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_lost_answers_make_nothing_twice(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo, batchSize=2)

    def writes(request: Request) -> bool:
        return any(word in request.body for word in (b'"create"', b'"write"'))

    odoo.faults.add(DropAfter(), matches=writes, times=2)
    await fill(program)
    for _ in range(4):
        run = await program.run()
    assert (run["status"], counts(run)) == ("success", (0, 0, 0, 0)), run
    assert sorted(one["ref"] for one in odoo.partners()) == [LAN, MINH, HOME]
    assert len(odoo.members_of(partner(odoo, HOME)["id"])) == 2


async def test_who_was_deleted_here_does_not_come_back_by_being_told_again(calling_hub: Any, odoo: FakeOdoo) -> None:
    """The last minutes are read again by each run, and the registrant, which stays there, was written after the delete: on
    a tablet that was offline meanwhile."""
    clock = calling_hub[0].clock
    program = await exchange(calling_hub, odoo)
    await program.save(MINH, firstName="Minh", lastName="Tran")
    before = format_timestamp(Millis(clock.now() - 300_000))
    await program.run()
    await program.push(make_event("delete-entity", entity=MINH, data={"why": "twice"}, timestamp=before))
    for _ in range(2):
        await program.run()
        assert await program.entity(MINH) is None
    assert partner(odoo, MINH)["active"] is True


async def test_who_is_restored_here_is_taken_out_of_the_archive_there(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo, deletes="archive")
    await program.save(LAN, firstName="Lan")
    await program.run()
    await program.push(make_event("delete-entity", entity=LAN, data={"reason": "a mistake"}))
    await program.run()
    assert partner(odoo, LAN)["active"] is False
    await program.push(make_event(entity=LAN, data={"entityName": "individual", "firstName": "Lan", "phone": "1"}))
    await program.run()
    assert (partner(odoo, LAN)["active"], partner(odoo, LAN)["phone"]) == (True, "1")
    assert (await program.entity(LAN))["data"]["phone"] == "1"
    assert counts(await program.run()) == (0, 0, 0, 0)


async def test_an_edit_that_is_later_than_the_archive_there_wins(calling_hub: Any, odoo: FakeOdoo) -> None:
    program = await exchange(calling_hub, odoo, deletes="archive")
    await program.save(LAN, firstName="Lan")
    await program.run()
    odoo.write_partner(partner(odoo, LAN)["id"], active=False)
    late = {"entity": LAN, "data": {"firstName": "Lanh"}, "timestamp": "2035-01-01T00:00:00.000Z"}
    await program.push(make_event("update-individual", **late))
    for _ in range(2):
        await program.run()
    assert (partner(odoo, LAN)["active"], partner(odoo, LAN)["given_name"]) == (True, "Lanh")
    assert (await program.entity(LAN))["data"]["firstName"] == "Lanh"


async def test_a_registrant_that_was_handed_over_is_not_archived_with_the_one_that_had_it(
    calling_hub: Any, odoo: FakeOdoo
) -> None:
    program = await exchange(calling_hub, odoo, deletes="archive")
    await program.save(LAN, firstName="Lan")
    await program.run()
    await program.save(MINH, firstName="Lan")
    await program.merge(LAN, MINH)
    await program.run()
    assert partner(odoo, LAN)["active"] is True
    assert (await program.entity(MINH))["externalId"] == str(partner(odoo, LAN)["id"])


async def test_registrants_that_were_merged_there_do_not_take_each_other_s_values(
    calling_hub: Any, odoo: FakeOdoo
) -> None:
    program = await exchange(calling_hub, odoo)
    await program.save(LAN, firstName="Lan")
    await program.save(MINH, firstName="Minh")
    await program.run()
    lan, minh = partner(odoo, LAN)["id"], partner(odoo, MINH)["id"]
    # Odoo's own way: one is deleted, and the other gets what it did not have, our id of the first among it.
    del odoo.registry.models["res.partner"].rows[lan]
    odoo.write_partner(minh, ref=LAN)
    await program.save(LAN, phone="1")
    run = await program.run()
    assert [error["code"] for error in run["errors"]] == ["TWIN_TAKEN"]
    assert (odoo.partner(minh)["given_name"], odoo.partner(minh)["phone"]) == ("Minh", None)
    assert (await program.entity(MINH))["data"]["firstName"] == "Minh"
