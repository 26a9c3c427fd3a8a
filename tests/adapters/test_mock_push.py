"""Records of ours become persons and groups of the registry, once each, whatever happens on the way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from datacollect.adapters.errors import AdapterError
from datacollect.adapters.mock import MockAdapter
from datacollect.adapters.port import Link, Member, Pushed, RecordType, Skipped
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.remote import DropAfter, DropBefore, Instead, Late, RemoteSystem, Request
from tests.adapters.records import failed, household, person, pushed

Make = Callable[..., MockAdapter]


def creates(request: Request) -> bool:
    return request.method == "POST" and request.path.startswith("/v1/")


def updates(request: Request) -> bool:
    return request.method == "PATCH"


async def test_a_person_arrives_with_what_the_registry_knows_and_the_rest_as_attributes(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    data = {"dateOfBirth": "1990-02-03", "gender": "M", "area_id": "cedar-bay", "attributes": {"height": 160}}
    data |= {"identifiers": [{"identifier_type": "national_id", "identifier_value": "77"}]}
    await pushed(mock_adapter(), person("in-lan", data=data))
    [there] = registry.persons()
    assert (there["given_name"], there["family_name"]) == ("Lan", "Tran")
    assert (there["date_of_birth"], there["gender"]) == ("1990-02-03", "1")
    assert there["attributes"] == {"area_id": "cedar-bay", "height": 160, "gender": "M"}
    identifiers = {(one["identifier_type"], one["identifier_value"]) for one in there["identifiers"]}
    assert identifiers == {("system_id", "in-lan"), ("system_id", there["uuid"]), ("national_id", "77")}


async def test_what_a_new_person_does_not_have_is_null(mock_adapter: Make, system: RemoteSystem) -> None:
    await pushed(mock_adapter(), person(data={"lastName": ""}))
    sent = next(one.json() for one in system.log if creates(one))
    assert sent["family_name"] is sent["date_of_birth"] is sent["gender"] is None
    assert "attributes" not in sent


async def test_a_group_arrives_with_its_members_though_they_are_in_the_same_batch(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    lan, minh = person("in-lan"), person("in-minh")
    await pushed(mock_adapter(), household("hh", lan, minh), lan, minh)
    [group] = registry.groups()
    assert (group["name"], group["group_type"]) == ("Tran", "household")
    persons = {one["uuid"] for one in registry.persons()}
    assert {one["person_uuid"] for one in group["memberships"]} == persons
    assert len(persons) == 2


async def test_joining_and_leaving_reach_the_registry_and_its_own_members_and_roles_stay(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    adapter = mock_adapter()
    lan, minh, group = person("in-lan"), person("in-minh"), household("hh")
    _, second, third = await pushed(adapter, lan, minh, household("hh", lan, minh))
    stranger = registry.add_person(given_name="Ana")["uuid"]
    registry.join(third.external_id, stranger, role="guest")
    registry.join(third.external_id, second.external_id, role="head")
    staying = [Member(guid="in-minh", type=RecordType.INDIVIDUAL, link=second)]
    [again] = await pushed(adapter, replace(group, link=third, members=staying))
    [there] = registry.groups()
    assert {one["person_uuid"]: one["role"] for one in there["memberships"]} == {
        second.external_id: "head",
        stranger: "guest",
    }
    assert again.state["members"] == [second.external_id]


async def test_members_that_were_seen_and_are_not_known_here_stay(mock_adapter: Make, registry: MockRegistry) -> None:
    adapter, lan = mock_adapter(), person("in-lan")
    first, group = await pushed(adapter, lan, household("hh", lan))
    stranger = registry.add_person(given_name="Ana")["uuid"]
    registry.join(group.external_id, stranger)
    # As links were kept when members still had their roles in them.
    told = replace(group, state={**group.state, "members": {first.external_id: None, stranger: "guest"}})
    strange = frozenset({stranger})
    outgoing = replace(household("hh", data={"name": "Renamed"}), link=told, members=[], strange_members=strange)
    [again] = await pushed(adapter, outgoing)
    [there] = registry.groups()
    assert there["name"] == "Renamed"
    assert [one["person_uuid"] for one in there["memberships"]] == again.state["members"] == [stranger]


async def test_a_group_whose_member_is_not_there_yet_is_offered_again_and_not_made_twice(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    adapter, lan = mock_adapter(), person("in-lan")
    outcome = await failed(adapter, household("hh", lan))
    assert outcome.failure.code == "MEMBER_NOT_LINKED"
    assert outcome.failure.retryable
    assert outcome.link
    await pushed(adapter, lan, household("hh", lan, link=outcome.link))
    [group] = registry.groups()
    assert len(group["memberships"]) == 1


async def test_an_edit_sends_what_has_changed_in_one_request(mock_adapter: Make, system: RemoteSystem) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person(data={"gender": "female"}))
    system.log.clear()
    [link] = await pushed(adapter, person(data={"gender": "female", "firstName": "Lanh"}, link=link))
    assert [(one.method, one.json()) for one in system.log] == [("PATCH", {"given_name": "Lanh"})]
    assert system.log[0].headers["if-match"] != f'"{link.version}"'
    system.log.clear()
    await pushed(adapter, person(data={"gender": "female", "firstName": "Lanh"}, link=link))
    assert system.log == []


async def test_an_edit_that_meets_a_change_there_is_made_all_the_same_and_takes_nothing_away(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person(data={"village": "Upper", "crop": "rice"}))
    registry.change("persons", link.external_id, family_name="Nguyen", attributes={"village": "Upper", "crop": "corn"})
    [link] = await pushed(adapter, person(data={"firstName": "Lanh", "village": "Lower", "crop": "rice"}, link=link))
    assert link.version is None  # so that the change of others is not taken for ours when it is read
    [there] = registry.persons()
    assert (there["given_name"], there["family_name"]) == ("Lanh", "Nguyen")
    assert there["attributes"] == {"village": "Lower", "crop": "corn"}


@pytest.mark.parametrize("status", [409, 412])
async def test_a_record_that_keeps_changing_there_is_offered_again(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem, status: int
) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person())
    system.faults.add(Instead(status), times=4, matches=updates)
    outcome = await failed(adapter, person(data={"firstName": "Lanh"}, link=link))
    assert (outcome.failure.code, outcome.failure.retryable) == ("PUSH_FAILED", True)
    await pushed(adapter, person(data={"firstName": "Lanh"}, link=outcome.link))
    assert registry.persons()[0]["given_name"] == "Lanh"


async def test_attributes_of_others_are_kept(mock_adapter: Make, registry: MockRegistry) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person(data={"village": "Upper"}))
    registry.change("persons", link.external_id, attributes={"village": "Upper", "theirs": 1})
    [link] = await pushed(adapter, person(data={"village": "Lower"}, link=link))
    await pushed(adapter, person(data={"village": "Hill"}, link=link))
    [there] = registry.persons()
    assert there["attributes"] == {"village": "Hill", "theirs": 1}


async def test_what_is_gone_there_is_made_again(mock_adapter: Make, registry: MockRegistry) -> None:
    adapter = mock_adapter()
    record = person()
    [link] = await pushed(adapter, record)
    registry.remove("persons", link.external_id)
    # The same key as the first time, as when an edit was taken back.
    [again] = await pushed(adapter, replace(record, link=replace(link, state={})))
    [there] = registry.persons()
    assert there["uuid"] == again.external_id != link.external_id


@pytest.mark.parametrize("fault", [DropAfter(), DropBefore(), Instead(500), Instead(503), Late(0.6)])
async def test_a_create_whose_answer_is_lost_makes_one_person(
    mock_adapter: Make, system: RemoteSystem, registry: MockRegistry, fault: DropAfter
) -> None:
    system.faults.add(fault, matches=creates)
    [link] = await pushed(mock_adapter(timeout=300), person())
    assert [one["uuid"] for one in registry.persons()] == [link.external_id]
    assert system.faults.happened == 1


async def test_a_registry_without_idempotency_keys_makes_one_person_as_well(
    mock_adapter: Make, system: RemoteSystem, registry: MockRegistry
) -> None:
    def forgetful(request: Request) -> object:
        return original(replace(request, headers={**request.headers, "idempotency-key": ""}))

    original, system._handle = registry.handle, forgetful  # type: ignore[assignment]
    system.faults.add(DropAfter(), matches=creates)
    [link] = await pushed(mock_adapter(), person(data={"village": "Upper"}))
    [there] = registry.persons()
    assert there["uuid"] == link.external_id
    assert there["attributes"] == {"village": "Upper"}


async def test_an_uncertain_record_is_looked_for_and_brought_up_to_date(
    mock_adapter: Make, system: RemoteSystem, registry: MockRegistry
) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person("in-lan"))
    [found] = await pushed(adapter, person("in-lan", data={"firstName": "Lanh"}, is_uncertain=True))
    assert found.external_id == link.external_id
    [there] = registry.persons()
    assert there["given_name"] == "Lanh"
    system.log.clear()
    await pushed(adapter, person("in-new", is_uncertain=True))
    assert [one.method for one in system.log] == ["GET", "POST"]


async def test_a_twin_is_found_where_the_registry_cannot_look_for_identifiers(
    mock_adapter: Make, system: RemoteSystem, registry: MockRegistry
) -> None:
    def unhelpful(request: Request) -> object:
        query = {name: value for name, value in request.query.items() if not name.startswith("identifier_")}
        return original(replace(request, query=query))

    adapter = mock_adapter()
    for number in range(150):
        registry.add_person(given_name=f"Other {number}")
    [link] = await pushed(adapter, person("in-lan"))
    original, system._handle = registry.handle, unhelpful  # type: ignore[assignment]
    [found] = await pushed(adapter, person("in-lan", is_uncertain=True))
    assert found.external_id == link.external_id


async def test_an_identifier_of_somebody_else_fails_the_record_and_no_other(mock_adapter: Make) -> None:
    card = {"identifiers": [{"identifier_type": "national_id", "identifier_value": "77"}]}
    adapter = mock_adapter()
    await pushed(adapter, person("in-1", data=card))
    refused, other = await adapter.push([person("in-2", data=card), person("in-3")])
    assert refused.failure.code == "PUSH_FAILED"  # type: ignore[union-attr]
    assert not refused.failure.retryable  # type: ignore[union-attr]
    assert "77" not in refused.failure.message  # type: ignore[union-attr]
    assert isinstance(other, Pushed)


async def test_what_the_registry_refuses_is_told_by_the_names_of_fields_only(mock_adapter: Make) -> None:
    outcome = await failed(mock_adapter(), person("in-1", data={"dateOfBirth": "3 Feb 1990"}))
    assert outcome.failure.message == "Could not create a person: it does not accept what was sent (422): date_of_birth"
    assert not outcome.failure.retryable
    assert not outcome.is_uncertain


async def test_a_deleted_record_is_deleted_there_and_one_that_was_never_there_is_not(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    adapter = mock_adapter()
    [link] = await pushed(adapter, person("in-1"))
    gone = person("in-1", data={}, link=link, is_deleted=True)
    for _ in range(2):
        [outcome] = await adapter.push([gone])
        assert isinstance(outcome, Pushed)
    assert registry.persons() == []
    await pushed(adapter, person("in-2"))
    unlinked = [person("in-2", is_deleted=True, is_uncertain=True), person("in-3", is_deleted=True, is_uncertain=True)]
    found, unknown = await adapter.push(unlinked)
    assert isinstance(found, Pushed)
    assert isinstance(unknown, Skipped)
    assert registry.persons() == []


async def test_a_record_is_skipped(mock_adapter: Make, system: RemoteSystem) -> None:
    [outcome] = await mock_adapter().push([replace(person(), type=RecordType.RECORD)])
    assert outcome == Skipped(reason="TYPE_NOT_SUPPORTED")
    assert system.asked == 0


async def test_an_ended_token_is_followed_by_one_sign_in(
    mock_adapter: Make, system: RemoteSystem, registry: MockRegistry
) -> None:
    adapter = mock_adapter()
    await pushed(adapter, person("in-1"))
    registry.end_tokens()
    await pushed(adapter, *[person(f"in-{number}") for number in range(2, 12)])
    assert system.requests["POST /oauth/token"] == 2
    assert len(registry.persons()) == 11


async def test_wrong_credentials_end_the_push_and_are_not_quoted(mock_adapter: Make) -> None:
    with pytest.raises(AdapterError) as raised:
        await mock_adapter(clientSecret="wrong-secret").push([person()])
    assert raised.value.failure.message == "Could not sign in: it does not accept the credentials (401)"


async def test_a_registry_that_is_away_ends_the_push(mock_adapter: Make, system: RemoteSystem) -> None:
    adapter = mock_adapter()
    system.faults.add(Instead(503, headers={"Retry-After": "120"}), times=None)
    with pytest.raises(AdapterError) as raised:
        await adapter.push([person(f"in-{number}") for number in range(50)])
    assert raised.value.retry_after_seconds == 120
    assert system.asked <= 4


async def test_one_person_that_makes_the_registry_crash_does_not_keep_others_back(
    mock_adapter: Make, system: RemoteSystem
) -> None:
    system.faults.add(Instead(500), times=None, matches=lambda one: creates(one) and b"Poison" in one.body)
    adapter = mock_adapter()
    outcomes = await adapter.push([person("in-1"), person("in-2", data={"firstName": "Poison"}), person("in-3")])
    assert [type(one).__name__ for one in outcomes] == ["Pushed", "Failed", "Pushed"]


async def test_an_empty_batch_makes_no_call(mock_adapter: Make, system: RemoteSystem) -> None:
    assert await mock_adapter().push([]) == []
    assert system.asked == 0


async def test_a_link_without_anything_known_is_enough_to_update(mock_adapter: Make, registry: MockRegistry) -> None:
    there = registry.add_person(given_name="Ana", family_name="Cruz", attributes={"theirs": 1})
    await pushed(mock_adapter(), person(link=Link(external_id=there["uuid"]), data={"village": "Upper"}))
    [now] = registry.persons()
    assert now["attributes"] == {"theirs": 1, "village": "Upper"}


async def test_nobody_leaves_a_group_as_long_as_one_of_its_members_is_not_known_there(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    """The one that is not known may be the one that would be taken for gone."""
    adapter, lan = mock_adapter(), person("in-lan")
    link, _ = await pushed(adapter, household("hh", lan), lan)
    await failed(mock_adapter(), household("hh", lan, link=link))
    [group] = registry.groups()
    assert len(group["memberships"]) == 1


async def test_the_twin_of_another_record_is_neither_written_nor_deleted(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    await pushed(mock_adapter(), person("in-lan"))
    [there] = registry.persons()

    async def owners(_: Any) -> dict[str, str]:
        return {there["uuid"]: "in-minh"}

    adapter = mock_adapter()
    adapter._context = replace(adapter._context, owners=owners)
    for is_uncertain in (False, True):
        await failed(adapter, person("in-lan", data={"firstName": "Somebody"}, is_uncertain=is_uncertain))
    [outcome] = await adapter.push([person("in-lan", is_deleted=True, is_uncertain=True)])
    assert outcome == Skipped(reason="NEVER_THERE")
    assert registry.persons() == [there]
