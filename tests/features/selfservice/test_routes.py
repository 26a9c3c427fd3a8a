"""Citizens see, correct and take along their own record."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from httpx2 import AsyncClient

from datacollect.features.audit import queries as audit_queries
from datacollect.features.reviews import queries
from datacollect.features.selfservice import export
from datacollect.features.selfservice.service import SUBMISSIONS
from datacollect.features.sync.payload import read_push
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.clock import TurnableClock
from tests.accounts import bearer
from tests.citizens import change_citizen, make_citizen, make_open_program, token_of
from tests.factories import make_event, make_program, pull_all, push
from tests.features.conftest import Alone
from tests.features.selfservice.conftest import BIRTH, PERSON, MakeCitizen
from tests.statements import hot

pytestmark = pytest.mark.anyio

SUBMIT = "/api/auth/self-service/submit"


async def data_of(admin: AsyncClient, program: str, guid: str) -> dict[str, Any]:
    answer = await admin.get(f"/api/entities/{guid}", params={"configId": program})
    data: dict[str, Any] = answer.json()["data"]
    return data


async def read_by(asked: list[str]) -> None:
    """Somebody's record has been read for them, after it was looked at for their sign-in, and they go on to their turn."""
    is_read = False
    while not is_read:
        for _ in range(200):
            await asyncio.sleep(0)
        is_read = any("entities" in sql for sql in hot(asked)[1:])


# -- seeing


async def test_a_citizen_sees_what_the_forms_ask_for_and_nothing_internal(citizen: MakeCitizen) -> None:
    ana = await citizen()
    seen = await ana.entity()
    assert seen["entity"]["guid"] == ana.guid
    assert seen["entity"]["type"] == "individual"
    assert seen["entity"]["data"] == {"name": "Ana", "village": "Hoa Binh", "phone": "+1555"}
    assert seen["entity"]["lastUpdated"].endswith("Z")


async def test_the_program_says_what_is_shown(citizen: MakeCitizen) -> None:
    ana = await citizen(fields=["name", "score", "area_id", "entityName"])
    assert (await ana.entity())["entity"]["data"] == {"name": "Ana", "score": 12}


async def test_allowed_forms_are_listed_by_name_or_id_with_their_definition(citizen: MakeCitizen) -> None:
    ana = await citizen(allowedForms=["individual", "f2", "gone"])
    person, birth, gone = (await ana.entity())["availableForms"]
    assert (person["type"], person["label"]) == ("individual", "Person")
    assert person["formio"]["components"] == PERSON["formio"]["components"]
    assert (birth["type"], birth["label"], birth["formio"]) == ("f2", "Birth", BIRTH["formio"])
    assert gone == {"type": "gone", "label": "gone"}


async def test_forms_come_in_the_citizens_language(citizen: MakeCitizen) -> None:
    ana = await citizen()
    answer = await ana.get("entity", headers={"Accept-Language": "de, fr-CA;q=0.8"})
    person = answer.json()["availableForms"][0]
    assert (answer.headers["content-language"], answer.json()["language"]) == ("fr", "fr")
    assert "accept-language" in answer.headers["vary"].lower()
    assert (person["label"], person["formio"]["components"][1]["label"]) == ("Personne", "Village ou quartier")
    assert "i18n" not in person["formio"]
    asked = await ana.entity(params={"lang": "en"}, headers={"Accept-Language": "fr"})
    assert asked["availableForms"][0]["label"] == "Person"


async def test_without_allowed_forms_there_is_one_made_of_the_record_that_works(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen(allowedForms=[])
    [form] = (await ana.entity(params={"lang": "fr"}))["availableForms"]
    assert (form["type"], form["label"]) == ("update-individual", "Mes données")
    assert [component["key"] for component in form["formio"]["components"]] == ["name", "village", "age"]
    assert (await ana.submit("update-individual", village="Da Lat")).json()["status"] == "success"
    assert (await data_of(admin, ana.program, ana.guid))["village"] == "Da Lat"


async def test_the_records_of_a_program_without_forms_can_be_corrected_too(citizen: MakeCitizen) -> None:
    ana = await citizen(config={"entityForms": []}, allowedForms=[])
    [form] = (await ana.entity())["availableForms"]
    assert (form["type"], form["label"]) == ("update-individual", "Update Profile")
    assert [component["key"] for component in form["formio"]["components"]] == ["name"]


async def test_a_new_version_of_the_program_counts_at_once(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    await ana.entity()
    config = (await admin.get(f"/api/apps/{ana.program}")).json()
    config["selfService"]["fields"] = ["name"]
    assert (await admin.put(f"/api/apps/{ana.program}", json=config)).status_code == 200
    assert (await ana.entity())["entity"]["data"] == {"name": "Ana"}


async def test_a_deleted_record_ends_the_sign_in(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    await push(admin, ana.program, make_event("delete-entity", entity=ana.guid))
    assert (await ana.get("entity")).status_code == 401


# -- submitting


async def test_a_change_is_applied_at_once_where_nobody_has_to_look(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    answer = await ana.submit(name="Ana", village="Da Lat", phone="+1555", submit=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    event = (await pull_all(admin, ana.program))[-1]
    assert event["guid"] == answer.json()["submissionGuid"]
    assert (event["type"], event["userId"], event["data"]) == (
        "update-individual",
        "self-service:+1555",
        {"village": "Da Lat"},
    )
    assert [one["status"] for one in await ana.submissions()] == ["approved"]


async def test_what_the_form_does_not_show_of_an_object_stays_as_it_is_when_its_turn_comes(
    citizen: MakeCitizen, admin: AsyncClient, hub: Hub
) -> None:
    home = {"type": "container", "key": "home", "components": [{"type": "number", "key": "rooms"}]}
    one = await citizen(
        config={"entityForms": [PERSON | {"formio": {"components": [home]}, "dependsOn": None}]},
        data={"home": {"rooms": 3, "checked": "no"}},
        allowedForms=["individual"],
    )
    scope = system_scope(TenantId(one.program))
    tenant = await hub.tenants.find(TenantId(one.program))
    assert tenant is not None
    by_staff = make_event("update-individual", entity=one.guid, data={"home": {"rooms": 3, "checked": "yes"}})
    async with hub.db.transaction(scope) as tx:
        [event] = read_push({"events": [by_staff]}).events
        await hub.log.append(tx, scope, tenant, [event])
        with hub.db.statements.record() as asked:
            sending = asyncio.create_task(one.submit(home={"rooms": 4}))
            async with asyncio.timeout(60):
                await read_by(asked)
    assert (await sending).json()["status"] == "success"
    assert (await data_of(admin, one.program, one.guid))["home"] == {"rooms": 4, "checked": "yes"}


async def test_require_review_means_that_somebody_looks(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(requireReview=True)
    answer = (await ana.submit(village="Da Lat")).json()
    assert answer["status"] == "pending_review"
    assert (await data_of(admin, ana.program, ana.guid))["village"] == "Hoa Binh"
    [sent] = await ana.submissions()
    assert (sent["id"], sent["status"], sent["data"]) == (answer["reviewId"], "pending", {"village": "Da Lat"})
    assert sent["submissionGuid"] == answer["submissionGuid"]
    assert (sent["submittedBy"], sent["reviewedBy"], sent["reviewedAt"]) == ("self-service:+1555", None, None)
    assert (sent["tenantId"], sent["entityGuid"], sent["rejectionReason"]) == (ana.program, ana.guid, None)


async def test_a_report_changes_no_record_and_is_never_approved_by_itself(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen()
    before = await pull_all(admin, ana.program)
    assert (await ana.submit("birth", child="Bo")).json()["status"] == "pending_review"
    assert await pull_all(admin, ana.program) == before
    [sent] = await ana.submissions()
    assert (sent["eventType"], sent["status"], sent["data"]) == ("update-record", "pending", {"child": "Bo"})
    assert (await ana.submit("birth")).status_code == 400


async def test_an_approved_report_changes_no_record(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    before = await pull_all(admin, ana.program)
    sent = (await ana.submit("birth", child="Bo")).json()["reviewId"]
    approved = await admin.post(f"/api/reviews/{sent}/approve", json={"tenantId": ana.program})
    assert approved.status_code == 200, approved.text
    assert await pull_all(admin, ana.program) == before
    assert [one["status"] for one in await ana.submissions()] == ["approved"]


async def test_a_name_that_no_form_has_is_a_report(citizen: MakeCitizen) -> None:
    ana = await citizen(allowedForms=["grievance"])
    assert (await ana.submit("grievance", text="Too late")).json()["status"] == "pending_review"


@pytest.mark.parametrize("allowed", [["birth"], []])
async def test_what_is_not_allowed_is_refused(citizen: MakeCitizen, allowed: list[str]) -> None:
    ana = await citizen(allowedForms=allowed)
    answer = await ana.submit("individual", village="Da Lat")
    assert answer.status_code == 403
    assert answer.json()["error"] == "Form type not allowed for this program"
    assert await ana.submissions() == []


@pytest.mark.parametrize(
    "body", [{}, {"formType": "", "formData": {}}, {"formType": "individual"}, {"formType": "x", "formData": []}]
)
async def test_a_body_that_is_none_is_refused_first(citizen: MakeCitizen, body: dict[str, Any]) -> None:
    ana = await citizen()
    answer = await ana.client.post(SUBMIT, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid request"
    assert answer.json()["details"]


async def test_login_factors_and_what_is_not_the_forms_are_refused_by_field(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen()
    answer = await ana.submit(phone="+666", area_id="elsewhere", score=99, age=-1, village="Da Lat")
    assert answer.status_code == 400
    told = {issue["path"][1]: issue["code"] for issue in answer.json()["details"]}
    assert told == {
        "phone": "login_factor",
        "area_id": "not_writable",
        "score": "unknown_field",
        "age": "form_mismatch",
    }
    assert (await data_of(admin, ana.program, ana.guid))["village"] == "Hoa Binh"
    assert await ana.submissions() == []


async def test_server_managed_fields_are_stripped(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    assert (await ana.submit(village="Da Lat", externalId="77", identifierType="x")).status_code == 200
    assert not {"externalId", "identifierType"} & (await data_of(admin, ana.program, ana.guid)).keys()


async def test_the_records_kind_decides_and_not_where_the_form_stands(citizen: MakeCitizen, admin: AsyncClient) -> None:
    top_level = PERSON | {"dependsOn": None}
    ana = await citizen(config={"entityForms": [top_level]}, allowedForms=["individual"])
    assert (await ana.submit(village="Da Lat")).status_code == 200
    assert (await pull_all(admin, ana.program))[-1]["type"] == "update-individual"


async def test_a_retry_is_the_same_submission_also_when_the_record_has_changed(
    citizen: MakeCitizen, admin: AsyncClient, clock: TurnableClock
) -> None:
    ana, guid = await citizen(), str(uuid.uuid4())
    first = await ana.submit(guid=guid, village="Da Lat", name="Ana")
    await change_citizen(admin, ana.program, ana.guid, name="Anna")
    clock.turn(seconds=60)
    again = await ana.submit(guid=guid, village="Da Lat", name="Ana")
    assert first.json() == again.json()
    assert len(await ana.submissions()) == 1
    assert (await ana.submit(guid=guid, village="Hue")).status_code == 409


async def test_ten_taps_at_once_are_one_submission(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana, guid = await citizen(requireReview=True), str(uuid.uuid4())
    answers = await asyncio.gather(*(ana.submit(guid=guid, village="Da Lat") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["reviewId"] for answer in answers}) == 1
    assert len(await ana.submissions()) == 1


async def test_who_signs_out_while_they_send_has_sent_nothing(citizen: MakeCitizen) -> None:
    ana = await citizen()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"formType": "individual", '
        assert (await ana.client.post("/api/auth/self-service/logout")).status_code == 200
        yield b'"formData": {"village": "Hue"}}'

    assert (await ana.client.post(SUBMIT, content=body())).status_code == 401


async def test_somebody_elses_submission_guid_is_taken(
    citizen: MakeCitizen, citizen_of: Any, admin: AsyncClient
) -> None:
    ana, guid = await citizen(), str(uuid.uuid4())
    bo = await citizen_of(ana.program, await make_citizen(admin, ana.program, phone="+2"), phone="+2")
    assert (await ana.submit(guid=guid, village="Da Lat")).status_code == 200
    assert (await bo.submit(guid=guid, village="Da Lat")).status_code == 409
    assert await bo.submissions() == []


async def test_many_submissions_are_held_up_and_a_retry_is_not(citizen: MakeCitizen) -> None:
    ana, guid = await citizen(requireReview=True), str(uuid.uuid4())
    await ana.submit(guid=guid, village="V")
    for number in range(1, SUBMISSIONS.quota):
        assert (await ana.submit(village=f"V{number}")).status_code == 200
    refused = await ana.submit(village="one more")
    assert refused.status_code == 429
    assert refused.json()["code"] == "TOO_MANY_SUBMISSIONS"
    assert 0 < int(refused.headers["retry-after"]) <= SUBMISSIONS.window_seconds
    assert (await ana.submit(guid=guid, village="V")).status_code == 200


async def test_the_last_submission_that_may_be_sent_is_not_held_up_when_it_is_tapped_twice(
    citizen: MakeCitizen,
) -> None:
    ana, guid = await citizen(requireReview=True), str(uuid.uuid4())
    for number in range(1, SUBMISSIONS.quota):
        assert (await ana.submit(village=f"V{number}")).status_code == 200
    answers = await asyncio.gather(*(ana.submit(guid=guid, village="V") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert (await ana.submit(village="one more")).status_code == 429


async def test_after_the_window_more_can_be_sent(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_open_program(admin, requireReview=True)
    guid = await make_citizen(admin, program, phone="+1")
    path, wish = SUBMIT, {"formType": "update-individual", "formData": {"name": "An"}}
    answers = []
    for seconds in (*[0] * SUBMISSIONS.quota, 3000, 600):
        alone.clock.turn(seconds=seconds)
        token = await token_of(alone.hub, program, guid, phone="+1")
        answers.append((await alone.client.post(path, json=wish, headers=bearer(token))).status_code)
    assert answers == [200] * SUBMISSIONS.quota + [429, 200]


async def test_what_was_sent_before_the_clock_was_set_back_does_not_count(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_open_program(admin, requireReview=True)
    guid = await make_citizen(admin, program, phone="+1")
    wish = {"formType": "update-individual", "formData": {"name": "An"}}
    answers = []
    for days in (*[0] * SUBMISSIONS.quota, -7):
        alone.clock.turn(seconds=days * 86_400)
        token = await token_of(alone.hub, program, guid, phone="+1")
        answers.append((await alone.client.post(SUBMIT, json=wish, headers=bearer(token))).status_code)
    assert answers == [200] * (SUBMISSIONS.quota + 1)


# -- looking after what was sent


async def test_the_history_has_what_they_sent_and_nobody_else(
    citizen: MakeCitizen, citizen_of: Any, admin: AsyncClient
) -> None:
    """Whatever staff call themselves; and also under another number."""
    ana = await citizen()
    event = make_event("update-individual", entity=ana.guid, data={"village": "Hue"}, userId="self-service:+1555")
    assert (await push(admin, ana.program, event)).status_code == 200
    by_staff = make_event("update-individual", entity=ana.guid, data={"village": "Vinh"}, userId="self-service:+1555")
    sent = await admin.post("/api/reviews/submit", json={"tenantId": ana.program, "formData": by_staff})
    assert sent.status_code == 200, sent.text
    await ana.submit(village="Da Lat")
    assert [one["data"] for one in await ana.submissions()] == [{"village": "Da Lat"}]


async def test_the_history_shows_nothing_that_the_record_hides(citizen: MakeCitizen, admin: AsyncClient) -> None:
    home = {"type": "container", "key": "home", "components": [{"type": "number", "key": "rooms"}]}
    person = PERSON | {"formio": {"components": [{"type": "textfield", "key": "name"}, home]}}
    one = await citizen(
        config={"entityForms": [person | {"dependsOn": None}]},
        data={"home": {"rooms": 3, "suspicion": "ghost household"}},
        allowedForms=["individual"],
        requireReview=True,
    )
    assert (await one.entity())["entity"]["data"]["home"] == {"rooms": 3}
    sent = (await one.submit(name="Anna", home={"rooms": 4})).json()
    [told] = await one.submissions()
    assert told["data"] == {"name": "Anna", "home": {"rooms": 4}}
    assert "ghost" not in (await one.get("export")).text
    taken_back = await one.client.post(f"/api/auth/self-service/submissions/{sent['reviewId']}/withdraw")
    assert taken_back.json()["submission"]["data"] == told["data"]


async def test_the_history_has_pages(citizen: MakeCitizen, clock: TurnableClock) -> None:
    ana = await citizen(requireReview=True)
    for number in range(5):
        await ana.submit(village=f"V{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await ana.get("submissions", params={"limit": "2", "cursor": cursor})).json()
        seen += [one["data"]["village"] for one in page["submissions"]]
        if page["nextCursor"] is None:
            break
        cursor = page["nextCursor"]
    assert sorted(seen) == [f"V{number}" for number in range(5)]
    for query in ({"limit": "0"}, {"limit": "x"}, {"cursor": "nonsense"}):
        assert (await ana.get("submissions", params=query)).status_code == 400


async def test_who_knows_no_pages_gets_the_whole_history(citizen: MakeCitizen, hub: Hub) -> None:
    ana = await citizen(requireReview=True)
    guid = (await ana.submit(village="Da Lat")).json()["submissionGuid"]
    scope = system_scope(TenantId(ana.program))
    async with hub.db.transaction(scope) as tx:
        one = await queries.find_by_submission(tx, scope, guid)
        assert one is not None
        for number in range(110):
            another = replace(one.event, guid=f"{number:036}")
            await queries.insert_review(tx, scope, replace(one, id=new_guid(), event=another), news=None)
    assert len(await ana.submissions()) == 111


async def test_large_submissions_come_in_pages_that_a_hub_can_hold(
    citizen: MakeCitizen, admin: AsyncClient, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One citizen who sends the most that a body may be, again and again, must not use the hub's memory up."""
    monkeypatch.setattr(queries, "MOST_BYTES", 150_000)
    one = await citizen(requireReview=True, allowedForms=["complaint"])
    sent = []
    for _ in range(5):
        clock.turn(seconds=1)
        answer = await one.submit("complaint", text="x" * 60_000)
        sent.append(answer.json()["reviewId"])
    assert [told["id"] for told in await one.submissions()] == sent[:1:-1]
    page = (await one.get("submissions")).json()
    rest = (await one.get("submissions", params={"cursor": page["nextCursor"]})).json()
    assert [told["id"] for told in rest["submissions"]] == sent[1::-1]
    assert rest["nextCursor"] is None
    assert (await one.get("export")).json()["submissionsAreComplete"] is False
    queue = (await admin.get("/api/reviews", params={"tenantId": one.program})).json()
    assert [told["id"] for told in queue["reviews"]] == sent[:3]
    more = {"tenantId": one.program, "cursor": queue["nextCursor"]}
    queue = (await admin.get("/api/reviews", params=more)).json()
    assert ([told["id"] for told in queue["reviews"]], queue["nextCursor"]) == (sent[3:], None)


async def test_a_pending_submission_can_be_taken_back_once(citizen: MakeCitizen) -> None:
    ana = await citizen(requireReview=True)
    sent = (await ana.submit(village="Da Lat")).json()["reviewId"]
    path = f"/api/auth/self-service/submissions/{sent}/withdraw"
    answer = await ana.client.post(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["submission"]["status"] == "withdrawn"
    assert [one["status"] for one in await ana.submissions()] == ["withdrawn"]
    assert (await ana.client.post(path)).status_code == 409


async def test_nobody_takes_back_what_somebody_else_has_sent(
    citizen: MakeCitizen, citizen_of: Any, admin: AsyncClient
) -> None:
    ana = await citizen(requireReview=True)
    bo = await citizen_of(ana.program, await make_citizen(admin, ana.program, phone="+2"), phone="+2")
    sent = (await ana.submit(village="Da Lat")).json()["reviewId"]
    for id in (sent, str(uuid.uuid4())):
        answer = await bo.client.post(f"/api/auth/self-service/submissions/{id}/withdraw")
        assert (answer.status_code, answer.json()["code"]) == (404, "SUBMISSION_NOT_FOUND")
    assert [one["status"] for one in await ana.submissions()] == ["pending"]


async def test_another_submission_takes_the_place_of_one_that_is_to_be_changed(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen(requireReview=True)
    first = (await ana.submit(village="Da Lat")).json()["reviewId"]
    asked = await admin.post(f"/api/reviews/{first}/request-changes", json={"comment": "Which part?"})
    assert asked.status_code == 200, asked.text
    [known] = await ana.submissions()
    assert (known["status"], known["requestedChanges"]) == ("changes-requested", "Which part?")
    wish = {"formType": "individual", "formData": {"village": "Da Lat 2"}, "replaces": first}
    assert (await ana.client.post(SUBMIT, json=wish)).status_code == 200
    assert (await ana.client.post(SUBMIT, json=wish | {"formData": {"village": "x"}})).status_code == 409
    assert sorted(one["status"] for one in await ana.submissions()) == ["changes-requested", "pending"]


async def test_a_rejection_tells_why_and_not_who(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(requireReview=True)
    sent = (await ana.submit(village="Da Lat")).json()["reviewId"]
    await admin.post(f"/api/reviews/{sent}/reject", json={"reason": "Not a village"})
    [known] = await ana.submissions()
    assert (known["status"], known["rejectionReason"], known["reviewedBy"]) == ("rejected", "Not a village", "staff")
    assert known["reviewedAt"] is not None


# -- who may


@pytest.mark.parametrize("path", ["entity", "submissions", "export", "access-log"])
async def test_staff_have_no_business_here(admin: AsyncClient, client: AsyncClient, path: str) -> None:
    refused = await admin.get(f"/api/auth/self-service/{path}")
    assert (refused.status_code, refused.json()["error"]) == (403, "Forbidden: self-service scope required")
    assert (await client.get(f"/api/auth/self-service/{path}")).status_code == 401


async def test_a_request_that_names_another_record_is_refused(citizen: MakeCitizen) -> None:
    ana = await citizen()
    for answer in (
        await ana.get("entity", params={"entityGuid": "p-other"}),
        await ana.get("submissions", params=[("entityGuid", ana.guid), ("entityGuid", "p-other")]),
        await ana.client.post(SUBMIT, json={"formType": "individual", "formData": {}, "entityGuid": "p-other"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden: cannot access other entities")
    assert (await ana.get("entity", params={"entityGuid": ana.guid})).status_code == 200


async def test_a_program_that_switches_it_off_shuts_everybody_out(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    config = (await admin.get(f"/api/apps/{ana.program}")).json()
    config["selfService"]["enabled"] = False
    await admin.put(f"/api/apps/{ana.program}", json=config)
    for answer in (await ana.get("entity"), await ana.submit(village="x"), await ana.get("export")):
        assert answer.status_code == 403
        assert answer.json()["error"] == "Self-service is not enabled for this tenant"


# -- taking it along


async def test_the_export_of_a_record_with_large_events_is_cut_and_says_so(
    citizen: MakeCitizen, admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may push could make one citizen's download cost the hub its memory."""
    ana = await citizen()
    for number in range(6):
        data = {"village": f"{number}" + "x" * 60_000, "score": "y" * 60_000}
        assert (await push(admin, ana.program, make_event("update-individual", entity=ana.guid, data=data))).is_success
    whole = (await ana.get("export")).json()
    assert (len(whole["events"]), whole["eventsAreComplete"]) == (7, True)
    # Read in more than one piece, it is the same.
    monkeypatch.setattr(audit_queries, "MOST_TOUCHING_BYTES", 150_000)
    in_pieces = (await ana.get("export")).json()
    assert (in_pieces["events"], in_pieces["eventsAreComplete"]) == (whole["events"], True)
    # What the file leaves out does not count.
    monkeypatch.setattr(export, "MOST_BYTES", 150_000)
    cut = (await ana.get("export")).json()
    assert cut["eventsAreComplete"] is False
    assert cut["events"] == whole["events"][: len(cut["events"])]
    assert 3 <= len(cut["events"]) <= 5


async def test_the_export_holds_what_the_program_holds_about_them_and_nobody_else(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen(requireReview=True)
    household = make_event(
        "create-group",
        data={
            "name": "Rivera",
            "entityName": "household",
            "members": [
                {"guid": ana.guid, "name": "Ana", "village": "Hue", "type": "individual"},
                {"guid": "in-lan", "name": "Lan", "village": "Secret", "type": "individual"},
            ],
        },
    )
    assert (await push(admin, ana.program, household)).status_code == 200
    file = {"file": ("card.txt", b"hello", "text/plain")}
    uploaded = await admin.post(
        "/api/attachments/upload", data={"configId": ana.program, "entityGuid": ana.guid}, files=file
    )
    assert uploaded.status_code == 201, uploaded.text
    await ana.submit(village="Da Lat")
    answer = await ana.get("export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith('attachment; filename="my-data-')
    told = answer.json()
    assert told["program"]["id"] == ana.program
    assert told["entity"]["data"] == {"name": "Ana", "village": "Hue", "phone": "+1555"}
    assert told["memberships"] == [{"guid": household["entityGuid"], "type": "group", "name": "Rivera"}]
    created, joined = told["events"]
    assert created["data"] == {"name": "Ana", "village": "Hoa Binh", "phone": "+1555"}
    assert created["by"] == {"kind": "staff", "role": "administrator", "program": told["program"]["name"]}
    assert (joined["type"], joined["data"]) == ("create-group", {"name": "Ana", "village": "Hue"})
    assert [one["status"] for one in told["submissions"]] == ["pending"]
    [attachment] = told["attachments"]
    assert (attachment["name"], attachment["sizeBytes"]) == ("card.txt", 5)
    for secret in ("cedar-bay", "Secret", "Lan", '"score"', "admin@hub.test", "agent-7"):
        assert secret not in answer.text


# -- who has looked


async def accesses(ana: Any, **parameters: Any) -> list[tuple[str, Any, bool]]:
    answer = (await ana.get("access-log", params=parameters)).json()
    return [(one["action"], one["by"].get("role", one["by"]["kind"]), one["wide"]) for one in answer["accesses"]]


async def test_who_has_looked_is_told_by_role(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(config={"auditReads": True})
    await admin.get(f"/api/entities/{ana.guid}", params={"configId": ana.program})
    await admin.get("/api/entities", params={"configId": ana.program})
    await ana.entity()
    answer = (await ana.get("access-log")).json()
    assert answer["isKept"] is True
    assert [one["action"] for one in answer["accesses"]] == ["read-own-record", "read-entity"]
    assert answer["accesses"][0]["by"] == {"kind": "self"}
    by = answer["accesses"][1]["by"]
    assert (by["kind"], by["role"], "name" in by) == ("staff", "administrator", False)
    assert by["program"].startswith("Program ")
    assert "admin@hub.test" not in str(answer)
    assert await accesses(ana, wide="true", limit="3") == [
        ("read-access-log", "self", False),
        ("read-own-record", "self", False),
        ("read-all-entities", "administrator", True),
    ]


async def test_who_has_looked_at_the_household_or_at_conflicts_has_looked_at_the_record(
    citizen: MakeCitizen, admin: AsyncClient
) -> None:
    ana = await citizen(config={"auditReads": True})
    query = {"configId": ana.program}
    home = make_event("create-group", data={"name": "Home", "members": [{"guid": ana.guid, "note": "first"}]})
    assert (await push(admin, ana.program, home)).status_code == 200
    late = make_event("update-individual", entity=ana.guid, data={"note": "x"}, timestamp="2020-01-01T00:00:00.000Z")
    assert (await push(admin, ana.program, late)).status_code == 200
    assert (await admin.get(f"/api/entities/{home['entityGuid']}/members", params=query)).status_code == 200
    assert await accesses(ana) == [("read-entity", "administrator", False)]
    assert (await admin.get("/api/conflicts", params=query)).json()["conflicts"]
    assert ("read-conflicts", "administrator", True) in await accesses(ana, wide="true")


async def test_a_program_may_tell_names(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(config={"auditReads": True}, accessLog="names")
    await admin.get(f"/api/entities/{ana.guid}", params={"configId": ana.program})
    [one] = (await ana.get("access-log")).json()["accesses"]
    assert one["by"]["name"] == "admin@hub.test"


async def test_the_access_log_has_pages(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(config={"auditReads": True})
    for _ in range(5):
        await admin.get(f"/api/entities/{ana.guid}", params={"configId": ana.program})
        await admin.get("/api/entities", params={"configId": ana.program})
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await ana.get("access-log", params={"limit": "3", "cursor": cursor, "wide": "true"})).json()
        seen += [one["action"] for one in page["accesses"] if one["by"]["kind"] == "staff"]
        cursor = page["nextCursor"]
    assert seen == ["read-all-entities", "read-entity"] * 5
    assert (await ana.get("access-log", params={"cursor": "x"})).status_code == 400


async def test_reads_of_others_are_not_told(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(config={"auditReads": True})
    other = await make_citizen(admin, ana.program, phone="+2")
    await admin.get(f"/api/entities/{other}", params={"configId": ana.program})
    assert await accesses(ana) == []


async def test_a_program_that_keeps_no_reads_says_so(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen()
    await admin.get(f"/api/entities/{ana.guid}", params={"configId": ana.program})
    answer = (await ana.get("access-log")).json()
    assert (answer["isKept"], answer["accesses"], answer["nextCursor"]) == (False, [], None)
    assert "does not note" in answer["note"]


async def test_citizens_reads_are_in_the_staffs_trail(citizen: MakeCitizen, admin: AsyncClient) -> None:
    ana = await citizen(config={"auditReads": True})
    for path in ("entity", "submissions", "export", "access-log"):
        await ana.get(path)
    trail = await admin.get("/api/sync/pull/audit-logs", params={"configId": ana.program, "entityGuid": ana.guid})
    noted = {one["action"] for one in trail.json() if one["userId"] == "self-service:+1555"}
    assert noted == {"read-own-record", "read-own-submissions", "export-own-record", "read-access-log"}


async def test_another_program_is_another_world(citizen: MakeCitizen, citizen_of: Any, admin: AsyncClient) -> None:
    """The same guid elsewhere is somebody else."""
    ana = await citizen()
    other = await make_program(admin, selfService=(await admin.get(f"/api/apps/{ana.program}")).json()["selfService"])
    await push(admin, other, make_event(entity=ana.guid, data={"name": "Eve", "phone": "+1555", "entityName": "x"}))
    eve = await citizen_of(other, ana.guid)
    assert (await eve.entity())["entity"]["data"] == {"name": "Eve", "phone": "+1555"}
    await ana.submit(village="Da Lat")
    assert await eve.submissions() == []
