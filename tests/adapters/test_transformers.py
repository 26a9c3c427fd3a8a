"""What values of forms become, and that they come back as they were."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.transformers import TRANSFORMERS, reverse, transform


def mapping(transformer: str, **options: Any) -> FieldMapping:
    return FieldMapping(form_field="ours", remote_field="theirs", transformer=transformer, options=options)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("Rivera", "Rivera"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (True, "true"),
        (["a", "b"], "a,b"),
        ({"label": "Cedar Bay", "value": "cb"}, "Cedar Bay"),
        ({"id": 4, "display_name": "Head"}, "Head"),
        ({"a": 1}, '{"a":1}'),
        ({}, ""),
    ],
)
def test_text_is_what_people_read(value: Any, text: str) -> None:
    assert transform(mapping("text"), value) == text
    assert reverse(mapping("text"), value) == text
    assert transform(mapping("no such transformer"), value) == text


@pytest.mark.parametrize(
    ("value", "options", "sent"),
    [
        ("2020-02-13", {}, "2020-02-13"),
        ("02/13/2020", {}, "2020-02-13"),
        ("2/3/2020", {}, "2020-02-03"),
        ("13/02/2020", {}, "2020-02-13"),
        ("2020/2/3", {}, "2020-02-03"),
        ("2020-2-3", {"inputFormat": "DD/MM/YYYY"}, "2020-02-03"),
        ("2020/02-03", {}, None),
        ("13/14/2020", {}, None),
        ("02/03/2020", {"inputFormat": "DD/MM/YYYY"}, "2020-03-02"),
        ("13/02/2020", {"inputFormat": "MM/DD/YYYY"}, None),
        ("2020-02-13T23:30:00.000Z", {}, "2020-02-13"),
        ("2020-02-13", {"outputFormat": "DD/MM/YYYY"}, "13/02/2020"),
        ("2020-02-13", {"outputFormat": "MM/DD/YYYY"}, "02/13/2020"),
        ("2021-02-29", {}, None),
        ("soon", {}, None),
        ("", {}, None),
        (None, {}, None),
        (20200213, {}, None),
    ],
)
def test_a_date_is_read_month_first_unless_it_can_only_be_the_other_way_round(
    value: Any, options: dict[str, str], sent: str | None
) -> None:
    assert transform(mapping("date", **options), value) == sent


def test_a_date_comes_back_in_the_forms_own_format() -> None:
    assert reverse(mapping("date"), "2020-02-03") == "2020-02-03"
    assert reverse(mapping("date", outputFormat="MM/DD/YYYY"), "02/03/2020") == "02/03/2020"
    assert reverse(mapping("date", inputFormat="DD/MM/YYYY"), "2020-02-03") == "03/02/2020"
    assert reverse(mapping("date"), False) == ""
    assert reverse(mapping("date"), "never") == ""


FORMATS = [None, "auto", "YYYY-MM-DD", "MM/DD/YYYY", "DD/MM/YYYY"]


@given(st.dates(), st.sampled_from(FORMATS), st.sampled_from(FORMATS))
def test_a_date_that_goes_and_comes_back_and_goes_again_is_the_same_day(
    day: Any, input_format: str | None, output_format: str | None
) -> None:
    options = {"inputFormat": input_format, "outputFormat": output_format}
    one = mapping("date", **{name: value for name, value in options.items() if value})
    sent = transform(one, day.isoformat())
    assert sent is not None
    assert transform(one, reverse(one, sent)) == sent


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        ("", None),
        (7, 7),
        (7.9, 7),
        ("7", 7),
        ("12 Cedar Bay", 12),
        ("Cedar Bay", None),
        ({"id": "7", "name": "x"}, 7),
        ({"id": 0}, 0),
        ({"name": "x"}, None),
        (True, None),
        ([7], None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_an_id_is_a_whole_number(value: Any, sent: int | None) -> None:
    assert transform(mapping("id"), value) == sent


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (False, ""), ([7, "Head"], 7), ([], ""), ({"id": 0}, 0), ({"id": None}, ""), (7, 7), ("7", "7")],
)
def test_an_id_comes_back_from_all_shapes_of_relations(value: Any, shown: Any) -> None:
    assert reverse(mapping("id"), value) == shown


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, ""),
        ("a,b", "a,b"),
        ({"a": True, "b": False, "c": "true", "d": True}, "a,d"),
        (["a", None, "", "b"], "a,b"),
        ([{"label": "A", "value": 1}], "A"),
        (7, "7"),
    ],
)
def test_choices_are_joined(value: Any, sent: str) -> None:
    assert transform(mapping("multiselect"), value) == sent


def test_a_list_of_one_choice_stays_a_list() -> None:
    one = mapping("multiselect", delimiter=";")
    assert reverse(one, transform(one, ["a"])) == ["a"]
    assert reverse(one, "a; b;;") == ["a", "b"]
    assert reverse(one, "") == ""
    assert reverse(mapping("multiselect", formValue="text"), "a") == "a"
    assert reverse(mapping("multiselect", formValue="text"), "a,b") == ["a", "b"]
    assert reverse(mapping("multiselect", formValue="object"), "a,b") == {"a": True, "b": True}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, False),
        (True, True),
        (0, False),
        (2, True),
        (" TRUE ", True),
        ("false", False),
        ("no", False),
        ("0", False),
        ("", False),
        ("certainly", True),
        ([], False),
        (["a"], True),
        ({}, False),
    ],
)
def test_a_boolean_knows_the_words_for_no(value: Any, sent: bool) -> None:
    assert transform(mapping("boolean"), value) is sent


def test_a_boolean_believes_the_mappings_words_first() -> None:
    swahili = mapping("boolean", truthyValue="ndiyo", falsyValue="hapana")
    assert transform(swahili, "Ndiyo") is True
    assert transform(swahili, "hapana") is False
    assert reverse(swahili, "NDIYO") is True
    assert reverse(swahili, "hapana") is False
    assert reverse(mapping("boolean"), "certainly") is False
    assert reverse(mapping("boolean", truthyValue="0"), "0") is True


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("2020-02-13"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "label", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted(TRANSFORMERS))


@given(NAMES, ANYTHING, ANYTHING)
def test_nothing_makes_a_transformer_fail(name: str, value: Any, option: Any) -> None:
    odd = mapping(name, inputFormat=option, outputFormat=option, delimiter=option, truthyValue=option, formValue=option)
    transform(odd, value)
    reverse(odd, value)
