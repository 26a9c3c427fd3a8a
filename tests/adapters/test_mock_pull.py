"""What changes in the registry is read, all of it, and nothing is read for ever."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from datacollect.adapters.errors import AdapterError, Failure
from datacollect.adapters.mock import MockAdapter, pulling
from datacollect.adapters.port import Incoming, RecordType
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.remote import Answer, Instead, RemoteSystem, Request
from tests.adapters.conftest import Micros
from tests.adapters.records import household, person, pulled, pushed

Make = Callable[..., MockAdapter]


@pytest.fixture
def registry(micros: Micros) -> Iterator[MockRegistry]:
    registry = MockRegistry(client_id="hub", client_secret="s3cret-of-the-hub", now_us=micros)
    yield registry
    registry.close()


def guids(records: list[Incoming]) -> set[str]:
    return {one.external_id for one in records}


async def test_persons_and_groups_come_in_our_words(mock_adapter: Make, registry: MockRegistry) -> None:
    ana = registry.add_person(
        given_name="Ana",
        family_name="Cruz",
        date_of_birth="1990-02-03",
        gender="2",
        attributes={"village": "Upper", "firstName": "no", "entityName": "no", "_secret": 1, "externalId": "no"},
        identifiers=[{"identifier_type": "card", "identifier_value": "7", "identifier_scheme_id": "urn:cards"}],
    )
    registry.add_group("Cruz", group_type="family", members=[ana["uuid"]])
    [one, group], _ = await pulled(mock_adapter())
    assert one.type is RecordType.INDIVIDUAL
    assert one.external_id == ana["uuid"]
    assert one.version == ana["updated_at"]
    assert one.guid is None
    [card] = one.data["identifiers"]
    assert (card["identifier_type"], card["identifier_value"]) == ("card", "7")
    assert {name: value for name, value in one.data.items() if name != "identifiers"} == {
        "entityName": "individual",
        "firstName": "Ana",
        "lastName": "Cruz",
        "name": "Ana Cruz",
        "dateOfBirth": "1990-02-03",
        "gender": "female",
        "village": "Upper",
    }
    assert group.data == {"entityName": "group", "name": "Cruz", "groupName": "Cruz", "groupType": "family"}
    assert group.members == [ana["uuid"]]
    assert group.derived == {"groupName"}


async def test_what_was_pushed_comes_back_as_it_was_and_says_which_record_it_is(mock_adapter: Make) -> None:
    adapter = mock_adapter()
    lan = person("in-lan", data={"gender": "M", "name": "Tran, Lan", "dateOfBirth": "1990-02-03", "village": "Upper"})
    [_, link] = await pushed(adapter, household("hh", lan), lan)
    [one, group], _ = await pulled(adapter)
    assert (one.guid, one.external_id) == ("in-lan", link.external_id)
    assert {**one.data, "entityName": "individual"} == lan.data
    assert group.guid == "hh"
    assert group.members == [link.external_id]


async def test_the_next_run_begins_where_this_one_ended(
    mock_adapter: Make, registry: MockRegistry, micros: Micros
) -> None:
    adapter = mock_adapter()
    first = registry.add_person(given_name="First")
    micros.now += 10_000_000
    last = registry.add_person(given_name="Last")
    _, mark = await pulled(adapter)
    records, mark = await pulled(adapter, mark)
    assert guids(records) == {last["uuid"]}
    micros.now += 10_000_000
    registry.change("persons", first["uuid"], given_name="Changed")
    group = registry.add_group("Cruz")
    records, mark = await pulled(adapter, mark)
    assert {first["uuid"], group["uuid"]} <= guids(records)
    micros.now += 10_000_000
    registry.remove("persons", last["uuid"])
    records, _ = await pulled(adapter, mark)
    assert [one.external_id for one in records if one.is_deleted] == [last["uuid"]]


async def test_a_thousand_changes_of_one_instant_are_read_once(
    mock_adapter: Make, registry: MockRegistry, micros: Micros, system: RemoteSystem
) -> None:
    micros.step = 0
    made = {registry.add_person(given_name=str(number))["uuid"] for number in range(350)}
    micros.now += 2_000_000
    made.add(registry.add_person(given_name="later")["uuid"])
    records, mark = await pulled(mock_adapter())
    assert guids(records) == made
    assert len(records) == len(made)
    assert system.requests["GET /v1/persons"] == 4
    records, _ = await pulled(mock_adapter(), mark)
    assert len(records) == 1


async def test_a_record_that_is_changed_while_pages_are_read_hides_no_other(
    mock_adapter: Make, registry: MockRegistry, micros: Micros, system: RemoteSystem
) -> None:
    made = [registry.add_person(given_name=str(number))["uuid"] for number in range(450)]
    adapter, mark, pages = mock_adapter(), None, []
    changed = iter(made)
    for _ in range(200):
        page = await adapter.pull(mark)
        mark, pages = page.mark, [*pages, *page.records]
        if page.is_last:
            break
        registry.change("persons", next(changed), family_name="Changed")
        registry.remove("persons", next(changed))
    assert page.is_last
    now = {one["uuid"] for one in registry.persons()}
    assert now <= guids(pages)
    assert system.requests["GET /v1/persons"] < 30
    # And those that were changed behind our back come with the next run, if not in this one.
    records, _ = await pulled(adapter, mark)
    latest = {one.external_id: one for one in [*pages, *records]}
    assert [one for one in registry.persons() if latest[one["uuid"]].version != one["updated_at"]] == []


async def test_many_that_are_changed_while_a_page_is_read_hold_up_no_other(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem
) -> None:
    made = [registry.add_person(given_name=str(number))["uuid"] for number in range(450)]
    adapter = mock_adapter()
    first = await adapter.pull(None)
    second = await adapter.pull(first.mark)
    for uuid in made[:15]:
        registry.remove("persons", uuid)
    rest, _ = await pulled(adapter, second.mark)
    assert set(made) <= guids([*first.records, *second.records, *rest])
    assert system.requests["GET /v1/persons"] < 15


@pytest.mark.parametrize("count", [0, 1, 8])
@pytest.mark.parametrize("always_names_a_next_page", [False, True])
async def test_a_registry_that_gives_fewer_at_a_time_is_read_to_its_end(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem, always_names_a_next_page: bool, count: int
) -> None:
    def small_pages(request: Request) -> Answer:
        answer = original(replace(request, query={**request.query, "limit": "3"}))
        if always_names_a_next_page and request.path.startswith("/v1/"):
            answer.document["next_offset"] = int(request.query["offset"]) + 3
        return answer

    original, system._handle = registry.handle, small_pages
    made = {registry.add_person(given_name=str(number))["uuid"] for number in range(count)}
    records, _ = await pulled(mock_adapter())
    assert guids(records) == made
    assert system.requests["GET /v1/persons"] <= 6


async def test_a_registry_in_any_other_order_loses_nothing(
    mock_adapter: Make, registry: MockRegistry, micros: Micros, system: RemoteSystem
) -> None:
    """Its list is in the order of creation, so a change of an early record is never met again on the way."""

    def by_creation(request: Request) -> Answer:
        answer = original(request)
        if request.path != "/v1/persons" or request.method != "GET":
            return answer
        since, offset = request.query.get("updated_since", ""), int(request.query["offset"])
        found = sorted(registry.persons(), key=lambda one: (one["created_at"], one["uuid"]))
        found = [one for one in found if one["updated_at"] >= since]
        items = found[offset : offset + 100]
        following = offset + len(items)
        document = {"items": items, "next_offset": following if following < len(found) else None}
        return Answer(200, document, {"Date": formatdate(micros.now / 1_000_000, usegmt=True)})

    original, system._handle = registry.handle, by_creation
    made = [registry.add_person(given_name=str(number))["uuid"] for number in range(150)]
    micros.now += 60_000_000
    registry.change("persons", made[1], family_name="Later")
    adapter = mock_adapter()
    page = await adapter.pull(None)
    micros.now += 5_000_000
    registry.change("persons", made[0], family_name="Changed")
    micros.now += 60_000_000
    registry.change("persons", made[-1], family_name="Changed")
    _, mark = await pulled(adapter, page.mark)
    records, _ = await pulled(adapter, mark)
    assert made[0] in guids(records)


@pytest.mark.parametrize("is_read_meanwhile", [True, False])
async def test_a_registry_whose_clock_was_ahead_for_a_while_hides_nothing(
    mock_adapter: Make, registry: MockRegistry, micros: Micros, system: RemoteSystem, is_read_meanwhile: bool
) -> None:
    def dated(request: Request) -> Answer:
        answer = original(request)
        return Answer(answer.status, answer.document, {"Date": formatdate(micros.now / 1_000_000, usegmt=True)})

    original, system._handle = registry.handle, dated
    week = 7 * 24 * 3600 * 1_000_000
    micros.now += week
    registry.add_person(given_name="Ahead")
    registry.add_group("Ahead")
    mark = (await pulled(mock_adapter()))[1] if is_read_meanwhile else None
    micros.now -= week
    _, mark = await pulled(mock_adapter(), mark)
    micros.now += 60_000_000
    later = {registry.add_person(given_name="Later")["uuid"], registry.add_group("Later")["uuid"]}
    records, _ = await pulled(mock_adapter(), mark)
    assert later <= guids(records)


async def test_a_resource_without_a_key_is_skipped_and_one_that_cannot_be_read_is_named(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(item: Mapping[str, Any], *more: Any) -> Incoming:
        return real(item, *more) if item["given_name"] != "boom" else Incoming(**item)

    real = pulling.incoming
    monkeypatch.setattr(pulling, "incoming", reading)

    def odd(request: Request) -> Answer:
        answer = original(request)
        if request.path == "/v1/persons":
            items = [
                {"given_name": "Nobody"},
                "text",
                None,
                {"uuid": "u-1", "given_name": {"odd": 1}, "identifiers": 7},
                {"uuid": "u-2", "given_name": "boom"},
            ]
            return Answer(200, {"items": items, "next_offset": None})
        return answer

    original, system._handle = registry.handle, odd
    page = await mock_adapter().pull(None)
    assert page.skipped == 3
    assert [one.external_id for one in page.records] == ["u-1"]
    assert [(one.code, one.external_id) for one in page.failures] == [("PULL_PERSON_FAILED", "u-2")]


MEGABYTE = "A" * 1_000_000


async def test_a_page_that_is_too_large_is_read_in_parts(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem
) -> None:
    made = {registry.add_person(given_name=str(number), attributes={"photo": MEGABYTE})["uuid"] for number in range(12)}
    made |= {registry.add_person(given_name=str(number))["uuid"] for number in range(250)}
    group = registry.add_group("Cruz")
    records, mark = await pulled(mock_adapter())
    assert guids(records) == made | {group["uuid"]}
    assert system.requests["GET /v1/persons"] < 30
    assert (await pulled(mock_adapter(), mark))[1] == mark


async def test_a_record_that_is_too_large_by_itself_is_named_and_keeps_no_other_back(
    mock_adapter: Make, registry: MockRegistry
) -> None:
    made = []
    for number in range(30):
        photo = 6 * MEGABYTE if number in (0, 7, 8, 29) else 2 * MEGABYTE if number in (15, 16, 17) else ""
        made.append(registry.add_person(given_name=str(number), attributes={"photo": photo})["uuid"])
    adapter, mark, records, failures = mock_adapter(), None, list[Incoming](), list[Failure]()
    for _ in range(100):
        page = await adapter.pull(mark)
        mark, records, failures = page.mark, [*records, *page.records], [*failures, *page.failures]
        if page.is_last:
            break
    assert page.is_last
    assert guids(records) == {uuid for number, uuid in enumerate(made) if number not in (0, 7, 8, 29)}
    assert len({failure.external_id for failure in failures}) == len(failures) == 4
    assert {failure.message for failure in failures} == {"A person of the registry is too large to be read."}


async def test_a_registry_whose_answers_are_all_too_large_is_told(mock_adapter: Make, system: RemoteSystem) -> None:
    system.faults.add(
        Instead(200, {"items": [{"uuid": "u", "photo": 6 * MEGABYTE}], "next_offset": 1}),
        times=None,
        matches=lambda request: request.path == "/v1/persons",
    )
    with pytest.raises(AdapterError):
        await pulled(mock_adapter())
    assert system.requests["GET /v1/persons"] < 20


@pytest.mark.parametrize("value", ['"Ana \\ud83d"', "1e999"])
async def test_a_value_that_nobody_reads_keeps_no_other_record_back(
    mock_adapter: Make, registry: MockRegistry, system: RemoteSystem, value: str
) -> None:
    def odd(request: Request) -> Answer:
        answer = original(request)
        return replace(answer, document=msgspec.json.encode(answer.document).replace(b'"?"', value.encode()))

    made = [registry.add_person(given_name=name)["uuid"] for name in ("Ana", "?", "Ben")]
    original, system._handle = registry.handle, odd
    page = await mock_adapter().pull(None)
    assert [one.external_id for one in page.records] == [made[0], made[2]]
    assert [(one.code, one.external_id) for one in page.failures] == [("PULL_PERSON_FAILED", made[1])]


async def test_a_registry_that_fails_says_which_list(mock_adapter: Make, system: RemoteSystem) -> None:
    system.faults.add(Instead(403), times=None, matches=lambda request: request.path == "/v1/groups")
    adapter = mock_adapter()
    page = await adapter.pull(None)
    with pytest.raises(AdapterError) as raised:
        await adapter.pull(page.mark)
    assert raised.value.failure.code == "PULL_GROUPS_FAILED"
    assert raised.value.failure.message == "Could not read groups: it does not allow this (403)"


async def test_a_mark_that_cannot_be_read_means_to_begin_again(mock_adapter: Make, registry: MockRegistry) -> None:
    registry.add_person(given_name="Ana")
    for mark in ("", "2024-01-01T00:00:00.000Z", "{}", '{"kind":"elsewhere"}'):
        records, _ = await pulled(mock_adapter(), mark)
        assert len(records) == 1


async def test_the_health_check_asks_and_signs_in(mock_adapter: Make, system: RemoteSystem) -> None:
    assert (await mock_adapter().check()).is_healthy
    refused = await mock_adapter(clientSecret="wrong").check()
    assert not refused.is_healthy
    assert refused.message == "Could not sign in: it does not accept the credentials (401)"
    system.faults.add(Instead(200, {"status": "on fire"}))
    assert not (await mock_adapter().check()).is_healthy
    system.stop()
    away = await mock_adapter().check()
    assert away.message == "Could not ask whether it is well: it could not be reached, or broke off"
