"""No form definition and no payload makes the check raise, hang or fetch."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.features.forms.model import ProgramForms
from datacollect.features.forms.translation import translate
from tests.features.forms.test_translation import check, choices, component, make

KINDS = [
    "textfield", "textarea", "number", "checkbox", "selectboxes", "select", "radio", "datetime", "day", "time",
    "email", "phoneNumber", "url", "currency", "tags", "file", "signature", "hidden", "container", "datagrid",
    "editgrid", "panel", "fieldset", "well", "columns", "table", "tabs", "content", "button", "mystery",
]  # fmt: skip
NAMES = [
    "type", "key", "input", "validate", "required", "min", "max", "minLength", "maxLength", "pattern", "minWords",
    "maxWords", "integer", "multiple", "values", "value", "data", "dataSrc", "components", "columns", "rows",
    "conditional", "when", "logic", "hidden", "persistent", "as", "widget", "saveAs", "patternMessage", "$ref",
]  # fmt: skip

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["x", "y", "a.b", "(", "(?=a)", "(a+)+$", "\\w{1,999}", "http://x.test/schema", *KINDS])
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(NAMES) | st.text(max_size=4)
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6) | components(inner)


def components(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something that looks like a component, most of it in its right place."""
    rules = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    lists = st.lists(inner, max_size=3)
    return st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS), "key": st.sampled_from(["x", "y", "z"])},
        optional={
            "validate": rules | inner,
            "components": lists | inner,
            "columns": lists | inner,
            "rows": st.lists(lists, max_size=2) | inner,
            "values": lists | inner,
            "data": st.fixed_dictionaries({"values": lists}) | inner,
            "multiple": st.booleans(),
        },
    )


anything = st.recursive(scalars, nested, max_leaves=25)
definitions = st.fixed_dictionaries({"components": st.lists(components(anything), max_size=6)}) | anything
payloads = st.dictionaries(st.sampled_from(["x", "y", "z", "members"]) | st.text(max_size=4), anything, max_size=5)


@settings(max_examples=200)
@given(definition=definitions, data=payloads)
def test_no_form_and_no_payload_makes_the_check_raise(definition: Any, data: dict[str, Any]) -> None:
    members = [data | {"entityName": "f"}, data]
    for event_type in ("create-group", "update-individual"):
        event = make({"members": members, **data, "entityName": "f"}, event_type)
        for mismatch in ProgramForms({"f": definition}).mismatches(event):
            assert mismatch.message
            assert mismatch.path[0] == "data"
            where: Any = event.data
            for step in mismatch.path[1:-1]:
                where = where[step]


@pytest.mark.parametrize(
    "pattern", ["(", "[", "(?=x)", "(?<!a)b", "(a)\\1", "(a{1000}){1000}", "\\u{zz}", "a" * 501, "\ud800"]
)
def test_a_pattern_the_engine_does_not_take_is_not_checked(pattern: str) -> None:
    one = component("textfield", validate={"pattern": pattern})
    assert check([one, component("number", key="n")], {"x": "text"}) == []
    assert check([component("number", key="n")], {"n": "text"})


def test_a_pattern_that_explodes_elsewhere_takes_no_time() -> None:
    one = component("textfield", validate={"pattern": "(a+)+b"})
    begin = time.perf_counter()
    assert check([one], {"x": "a" * 500})
    assert not check([one], {"x": "a" * 5_000_000})
    assert time.perf_counter() - begin < 2


def test_a_definition_may_be_nested_and_large_beyond_reason() -> None:
    deep: dict[str, Any] = component("textfield", validate={"required": True})
    for _ in range(5000):
        deep = {"type": "container", "key": "x", "components": [deep]}
    assert check([deep], {"x": {"x": {"x": {}}}}, "create-individual") == []
    wide = [component("number", key=f"k{n}") for n in range(100_000)]
    assert len(translate({"components": wide}).schema["properties"]) == 2000
    huge = component("select", data={"values": choices(*range(100_000))})
    assert check([huge], {"x": "none of them"}) == []


def test_nothing_a_definition_points_to_is_followed() -> None:
    pointing = component("number", **{"$ref": "http://127.0.0.1:9/schema", "$schema": "http://127.0.0.1:9/draft"})
    assert check([pointing], {"x": "a"})
    assert "$ref" not in str(translate({"components": [pointing], "$ref": "http://127.0.0.1:9/"}).schema)


def test_a_long_list_of_bad_rows_is_told_by_its_first() -> None:
    grid = component("datagrid", components=[component("number", key="n")])
    begin = time.perf_counter()
    [mismatch] = check([grid], {"x": [{"n": "a"}] * 200_000})
    assert mismatch.path == ("data", "x", 0, "n")
    assert time.perf_counter() - begin < 2


def test_only_so_many_patterns_of_a_form_are_prepared() -> None:
    fields = [component("textfield", key=f"k{n}", validate={"pattern": f"{n}x", "maxLength": 3}) for n in range(150)]
    assert [len(check(fields, {f"k{n}": "no"})) for n in (0, 99, 100, 149)] == [1, 1, 0, 0]
    assert check(fields, {"k149": "longer"})
