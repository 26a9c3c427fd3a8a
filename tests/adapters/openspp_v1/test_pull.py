"""What changes in the registry is told, every record of it, whatever its time."""

import random
from datetime import timedelta
from typing import Any

import pytest

from datacollect.adapters.errors import AdapterError
from datacollect.adapters.kinds import Context, FieldMapping
from datacollect.adapters.openspp_v1 import OpenSppV1Adapter, members, pulling
from datacollect.adapters.openspp_v1.odoo import WRITE_SECONDS
from datacollect.adapters.openspp_v1.pulling import Mark, read_mark
from datacollect.adapters.port import RecordType
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.remote import DropBefore, Instead
from tests.adapters.openspp_v1.conftest import MAPPINGS, Make, Moments, calls
from tests.adapters.records import pulled

pytestmark = pytest.mark.anyio

STOPPED = timedelta(0)
GUID = "6f1c0a52-8f7e-4c8e-9b1a-0d6f6a1b2c3d"


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(OpenSppV1Adapter, "page_size", 4)
    return 4


async def test_a_registrant_is_told_in_the_form_s_words(make: Make, odoo: FakeOdoo) -> None:
    number = odoo.add_partner(
        name="TRAN, LAN", given_name="Lan", birthdate="1990-02-03", gender="female", gender_id=2, ref=GUID
    )
    [told], _ = await pulled(make())
    assert told.data == {
        "entityName": "individual",
        "firstName": "Lan",
        "lastName": "",
        "birthdate": "1990-02-03",
        "sex": "female",
        "genderId": 2,
        "phone": "",
        "size": "0",
        "disabled": False,
    }
    assert (told.external_id, told.type, told.guid) == (str(number), RecordType.INDIVIDUAL, GUID)
    assert told.occurred_at == 1777629608_000  # 2026-05-01 10:00:08: Odoo's time is UTC, wherever the hub is


async def test_the_hub_s_own_time_zone_changes_nothing(
    make: Make, odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Vientiane")
    time.tzset()
    try:
        number = odoo.add_partner(name="Lan")
        [told], _ = await pulled(make())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told.occurred_at == int(odoo.partner(number)["write_date"].timestamp()) * 1000


async def test_odoo_s_false_is_empty_except_for_what_can_be_false(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Lan")
    [told], _ = await pulled(make())
    assert "false" not in {str(value).lower() for name, value in told.data.items() if name != "disabled"}


async def test_only_what_is_mapped_is_asked_for(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Lan", email="lan@example.org")
    await pulled(make())
    asked = [one.json()["params"]["args"][6]["fields"] for one in odoo.log if calls("search_read")(one)]
    assert asked and all("email" not in fields and fields for fields in asked)


async def test_a_second_pull_asks_for_what_is_new_and_goes_back_a_little(
    make: Make, odoo: FakeOdoo, moments: Moments
) -> None:
    old, new = odoo.add_partner(name="Old"), 0
    moments.moment += timedelta(hours=1)
    recent = odoo.add_partner(name="Recent")
    _, mark = await pulled(make())
    told, same = await pulled(make(), mark)
    assert ([one.external_id for one in told], same) == ([str(recent)], mark)
    moments.moment += timedelta(hours=1)
    new = odoo.add_partner(name="New")
    told, _ = await pulled(make(), mark)
    assert [one.external_id for one in told] == [str(recent), str(new)]
    assert old < recent < new


async def test_what_a_long_transaction_wrote_before_is_told_though_it_appears_later(
    make: Make, odoo: FakeOdoo, moments: Moments
) -> None:
    odoo.add_partner(name="First")
    began = moments.moment
    moments.moment += timedelta(seconds=WRITE_SECONDS - 10)
    odoo.add_partner(name="Second")
    _, mark = await pulled(make())
    late = odoo.add_partner(name="Late")
    odoo.partner(late)["write_date"] = began
    told, _ = await pulled(make(), mark)
    assert str(late) in [one.external_id for one in told]


@pytest.mark.usefixtures("small_pages")
async def test_who_was_brought_in_past_odoo_is_told_once(make: Make, odoo: FakeOdoo) -> None:
    """They have no `write_date`; one of them ended every first pull."""
    numbers = [odoo.add_partner(name="x") for _ in range(11)]
    for number in numbers[:9]:
        odoo.partner(number)["write_date"] = None
    told, mark = await pulled(make())
    assert [one.external_id for one in told] == [str(number) for number in numbers]
    assert [one.occurred_at is None for one in told] == [True] * 9 + [False] * 2
    again, _ = await pulled(make(), mark)
    assert [one.external_id for one in again] == [str(number) for number in numbers[9:]]
    odoo.write_partner(numbers[4], phone="1")
    later, _ = await pulled(make(), mark)
    assert str(numbers[4]) in [one.external_id for one in later]


async def test_a_date_in_words_empties_nothing(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Lan", phone="around 1990")
    born = FieldMapping(form_field="birthdate", remote_field="phone", transformer="date")
    [told], _ = await pulled(make((born,)))
    assert told.data == {"entityName": "individual"}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_skipped_whatever_the_times(make: Make, odoo: FakeOdoo, moments: Moments, seed: int) -> None:
    """Many in one second, many at one instant, numbers and times in different orders, and changes while it is read."""
    dice = random.Random(seed)
    moments.step = STOPPED
    numbers = []
    for _ in range(40):
        moments.moment += dice.choice([STOPPED, STOPPED, timedelta(milliseconds=300), timedelta(seconds=2)])
        numbers.append(odoo.add_partner(name="x"))
    for _ in range(15):
        moments.moment += dice.choice([STOPPED, timedelta(milliseconds=300)])
        odoo.write_partner(dice.choice(numbers), phone=str(dice.random()))
    adapter, mark, told = make(), None, {}
    for _ in range(200):
        page = await adapter.pull(mark)
        told |= {one.external_id: one.data["phone"] for one in page.records}
        mark = page.mark
        if page.is_last:
            break
        if dice.random() < 0.3:
            moments.moment += dice.choice([STOPPED, timedelta(milliseconds=300), timedelta(seconds=1)])
            odoo.write_partner(dice.choice(numbers), phone=str(dice.random()))
    else:
        raise AssertionError("the pull does not end")
    assert told == {str(row["id"]): row["phone"] or "" for row in odoo.partners()}


@pytest.mark.usefixtures("small_pages")
async def test_what_appears_behind_a_page_that_was_read_is_told_by_the_next_run(
    make: Make, odoo: FakeOdoo, moments: Moments
) -> None:
    for _ in range(6):
        odoo.add_partner(name="x")
    adapter = make()
    first = await adapter.pull(None)
    assert not first.is_last
    late = odoo.add_partner(name="Late")
    odoo.partner(late)["write_date"] = moments.moment - timedelta(seconds=WRITE_SECONDS - 30)
    moments.moment += timedelta(minutes=20)  # somebody works there while the run goes on
    odoo.add_partner(name="New")
    rest, mark = await pulled(adapter, first.mark)
    assert str(late) not in [one.external_id for one in (*first.records, *rest)]
    told, _ = await pulled(adapter, mark)
    assert str(late) in [one.external_id for one in told]


async def test_a_registry_whose_clock_is_set_back_sends_no_run_further_back(
    make: Make, odoo: FakeOdoo, moments: Moments
) -> None:
    odoo.add_partner(name="Lan")
    _, mark = await pulled(make())
    moments.moment -= timedelta(hours=2)
    _, same = await pulled(make(), mark)
    assert same == mark


@pytest.mark.usefixtures("small_pages")
async def test_a_pull_that_was_cut_off_goes_on_at_its_mark(make: Make, odoo: FakeOdoo, moments: Moments) -> None:
    moments.step = STOPPED
    numbers = [odoo.add_partner(name="x") for _ in range(11)]
    mark, told = None, []
    for _ in range(20):
        page = await make().pull(mark)  # a new adapter for each page
        told += [one.external_id for one in page.records]
        mark = page.mark
        if page.is_last:
            break
    assert told == [str(number) for number in numbers]


async def test_households_come_with_their_members(make: Make, odoo: FakeOdoo) -> None:
    lan, minh, gone = (odoo.add_partner(name=name) for name in ("Lan", "Minh", "Gone"))
    members = [[0, 0, {"individual": number}] for number in (minh, lan)]
    members.append([0, 0, {"individual": gone, "ended_date": "2026-01-01 00:00:00"}])
    home = odoo.add_partner(name="Home", is_group=True, group_membership_ids=members)
    told, _ = await pulled(make())
    group = next(one for one in told if one.type is RecordType.GROUP)
    assert (group.external_id, group.data["name"], group.data["entityName"]) == (str(home), "Home", "group")
    assert group.members == [str(lan), str(minh)]
    assert {one.members for one in told if one.type is RecordType.INDIVIDUAL} == {None}
    told, _ = await pulled(make(groups=False))
    assert len(told) == 3


async def test_partners_that_are_no_registrants_are_nobody_s_business(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Ministry", is_registrant=False)
    assert (await pulled(make()))[0] == []


async def test_what_is_archived_there_is_deleted_here_only_if_the_program_says_so(make: Make, odoo: FakeOdoo) -> None:
    number = odoo.add_partner(name="Lan")
    odoo.write_partner(number, active=False)
    assert (await pulled(make()))[0] == []
    [told], _ = await pulled(make(deletes="archive"))
    assert (told.external_id, told.is_deleted) == (str(number), True)


async def test_new_entities_are_called_by_the_program_s_only_form_of_their_type(
    context: Context, make: Make, odoo: FakeOdoo
) -> None:
    from dataclasses import replace

    odoo.add_partner(name="Lan")
    adapter = make()
    adapter._context = replace(context, mappings=MAPPINGS, form_types={"beneficiary": "individual"})
    [told], _ = await pulled(adapter)
    assert told.data["entityName"] == "beneficiary"


async def test_relations_times_and_several_choices_are_readable(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(
        name="Lan", gender_id=2, category_id=[[6, 0, [1, 2]]], registration_date="2026-01-02 03:04:05", income=2.5
    )
    mappings = (
        FieldMapping(form_field="gender", remote_field="gender_id"),
        FieldMapping(form_field="tags", remote_field="category_id", transformer="multiselect"),
        FieldMapping(form_field="registered", remote_field="registration_date"),
        FieldMapping(form_field="income", remote_field="income"),
    )
    [told], _ = await pulled(make(mappings))
    expected = {"gender": "Female", "tags": ["1", "2"], "registered": "2026-01-02T03:04:05Z", "income": "2.5"}
    assert {name: told.data[name] for name in expected} == expected


async def test_a_record_that_cannot_be_read_is_named_and_the_others_are_told(
    make: Make, odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = odoo.add_partner(name="Bad", phone="boom")
    odoo.add_partner(name="Good")
    real = pulling.to_form

    def reading(mappings: Any, row: Any, types: Any) -> Any:
        return 1 + row["phone"] if row["phone"] == "boom" else real(mappings, row, types)

    monkeypatch.setattr(pulling, "to_form", reading)
    page = await make().pull(None)
    assert len(page.records) == 1
    [failure] = page.failures
    assert (failure.code, failure.retryable, failure.external_id) == ("PULL_TRANSFORM_FAILED", False, str(bad))
    assert str(bad) in failure.message


async def test_a_page_that_is_too_long_is_read_in_smaller_ones(make: Make, odoo: FakeOdoo) -> None:
    for _ in range(60):
        odoo.add_partner(name="x", phone="1" * 100_000)
    before = odoo.calls["res.partner.search_read"]
    told, _ = await pulled(make())
    assert len({one.external_id for one in told}) == len(told) == 60
    assert odoo.calls["res.partner.search_read"] - before < 20


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("place", range(9))
async def test_a_registrant_that_is_too_large_is_named_and_the_others_are_told(
    make: Make, odoo: FakeOdoo, moments: Moments, place: int
) -> None:
    moments.step = timedelta(milliseconds=400)
    numbers = [odoo.add_partner(name="x", phone="1" * (6_000_000 if at == place else 1)) for at in range(9)]
    adapter, mark, told, failures = make(), None, [], {}
    for _ in range(40):
        page = await adapter.pull(mark)
        told += [int(one.external_id) for one in page.records]
        failures |= {one.external_id: one.code for one in page.failures}
        mark = page.mark
        if page.is_last:
            break
    assert told == [number for number in numbers if number != numbers[place]]
    assert failures == {str(numbers[place]): "PULL_TRANSFORM_FAILED"}


@pytest.mark.usefixtures("small_pages")
async def test_a_group_whose_list_of_members_is_too_long_is_named_and_the_others_are_told(
    make: Make, odoo: FakeOdoo, moments: Moments
) -> None:
    """Each row of the list brings the group's name."""
    moments.step = timedelta(milliseconds=400)
    lan, minh = odoo.add_partner(name="Lan"), odoo.add_partner(name="Minh")
    members = [[0, 0, {"individual": number}] for number in (lan, minh)]
    large = odoo.add_partner(name="x" * 3_000_000, is_group=True, group_membership_ids=members)
    home = odoo.add_partner(name="Home", is_group=True, group_membership_ids=members)
    adapter, mark, told, failures = make(), None, {}, []
    for _ in range(20):
        page = await adapter.pull(mark)
        told |= {int(one.external_id): one.members for one in page.records}
        failures += page.failures
        mark = page.mark
        if page.is_last:
            break
    assert told == {lan: None, minh: None, home: [str(lan), str(minh)]}
    assert {one.external_id for one in failures} == {str(large)}


@pytest.mark.parametrize(
    "answer",
    [
        {"result": {"records": []}},
        {"result": [{"id": "1"}]},
        {"result": [{"id": 1, "write_date": None}]},
        {"result": [{"id": 1, "write_date": "today"}]},
        {},
        [],
    ],
)
async def test_an_answer_that_is_not_odoo_s_moves_no_mark(make: Make, odoo: FakeOdoo, answer: Any) -> None:
    adapter = make()
    await pulled(adapter)
    odoo.faults.add(Instead(200, answer), matches=calls("search_read"), times=None)
    with pytest.raises(AdapterError) as broken:
        await adapter.pull(None)
    assert broken.value.failure.code == "PULL_FETCH_FAILED"


async def test_a_registry_that_is_away_for_a_moment_is_asked_again(make: Make, odoo: FakeOdoo) -> None:
    odoo.add_partner(name="Lan")
    odoo.faults.add(DropBefore(), matches=calls("search_read"))
    told, _ = await pulled(make(maxRetries=1))
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("2026-01-02 03:04:05|6", Mark("2026-01-02 03:04:05", 6)),
        ("2026-01-02T03:04:05.678Z", Mark("2026-01-02 03:04:05")),
        ("2026-01-02 03:04:05|6|2026-01-02 03:00:00", Mark("2026-01-02 03:04:05", 6, "2026-01-02 03:00:00")),
    ],
)
def test_marks_of_older_hubs_are_read(text: str, mark: Mark) -> None:
    assert read_mark(text) == mark == read_mark(mark.text)


@pytest.mark.parametrize(
    "mark",
    ["", "nonsense", "2026-13-01 00:00:00|1", "2026-01-01 00:00:00", "|", "2026-01-01 00:00:00|1|2026-13-01 00:00:00"],
)
def test_marks_of_others_are_the_beginning(mark: str) -> None:
    assert read_mark(mark) is None


async def test_members_are_read_to_the_last_one(make: Make, odoo: FakeOdoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "ROWS_AT_ONCE", 2)
    people = [odoo.add_partner(name=f"{number}") for number in range(5)]
    odoo.add_partner(
        name="Home", is_group=True, group_membership_ids=[[0, 0, {"individual": number}] for number in people]
    )
    told, _ = await pulled(make())
    [home] = [one.members for one in told if one.type is RecordType.GROUP]
    assert home == [str(number) for number in people]
