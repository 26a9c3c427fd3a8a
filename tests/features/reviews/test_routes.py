"""`/api/reviews` through HTTP, on both engines."""

import asyncio
from typing import Any, get_args

import pytest
from httpx2 import AsyncClient

from datacollect.eventstore.event import Event
from datacollect.features.reviews import looking, service
from datacollect.features.reviews.bulk import approve_many
from datacollect.features.reviews.errors import MissingRequiredRole
from datacollect.features.reviews.model import Submission, SubmissionOrigin, citizen_key
from datacollect.features.reviews.schemas import RoleName
from datacollect.http.hub import Hub
from datacollect.http.log_turn import log_turn
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import Unauthenticated
from datacollect.kernel.identity import Action, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from datacollect.testing.clock import TurnableClock
from tests.accounts import assert_refused, bearer, login, make_person
from tests.factories import make_event, make_program, new_id, pull_all, push
from tests.features.conftest import Alone
from tests.features.reviews.world import AREA_A, AREA_B, Staff, World, make_staff, make_world, set_policy

pytestmark = pytest.mark.anyio

EARLY, LATER, LATE = "2025-01-01T08:00:00.000Z", "2025-01-01T09:00:00.000Z", "2025-01-01T10:00:00.000Z"


async def stored(world: World, entity: str, **data: Any) -> None:
    """Somebody is there, whom a device has registered."""
    data = {"name": "Ana", "entityName": "individual"} | data
    assert (
        await push(world.admin, world.program, make_event(entity=entity, data=data, timestamp=EARLY))
    ).status_code == 200


def change(entity: str, **data: Any) -> dict[str, Any]:
    return make_event("update-individual", entity=entity, data=data, timestamp=LATE)


# -- submitting


async def test_a_web_agent_submits_with_the_tenant_id_alone(world: World) -> None:
    event = make_event()
    review = await world.agent.submitted(event)
    assert (review["status"], review["submissionGuid"], review["tenantId"]) == ("pending", event["guid"], world.program)
    assert (review["eventType"], review["entityGuid"]) == (event["type"], event["entityGuid"])
    assert review["formData"] == event | {"userId": world.agent.email, "syncLevel": 1}
    assert (review["reviewedBy"], review["reviewedAt"], review["rejectionReason"]) == (None, None, None)
    assert await pull_all(world.admin, world.program) == []


async def test_without_a_policy_it_is_applied_at_once(admin: AsyncClient, client: AsyncClient) -> None:
    program = await make_program(admin)
    agent = await make_staff(admin, client, (program, "enumerator"))
    event = make_event()
    review = await agent.submitted(event)
    assert (review["status"], review["reviewedBy"]) == ("approved", "system")
    assert await pull_all(admin, program) == [event | {"userId": agent.email, "syncLevel": 1}]
    assert await agent.submitted(event) == review
    assert len(await pull_all(admin, program)) == 1


async def test_who_has_submitted_it_is_taken_from_the_token(world: World) -> None:
    review = await world.agent.submitted(make_event(userId="somebody@else.test"))
    assert review["submittedBy"] == world.agent.email == review["formData"]["userId"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"guid": "no uuid"}, ["formData", "guid"]),
        ({"timestamp": "yesterday"}, ["formData", "timestamp"]),
        ({"data": None}, ["formData", "data"]),
        ({"entityGuid": ""}, ["formData", "entityGuid"]),
    ],
)
async def test_a_malformed_event_is_refused_when_it_is_submitted(
    world: World, changes: dict[str, Any], path: list[str]
) -> None:
    answer = await world.agent.submit(make_event() | changes)
    body = answer.json()
    assert (answer.status_code, body["code"], body["details"][0]["path"]) == (400, "INVALID_PAYLOAD", path)
    assert await world.agent.reviews() == []


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (make_event("invent-something"), "UNKNOWN_EVENT_TYPE"),
        (make_event(data={}), "INVALID_FORM"),
        (make_event("add-member", data={"members": [{"guid": "x", "name": "y"}]}), "INVALID_GROUP"),
    ],
)
async def test_what_cannot_be_applied_is_refused_with_the_codes_of_a_push(
    world: World, event: dict[str, Any], code: str
) -> None:
    answer = await world.agent.submit(event)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await world.supervisor.reviews() == []


async def test_a_program_that_refuses_what_its_forms_do_not_let_pass_does_so_here(
    hub: Hub, admin: AsyncClient, client: AsyncClient
) -> None:
    components = [{"type": "number", "key": "age", "input": True, "validate": {"max": 120}}]
    form = {"id": "f1", "name": "individual", "title": "Person", "formio": {"components": components}}
    world = await make_world(hub, admin, client, formValidation="reject", entityForms=[form])
    answer = await world.agent.submit(make_event(data={"entityName": "individual", "name": "Ana", "age": 900}))
    assert (answer.status_code, answer.json()["code"]) == (422, "FORM_MISMATCH")


async def test_server_managed_fields_never_get_through(world: World) -> None:
    event = make_event(
        data={"name": "Ana", "externalId": "x", "identifierType": "y", "papers": {"identifierType": "z"}}
    )
    review = await world.agent.submitted(event)
    await world.supervisor.done(review, "approve")
    [pulled] = await pull_all(world.admin, world.program)
    assert pulled["data"] == {"name": "Ana", "papers": {"identifierType": "z"}}


async def test_who_has_no_role_in_the_program_has_no_part_in_its_reviews(world: World) -> None:
    """On other routes a member without any assignment counts as an enumerator."""
    person = await make_person(world.admin, tenantIds=[world.program])
    member = Staff(world.client, world.program, person, bearer((await login(world.client, person))["token"]))
    waiting = await world.agent.submitted()
    about: dict[str, Any] = {"headers": member.headers, "params": {"tenantId": world.program}}
    for answer, action in [
        (await member.submit(), "create"),
        (await world.client.get("/api/reviews", **about), "read"),
        (await world.client.get(f"/api/reviews/config/{world.program}", **about), "read"),
        (await member.get(waiting), "read"),
    ]:
        assert_refused(answer, 403, "Forbidden: Insufficient permission", "INSUFFICIENT_PERMISSION")
        assert answer.json()["action"] == action
    pushed = {"events": [make_event()], "configId": world.program}
    assert (await world.client.post("/api/sync/push", json=pushed, headers=member.headers)).status_code == 200


async def test_what_is_submitted_takes_the_right_to_do_it(world: World) -> None:
    await stored(world, "e")
    viewer = await world.staff("viewer")
    assert (await viewer.submit()).status_code == 403
    delete = make_event("delete-entity", entity="e", data={"why": "moved"}, timestamp=LATER)
    refused = await world.agent.submit(delete)
    assert (refused.status_code, refused.json()["code"]) == (403, "INSUFFICIENT_PERMISSION")
    assert (await world.supervisor.submit(delete)).status_code == 200


@pytest.mark.parametrize("body", [{"formData": None}, {"tenantId": None}, {"tenantId": ""}])
async def test_a_submission_without_its_parts_is_refused(world: World, body: dict[str, Any]) -> None:
    assert_refused(await world.agent.submit(**body), 400, "Missing tenantId or formData")


async def test_another_content_under_the_same_guid_is_refused(world: World) -> None:
    event = make_event()
    await world.agent.submitted(event)
    answer = await world.agent.submit(event | {"data": {"name": "Eve"}})
    assert (answer.status_code, answer.json()["code"]) == (409, "SUBMISSION_REUSED")
    other = await world.staff("enumerator")
    assert (await other.submit(event)).status_code == 409


async def test_what_bears_the_guid_of_an_event_of_the_log_is_refused(world: World, admin: AsyncClient) -> None:
    event = make_event()
    assert (await push(admin, world.program, event)).status_code == 200
    answer = await world.agent.submit(event | {"data": {"name": "Eve"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "GUID_TAKEN")
    assert await world.supervisor.reviews() == []


async def test_programs_that_are_not_there_or_are_others_are_refused(world: World, admin: AsyncClient) -> None:
    foreign = await make_program(admin)
    assert_refused(await world.agent.submit(tenantId=foreign), 403, "Forbidden: No access to this tenant")
    answer = await admin.post("/api/reviews/submit", json={"tenantId": new_id(), "formData": make_event()})
    assert (answer.status_code, answer.json()["error"]) == (404, "Tenant not found")


# -- approving


async def test_an_approval_applies_the_event_as_it_was_submitted(world: World) -> None:
    event = make_event()
    review = await world.agent.submitted(event)
    decided = (await world.supervisor.done(review, "approve"))["review"]
    assert (decided["status"], decided["reviewedBy"]) == ("approved", world.supervisor.email)
    assert decided["reviewedAt"]
    assert await pull_all(world.admin, world.program) == [event | {"userId": world.agent.email, "syncLevel": 1}]
    assert (await world.supervisor.reviews(status="approved"))[0]["id"] == review["id"]
    assert await world.supervisor.reviews(status="pending") == []
    assert_refused(await world.supervisor.do(review, "approve"), 409, "Review is not in pending status")


async def test_an_approval_overwrites_no_balance_that_is_kept_since_it_was_submitted(world: World) -> None:
    await stored(world, "e")
    review = await world.agent.submitted(
        make_event("update-individual", entity="e", data={"age": 7, "entitlements": []}, timestamp=LATER)
    )
    path = f"/api/apps/{world.program}"
    config = (await world.admin.get(path)).json() | {"customEventTypes": ["grant-entitlement"]}
    assert (await world.admin.put(path, json=config)).status_code == 200
    rice = {"entitlements": [{"id": "rice", "allocated": 10}]}
    grant = make_event("grant-entitlement", entity="e", data=rice, timestamp="2001-01-01T00:00:00.000Z")
    assert (await push(world.admin, world.program, grant)).status_code == 200
    await world.supervisor.done(review, "approve")
    data = (await world.admin.get("/api/entities/e", params={"configId": world.program})).json()["data"]
    assert (data["age"], data["entitlements"]) == (7, rice["entitlements"])


@pytest.mark.parametrize("is_kept_since", [False, True])
async def test_what_a_device_has_pushed_is_approved_though_its_keys_are_reserved_since(
    world: World, is_kept_since: bool
) -> None:
    event = make_event(entity="e", data={"name": "Ana", "entitlements": []})
    review = await world.agent.submitted(event)
    await push(world.admin, world.program, event | {"userId": world.agent.email})
    path = f"/api/apps/{world.program}"
    config = (await world.admin.get(path)).json() | {"customEventTypes": ["grant-entitlement"]}
    assert (await world.admin.put(path, json=config)).status_code == 200
    granted = [{"id": "rice", "allocated": 10}] if is_kept_since else []
    if granted:
        grant = make_event("grant-entitlement", entity="e", data={"entitlements": granted})
        assert (await push(world.admin, world.program, grant)).status_code == 200
    await world.supervisor.done(review, "approve")
    data = (await world.admin.get("/api/entities/e", params={"configId": world.program})).json()["data"]
    assert data["entitlements"] == granted
    assert len(await pull_all(world.admin, world.program)) == 1 + len(granted)


async def test_history_tells_who_submitted_and_who_approved(world: World) -> None:
    review = await world.agent.submitted(make_event(entity="e"))
    await world.supervisor.done(review, "approve")
    answer = await world.admin.get("/api/entities/e/history", params={"configId": world.program})
    [told] = answer.json()["history"]
    assert (told["claimedUserId"], told["actor"]) == (world.agent.email, str(world.supervisor.person.id))
    [event] = (await world.admin.get("/api/entities/e/events", params={"configId": world.program})).json()
    [found] = await world.supervisor.reviews(entityGuid="e")
    assert (event["guid"], found["reviewedBy"]) == (found["submissionGuid"], world.supervisor.email)


async def test_of_fifty_approvals_at_the_same_time_one_applies_it(world: World) -> None:
    review = await world.agent.submitted(make_event(entity="e"))
    answers = await asyncio.gather(*(world.supervisor.do(review, "approve") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 49
    assert len(await pull_all(world.admin, world.program)) == 1


async def test_approving_and_rejecting_at_the_same_time_ends_in_one_of_the_two(world: World) -> None:
    for _ in range(5):
        entity = new_id("e")
        review = await world.agent.submitted(make_event(entity=entity))
        calls = [("approve", {}), ("reject", {"reason": "no"}), ("request-changes", {"comment": "hm"})] * 3
        answers = await asyncio.gather(*(world.supervisor.do(review, what, **body) for what, body in calls))
        assert sum(answer.status_code == 200 for answer in answers) in (1, 2)  # changes requested, and then rejected
        [found] = await world.supervisor.reviews(entityGuid=entity)
        assert (await world.supervisor.entity(entity) is not None) == (found["status"] == "approved")


async def test_nobody_decides_about_what_they_have_submitted(world: World) -> None:
    own = await world.supervisor.submitted()
    for what, body in (("approve", {}), ("reject", {"reason": "x"}), ("request-changes", {"comment": "x"})):
        answer = await world.supervisor.do(own, what, **body)
        assert (answer.status_code, answer.json()["code"]) == (403, "OWN_SUBMISSION")
    assert (await world.supervisor.bulk(own)).json()["errors"][0]["code"] == "OWN_SUBMISSION"
    assert await pull_all(world.admin, world.program) == []


async def test_not_even_an_administrator_does(world: World) -> None:
    answer = await world.admin.post("/api/reviews/submit", json={"tenantId": world.program, "formData": make_event()})
    id = answer.json()["review"]["id"]
    refused = await world.admin.post(f"/api/reviews/{id}/approve", json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "OWN_SUBMISSION")


async def test_the_required_role_is_asked_for_when_it_is_decided(world: World) -> None:
    assert (
        await set_policy(
            world.admin, world.program, "create-individual", "internal-review", requiredRole="program-admin"
        )
    ).status_code == 200
    review = await world.agent.submitted()
    refused = await world.supervisor.do(review, "approve")
    assert (refused.status_code, refused.json()["requiredRole"]) == (403, "program-admin")
    assert_refused(refused, 403, "Forbidden: Insufficient permission for this tenant")
    assert (await world.supervisor.do(review, "reject", reason="x")).status_code == 403
    manager = await world.staff("program-admin")
    assert (await manager.do(review, "approve")).status_code == 200


@pytest.mark.parametrize("role", get_args(RoleName))
async def test_every_role_that_may_be_required_is_named_where_one_is_missing(world: World, role: str) -> None:
    assert f"`{role}`" in MissingRequiredRole.help
    policy = await set_policy(world.admin, world.program, "create-individual", "internal-review", requiredRole=role)
    assert policy.status_code == 200
    if role in ("viewer", "enumerator"):
        assert (await world.supervisor.do(await world.agent.submitted(), "approve")).status_code == 200, "as supervisor"


async def test_a_role_in_another_program_decides_nothing_here(hub: Hub, world: World) -> None:
    """A supervisor in A who is a viewer in B."""
    other = await make_world(hub, world.admin, world.client)
    both = await make_staff(world.admin, world.client, (other.program, "supervisor"), (world.program, "viewer"))
    review, theirs = await world.agent.submitted(), await other.agent.submitted()
    for what, body in (("approve", {}), ("reject", {"reason": "x"}), ("assign", {"assignee": None})):
        assert (await both.do(review, what, **body)).status_code == 403
    # What it is called besides makes no difference.
    assert (await both.do(review, "approve", tenantId=other.program)).status_code == 403
    assert await pull_all(world.admin, world.program) == []
    assert (await both.do(theirs, "approve", tenantId=world.program)).json()["code"] == "TENANT_MISMATCH"
    assert (await both.do(theirs, "approve", tenantId=other.program)).status_code == 200


@pytest.mark.parametrize("member", ["tenantId", "configId"])
async def test_a_query_that_names_another_program_than_the_reviews_is_refused(world: World, member: str) -> None:
    review, headers = await world.agent.submitted(), world.supervisor.headers
    for method, what in (("GET", "/comments"), ("POST", "/approve")):
        url = f"/api/reviews/{review['id']}{what}"
        answer = await world.client.request(method, url, params={member: "another"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
        answer = await world.client.request(method, url, params={member: world.program}, headers=headers)
        assert answer.status_code == 200


async def test_a_role_that_was_taken_away_decides_nothing_any_more(world: World) -> None:
    review = await world.agent.submitted()
    assignment = {"tenantId": world.program, "role": "viewer"}
    changed = {
        "email": world.supervisor.email,
        "role": "USER",
        "tenantIds": [world.program],
        "roleAssignments": [assignment],
    }
    answer = await world.admin.put(f"/api/users/{world.supervisor.person.id}", json=changed)
    assert answer.status_code == 200, answer.text
    assert (await world.supervisor.do(review, "approve")).status_code == 403


async def test_reviews_that_are_not_there_are_not_found(world: World) -> None:
    assert_refused(await world.supervisor.do(new_id(), "approve"), 404, "Review not found")
    assert_refused(await world.supervisor.do(new_id(), "reject", reason="x"), 404, "Review not found")


async def submitted_by_citizen(hub: Hub, world: World, guid: str, identifier: str) -> str:
    """By who has that record and has signed in with that; the review's id."""
    scope = system_scope(TenantId(world.program))
    tenant = await hub.tenants.find(scope.tenant_id)
    assert tenant is not None
    label = f"self-service:{identifier}"
    event = Event(new_guid(), guid, "update-individual", {"phone": "1"}, parse_timestamp(LATE), label)
    one = Submission(event, label, citizen_key(guid), SubmissionOrigin.CITIZEN)
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        return (await service.submit(tx, hub.log, scope, tenant, one, now=hub.clock.now())).id


@pytest.mark.parametrize("signed_in_with", ["the mail", "the mail, typed with a space", "the phone"])
async def test_who_signed_in_as_a_citizen_with_the_mail_of_their_account_does_not_decide_either(
    hub: Hub, world: World, signed_in_with: str
) -> None:
    mail = world.supervisor.email
    labels = {"the mail": mail.upper(), "the mail, typed with a space": f" {mail}", "the phone": "+1555"}
    await stored(world, "e", **({"email": mail.upper(), "phone": "+1555"} if signed_in_with == "the phone" else {}))
    review = await submitted_by_citizen(hub, world, "e", labels[signed_in_with])
    answer = await world.supervisor.do(review, "approve")
    assert (answer.status_code, answer.json()["code"]) == (403, "OWN_SUBMISSION")


async def test_a_standalone_submission_is_kept_and_changes_nothing(hub: Hub, world: World) -> None:
    await stored(world, "e")
    scope = system_scope(TenantId(world.program))
    tenant = await hub.tenants.find(scope.tenant_id)
    assert tenant is not None
    event = Event(new_guid(), "e", "update-record", {"grievance": "x"}, parse_timestamp(LATE), "self-service:7")
    one = Submission(event, "self-service:7", citizen_key("e"), SubmissionOrigin.CITIZEN, standalone=True)
    async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
        review = await service.submit(tx, hub.log, scope, tenant, one, now=hub.clock.now())
    before = await world.supervisor.entity("e")
    decided = (await world.supervisor.done(review.id, "approve"))["review"]
    assert (decided["status"], decided["standalone"]) == ("approved", True)
    assert await world.supervisor.entity("e") == before
    assert len(await pull_all(world.admin, world.program)) == 1


async def test_a_program_that_is_purged_leaves_nothing_of_its_reviews(hub: Hub, world: World) -> None:
    review = await world.agent.submitted()
    await world.admin.delete(f"/api/apps/{world.program}")
    answer = await world.admin.delete(f"/api/apps/{world.program}/purge")
    assert answer.status_code in (200, 202), answer.text
    await hub.jobs.drain()
    assert_refused(await world.admin.get(f"/api/reviews/{review['id']}"), 404, "Review not found")
    async with hub.db.reading() as view:
        assert await service.find_owners(view, [review["id"]]) == {}


# -- rejecting, changes, withdrawing


async def test_a_rejection_applies_nothing_and_says_why(world: World) -> None:
    review = await world.agent.submitted()
    assert_refused(await world.supervisor.do(review, "reject"), 400, "Missing rejection reason")
    assert_refused(await world.supervisor.do(review, "reject", reason="  "), 400, "Missing rejection reason")
    decided = (await world.supervisor.done(review, "reject", reason="Twice"))["review"]
    assert (decided["status"], decided["rejectionReason"]) == ("rejected", "Twice")
    assert decided["reviewedBy"] == world.supervisor.email
    assert await pull_all(world.admin, world.program) == []
    [mine] = await world.agent.reviews()
    assert mine["rejectionReason"] == "Twice"


async def test_changes_that_are_asked_for_are_submitted_in_its_place(world: World) -> None:
    first = await world.agent.submitted(make_event(entity="e"))
    asked = (await world.supervisor.done(first, "request-changes", comment="Which village?"))["review"]
    assert asked["status"] == "changes-requested"
    assert (await world.supervisor.do(first, "approve")).status_code == 409
    second = await world.agent.submitted(make_event(entity="e", data={"village": "Pak"}), replaces=first["id"])
    assert second["replaces"] == first["id"]
    old = (await world.agent.get(first)).json()["review"]
    assert (old["status"], old["replacedBy"]) == ("changes-requested", second["id"])
    again = await world.agent.submit(make_event(entity="e"), replaces=first["id"])
    assert (again.status_code, again.json()["code"]) == (409, "REVIEW_NOT_REPLACEABLE")
    assert (await world.supervisor.do(first, "reject", reason="x")).status_code == 409
    await world.supervisor.done(second, "approve")
    assert (await world.agent.entity("e"))["data"]["village"] == "Pak"


async def test_only_ones_own_is_replaced(world: World) -> None:
    first = await world.agent.submitted(make_event(entity="e"))
    await world.supervisor.done(first, "request-changes", comment="?")
    other = await world.staff("enumerator")
    assert (await other.submit(make_event(entity="e"), replaces=first["id"])).status_code == 409
    assert (await other.reviews(submittedBy=other.email)) == []


async def test_who_submitted_it_withdraws_it(world: World) -> None:
    review = await world.agent.submitted()
    assert (await world.supervisor.do(review, "withdraw")).json()["code"] == "NOT_SUBMITTER"
    assert (await world.agent.done(review, "withdraw"))["review"]["status"] == "withdrawn"
    assert (await world.supervisor.do(review, "approve")).status_code == 409


async def test_comments_are_for_those_who_decide_and_who_submitted_it(world: World) -> None:
    review = await world.agent.submitted()
    await world.supervisor.done(review, "comments", comment="Is it the same Ana?")
    await world.agent.done(review, "comments", comment="Yes")
    await world.supervisor.done(review, "reject", reason="Then no")
    told = (await world.agent.get(review, "/comments")).json()
    assert [(one["kind"], one["text"]) for one in told["comments"]] == [
        ("comment", "Is it the same Ana?"),
        ("comment", "Yes"),
        ("rejected", "Then no"),
    ]
    assert told["comments"][0]["author"] == world.supervisor.email
    first = (await world.agent.get(review, "/comments?limit=2")).json()
    rest = (await world.agent.get(review, f"/comments?limit=2&cursor={first['nextCursor']}")).json()
    assert first["comments"] + rest["comments"] == told["comments"]
    other = await world.staff("enumerator")
    assert (await other.get(review, "/comments")).status_code == 403
    assert (await other.do(review, "comments", comment="x")).status_code == 403


async def test_somebody_is_named_who_may_decide(world: World) -> None:
    review = await world.agent.submitted()
    answer = await world.supervisor.do(review, "assign", assignee=world.agent.email)
    assert (answer.status_code, answer.json()["code"]) == (400, "NO_SUCH_REVIEWER")
    await world.supervisor.done(review, "assign", assignee=world.supervisor.email)
    [found] = await world.supervisor.reviews(assignedTo=world.supervisor.email)
    assert (found["id"], found["assignedTo"]) == (review["id"], world.supervisor.email)


# -- conflicts


async def test_a_field_that_was_changed_since_stands_in_the_way_until_somebody_decides(world: World) -> None:
    await stored(world, "e", phone="1", village="Pak")
    review = await world.agent.submitted(change("e", phone="2", village="Pak", age=4))
    await push(
        world.admin,
        world.program,
        make_event("update-individual", entity="e", data={"phone": "3", "job": "x"}, timestamp=LATER),
    )
    conflict = {"field": "phone", "before": "1", "now": "3", "submitted": "2"}
    assert (await world.supervisor.reviews())[0]["conflicts"] == [conflict]
    answer = await world.supervisor.do(review, "approve")
    assert (answer.status_code, answer.json()["code"]) == (409, "REVIEW_CONFLICT")
    assert answer.json()["conflicts"] == [conflict]
    assert (await world.supervisor.get(review)).json()["review"]["status"] == "pending"
    assert (await world.supervisor.do(review, "approve", force=True)).status_code == 200
    held = (await world.supervisor.entity("e"))["data"]
    assert (held["phone"], held["age"], held["job"]) == ("2", 4, "x")


async def test_single_fields_are_decided(world: World) -> None:
    await stored(world, "e", phone="1", village="Pak")
    review = await world.agent.submitted(change("e", phone="2", village="Nong"))
    later = make_event("update-individual", entity="e", data={"phone": "3", "village": "Thap"}, timestamp=LATER)
    await push(world.admin, world.program, later)
    assert (await world.supervisor.do(review, "approve", fields={"phone": "submitted"})).status_code == 409
    both = {"phone": "submitted", "village": "current"}
    assert (await world.supervisor.do(review, "approve", fields=both)).status_code == 200
    held = (await world.supervisor.entity("e"))["data"]
    assert (held["phone"], held["village"]) == ("2", "Thap")
    # Devices go by the times of events: the last one tells all that was decided.
    last = (await pull_all(world.admin, world.program))[-1]
    assert last["data"] == {"phone": "2", "village": "Thap"}


async def test_what_is_approved_holds_for_devices_against_whom_it_holds_here(world: World) -> None:
    """Of a submission that was older in one field the others counted as written now here, and as old as they were there."""
    await stored(world, "e", phone="1", age=1)
    await push(world.admin, world.program, change("e", phone="3"))
    submitted = make_event("update-individual", entity="e", data={"phone": "2", "age": 2}, timestamp=LATER)
    review = await world.agent.submitted(submitted)
    await world.supervisor.done(review, "approve", fields={"phone": "submitted"})
    await push(world.admin, world.program, change("e", age=3))  # recorded offline, between the two
    told = [each for each in await pull_all(world.admin, world.program) if "age" in each["data"]]
    by_device = max(told, key=lambda each: each["timestamp"])["data"]["age"]
    assert (await world.supervisor.entity("e"))["data"]["age"] == by_device == 2


async def test_a_submission_that_is_older_than_what_it_changes_holds_all_the_same_once_approved(world: World) -> None:
    await stored(world, "e", phone="1")
    late = make_event("update-individual", entity="e", data={"phone": "3"}, timestamp=LATE)
    await push(world.admin, world.program, late)
    review = await world.agent.submitted(
        make_event("update-individual", entity="e", data={"phone": "2"}, timestamp=LATER)
    )
    await world.supervisor.done(review, "approve")
    assert (await world.supervisor.entity("e"))["data"]["phone"] == "2"
    conflicts = await world.admin.get("/api/conflicts", params={"configId": world.program})
    assert conflicts.json()["unresolvedCount"] == 0
    last = (await pull_all(world.admin, world.program))[-1]
    assert last["data"] == {"phone": "2"} and last["timestamp"] > LATE


async def test_what_was_submitted_at_the_end_of_time_is_decided_like_anything_else(world: World) -> None:
    """What is decided is told behind it, and there is no later time."""
    await stored(world, "e", phone="1")
    end = "9999-12-31T23:59:59.999Z"
    review = await world.agent.submitted(
        make_event("update-individual", entity="e", data={"phone": "2"}, timestamp=end)
    )
    await push(world.admin, world.program, change("e", phone="3"))
    await world.supervisor.done(review, "approve", fields={"phone": "current"})
    assert (await world.supervisor.entity("e"))["data"]["phone"] == "3"
    last = (await pull_all(world.admin, world.program))[-1]
    assert (last["data"], last["timestamp"]) == ({"phone": "3"}, end)


async def test_what_others_wrote_again_unchanged_is_no_conflict(world: World) -> None:
    await stored(world, "e", phone="1")
    review = await world.agent.submitted(change("e", phone="2"))
    await push(
        world.admin,
        world.program,
        make_event("update-individual", entity="e", data={"phone": "1", "age": 5}, timestamp=LATER),
    )
    assert (await world.supervisor.do(review, "approve")).status_code == 200
    held = (await world.supervisor.entity("e"))["data"]
    assert (held["phone"], held["age"]) == ("2", 5)


async def test_what_is_about_somebody_who_was_deleted_since_can_only_be_rejected(world: World) -> None:
    await stored(world, "e")
    review = await world.agent.submitted(change("e", phone="2"))
    await push(world.admin, world.program, make_event("delete-entity", entity="e", data={"why": "x"}, timestamp=LATER))
    assert (await world.supervisor.reviews())[0]["isGone"] is True
    for body in ({}, {"force": True}):
        answer = await world.supervisor.do(review, "approve", **body)
        assert (answer.status_code, answer.json()["code"]) == (409, "REVIEWED_ENTITY_GONE")
    assert (await world.supervisor.do(review, "reject", reason="gone")).status_code == 200


async def test_a_delete_of_what_was_changed_since_is_asked_about(world: World) -> None:
    await stored(world, "e", phone="1")
    review = await world.supervisor.submitted(
        make_event("delete-entity", entity="e", data={"why": "x"}, timestamp=EARLY)
    )
    await push(
        world.admin, world.program, make_event("update-individual", entity="e", data={"phone": "3"}, timestamp=LATER)
    )
    other = await world.staff("supervisor")
    answer = await other.do(review, "approve")
    assert answer.json()["conflicts"] == [{"field": "phone", "before": "1", "now": "3"}]
    assert (await other.do(review, "approve", force=True)).status_code == 200
    assert await world.supervisor.entity("e") is None


async def test_a_change_to_what_was_submitted_with_it_is_no_conflict(world: World) -> None:
    created = await world.agent.submitted(make_event(entity="e", data={"name": "Ana"}, timestamp=EARLY))
    changed = await world.agent.submitted(
        make_event("update-individual", entity="e", data={"name": "Bea"}, timestamp=LATE)
    )
    await world.supervisor.done(created, "approve")
    await world.supervisor.done(changed, "approve")
    assert (await world.supervisor.entity("e"))["data"]["name"] == "Bea"


# -- many at once


async def test_many_are_approved_each_by_itself(hub: Hub, world: World, client: AsyncClient) -> None:
    other = await make_world(hub, world.admin, client)
    good = [await world.agent.submitted() for _ in range(3)]
    decided = await world.agent.submitted()
    await world.supervisor.done(decided, "reject", reason="x")
    own, foreign = await world.supervisor.submitted(), await other.agent.submitted()
    await stored(world, "e", phone="1")
    conflicting = await world.agent.submitted(change("e", phone="2"))
    await push(
        world.admin, world.program, make_event("update-individual", entity="e", data={"phone": "3"}, timestamp=LATER)
    )
    everything = [*good, decided, own, foreign, conflicting, new_id()]
    answer = await world.supervisor.bulk(*everything, tenantId=world.program)
    told = answer.json()
    assert (answer.status_code, told["approved"], told["failed"]) == (200, 3, 3)
    assert {one["reviewId"]: (one["error"], one["code"]) for one in told["errors"]} == {
        decided["id"]: ("Review is not in pending status", "REVIEW_NOT_PENDING"),
        own["id"]: ("Nobody decides about what they have submitted themselves.", "OWN_SUBMISSION"),
        conflicting["id"]: ("The record was changed since this was submitted.", "REVIEW_CONFLICT"),
    }
    listed = {one["id"]: one["status"] for one in await world.supervisor.reviews()}
    assert [listed[one["id"]] for one in good] == ["approved"] * 3
    assert (await other.supervisor.reviews())[0]["status"] == "pending"


async def test_many_that_are_all_of_other_programs_are_refused(hub: Hub, world: World, client: AsyncClient) -> None:
    other = await make_world(hub, world.admin, client)
    foreign = await other.agent.submitted()
    error = "Forbidden: Insufficient permission for the requested tenant(s)"
    assert_refused(await world.supervisor.bulk(foreign), 403, error)
    assert_refused(await world.agent.bulk(await world.agent.submitted()), 403, error)
    assert (await world.supervisor.bulk(new_id())).json() == {"approved": 0, "failed": 0, "errors": []}


async def test_who_is_put_out_while_many_are_approved_approves_no_more(hub: Hub, world: World) -> None:
    reviews = [await world.agent.submitted() for _ in range(3)]
    now = hub.auth.staff_from_now_on(world.supervisor.headers["Authorization"])
    turns = 0

    async def again(tenant_id: TenantId) -> TenantScope:
        nonlocal turns
        turns += 1
        if turns == 2:
            left = {"email": world.supervisor.email, "role": "USER", "tenantIds": []}
            assert (await world.admin.put(f"/api/users/{world.supervisor.person.id}", json=left)).status_code == 200
        return (await now()).in_tenant(tenant_id, Action.APPROVE)

    told = await approve_many(hub, await now(), [one["id"] for one in reviews], force=False, again=again)
    assert (told["approved"], [one["code"] for one in told["errors"]]) == (1, ["TENANT_ACCESS_DENIED"] * 2)
    assert len(await pull_all(world.admin, world.program)) == 1


@pytest.mark.parametrize("is_put_out", [True, False])
@pytest.mark.parametrize("way", ["approve", "bulk-approve"])
async def test_who_is_put_out_while_the_log_is_waited_for_approves_nothing(
    hub: Hub, world: World, clock: TurnableClock, way: str, is_put_out: bool
) -> None:
    if hub.db.dialect == "sqlite":
        pytest.skip("one writer: nobody's account is changed while another one writes")
    review, scope = await world.agent.submitted(), system_scope(TenantId(world.program))
    asking = world.supervisor.do(review, "approve") if way == "approve" else world.supervisor.bulk(review)
    async with hub.db.transaction(scope) as tx:
        await hub.log.lock(tx, scope)  # as another process does
        waiting = asyncio.create_task(asking)
        await until_somebody_waits(hub)
        if is_put_out:
            left = {"email": world.supervisor.email, "role": "USER", "tenantIds": []}
            assert (await world.admin.put(f"/api/users/{world.supervisor.person.id}", json=left)).status_code == 200
        clock.turn(seconds=2)
    answer = await waiting
    if way == "approve":
        assert answer.status_code == (401 if is_put_out else 200), answer.text
    else:
        assert [one["code"] for one in answer.json()["errors"]] == (["TENANT_ACCESS_DENIED"] if is_put_out else [])
    assert len(await pull_all(world.admin, world.program)) == (0 if is_put_out else 1)


async def until_somebody_waits(hub: Hub) -> None:
    """For what another unit of work has locked."""
    blocked = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    async with asyncio.timeout(60), hub.db.reading() as view:
        while not await view.fetch(blocked):
            pass


async def test_who_waited_for_others_of_this_process_is_asked_for_once_more(
    hub: Hub, world: World, clock: TurnableClock
) -> None:
    scope, asked = system_scope(TenantId(world.program)), list[Millis]()

    async def require_still() -> None:
        asked.append(hub.clock.now())
        raise Unauthenticated()

    async def decide() -> None:
        async with log_turn(hub, scope, require_still) as tx:
            await hub.log.lock(tx, scope)

    await decide()
    assert asked == [], "who need not wait is believed"
    for seconds in (2, -5):  # nobody knows how long it took where the clock was set back
        async with hub.log.turn(scope), hub.db.transaction(scope) as tx:
            await hub.log.lock(tx, scope)
            waiting = asyncio.create_task(decide())
            await asyncio.sleep(0)
            clock.turn(seconds=seconds)
        with pytest.raises(Unauthenticated):
            await waiting
    assert len(asked) == 2


async def test_many_are_an_array(world: World) -> None:
    async def bulk(**body: Any) -> Any:
        return await world.client.post("/api/reviews/bulk-approve", json=body, headers=world.supervisor.headers)

    assert_refused(await bulk(), 400, "Missing or invalid reviewIds array")
    for ids, where in (("x", []), ([1], [0]), (["x"] * 501, [])):
        answer = await bulk(reviewIds=ids)
        assert_refused(answer, 400, "Missing or invalid reviewIds array")
        assert answer.json()["details"][0]["path"] == ["reviewIds", *where]
    assert_refused(await bulk(reviewIds=["x"], force="x"), 400, "Invalid payload")


# -- the queue


async def test_the_queue_is_the_oldest_first_and_has_pages(world: World, clock: TurnableClock) -> None:
    made = []
    for _ in range(7):
        clock.turn(seconds=1)
        made.append((await world.agent.submitted())["id"])
    plain = await world.supervisor.list()
    assert ([one["id"] for one in plain["reviews"]], plain["nextCursor"]) == (made, None)
    seen, cursor = [], None
    while True:
        page = await world.supervisor.list(limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [one["id"] for one in page["reviews"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == made


async def test_the_queue_is_narrowed(world: World, clock: TurnableClock) -> None:
    await set_policy(world.admin, world.program, "create-group", "internal-review", dueDays=2)
    person = await world.agent.submitted(make_event(entity="e"))
    clock.turn(seconds=60)
    group = await world.supervisor.submitted(make_event("create-group", data={"name": "House"}))

    async def ids(**query: Any) -> list[str]:
        return [one["id"] for one in await world.supervisor.reviews(**query)]

    assert await ids(eventType="create-group") == [group["id"]]
    assert await ids(entityGuid="e") == [person["id"]]
    assert await ids(submittedBy=world.agent.email) == [person["id"]]
    assert await ids(status="approved") == await ids(status="nonsense") == []
    assert await ids(**{"from": group["createdAt"]}) == [group["id"]]
    assert await ids(to=person["createdAt"]) == [person["id"]]
    assert await ids(due="overdue") == []
    assert await ids(due=group["dueAt"]) == [group["id"]]
    emptied = ("status", "eventType", "entityGuid", "submittedBy", "assignedTo", "from", "to", "due")
    assert await ids(**dict.fromkeys(emptied, "")) == [person["id"], group["id"]], "as a form sends it"


async def test_all_that_a_citizen_has_submitted_is_found_whatever_they_had_signed_in_with(
    hub: Hub, world: World
) -> None:
    await stored(world, "e", phone="+33612345678", email="e@x.example")
    await stored(world, "f", phone="+33612345679")
    await world.agent.submitted(change("e", village="Hue"))
    labels = ("+33612345678", "0033 6 12 34 56 78", "e@x.example", "e")
    hers = {await submitted_by_citizen(hub, world, "e", label) for label in labels}
    his = await submitted_by_citizen(hub, world, "f", "+33612345679")
    for label in labels:
        found = await world.supervisor.reviews(submittedBy=f"self-service:{label}")
        assert {one["id"] for one in found} == hers
    assert [one["id"] for one in await world.supervisor.reviews(submittedBy="self-service:+33612345679")] == [his]
    assert await world.supervisor.reviews(submittedBy="self-service:nobody") == []


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "501"}, {"cursor": "x"}, {"from": "x"}, {"due": "x"}])
async def test_a_question_that_cannot_be_read_is_refused(world: World, query: dict[str, str]) -> None:
    asked = {"tenantId": world.program} | query
    answer = await world.client.get("/api/reviews", params=asked, headers=world.supervisor.headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REVIEWS_QUERY")


async def test_the_queue_is_of_a_program_that_is_named_and_runs(world: World, admin: AsyncClient) -> None:
    answer = await world.client.get("/api/reviews", headers=world.supervisor.headers)
    assert_refused(answer, 400, "Missing tenantId query parameter")
    answer = await world.client.get(
        "/api/reviews", params={"tenantId": world.program, "configId": "other"}, headers=world.supervisor.headers
    )
    assert answer.json()["code"] == "TENANT_MISMATCH"
    assert (await admin.get("/api/reviews", params={"tenantId": new_id()})).status_code == 404
    for query in ([("tenantId", world.program)] * 2, [("tenantId", world.program), ("tenantId", "other")]):
        answer = await world.client.get("/api/reviews", params=query, headers=world.supervisor.headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    sent = {"tenantId": world.program, "formData": make_event()}
    for other in ({"tenantId": "other"}, {"configId": "other"}):
        answer = await world.client.post("/api/reviews/submit", params=other, json=sent, headers=world.agent.headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "TENANT_MISMATCH")
    review = await world.agent.submitted()
    await admin.delete(f"/api/apps/{world.program}")
    assert (await admin.get("/api/reviews", params={"tenantId": world.program})).status_code == 404
    assert (await world.supervisor.do(review, "approve")).status_code == 404


async def test_who_only_reads_the_program_sees_that_something_waits_and_nothing_of_anybody(world: World) -> None:
    await stored(world, "e", phone="1")
    review = await world.agent.submitted(change("e", phone="+26377000111", name="Rudo"))
    await push(
        world.admin,
        world.program,
        make_event("update-individual", entity="e", data={"phone": "+26377000333"}, timestamp=LATER),
    )
    viewer = await world.staff("viewer")
    [seen] = await viewer.reviews()
    assert (seen["masked"], seen["conflicts"]) == (True, [])
    assert seen["formData"]["data"] == {"phone": "********", "name": "********"}
    for answer in (seen, (await viewer.get(review)).json()):
        assert "Rudo" not in str(answer) and "26377" not in str(answer)
    [own] = await world.agent.reviews()
    assert (own["masked"], own["formData"]["data"]["name"]) == (False, "Rudo")
    await world.supervisor.done(review, "reject", reason="Rudo is somebody else")
    assert "Rudo" not in str(await viewer.reviews())


async def test_reads_are_noted_where_the_program_asks_for_it(hub: Hub, admin: AsyncClient, client: AsyncClient) -> None:
    world = await make_world(hub, admin, client, auditReads=True)
    await world.agent.submitted()
    await world.supervisor.reviews()
    trail = await admin.get("/api/sync/pull/audit-logs", params={"configId": world.program, "since": ""})
    assert "read-reviews" in trail.text


async def test_what_should_have_been_decided_is_told(alone: Alone) -> None:
    admin = await alone.admin()
    program = await make_program(admin)
    assert (await set_policy(admin, program, "create-individual", "internal-review", dueDays=2)).status_code == 200
    answer = await admin.post("/api/reviews/submit", json={"tenantId": program, "formData": make_event()})
    assert answer.json()["review"]["isOverdue"] is False
    alone.clock.turn(seconds=2 * 24 * 3600 + 1)
    admin = await alone.admin()
    found = (await admin.get("/api/reviews", params={"tenantId": program, "due": "overdue"})).json()["reviews"]
    assert [one["isOverdue"] for one in found] == [True]


# -- areas


async def areas(world: World) -> tuple[Any, Any]:
    return (
        await world.staff("supervisor", syncScopeOverride={"areaIds": [AREA_A]}),
        await world.staff("supervisor", syncScopeOverride={"areaIds": [AREA_B]}),
    )


async def test_who_is_limited_to_areas_sees_and_decides_what_is_there(world: World) -> None:
    in_a, in_b = await areas(world)
    review = await world.agent.submitted(make_event(data={"name": "Ana", "area_id": AREA_A}))
    nowhere = await world.agent.submitted(make_event())
    assert [one["id"] for one in await in_a.reviews()] == [review["id"]]
    assert await in_b.reviews() == []
    for what, body in (("approve", {}), ("reject", {"reason": "x"}), ("comments", {"comment": "x"})):
        assert_refused(await in_b.do(review, what, **body), 404, "Review not found")
        assert_refused(await in_a.do(nowhere, what, **body), 404, "Review not found")
    assert (await in_b.bulk(review)).json() == {"approved": 0, "failed": 0, "errors": []}
    assert (await in_a.do(review, "approve")).status_code == 200


async def test_where_somebody_is_now_is_what_counts(world: World) -> None:
    in_a, in_b = await areas(world)
    await stored(world, "e", area_id=AREA_A)
    review = await world.agent.submitted(change("e", phone="2"))
    assert [len(await one.reviews()) for one in (in_a, in_b)] == [1, 0]
    await push(
        world.admin,
        world.program,
        make_event("update-individual", entity="e", data={"area_id": AREA_B}, timestamp=LATER),
    )
    assert [len(await one.reviews()) for one in (in_a, in_b)] == [0, 1]
    assert (await in_a.do(review, "approve")).status_code == 404
    assert (await in_b.do(review, "approve")).status_code == 200


async def test_a_move_out_of_the_area_is_not_decided_there(world: World) -> None:
    in_a, in_b = await areas(world)
    await stored(world, "e", area_id=AREA_A)
    review = await world.agent.submitted(change("e", area_id=AREA_B))
    assert await in_a.reviews() == [] == await in_b.reviews()
    assert (await world.supervisor.do(review, "approve")).status_code == 200


async def test_nobody_submits_what_is_beyond_their_area(world: World) -> None:
    agent = await world.staff("enumerator", syncScopeOverride={"areaIds": [AREA_A]})
    await stored(world, "e", area_id=AREA_B)
    for event in (change("e", phone="2"), make_event(data={"name": "Ana", "area_id": AREA_B})):
        answer = await agent.submit(event)
        assert (answer.status_code, answer.json()["code"]) == (422, "OUT_OF_SCOPE"), answer.text
    assert (await agent.submit(make_event(data={"name": "Ana", "area_id": AREA_A}))).status_code == 200


def holding(world: World, *roles: tuple[str, str | None]) -> dict[str, Any]:
    """The assignments of somebody who has each of these roles in an area, or everywhere."""
    held = [{"tenantId": world.program, "role": role} | ({"areaId": area} if area else {}) for role, area in roles]
    return {"tenantIds": [world.program], "roleAssignments": held}


async def somebody_with(world: World, *roles: tuple[str, str | None]) -> Staff:
    person = await make_person(world.admin, **holding(world, *roles))
    return Staff(world.client, world.program, person, bearer((await login(world.client, person))["token"]))


async def test_who_supervises_one_area_and_reads_others_decides_and_reads_in_full_in_the_one(world: World) -> None:
    both = await somebody_with(world, ("supervisor", AREA_A), ("viewer", None))
    own, other = [
        await world.agent.submitted(make_event(data={"name": "Ana", "area_id": area})) for area in (AREA_A, AREA_B)
    ]
    assert {one["id"]: one["masked"] for one in await both.reviews()} == {own["id"]: False, other["id"]: True}
    assert [(await both.get(one)).json()["review"]["masked"] for one in (own, other)] == [False, True]
    assert [(await both.get(one, "/comments")).status_code for one in (own, other)] == [200, 403]
    for what, body in (("approve", {}), ("reject", {"reason": "x"}), ("assign", {"assignee": None})):
        assert (await both.do(other, what, **body)).status_code == 404
    assert (await both.do(other, "comments", comment="x")).status_code == 403
    assert (await both.bulk(own, other)).json() == {"approved": 1, "failed": 0, "errors": []}


async def test_the_required_role_is_asked_for_where_the_review_is(world: World) -> None:
    await set_policy(world.admin, world.program, "create-individual", "internal-review", requiredRole="program-admin")
    both = await somebody_with(world, ("program-admin", AREA_A), ("supervisor", AREA_B))
    own, other = [
        await world.agent.submitted(make_event(data={"name": "Ana", "area_id": area})) for area in (AREA_A, AREA_B)
    ]
    assert (await both.do(other, "approve")).json()["code"] == "REVIEW_ROLE_TOO_LOW"
    assert (await both.do(own, "approve")).status_code == 200


async def test_whose_submission_it_is_is_found_where_the_caller_may_decide(hub: Hub, world: World) -> None:
    both = await somebody_with(world, ("supervisor", AREA_A), ("viewer", None))
    submitted = []
    for area, phone in ((AREA_A, "+100"), (AREA_B, "+200")):
        await stored(world, area, area_id=area, phone=phone)
        submitted.append(await submitted_by_citizen(hub, world, area, phone))
    assert [one["id"] for one in await both.reviews()] == submitted
    found = [await both.reviews(submittedBy=f"self-service:{phone}") for phone in ("+100", "+200")]
    assert [[one["id"] for one in some] for some in found] == [submitted[:1], []]


async def test_pages_of_a_limited_reader_are_full(world: World, clock: TurnableClock) -> None:
    in_a, _ = await areas(world)
    mine = []
    for number in range(12):
        clock.turn(seconds=1)
        area = AREA_A if number % 3 == 0 else AREA_B
        review = await world.agent.submitted(make_event(data={"name": "Ana", "area_id": area}))
        mine += [review["id"]] if area == AREA_A else []
    first = await in_a.list(limit=3)
    rest = await in_a.list(limit=3, cursor=first["nextCursor"])
    assert [one["id"] for one in first["reviews"] + rest["reviews"]] == mine
    assert rest["nextCursor"] is None


async def test_a_limited_reader_goes_on_where_they_had_to_stop(
    world: World, monkeypatch: pytest.MonkeyPatch, clock: TurnableClock
) -> None:
    monkeypatch.setattr(looking, "_EXAMINED", 2)
    monkeypatch.setattr(looking, "_MOST_EXAMINED", 3)
    in_a, _ = await areas(world)
    for area in [AREA_B] * 7 + [AREA_A]:
        clock.turn(seconds=1)
        last = await world.agent.submitted(make_event(data={"name": "Ana", "area_id": area}))
    seen: list[str] = []
    pages, cursor = 0, {}
    while True:
        page = await in_a.list(limit=1, **cursor)
        seen += [one["id"] for one in page["reviews"]]
        pages += 1
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert (seen, pages > 1) == ([last["id"]], True)


# -- policies


async def test_policies_are_set_and_told(world: World) -> None:
    program = world.program
    answer = await set_policy(world.admin, program, "update-group", "internal-review", requiredRole="program-admin")
    config = answer.json()["config"]
    assert answer.json()["status"] == "success"
    assert (config["tenantId"], config["eventType"], config["policy"]) == (program, "update-group", "internal-review")
    again = (await set_policy(world.admin, program, "update-group", "auto-approve", dueDays=3)).json()["config"]
    assert (again["id"], again["policy"], "requiredRole" in again) == (config["id"], "auto-approve", False)
    listed = await world.client.get(f"/api/reviews/config/{program}", headers=world.agent.headers)
    assert {"eventType": "update-group", "policy": "auto-approve", "dueDays": 3} in listed.json()["configs"]
    fresh = await make_program(world.admin)
    assert (await world.admin.get(f"/api/reviews/config/{fresh}")).json() == {"configs": []}


@pytest.mark.parametrize(
    ("event_type", "body", "status", "code"),
    [
        ("create-group", {}, 400, "MISSING_POLICY"),
        ("create-group", {"policy": "internal-review"}, 400, "MISSING_REQUIRED_ROLE"),
        ("create-group", {"policy": "", "requiredRole": ""}, 400, "MISSING_POLICY"),
        ("create-group", {"policy": "internal-review", "requiredRole": ""}, 400, "MISSING_REQUIRED_ROLE"),
        ("create-group", {"policy": "whatever"}, 400, "INVALID_PAYLOAD"),
        ("create-group", {"policy": "internal-review", "requiredRole": "boss"}, 400, "INVALID_PAYLOAD"),
        ("create-group", {"policy": "auto-approve", "dueDays": 0}, 400, "INVALID_PAYLOAD"),
        ("create-grop", {"policy": "auto-approve"}, 400, "UNKNOWN_REVIEWED_TYPE"),
        ("create-group", {"policy": "external-delegate"}, 409, "REVIEW_CANNOT_DELEGATE"),
    ],
)
async def test_policies_that_would_not_hold_are_refused(
    world: World, event_type: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await world.admin.put(f"/api/reviews/config/{world.program}/{event_type}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_a_form_leaves_empty_is_not_set(world: World) -> None:
    empty = {"policy": "auto-approve", "requiredRole": "", "externalAdapterType": ""}
    answer = await world.admin.put(f"/api/reviews/config/{world.program}/create-group", json=empty)
    assert answer.status_code == 200
    assert not {"requiredRole", "externalAdapterType"} & set(answer.json()["config"])


async def test_policies_are_set_by_who_manages_the_program(world: World) -> None:
    path = f"/api/reviews/config/{world.program}/create-group"
    body = {"policy": "auto-approve"}
    manager, owner = await world.staff("program-admin"), await world.staff("system-admin")
    assert (await world.client.put(path, json=body, headers=manager.headers)).status_code == 403
    assert (await world.client.put(path, json=body, headers=owner.headers)).status_code == 200
    foreign = await make_program(world.admin)
    assert (
        await world.client.put(f"/api/reviews/config/{foreign}/create-group", json=body, headers=owner.headers)
    ).status_code == 403
    assert (await world.admin.put(f"/api/reviews/config/{new_id()}/create-group", json=body)).status_code == 404


async def test_a_policy_that_changes_loses_nothing_that_waits(world: World) -> None:
    review = await world.agent.submitted()
    await set_policy(world.admin, world.program, "create-individual", "auto-approve")
    assert (await world.supervisor.reviews())[0]["status"] == "pending"
    assert (await world.supervisor.do(review, "approve")).status_code == 200


async def test_what_devices_push_is_not_reviewed(world: World) -> None:
    """A device shows its own events from the moment it made them: docs/decisions/0050-reviews.md."""
    assert (await push(world.admin, world.program, make_event())).status_code == 200
    assert len(await pull_all(world.admin, world.program)) == 1
    assert await world.supervisor.reviews() == []


async def test_what_a_device_has_pushed_meanwhile_is_not_applied_twice(world: World) -> None:
    event = make_event()
    review = await world.agent.submitted(event)
    await push(world.admin, world.program, event | {"userId": world.agent.email})
    assert (await world.supervisor.do(review, "approve")).status_code == 200
    assert len(await pull_all(world.admin, world.program)) == 1
    other = make_event()
    second = await world.agent.submitted(other)
    await push(world.admin, world.program, other | {"data": {"name": "Eve"}})
    answer = await world.supervisor.do(second, "approve", force=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "SUBMISSION_REUSED")
