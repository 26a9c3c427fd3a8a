"""What OpenSPP V2 tells us: every registrant, in the forms' own fields, as nobody else."""

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from datacollect.adapters.errors import AdapterError
from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.openspp_v2.adapter import OpenSppV2Adapter
from datacollect.adapters.port import Incoming, RecordType
from datacollect.testing.remote import Instead, Request
from tests.adapters.openspp_v2 import GUID, HOUSEHOLD, NOW, OTHER, World, household, linked, person


async def pulled(adapter: OpenSppV2Adapter, mark: str | None = None) -> tuple[list[Incoming], str]:
    records: list[Incoming] = []
    for _ in range(100):
        page = await adapter.pull(mark)
        records, mark = [*records, *page.records], page.mark
        if page.is_last:
            return records, mark
    raise AssertionError("the pull does not end")


def searches(request: Request) -> bool:
    return request.method == "GET" and len(request.segments) == 4


async def test_people_come_with_the_usual_fields_and_what_identifies_them_beside(openspp: World) -> None:
    openspp.registry.add_person(
        given="Maria",
        family="Santos",
        birthDate="1985-03-15",
        gender={"coding": [{"system": "urn:iso:std:iso:5218", "code": "2"}]},
        telecom=[{"system": "phone", "value": "1", "use": "home"}, {"system": "email", "value": "m@example.org"}],
        identifiers={"national_id": "PH-1", "system_id": GUID},
    )
    [record], _ = await pulled(openspp.adapter())
    assert record.data == {
        "entityName": "individual",
        "firstName": "Maria",
        "lastName": "Santos",
        "name": "Maria Santos",
        "dateOfBirth": "1985-03-15",
        "gender": "female",
        "phone": "1",
        "email": "m@example.org",
    }
    assert (record.external_id, record.guid, record.version) == (GUID, GUID, "1")
    assert record.state["identifierType"] == "system_id"
    assert record.occurred_at == openspp.now()
    assert record.derived == {"name"}
    assert record.also_called["firstName"] == ["first_name"]


async def test_numbers_of_the_registry_or_of_a_state_are_never_taken_for_guids(openspp: World) -> None:
    openspp.registry.add_person(given="A", identifiers={"national_id": "PH-1"})
    openspp.registry.add_person(given="B", identifiers={"system_id": "REG-2"})
    openspp.registry.add_person(given="C", identifiers={"national_id": GUID})
    records, _ = await pulled(openspp.adapter())
    assert [(one.external_id, one.guid) for one in records] == [
        ("national_id|PH-1", None),
        ("REG-2", None),
        (f"national_id|{GUID}", None),
    ]


async def test_equal_numbers_of_different_types_are_different_people(openspp: World) -> None:
    openspp.registry.add_person(given="A", identifiers={"national_id": "17"})
    openspp.registry.add_group(name="B", identifiers={"household_no": "17"})
    adapter = openspp.adapter(identifierType="national_id", groupIdentifierType="household_no")
    records, _ = await pulled(adapter)
    assert [one.external_id for one in records] == ["17", "household_no|17"]


async def test_the_same_registrant_has_the_same_id_whatever_the_order_of_its_identifiers(openspp: World) -> None:
    there = openspp.registry.add_person(
        given="A", identifiers={"household_no": "1", "national_id": "2", "system_id": "3"}
    )
    [first], _ = await pulled(openspp.adapter())
    openspp.registry.identify(there, there.identifiers[::-1])
    [second], _ = await pulled(openspp.adapter())
    assert first.external_id == second.external_id == "3"
    openspp.registry.identify(there, [one for one in there.identifiers if not one["system"].endswith("system_id")])
    [third], _ = await pulled(openspp.adapter())
    openspp.registry.identify(there, there.identifiers[::-1])
    [fourth], _ = await pulled(openspp.adapter())
    assert third.external_id == fourth.external_id == "household_no|1"


async def test_whoever_we_made_comes_back_under_the_id_of_its_link(openspp: World) -> None:
    [outcome] = await openspp.adapter().push([person()])
    there = openspp.registry.people[0]
    first = {"system": "urn:openspp:vocab:id-type#system_id", "value": "REG-9"}
    openspp.registry.identify(there, [first, *there.identifiers])
    [record], _ = await pulled(openspp.adapter())
    assert record.external_id == outcome.link.external_id == GUID  # type: ignore[union-attr]
    assert record.guid == GUID


async def test_registrants_of_foreign_namespaces_are_left_where_they_are(openspp: World) -> None:
    openspp.registry.add_person(given="A", identifiers={"urn:gov:ph#x": "1"})
    page = await openspp.adapter().pull(None)
    assert (page.records, page.skipped, page.failures) == ([], 1, [])


async def test_mappings_hold_both_ways(openspp: World) -> None:
    openspp.registry.add_studio_field("x_household_income")
    openspp.registry.add_studio_field("x_crop_id")
    url = "urn:openspp:extension:studio-individual"
    there = openspp.registry.add_person(
        given="Maria",
        family="Santos",
        birthDate="1985-03-15",
        birthDateEstimated=True,
        address=[{"type": "physical", "line": ["Main St 1"], "city": "Iloilo"}],
        photo="aGk=",
        identifiers={"system_id": GUID},
        extension={
            url: {"url": url, "householdIncome": 25000, "crop": {"coding": [{"system": "urn:crops", "code": "rice"}]}}
        },
    )
    mappings = [
        FieldMapping(form_field="nombre", remote_field="name.given"),
        FieldMapping(form_field="born", remote_field="birthDate", transformer="date", options={"inputFormat": "DD/MM/YYYY", "outputFormat": "DD/MM/YYYY"}),
        FieldMapping(form_field="guess", remote_field="birthDateEstimated", transformer="boolean"),
        FieldMapping(form_field="town", remote_field="address.city"),
        FieldMapping(form_field="street", remote_field="address.line"),
        FieldMapping(form_field="picture", remote_field="photo"),
        FieldMapping(form_field="income", remote_field="extension.x_household_income"),
        FieldMapping(form_field="crop", remote_field="x_crop_id"),
    ]  # fmt: skip
    [record], _ = await pulled(openspp.adapter(*mappings))
    assert record.data == {
        "entityName": "individual",
        "nombre": "Maria",
        "lastName": "Santos",
        "name": "Maria Santos",
        "born": "15/03/1985",
        "guess": True,
        "town": "Iloilo",
        "street": "Main St 1",
        "picture": "aGk=",
        "income": "25000",
        "crop": "rice",
    }
    openspp.registry.system.log.clear()
    link = linked(GUID, **record.state)
    changed = person(link=link, data={**record.data, "town": "Cebu", "crop": "maize", "firstName": ""})
    await openspp.adapter(*mappings).push([changed])
    [request] = [one for one in openspp.registry.system.log if one.method == "PATCH"]
    assert set(request.json()) == {"address", "extension"}
    assert there.fields["address"] == [{"type": "physical", "line": ["Main St 1"], "city": "Cebu"}]
    assert there.fields["extension"][url]["crop"] == {"coding": [{"system": "urn:crops", "code": "maize"}]}


async def test_unmapped_studio_fields_come_under_their_own_names_as_plain_values(openspp: World) -> None:
    url = "urn:openspp:extension:studio-group"
    crops = [
        {"coding": [{"system": "urn:crops", "code": "rice"}]},
        {"coding": [{"system": "urn:crops", "code": "maize"}]},
    ]
    openspp.registry.add_group(name="Farm", extension={url: {"url": url, "mainCrops": crops, "plotSize": 2}})
    [record], _ = await pulled(openspp.adapter())
    assert record.data["x_main_crops"] == ["rice", "maize"]
    assert record.data["x_plot_size"] == 2
    [record], _ = await pulled(openspp.adapter(includeStudioExtensions=False))
    assert "x_plot_size" not in record.data


async def test_groups_come_with_their_members(openspp: World) -> None:
    adapter = openspp.adapter()
    await adapter.push([person(), household()])
    maria, group = openspp.registry.people[0], openspp.registry.groups[0]
    openspp.registry.join(group, maria, "head")
    _, record = (await pulled(adapter))[0]
    assert record.data == {"entityName": "group", "name": "Santos", "groupName": "Santos"}
    assert (record.type, record.external_id, record.members) == (RecordType.GROUP, HOUSEHOLD, [GUID])
    assert record.also_called["name"] == ["group_name"]


async def test_a_group_whose_members_we_cannot_name_tells_none_of_them(openspp: World) -> None:
    stranger = openspp.registry.add_person(given="A", identifiers={"urn:gov:ph#x": "1"})
    openspp.registry.join(openspp.registry.add_group(name="B"), stranger)
    [record], _ = await pulled(openspp.adapter())
    assert record.members is None
    assert "members" not in record.state


async def test_whoever_is_ended_there_is_told_as_deleted(openspp: World) -> None:
    openspp.registry.add_person(given="A", active=False)
    [record], _ = await pulled(openspp.adapter())
    assert record.is_deleted


async def test_the_next_run_begins_a_day_before_this_one(openspp: World) -> None:
    openspp.registry.add_person(given="Old")
    _, mark = await pulled(openspp.adapter())
    assert json.loads(mark) == {"since": "2026-03-09"}
    openspp.time += timedelta(days=3)
    openspp.registry.add_person(given="New")
    records, _ = await pulled(openspp.adapter(), mark)
    assert [one.data["firstName"] for one in records] == ["New", "Old"]
    openspp.time += timedelta(days=3)
    _, mark = await pulled(openspp.adapter(), mark)
    openspp.registry.system.log.clear()
    records, _ = await pulled(openspp.adapter(), mark)
    assert records == []
    assert {one.query["_lastUpdated"] for one in openspp.registry.system.log} == {"ge2026-03-15"}


async def test_a_clock_of_ours_that_is_ahead_leaves_nothing_out(openspp: World) -> None:
    openspp.registry.now = lambda: NOW
    openspp.registry.add_person(given="Old")
    openspp.time += timedelta(days=30)
    _, mark = await pulled(openspp.adapter())
    assert json.loads(mark) == {"since": "2026-03-09"}
    openspp.time -= timedelta(days=40)
    records, mark = await pulled(openspp.adapter(), mark)
    assert ([one.data["firstName"] for one in records], json.loads(mark)) == (["Old"], {"since": "2026-02-27"})


async def test_a_registry_that_tells_all_groups_every_time_is_believed_for_their_days_only(openspp: World) -> None:
    openspp.registry.groups_know_last_updated = False
    openspp.registry.add_group(name="Old")
    openspp.time += timedelta(days=9)
    openspp.registry.add_group(name="New")
    records, _ = await pulled(openspp.adapter(), json.dumps({"since": "2026-03-12"}))
    assert [one.data["name"] for one in records] == ["New"]


async def test_what_changes_during_a_run_is_in_the_next(openspp: World) -> None:
    for number in range(150):
        openspp.registry.add_person(given=f"P{number:03}")
    adapter = openspp.adapter()
    page = await adapter.pull(None)
    openspp.time += timedelta(days=2)  # a long run
    openspp.registry.edit(openspp.registry.people[0], name={"given": "Changed"})
    rest, mark = await pulled(adapter, page.mark)
    records, _ = await pulled(adapter, mark)
    assert "Changed" in [one.data["firstName"] for one in records]
    assert len(page.records) + len(rest) == 150


@pytest.mark.parametrize("leaving", [1, 4, 30, 99])
async def test_records_that_leave_while_we_read_make_us_skip_nobody(openspp: World, leaving: int) -> None:
    people = [openspp.registry.add_person(given=f"P{number:03}") for number in range(350)]
    adapter = openspp.adapter()
    page = await adapter.pull(None)
    for one in people[:leaving]:
        openspp.registry.remove(one)
    rest, _ = await pulled(adapter, page.mark)
    names = [one.data["firstName"] for one in [*page.records, *rest]]
    assert set(names) == {f"P{number:03}" for number in range(350)}


async def test_records_that_move_to_the_end_make_us_skip_nobody(openspp: World) -> None:
    people = [openspp.registry.add_person(given=f"P{number:03}") for number in range(250)]
    adapter = openspp.adapter()
    page = await adapter.pull(None)
    for one in people[:100]:
        openspp.registry.edit(one, name={"given": one.fields["name"]["given"], "text": f"Z{one.number}"})
    rest, _ = await pulled(adapter, page.mark)
    assert {one.data["firstName"] for one in [*page.records, *rest]} == {f"P{number:03}" for number in range(250)}


async def test_a_page_that_fails_is_asked_for_again_and_never_jumped_over(openspp: World) -> None:
    for number in range(150):
        openspp.registry.add_person(given=f"P{number:03}")
    adapter = openspp.adapter()
    page = await adapter.pull(None)
    openspp.registry.faults.add(Instead(500), times=3, matches=searches)
    with pytest.raises(AdapterError) as raised:
        await adapter.pull(page.mark)
    assert (raised.value.failure.code, raised.value.failure.retryable) == ("SEARCH_FAILED", True)
    rest, _ = await pulled(openspp.adapter(), page.mark)
    assert len(page.records) + len(rest) == 150


async def test_one_failed_try_of_a_page_is_not_noticed(openspp: World) -> None:
    openspp.registry.add_person(given="A")
    openspp.registry.faults.add(Instead(502), matches=searches)
    assert len((await pulled(openspp.adapter()))[0]) == 1


async def test_an_answer_that_is_too_long_is_asked_for_in_smaller_parts(openspp: World) -> None:
    for number in range(30):
        openspp.registry.add_person(given=f"P{number:02}")
    openspp.registry.faults.add(
        Instead(200, b"{" + b" " * 21_000_000), times=None, matches=lambda r: searches(r) and r.query["_count"] == "100"
    )
    assert len((await pulled(openspp.adapter()))[0]) == 30


def shows(request: Request, place: int) -> bool:
    """Whether the answer to it holds the person at this place."""
    if not searches(request) or not request.path.endswith("/Individual"):
        return False
    offset = int(request.query["_offset"])
    return offset <= place < offset + int(request.query["_count"])


HALF_AN_EMOJI = Instead(200, b'{"data": [{"name": "\\ud83d"}]}')


@pytest.mark.parametrize("places", [[0], [17], [17, 18, 24], [29], range(12, 18)])
async def test_a_record_that_cannot_be_read_keeps_no_other_back(openspp: World, places: list[int]) -> None:
    for number in range(30):
        openspp.registry.add_person(given=f"P{number:02}")
    openspp.registry.add_group(name="Santos")
    for place in places:
        openspp.registry.faults.add(HALF_AN_EMOJI, times=None, matches=lambda r, place=place: shows(r, place))
    adapter, mark, names, failures = openspp.adapter(), None, [], []
    while True:
        page = await adapter.pull(mark)
        mark = page.mark
        names += [one.data.get("firstName", one.data.get("name")) for one in page.records]
        failures += [(one.external_id, one.message) for one in page.failures]
        if page.is_last:
            break
    assert sorted(names) == [*(f"P{number:02}" for number in range(30) if number not in places), "Santos"]
    assert failures == [
        (f"individual?{place}", f"A record cannot be read: number {place} of the registry's individuals.")
        for place in places
    ]


async def test_records_of_which_two_are_too_long_for_a_page_come_one_by_one(openspp: World) -> None:
    for number in range(30):
        openspp.registry.add_person(given=f"P{number:02}")
    too_long = Instead(200, b"{" + b" " * 20_000_001)
    openspp.registry.faults.add(too_long, times=None, matches=lambda r: searches(r) and r.query["_count"] != "1")
    records, _ = await pulled(openspp.adapter())
    assert [one.data["firstName"] for one in records] == [f"P{number:02}" for number in range(30)]


@pytest.mark.parametrize(
    "mark", [None, '{"since":null,"beganAt":1773144000000,"type":"individual","offset":7,"seen":["?6"]}']
)
async def test_a_registry_that_answers_nonsense_is_not_one_of_unreadable_records(openspp: World, mark: Any) -> None:
    openspp.registry.add_person(given="A")
    openspp.registry.faults.add(Instead(200, b"<html>"), times=None, matches=searches)
    with pytest.raises(AdapterError) as raised:
        await openspp.adapter().pull(mark)
    assert raised.value.failure.code == "SEARCH_FAILED"


async def test_who_could_not_be_read_while_the_registry_started_is_asked_for_again(openspp: World) -> None:
    for number in range(30):
        openspp.registry.add_person(given=f"P{number:02}")
    openspp.registry.faults.add(Instead(200, b"<html>"), times=4, matches=searches)
    page = await openspp.adapter().pull(None)
    assert ([one.data["firstName"] for one in page.records], page.failures) == ([f"P{n:02}" for n in range(10)], [])


async def test_a_short_page_that_names_a_next_one_is_not_the_end(openspp: World) -> None:
    openspp.registry.add_person(given="A")
    openspp.registry.add_person(given="B")
    there = "http://elsewhere.example/steal?_offset=1"
    empty = {"data": [], "meta": {}, "links": {"self": "", "next": there, "prev": None}}
    openspp.registry.faults.add(Instead(200, empty), matches=searches)
    records, _ = await pulled(openspp.adapter())
    assert [one.data["firstName"] for one in records] == ["B"]


@pytest.mark.parametrize("there", [f"?_offset={'1' * 5000}", f"?_offset={'1' * 20}", "http://[?_offset=1"])
async def test_a_next_page_that_cannot_be_named_is_the_one_behind_this(openspp: World, there: str) -> None:
    page = {"data": [{"identifier": [{"system": "urn:openspp:vocab:id-type#system_id", "value": OTHER}]}]}
    openspp.registry.faults.add(Instead(200, page | {"links": {"next": there}}), matches=searches)
    records, _ = await pulled(openspp.adapter())
    assert [one.external_id for one in records] == [OTHER]


async def test_a_record_that_cannot_be_read_is_named_by_its_place_only(openspp: World) -> None:
    broken = {
        "identifier": [{"system": "urn:openspp:vocab:id-type#system_id", "value": "PH-9"}],
        "member": ["oops"],
        "meta": {},
    }
    page = {"data": [broken], "links": {"next": None}}
    openspp.registry.faults.add(Instead(200, page), matches=lambda request: request.path.endswith("/Group"))
    adapter = openspp.adapter()
    first = await adapter.pull(None)
    second = await adapter.pull(first.mark)
    assert [(one.code, one.guid, one.external_id) for one in second.failures] == [("PULL_FAILED", None, "PH-9")]
    assert "PH-9" not in second.failures[0].message


@pytest.mark.parametrize(
    "body",
    [[], {"data": "x"}, {"data": [1, None, {"identifier": 5, "meta": 7}]}, {"data": [{"identifier": [{"system": 1}]}]}],
)
async def test_nonsense_is_no_crash(openspp: World, body: Any) -> None:
    openspp.registry.faults.add(Instead(200, body), times=None, matches=searches)
    with suppress(AdapterError):
        assert (await openspp.adapter().pull(None)).records == []


@pytest.mark.parametrize("mark", ["2024-01-01T00:00:00.000Z", "nonsense", "[]", '{"since": 5, "type": "x"}', "{}"])
async def test_marks_of_others_are_understood_or_begin_anew(openspp: World, mark: str) -> None:
    openspp.registry.add_person(given="A", identifiers={"system_id": OTHER})
    records, _ = await pulled(openspp.adapter(), mark)
    assert [one.external_id for one in records] == [OTHER]
