"""What the other system tells of an entity that exists goes under the names which that entity has."""

from typing import Any

import pytest

from datacollect.features.external.model import fitted

NAMES = {"firstName": ("first_name", "given_name"), "name": ("groupName",)}


@pytest.mark.parametrize(
    ("held", "told", "fit"),
    [
        ({"first_name": "Lan"}, {"firstName": "Lanh"}, {"first_name": "Lanh"}),
        ({"firstName": "Lan", "first_name": "Lan"}, {"firstName": "Lanh"}, {"firstName": "Lanh"}),
        ({}, {"firstName": "Lanh"}, {"firstName": "Lanh"}),
        ({"first_name": "Lan"}, {"firstName": "Lanh", "first_name": "L."}, {"firstName": "Lanh", "first_name": "L."}),
        ({"age": 7}, {"fullName": "Lan Tran"}, {}),
        ({"fullName": "Lan"}, {"fullName": "Lan Tran"}, {"fullName": "Lan Tran"}),
        ({"entityName": "household"}, {"entityName": "group", "name": "Tran"}, {"name": "Tran"}),
    ],
)
def test_names_and_derived_fields_follow_the_entity(
    held: dict[str, Any], told: dict[str, Any], fit: dict[str, Any]
) -> None:
    assert fitted(told, held, also_called=NAMES, derived={"fullName"}) == fit
