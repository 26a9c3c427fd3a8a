"""What forms mean, and how programs are listed."""

import pytest

from datacollect.features.tenants.model import (
    FormKind,
    Listed,
    ListQuery,
    classify,
    levels,
    matching,
    ordered,
    page_of,
)
from datacollect.kernel.ids import TenantId


def form(name, parent=None, entity_type=None):
    return {"name": name, "dependsOn": parent} | ({"entityType": entity_type} if entity_type else {})


@pytest.mark.parametrize(
    ("forms", "kinds"),
    [
        ([form("household"), form("individual", "household")], ["group", "individual"]),
        (
            [form("household"), form("individual", "household"), form("training", "individual")],
            ["group", "individual", "record"],
        ),
        (
            [form("village"), form("household", "village"), form("individual", "household")],
            ["group", "individual", "record"],
        ),
        (
            [
                form("village"),
                form("household", "village", "group"),
                form("individual", "household", "individual"),
            ],
            ["group", "group", "individual"],
        ),
        ([form("area")], ["group"]),
        ([form("household", "")], ["group"]),
        ([form("note", entity_type="record"), form("reply", "note")], ["record", "individual"]),
        ([form("a", "gone"), form("b")], ["individual", "group"]),
        # A hierarchy that is deep anywhere makes every other leaf a record too.
        (
            [form("apg"), form("crop", "apg"), form("household", "apg"), form("individual", "household")],
            ["group", "record", "individual", "record"],
        ),
    ],
)
def test_forms_are_classified_by_their_place(forms, kinds):
    assert [kind.entity_type for kind in classify(forms).values()] == kinds


def test_the_parent_is_a_group_by_type_or_by_standing_on_top():
    kinds = classify([form("household"), form("person", "household"), form("training", "person"), form("x", "gone")])
    assert {name: kind.parent_is_group for name, kind in kinds.items()} == {
        "household": False,
        "person": True,
        "training": False,
        "x": False,
    }
    assert classify([form("a", entity_type="record"), form("b", "a")])["b"].parent_is_group is False
    assert classify([form("a"), form("b", "a", "group"), form("c", "b")])["c"].parent_is_group is True


def test_a_kind_names_its_category():
    assert FormKind("record", parent_is_group=False).category == "record"
    assert FormKind("group", parent_is_group=False).category == "entity"


def test_levels_count_from_the_top_and_leave_circles_out():
    forms = [form("c", "b"), form("b", "a"), form("a"), form("x", "y"), form("y", "x"), form("z", "x"), form("s", "s")]
    assert levels(forms) == {"a": 0, "b": 1, "c": 2}


def test_a_chain_of_ten_thousand_forms_is_walked_once():
    forms = [form("f0"), *(form(f"f{i}", f"f{i - 1}") for i in range(1, 10_000))]
    assert levels(forms[::-1])["f9999"] == 9999


def listed(id, name="", version=None):
    return Listed(TenantId(id), "0" * 32, name or id, None, version, None)


def test_names_are_ordered_without_case_and_accents_and_ties_by_id():
    programs = [listed("4", "zebra"), listed("3", "Éclair"), listed("2", "eclair"), listed("1", "Apple")]
    in_order = ordered(programs, ListQuery(), {})
    assert [program.id for program in in_order] == ["1", "2", "3", "4"]
    assert [p.id for p in ordered(programs, ListQuery(descending=True), {})] == ["4", "2", "3", "1"]


def test_programs_are_ordered_by_id_and_by_count():
    programs = [listed("b", "1"), listed("A", "2"), listed("c", "3")]
    assert [p.id for p in ordered(programs, ListQuery(sort_by="id"), {})] == ["A", "b", "c"]
    counts = {TenantId("b"): 5, TenantId("c"): 2}
    assert [p.id for p in ordered(programs, ListQuery(sort_by="entitiesCount"), counts)] == ["A", "c", "b"]
    assert [p.id for p in ordered(programs, ListQuery(sort_by="nonsense"), counts)] == ["b", "A", "c"]


def test_search_looks_into_name_id_and_version():
    programs = [listed("one", "First"), listed("two", "Second", "1.FIRST"), listed("first-3", "Third")]
    assert [p.id for p in matching(programs, "first")] == ["one", "two", "first-3"]
    assert matching(programs, "fourth") == []


@pytest.mark.parametrize(
    ("total", "page", "result"), [(0, 1, (1, 0)), (0, 9, (1, 0)), (24, 2, (2, 2)), (25, 9, (3, 3)), (1, 1, (1, 1))]
)
def test_a_page_past_the_end_is_the_last_one(total, page, result):
    assert page_of(total, ListQuery(page=page, page_size=12)) == result
