"""Canonical JSON and the hashes built on it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.eventstore.event import Event
from datacollect.eventstore.integrity import EMPTY_CHAIN, hash_event
from datacollect.kernel.canonical import _write, canonical_json, javascript_number
from datacollect.kernel.clock import parse_timestamp

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def test_the_chain_gives_the_contracts_vectors() -> None:
    first = Event(
        guid="e-1",
        entity_guid="hh-1",
        type="create-group",
        data={"name": "Test Family", "phone": "020-1234567", "district": "Chanthabuly"},
        occurred_at=parse_timestamp("2025-01-15T10:30:00Z"),
        user_id="admin",
    )
    second = Event(
        guid="e-2",
        entity_guid="in-1",
        type="create-individual",
        data={"name": "Zoë", "age": 30, "tags": ["b", "a"], "addr": {"z": 1, "a": None}},
        occurred_at=parse_timestamp("2025-01-15T10:30:01.500Z"),
        user_id="admin",
    )
    chain = hash_event(first).chained_to(EMPTY_CHAIN)
    assert chain.hex() == "65ffae422ab169f2429bd033c7e293e81aa81f97fd81237af1f8514951007920"
    chain = hash_event(second).chained_to(chain)
    assert chain.hex() == "ad8649644f0324876600249167df7acc433e7991d3f833f5bb39d42de03558fb"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (85.5, "85.5"),
        (-0.1, "-0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "0.00001"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (123456789012345680.0, "123456789012345680"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(number: float, text: str) -> None:
    assert javascript_number(number) == text


def test_keys_are_sorted_by_utf16_code_unit() -> None:
    # U+1F600 sorts behind U+FB01 by code point and before it by UTF-16 code unit.
    assert canonical_json({"\ufb01": 1, "\U0001f600": 2}).decode() == '{"\U0001f600":2,"\ufb01":1}'


def test_integers_keep_all_their_digits() -> None:
    assert canonical_json(2**70 + 1) == str(2**70 + 1).encode()


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_numbers_without_a_json_form_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="no JSON form"):
        canonical_json([number])


@given(values)
def test_the_encoder_in_c_and_the_written_rules_agree(value: object) -> None:
    assert canonical_json(value).decode() == _write(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_canonical_text_of_a_double_reads_back_as_the_same_double(number: float) -> None:
    assert float(canonical_json(number)) == number


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | texts, st.lists) | st.dictionaries(texts, st.integers())
)
def test_the_canonical_text_means_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(texts, values))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)
