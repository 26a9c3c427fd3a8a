"""The gate for request bodies, held against a slow and obvious one."""

import contextlib
import json
import sys
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.http.decoding import MAXIMUM_DEPTH, DuplicateKey, programs_named, strict_json
from datacollect.kernel.errors import InvalidJson


def code_of(body: bytes) -> str:
    with pytest.raises(InvalidJson) as refused:
        strict_json(body)
    assert refused.value.status == 400
    assert refused.value.extra == {"success": False}
    return refused.value.code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_JSON"),
        (b"{", "INVALID_JSON"),
        (b"{}{}", "INVALID_JSON"),
        (b"NaN", "INVALID_JSON"),
        (b"[Infinity]", "INVALID_JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "INVALID_JSON"),
        (b'"\\ud800"', "INVALID_JSON"),
        (b'"\\udc00 "', "INVALID_JSON"),
        (b'"\xff"', "INVALID_UTF8"),
        (b'{"\xc0\x80":1}', "INVALID_UTF8"),
        (b'"\xed\xa0\x80"', "INVALID_UTF8"),
        (b'"a\x00b"', "NUL_CHARACTER"),
        (b'"\\u0000"', "NUL_CHARACTER"),
        (b'{"a\\\\\\u0000":1}', "NUL_CHARACTER"),
        (b"1e999", "NUMBER_OUT_OF_RANGE"),
        (b'{"a":[-1e999]}', "NUMBER_OUT_OF_RANGE"),
        (b"9" * 5000, "NUMBER_OUT_OF_RANGE"),
        (b'{"a":[-' + b"9" * 309 + b"]}", "NUMBER_OUT_OF_RANGE"),
        (b"[" * 64 + b"9" * 309 + b"]" * 64, "NUMBER_OUT_OF_RANGE"),
        (b'{"a":1,"a":1}', "DUPLICATE_KEY"),
        (b'{"a" :1,"a"\n:1}', "DUPLICATE_KEY"),
        (b'{"a":1,"\\u0061":2}', "DUPLICATE_KEY"),
        (b'[{"b":{"a":1,"c":"\\":","a":1}}]', "DUPLICATE_KEY"),
        (b"[" * 65 + b"]" * 65, "JSON_TOO_DEEP"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "JSON_TOO_DEEP"),
        (b"[" * 100_000, "JSON_TOO_DEEP"),
        (b"[" + b"[]," * 100_000 + b"0]", "JSON_TOO_DENSE"),
        (b"[" + b'{"a":1,"b":2},' * 100_000 + b"0]", "JSON_TOO_DENSE"),
    ],
)
def test_each_refusal_has_its_own_code(body: bytes, code: str) -> None:
    assert code_of(body) == code


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAXIMUM_DEPTH + b"]" * MAXIMUM_DEPTH,
        b"[" * MAXIMUM_DEPTH + b"1" + b"]" * MAXIMUM_DEPTH,
        b'"\\\\u0000"',
        b'{"a":"x\\":y","\\":":1}',
        b'{"a" : "b" , "c" :\t1}',
        b'"\\ud83d\\ude00"',
        b"18446744073709551616",
        b"null",
        b'\xef\xbb\xbf{"a":"\xef\xbb\xbf"}',
    ],
)
def test_odd_but_sound_json_passes(body: bytes) -> None:
    assert strict_json(body) == json.loads(body)


# Few characters, so that keys repeat and strings hold what the gate looks for.
texts = st.text(alphabet='ab":\\ \n{},\x00\x7fé😀', max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


class Members(list[tuple[str, Any]]):
    """An object as written: keys may repeat."""


values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.lists(st.tuples(texts, inner), max_size=4).map(Members),
    max_leaves=12,
)


def written(value: Any, space: str, ascii_only: bool) -> str:
    if isinstance(value, Members):
        pairs = (
            f"{json.dumps(key, ensure_ascii=ascii_only)}{space}:{space}{written(inner, space, ascii_only)}"
            for key, inner in value
        )
        return "{" + f"{space},{space}".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(inner, space, ascii_only) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def naive_verdict(body: str) -> Any:
    """The decoded value, or the code of the first fault in the gate's order."""
    repeated = False

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        repeated |= len({key for key, _ in pairs}) < len(pairs)
        return dict(pairs)

    nul_keys: list[str] = []
    value = json.loads(body, object_pairs_hook=lambda pairs: (nul_keys.extend(k for k, _ in pairs), as_dict(pairs))[1])
    if any("\x00" in key for key in nul_keys) or "\\u0000" in body.replace("\\\\", ""):
        return "NUL_CHARACTER"
    return "DUPLICATE_KEY" if repeated else value


@pytest.mark.parametrize("space", ["", " ", "\n", "\t", "\r"])
def test_keys_that_look_like_the_end_of_one_are_counted_as_well(space: str) -> None:
    body = '{""S:null,":"S:null,":"S:null}'.replace("S", space)
    with pytest.raises(DuplicateKey):
        strict_json(body.encode())
    assert strict_json(body.replace('":"', '"."', 1).encode()) == {"": None, ".": None, ":": None}


@given(values, st.sampled_from(["", " ", "\n\t", " \r\n "]), st.booleans())
def test_the_gate_agrees_with_a_naive_one(value: Any, space: str, ascii_only: bool) -> None:
    body = written(value, space, ascii_only)
    expected = naive_verdict(body)
    try:
        seen = strict_json(body.encode())
    except InvalidJson as refused:
        seen = refused.code
    assert seen == expected


@given(st.binary(max_size=40))
def test_arbitrary_bytes_give_a_value_or_a_refusal(body: bytes) -> None:
    with contextlib.suppress(InvalidJson):
        strict_json(body)


def test_a_hostile_body_costs_no_more_than_an_honest_one() -> None:
    honest = b"[" + b",".join([b'{"a":"b","c":"d"}'] * 60_000) + b"]"
    hostile = [
        b'"' + b'\\":' * 350_000 + b'"',
        b'"' + b'" '.replace(b'"', b'\\"') * 350_000 + b'"',
        b'{"a"' + b" " * 1_000_000 + b":1}",
        b'["' + b"\\\\" * 500_000 + b'"]',
        b'["' + b"\\\\" * 500_000 + b'u0000"]',
        b"[" + b'" ",' * 250_000 + b"1]",
        b"[" + (b"9" * 308 + b",") * 3_000 + b"1]",
    ]

    def seconds(body: bytes) -> float:
        started = time.process_time()
        strict_json(body)
        return time.process_time() - started

    allowed = 0.2 + 20 * seconds(honest)
    for body in hostile:
        assert seconds(body) < allowed


def test_the_largest_number_a_double_holds_and_long_digits_in_text_are_fine() -> None:
    largest = int(sys.float_info.max)
    body = f'{{"n":{largest},"text":"{"9" * 400}"}}'.encode()
    assert strict_json(body) == {"n": largest, "text": "9" * 400}


# -- what much of nothing costs


@pytest.mark.parametrize("text", ["[]," * 99_998, '{"a":12,"bc":34},' * 110_000, "[" * 60 + "]" * 60 + ","])
def test_as_many_objects_as_a_body_is_worth_are_taken(text: str) -> None:
    assert strict_json(f"[{text}0]".encode())


def test_a_strangers_body_is_not_built_to_see_whose_they_say_they_are() -> None:
    """Of 9 MB of nested arrays the hub made half a gigabyte, and served nobody else for 13 seconds."""
    body = b'{"configId":"mine","x":[' + (b"[" * 60 + b"]" * 60 + b",") * 75_000 + b"0]}"
    tracemalloc.start()
    started = time.process_time()
    try:
        assert programs_named(body) == {"configId": "mine", "tenantId": None}
        took = time.process_time() - started
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert took < 1


@pytest.mark.parametrize(
    ("body", "config", "tenant"),
    [
        (b"{}", None, None),
        (b' { "x" : 1 , "configId" : "a" , "tenantId" :\n"b" } ', "a", "b"),
        (b'{"configId":null,"tenantId": null}', None, None),
        (b'{"configId":7,"tenantId":{"a":[1]}}', 0, 0),
        (b'{"configId":[],"tenantId":true}', 0, 0),
        (b'{"configId":"\\u00e4\\"","tenantId":""}', 'ä"', ""),
        (b'{"config\\u0049d":"a"}', "a", None),
        (b'\xef\xbb\xbf{"configId":"a"}', "a", None),
        (b'{"x":["\0\t","\\ud83d","\\uD83D\\uDE00","\\"\\ud800"],\n"configId":"a"}', "a", None),
    ],
)
def test_the_programs_that_a_body_names(body: bytes, config: Any, tenant: Any) -> None:
    assert programs_named(body) == {"configId": config, "tenantId": tenant}


@pytest.mark.parametrize("body", [b"[1]", b"1", b'"configId"', b"null", b"true"])
def test_what_is_no_object_names_no_program(body: bytes) -> None:
    assert programs_named(body) == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"configId":"a"', "INVALID_JSON"),
        (b'{"configId":"a"}x', "INVALID_JSON"),
        (b'{"configId":"\xff"}', "INVALID_UTF8"),
        (b'{"configId":"a\\u0000"}', "NUL_CHARACTER"),
        (b'{"tenantId":"\\ud800"}', "INVALID_JSON"),
        (b'{"configId":"\0a"}', "INVALID_JSON"),
        (b'{"x":"\0","configId":"a\tb"}', "INVALID_JSON"),
        (b'{"x":\0 1,"configId":"a"}', "INVALID_JSON"),
        (b'{"x":' + b"[" * 1_000_000, "JSON_TOO_DEEP"),
    ],
)
def test_a_body_that_names_no_program_readably_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        programs_named(body)
    assert refused.value.code == code
