"""Pushing to programs that ask for a check of their forms, on both engines."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.db import EVERY_TENANT
from datacollect.eventstore import log
from datacollect.eventstore.upcasting import Upcaster, Upcasters
from datacollect.http.hub import Hub
from tests.accounts import login, make_person
from tests.conftest import asgi_client
from tests.factories import make_config, make_event, make_program, pull_all, push

pytestmark = pytest.mark.anyio

PERSON = {
    "id": "f1",
    "name": "individual",
    "title": "Person",
    "formio": {
        "components": [
            {
                "type": "panel",
                "components": [{"type": "textfield", "key": "name", "validate": {"required": True}}],
            },
            {"type": "number", "key": "age", "validate": {"min": 0}},
        ]
    },
}


async def checked(admin: AsyncClient, mode: Any) -> str:
    return await make_program(admin, entityForms=[PERSON], formValidation=mode)


def person(**data: Any) -> dict[str, Any]:
    return make_event(data={"entityName": "individual", "name": "Ana", **data})


async def findings(client: AsyncClient, program: str, **parameters: Any) -> Any:
    return await client.get("/api/sync/form-findings", params={"configId": program} | parameters)


@pytest.mark.parametrize("mode", ["warn", True])
async def test_warn_keeps_the_event_flags_it_and_tells_the_device(admin: AsyncClient, mode: Any) -> None:
    program = await checked(admin, mode)
    good, bad = person(age=7), person(age="seven-years")
    # The later one first: `index` counts as sent.
    answer = await push(admin, program, bad | {"timestamp": "2025-06-01T00:00:00.000Z"}, good)
    assert (answer.status_code, answer.json()["applied"], answer.json()["failed"]) == (200, 2, [])
    [warning] = answer.json()["warnings"]
    assert warning == {
        "index": 0,
        "guid": bad["guid"],
        "entityGuid": bad["entityGuid"],
        "type": "create-individual",
        "code": "FORM_MISMATCH",
        "path": ["data", "age"],
        "message": "Expected a number",
        "help": warning["help"],
    }
    assert {event["guid"] for event in await pull_all(admin, program)} == {good["guid"], bad["guid"]}
    listed = (await findings(admin, program)).json()
    [finding] = listed["findings"]
    assert listed["nextCursor"] is None
    assert finding == {
        "eventGuid": bad["guid"],
        "entityGuid": bad["entityGuid"],
        "form": "individual",
        "path": ["data", "age"],
        "code": "FORM_MISMATCH",
        "message": "Expected a number",
        "recordedAt": finding["recordedAt"],
    }
    assert "seven-years" not in str(listed) + str(warning)


async def test_a_flagged_event_that_comes_again_is_not_flagged_again(admin: AsyncClient) -> None:
    program = await checked(admin, "warn")
    bad = person(age="a")
    assert "warnings" in (await push(admin, program, bad, bad)).json()
    again = await push(admin, program, bad, person())
    assert (again.status_code, again.json()["applied"], again.json().get("warnings")) == (200, 2, None)
    assert len((await findings(admin, program)).json()["findings"]) == 1


async def test_warnings_stand_beside_verdicts(admin: AsyncClient) -> None:
    program = await checked(admin, "warn")
    bad, unknown = person(age="a"), make_event("no-such-type")
    body = (await push(admin, program, unknown, bad, atomic=False)).json()
    assert [(verdict["index"], verdict["code"]) for verdict in body["failed"]] == [(0, "UNKNOWN_EVENT_TYPE")]
    assert [(warning["index"], warning["path"]) for warning in body["warnings"]] == [(1, ["data", "age"])]
    # An event that was not stored is not flagged, whatever its form says.
    refused = person(age="a") | {"userId": ""}
    body = (await push(admin, program, refused, atomic=False)).json()
    assert (len(body["failed"]), body.get("warnings")) == (1, None)
    assert len((await findings(admin, program)).json()["findings"]) == 1


async def test_reject_refuses_the_push_and_names_the_place(admin: AsyncClient) -> None:
    program = await checked(admin, "reject")
    good, bad = person(), person(age=-3)
    answer = await push(admin, program, good, bad)
    assert (answer.status_code, answer.json()["code"]) == (422, "PUSH_REJECTED")
    [failure] = answer.json()["failed"]
    assert (failure["code"], failure["eventGuid"], failure["path"]) == ("FORM_MISMATCH", bad["guid"], ["data", "age"])
    assert failure["message"] == failure["error"] == "Expected a number not below 0"
    assert "-3" not in failure["message"]
    assert await pull_all(admin, program) == []
    assert (await findings(admin, program)).json()["findings"] == []


async def test_reject_gives_a_verdict_on_each_event_and_keeps_refused_ones_aside(admin: AsyncClient, hub: Hub) -> None:
    program = await checked(admin, "reject")
    good, bad = person(), make_event(data={"entityName": "individual", "age": "a"})
    answer = await push(admin, program, bad, good, atomic=False)
    assert (answer.status_code, answer.json()["applied"]) == (207, 1)
    [verdict] = answer.json()["failed"]
    assert (verdict["index"], verdict["code"], verdict["path"]) == (0, "FORM_MISMATCH", ["data", "name"])
    assert verdict["message"] == "Required (1 more in this event)"
    async with hub.db.reading(EVERY_TENANT) as view:
        quoted = "?" if hub.db.dialect == "sqlite" else "$1"
        kept = await view.fetch(f"SELECT code, event_guid FROM quarantine WHERE tenant_id = {quoted}", program)
    assert [tuple(row) for row in kept] == [("FORM_MISMATCH", bad["guid"])]


@pytest.mark.parametrize("mode", ["warn", "reject"])
async def test_a_push_that_is_stored_in_parts_is_told_of_the_same_events(
    admin: AsyncClient, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    events = [person(age=7), person(age=8), person(age=9), person(age="ten"), person(age=11), person(age="twelve")]
    told = []
    for part in (2000, 2):
        monkeypatch.setattr(log, "PART", part)
        program = await checked(admin, mode)
        answer = (await push(admin, program, *events, atomic=False)).json()
        listed = (await findings(admin, program)).json()["findings"]
        told.append((answer, sorted(one["eventGuid"] for one in listed), len(await pull_all(admin, program))))
    assert told[0] == told[1]
    of_bad = [one["guid"] for one in told[0][0].get("warnings" if mode == "warn" else "failed", [])]
    assert of_bad == [events[3]["guid"], events[5]["guid"]]


async def test_an_event_that_is_stored_already_is_an_echo_also_under_stricter_rules(admin: AsyncClient) -> None:
    program = await checked(admin, "off")
    old = person(age="a")
    await push(admin, program, old)
    await make_program(admin, config_id=program, entityForms=[PERSON], formValidation="reject")
    again = await push(admin, program, old, person())
    assert (again.status_code, again.json()["applied"]) == (200, 2)
    other = await push(admin, program, old | {"data": {"entityName": "individual", "age": "b"}}, atomic=False)
    assert [verdict["code"] for verdict in other.json()["failed"]] == ["GUID_REUSED"]


async def test_a_guid_that_an_event_of_the_same_push_took_is_reused_before_it_is_a_mismatch(admin: AsyncClient) -> None:
    program = await checked(admin, "reject")
    good = person()
    twin = good | {"data": {"entityName": "individual", "age": "a"}}
    body = (await push(admin, program, good, twin, atomic=False)).json()
    assert (body["applied"], [verdict["code"] for verdict in body["failed"]]) == (1, ["GUID_REUSED"])


async def test_updates_are_partial_but_do_not_empty_what_is_required(admin: AsyncClient) -> None:
    program = await checked(admin, "reject")
    created = person()
    await push(admin, program, created)
    partial = make_event("update-individual", entity=created["entityGuid"], data={"entityName": "individual", "age": 8})
    assert (await push(admin, program, partial)).status_code == 200
    emptied = make_event("update-individual", entity=created["entityGuid"])
    emptied["data"] = {"entityName": "individual", "name": ""}
    [failure] = (await push(admin, program, emptied)).json()["failed"]
    assert (failure["code"], failure["path"]) == ("FORM_MISMATCH", ["data", "name"])


async def test_a_changed_form_counts_from_the_next_push_on(admin: AsyncClient) -> None:
    program = await checked(admin, "reject")
    assert (await push(admin, program, person(age="a"))).status_code == 422
    lenient = PERSON | {"formio": {"components": []}}
    await make_program(admin, config_id=program, entityForms=[lenient], formValidation="reject")
    assert (await push(admin, program, person(age="a"))).status_code == 200


async def test_forms_are_read_once_for_each_version_of_the_config(admin: AsyncClient, hub: Hub) -> None:
    program = await checked(admin, "warn")
    await push(admin, program, person())
    with hub.db.statements.record() as statements:
        await push(admin, program, person(age=1), person(age=2))
    # At most the directory's own look, which is due once a second.
    assert len([sql for sql in statements if "programs" in sql and "revision" not in sql]) == 0, statements


@pytest.mark.parametrize(("mode", "more"), [("off", 0), ("warn", 1)])
async def test_the_check_costs_one_statement_and_only_where_something_is_found(
    admin: AsyncClient, hub: Hub, mode: str, more: int
) -> None:
    plain, program = await make_program(admin), await checked(admin, mode)
    counts = []
    for target in (plain, program):
        await push(admin, target, person())
        for age in (1, "a"):
            with hub.db.statements.record() as statements:
                await push(admin, target, person(age=age), person(age=age))
            counts.append(len([sql for sql in statements if "users" not in sql and "programs" not in sql]))
    assert counts == [counts[0], counts[0], counts[0], counts[0] + more]


async def test_a_hostile_form_stops_no_push(admin: AsyncClient) -> None:
    wild = PERSON | {
        "formio": {
            "components": [
                {"type": "textfield", "key": "name", "validate": {"pattern": "((((", "minLength": "many"}},
                {"type": ["number"], "key": {"a": 1}, "components": 7},
                {"$ref": "http://127.0.0.1:9/x", "type": "number", "key": "age"},
                None,
            ]
        }
    }
    program = await make_program(admin, entityForms=[wild], formValidation="reject")
    assert (await push(admin, program, person(age=7))).status_code == 200
    assert (await push(admin, program, person(age="a"))).status_code == 422


async def test_findings_are_paged_newest_first_and_by_entity(admin: AsyncClient) -> None:
    program = await checked(admin, "warn")
    one, two = person(age="a", name=7), person(age="b")
    await push(admin, program, one)
    await push(admin, program, two)
    whole = (await findings(admin, program)).json()["findings"]
    assert [finding["recordedAt"] for finding in whole] == sorted((f["recordedAt"] for f in whole), reverse=True)
    assert len(whole) == 3
    seen, cursor = [], ""
    while cursor is not None:
        page = (await findings(admin, program, limit=1, cursor=cursor)).json()
        seen += page["findings"]
        cursor = page["nextCursor"]
    assert seen == whole
    of_one = (await findings(admin, program, entityGuid=one["entityGuid"])).json()["findings"]
    assert {(f["eventGuid"], tuple(f["path"])) for f in of_one} == {
        (one["guid"], ("data", "age")),
        (one["guid"], ("data", "name")),
    }
    other = await checked(admin, "warn")
    assert (await findings(admin, other)).json()["findings"] == []


@pytest.mark.parametrize(
    "parameters", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "x"}, {"cursor": "1|x|g"}]
)
async def test_a_query_for_findings_that_cannot_be_read_is_refused(
    admin: AsyncClient, parameters: dict[str, str]
) -> None:
    program = await checked(admin, "warn")
    answer = await findings(admin, program, **parameters)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FINDINGS_QUERY")
    assert answer.json()["status"] == "error"


async def test_findings_need_a_supervisor_of_the_program(admin: AsyncClient, app: FastAPI) -> None:
    program = await checked(admin, "warn")
    for role, status in (("enumerator", 403), ("supervisor", 200)):
        member = await make_person(admin, roleAssignments=[{"tenantId": program, "role": role}])
        async with asgi_client(app, (await login(admin, member))["token"]) as caller:
            assert (await findings(caller, program)).status_code == status
    assert (await findings(admin, "no-such-program")).json()["code"] == "TENANT_UNKNOWN"


@pytest.mark.parametrize("mode", ["off", "warn", "reject", True, False])
async def test_the_setting_is_stored_read_back_and_published(admin: AsyncClient, mode: Any) -> None:
    program = await checked(admin, mode)
    read = (await admin.get(f"/api/apps/{program}")).json()
    assert read["formValidation"] is mode or read["formValidation"] == mode
    artifact = (await admin.get(f"/artifacts/{read['artifactId']}.json")).json()
    assert artifact["formValidation"] == mode
    again = await admin.put(f"/api/apps/{program}", json=read)
    assert again.status_code == 200
    assert not [text for text in again.json().get("warnings", []) if "formValidation" in text]
    assert (await admin.get(f"/api/apps/{program}")).json()["formValidation"] == mode


async def test_a_config_without_the_setting_has_none_and_checks_nothing(admin: AsyncClient) -> None:
    program = await make_program(admin, entityForms=[PERSON])
    assert "formValidation" not in (await admin.get(f"/api/apps/{program}")).json()
    assert "warnings" not in (await push(admin, program, person(age="a"))).json()


@pytest.mark.parametrize("mode", ["strict", "", 1, 0, ["warn"], {"mode": "warn"}])
async def test_another_setting_is_refused_with_its_place(admin: AsyncClient, mode: Any) -> None:
    answer = await admin.post("/api/apps", json=make_config(formValidation=mode))
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CONFIG")
    assert [issue["path"] for issue in answer.json()["details"]] == [["formValidation"]]


async def test_an_event_of_an_older_layout_is_checked_in_the_current_one(admin: AsyncClient, hub: Hub) -> None:
    program = await checked(admin, "reject")
    before = hub.log.upcasters
    hub.log.upcasters = Upcasters(
        [Upcaster("create-individual", 1, 2, lambda data: {**data, "age": int(data["years"])})]
    )
    try:
        assert (await push(admin, program, person(years="7"))).status_code == 200
        assert (await push(admin, program, person(years="-7"))).status_code == 422
    finally:
        hub.log.upcasters = before
