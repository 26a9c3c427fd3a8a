"""Which fields are searchable: what the forms mark, whatever else they hold."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datacollect.features.tenants.searchable import ALWAYS, MOST_FIELDS, searchable_fields

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=12), st.sampled_from(["panel", "true", "searchable"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(["components", "columns", "rows", "type", "key", "searchable", "properties", "tags"]),
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=30,
)


def form(*components: Any) -> dict[str, Any]:
    return {"components": list(components)}


def field(key: str, **more: Any) -> dict[str, Any]:
    return {"type": "textfield", "key": key, "input": True} | more


def marked(*components: Any) -> tuple[str, ...]:
    return searchable_fields({"f": form(*components)})[len(ALWAYS) :]


@pytest.mark.parametrize(
    "mark",
    [
        {"searchable": True},
        {"searchable": "true"},
        {"properties": {"searchable": "true"}},
        {"properties": {"searchable": True}},
        {"tags": ["Searchable", "x"]},
        {"dbIndex": True},
        {"unique": True},
    ],
)
def test_a_marked_field_is_searchable(mark: dict[str, Any]) -> None:
    assert marked(field("phone", **mark), field("other")) == ("phone",)


@pytest.mark.parametrize(
    "component",
    [
        field("phone"),
        field("phone", tableView=True),
        field("phone", dbIndex=False, unique=False),
        field("phone", searchable=False, dbIndex=True, unique=True, tags=["searchable"]),
        field("phone", properties={"searchable": "false"}, dbIndex=True),
        field("phone", searchable=True, protected=True),
        field("phone", searchable=True, encrypted=True),
        field("pin", searchable=True) | {"type": "password"},
        field("", searchable=True),
        field("k" * 101, searchable=True),
        {"type": "button", "key": "save", "searchable": True},
        {"type": "datagrid", "key": "rows", "components": [field("phone", searchable=True)]},
    ],
)
def test_any_other_is_not(component: Any) -> None:
    assert marked(component) == ()


def test_what_always_is_comes_first() -> None:
    assert searchable_fields({}) == ALWAYS
    assert searchable_fields({"f": form(field("externalId", searchable=False), field("a", dbIndex=True))}) == (
        *ALWAYS,
        "a",
    )


def test_layout_is_passed_through_and_a_container_is_a_step_of_the_path() -> None:
    layout = {
        "type": "panel",
        "components": [
            {"type": "columns", "columns": [{"components": [field("a", dbIndex=True)]}]},
            {"type": "table", "rows": [[{"components": [field("b", dbIndex=True)]}]]},
            {"type": "tabs", "components": [{"components": [field("c", dbIndex=True)]}]},
        ],
    }
    address = {"type": "container", "key": "address", "components": [field("zip", dbIndex=True), layout]}
    assert marked(layout, address) == ("a", "b", "c", "address.zip", "address.a", "address.b", "address.c")


def test_a_field_of_two_forms_is_one_and_a_no_in_any_counts() -> None:
    forms = {
        "a": form(field("phone", dbIndex=True), field("card", dbIndex=True)),
        "b": form(field("phone"), field("card", searchable=False)),
    }
    assert searchable_fields(forms) == (*ALWAYS, "phone")


def test_no_more_than_so_many_count() -> None:
    fields = searchable_fields({"f": form(*(field(f"k{n}", dbIndex=True) for n in range(50)))})
    assert len(fields) == MOST_FIELDS
    assert fields[len(ALWAYS)] == "k0"


def test_a_form_of_any_depth_is_read() -> None:
    deep: Any = field("a", dbIndex=True)
    for _ in range(900):
        deep = {"type": "panel", "components": [deep]}
    assert marked(deep) == ()


@example({"f": {"components": [{"type": [], "key": "a"}, {"type": {}, "key": "b"}]}})
@given(st.dictionaries(st.text(max_size=4), st.one_of(JSON, st.builds(form, JSON, JSON)), max_size=3))
def test_no_form_fails(forms: dict[str, Any]) -> None:
    found = searchable_fields(forms)
    assert found[: len(ALWAYS)] == ALWAYS
    assert all(isinstance(name, str) and name for name in found)
