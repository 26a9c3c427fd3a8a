"""What a sample, or Odoo, says about fields."""

from typing import Any

import pytest

from datacollect.features.discovery.model import fields_of_odoo, fields_of_sample, label_of


@pytest.mark.parametrize(
    ("value", "type_", "value_type"),
    [
        ("John", "text", "text"),
        ("", "text", "text"),
        (None, "text", "text"),
        (12, "text", "number"),
        (1.5, "text", "number"),
        (False, "text", "boolean"),
        ("1990-01-01", "date", "date"),
        ("12/31/1990", "date", "date"),
        ("31/12/1990", "date", "date"),
        ("1/2/1990", "date", "date"),
        ("1990-01-01T10:20:30.5Z", "date", "datetime"),
        ("1990-01-01 10:20:30", "date", "datetime"),
        ("1990-01-01T10:20+02:00", "date", "datetime"),
        ("1990-01-01 and more", "text", "text"),
        ({"id": 5}, "text", "other"),
        ({}, "text", "other"),
        ([], "text", "other"),
        (["a"], "text", "other"),
        ([1, 2, 3], "text", "other"),
        ([True, "x"], "text", "other"),
        ([{"id": 1}], "text", "other"),
    ],
)
def test_a_value_shows_what_its_field_is(value: Any, type_: str, value_type: str) -> None:
    [field] = fields_of_sample({"x": value})
    assert (field.type, field.value_type, field.options, field.required) == (type_, value_type, None, False)


@pytest.mark.parametrize(
    ("value", "value_type", "options"),
    [
        ({"id": 5, "display_name": "Household ABC"}, "one", [(5, "Household ABC")]),
        ({"id": "a", "display_name": None}, "one", [("a", "")]),
        ([7, "Laos"], "one", [(7, "Laos")]),
        (["LA", "Laos"], "one", [("LA", "Laos")]),
        ([{"id": 1, "label": "Male"}, {"id": 2, "display_name": "Female"}], "many", [(1, "Male"), (2, "Female")]),
        ([{"id": 1, "label": "Male"}, {"id": 1, "label": "Again"}], "many", [(1, "Male")]),
    ],
)
def test_relations_come_with_all_their_options(value: Any, value_type: str, options: list[tuple[Any, str]]) -> None:
    [field] = fields_of_sample({"x": value})
    assert (field.type, field.value_type) == ("relation", value_type)
    assert [(option.id, option.label) for option in field.options or ()] == options


def test_a_relation_whose_id_is_no_key_has_no_options() -> None:
    [field] = fields_of_sample({"x": {"id": [1], "display_name": "Odd"}})
    assert (field.type, field.options) == ("relation", None)


def test_keys_that_name_the_record_are_left_out_and_the_order_is_kept() -> None:
    fields = fields_of_sample({"b": 1, "id": 2, "externalId": 3, "__last_update": 4, "a": 5, "_x": 6})
    assert [field.name for field in fields] == ["b", "a", "_x"]


@pytest.mark.parametrize(("name", "label"), [("gender_id", "Gender Id"), ("firstname", "Firstname"), ("x2_y", "X2 Y")])
def test_labels_are_made_of_names(name: str, label: str) -> None:
    assert label_of(name) == label


def test_odoo_s_own_words_are_mapped() -> None:
    described = {
        "id": {"type": "integer", "string": "ID"},
        "birthdate": {"type": "date", "string": "Date of Birth", "required": True},
        "write_date": {"type": "datetime", "string": ""},
        "gender": {"type": "selection", "string": "Gender", "selection": [["male", "Male"], ["female", ""]]},
        "country_id": {"type": "many2one", "relation": "res.country", "required": 1},
        "odd": {"type": ["no", "text"]},
        "broken": "nothing",
    }
    told = {field.name: (field.type, field.label, field.required) for field in fields_of_odoo(described)}
    assert told == {
        "birthdate": ("date", "Date of Birth", True),
        "write_date": ("date", "Write Date", False),
        "gender": ("selection", "Gender", False),
        "country_id": ("relation", "Country Id", False),
        "odd": ("text", "Odd", False),
    }
    gender = next(field for field in fields_of_odoo(described) if field.name == "gender")
    assert [(one.id, one.label) for one in gender.options or ()] == [("male", "Male"), ("female", "female")]
