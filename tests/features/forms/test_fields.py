"""Which keys a form's data has, whatever the definition holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.forms.fields import Fields, fields_of, unsaved_keys


def form(*components: Any) -> dict[str, Any]:
    return {"components": list(components)}


def field(key: str, type: str = "textfield", **more: Any) -> dict[str, Any]:
    return {"type": type, "key": key} | more


def test_layout_is_passed_through_and_objects_and_rows_have_fields_of_their_own() -> None:
    columns = {"type": "columns", "columns": [{"components": [field("name")]}, {"components": [field("village")]}]}
    container = field("address", "container", components=[field("street")])
    grid = field("children", "datagrid", components=[field("age", "number")])
    found = fields_of(form({"type": "panel", "components": [columns]}, container, grid))
    assert found.below == {
        "name": None,
        "village": None,
        "address": Fields({"street": None}),
        "children": Fields({"age": None}),
    }


def test_a_key_with_dots_names_a_place_deeper_down() -> None:
    assert fields_of(form(field("address.street"), field("address.city"))).below == {
        "address": Fields({"street": None, "city": None})
    }


def test_hidden_and_disabled_fields_are_nobodys_to_fill_in() -> None:
    found = fields_of(form(field("score", hidden=True), field("id", disabled=True), field("name")))
    assert found.fixed == {"score", "id"}
    assert found.unseen == {"score"}


def test_a_field_that_the_forms_logic_may_show_is_one() -> None:
    assert fields_of(form(field("reason", hidden=True, logic=[{"name": "show"}]))).fixed == set()


def test_secrets_and_protected_fields_are_not_shown() -> None:
    found = fields_of(form(field("pin", "password"), field("note", protected=True), field("mark", encrypted=True)))
    assert found.unseen == {"pin", "note", "mark"}
    assert found.fixed == set()


def test_buttons_and_fields_that_are_not_saved_come_along_and_are_no_data() -> None:
    definition = form({"type": "panel", "components": [field("send", "button")]}, field("sum", persistent=False))
    assert fields_of(definition).below == {}
    assert unsaved_keys(definition) == {"send", "sum"}


@pytest.mark.parametrize("definition", [None, 7, [], {}, {"components": {}}, {"components": [None, 7, {"type": []}]}])
def test_what_is_no_form_has_no_fields(definition: Any) -> None:
    assert fields_of(definition).below == {}
    assert unsaved_keys(definition) == frozenset()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "key", "components", "columns", "rows", "hidden"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_no_definition_breaks_it(definition: Any) -> None:
    fields_of(definition)
    unsaved_keys(definition)
