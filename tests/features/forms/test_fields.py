"""Which keys a form's data has, whatever the definition holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.forms.fields import Fields, fields_of, unsaved_keys
from datacollect.kernel.forms import LAYOUT


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


def laid_out(kind: str, *components: Any, **more: Any) -> dict[str, Any]:
    """A layout component of that type with these in it."""
    cells = [{"components": list(components)}]
    parts: dict[str, Any] = {"columns": {"columns": cells}, "table": {"rows": [cells]}, "tabs": {"components": cells}}
    return {"type": kind, "key": "office"} | parts.get(kind, {"components": list(components)}) | more


@pytest.mark.parametrize("kind", sorted(LAYOUT))
def test_layout_hands_down_to_all_that_stands_in_it_that_it_is_hidden_or_disabled(kind: str) -> None:
    inner = [laid_out("well", field("note"), field("address.code")), field("amount", "number")]
    disabled = fields_of(form(field("name"), laid_out(kind, *inner, disabled=True)))
    hidden = fields_of(form(field("name"), laid_out(kind, *inner, hidden=True)))
    for found in (disabled, hidden):
        assert set(found.below) == {"name", "note", "address", "amount"}
        assert found.fixed == {"note", "amount"}
    assert (disabled.unseen, hidden.unseen) == (set(), {"note", "amount"})
    assert disabled.below["address"] == Fields({"code": None}, {"code"})
    assert hidden.below["address"] == Fields({"code": None}, {"code"}, {"code"})


NO_CONDITION = {"show": None, "when": None, "eq": ""}
"""As the form builder writes it where there is none."""

MAY_SHOW: list[dict[str, Any]] = [
    {"logic": [{"name": "show"}]},
    {"customConditional": "show = data.married === 'yes'"},
    {"conditional": {"show": True, "when": "married", "eq": "yes"}},
    {"conditional": {"show": True, "conjunction": "all", "conditions": [{"component": "married", "value": "yes"}]}},
    {"conditional": {"json": {"===": [{"var": "data.married"}, "yes"]}}},
]


@pytest.mark.parametrize("rule", MAY_SHOW)
def test_layout_that_a_condition_or_logic_may_show_hides_nothing(rule: dict[str, Any]) -> None:
    never = field("score", hidden=True, conditional=NO_CONDITION)
    shown = laid_out("panel", field("reason"), field("spouse", hidden=True, **rule), never, hidden=True, **rule)
    found = fields_of(form(shown))
    assert found.fixed == found.unseen == {"score"}
    above = fields_of(form(laid_out("panel", shown, hidden=True)))
    assert above.fixed == above.unseen == {"reason", "spouse", "score"}


def test_what_is_disabled_may_be_enabled_by_logic_and_by_no_condition() -> None:
    shown = [laid_out("panel", field("spouse"), disabled=True, **rule) for rule in MAY_SHOW]
    assert [fields_of(form(panel)).fixed for panel in shown] == [{"spouse"}] * len(shown)
    for action in (sets("disabled", False), {"type": "mergeComponentSchema"}, {"type": "customAction"}):
        logic = [{"name": "other"}, {"name": "enable", "actions": [{"type": "value"}, action]}]
        enabled = laid_out("panel", field("spouse"), disabled=True, logic=logic)
        assert fields_of(form(enabled, field("reason", disabled=True, logic=logic))).fixed == set()


@pytest.mark.parametrize("logic", [7, [7], [{"actions": 7}], [{"actions": [7]}]])
def test_logic_that_does_something_else_enables_nothing(logic: Any) -> None:
    actions = [{"type": "value", "value": "value = 5"}, sets("hidden", False), sets("disabled", True)]
    calculated = field("sum", disabled=True, logic=[{"actions": actions}])
    assert fields_of(form(calculated, field("note", disabled=True, logic=logic))).fixed == {"sum", "note"}


def sets(name: str, state: bool) -> dict[str, Any]:
    return {"type": "property", "property": {"value": name, "type": "boolean"}, "state": state}


def test_a_component_of_the_type_hidden_is_hidden() -> None:
    found = fields_of(form(field("score", "hidden"), field("sum", "hidden", logic=[{"name": "show"}])))
    assert found.fixed == found.unseen == {"score", "sum"}


def test_a_report_takes_along_what_the_form_itself_fills_in() -> None:
    kinds = [field("kind", "hidden"), field("office", "hidden", hidden=True), field("note", hidden=True)]
    whole = field("more", "form", components=[field("kind", "hidden")])
    definition = form(*kinds, field("people", "datagrid", components=kinds), whole)
    report = fields_of(definition, is_report=True)
    assert report.fixed == report.unseen == {"office", "note"}
    assert report.below["people"] == Fields(dict.fromkeys(("kind", "office", "note")), report.fixed, report.unseen)
    assert (report.mixed, fields_of(definition).mixed) == (set(), {"more"})


def test_rows_of_a_wizard_have_fields_of_their_own() -> None:
    wizard = field("children", "dynamicWizard", components=[field("age"), field("note", hidden=True)])
    assert fields_of(form(wizard)).below["children"] == Fields({"age": None, "note": None}, {"note"}, {"note"})


@pytest.mark.parametrize(
    "holds",
    [
        lambda part: field("more", "form", components=[field("name"), part]),
        lambda part: field(
            "more", "tree", components=[laid_out("panel", field("box", "container", components=[part]))]
        ),
        lambda part: field("more", "datamap", valueComponent=part),
    ],
)
def test_a_value_of_another_shape_is_as_closed_as_what_it_is_made_of(holds: Any) -> None:
    found = [fields_of(form(holds(field("note", **flags)))) for flags in ({}, {"disabled": True}, {"hidden": True})]
    assert [fields.below for fields in found] == [{"more": None}] * 3
    assert [fields.mixed for fields in found] == [set(), {"more"}, {"more"}]
    assert [fields.unseen for fields in found] == [set(), set(), {"more"}]


def test_a_grid_may_have_its_rows_for_good() -> None:
    assert fields_of(form(field("rows", "datagrid", disableAddingRemovingRows=True))).steady == {"rows"}


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
            st.sampled_from(
                ["type", "key", "components", "columns", "rows", "hidden", "valueComponent", "conditional"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_no_definition_breaks_it(definition: Any) -> None:
    fields_of(definition)
    unsaved_keys(definition)
