"""Which patterns are taken, and which text everything they find holds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.entities.finding.patterns import BadPattern, literal_in, searcher


@pytest.mark.parametrize("pattern", ["(a+)+", "(a*b)*", "((a+)b){2}", "(x{2,})+", "(a|b+)*c", "([+]a+)+", "(\\(a+)+"])
def test_what_repeats_what_repeats_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="repeats"):
        searcher(pattern)


@pytest.mark.parametrize(
    "pattern", ["(ab)+", "a+b+", "(a+)b+", "(a{2})+", "([+*])+", "(\\+)+", "[(+]+", "(a+)", "[]+]a+"]
)
def test_what_repeats_once_is_taken(pattern: str) -> None:
    assert not searcher(pattern)("")


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("smith", "smith"),
        ("^jo.*smith$", "smith"),
        ("ab*cde", "cde"),
        ("abc+d", "abc"),
        ("a*", None),
        (".*", None),
        ("", None),
        ("a|b", None),
        ("(ab)", None),
        ("a?b", None),
        ("a\\.b", None),
    ],
)
def test_the_longest_text_that_must_be_there(pattern: str, literal: str | None) -> None:
    assert literal_in(pattern) == literal


@given(pattern=st.text("ab.*+^$?|x", max_size=8), text=st.text("abxAB", max_size=10))
def test_what_a_pattern_finds_holds_its_literal(pattern: str, text: str) -> None:
    try:
        finds = searcher(pattern)
    except BadPattern:
        return
    literal = literal_in(pattern)
    if literal is not None and finds(text):
        assert literal.lower() in text.lower()
    try:
        expected = re.search(pattern, text, re.IGNORECASE) is not None
    except re.error:
        return
    if "*+" not in pattern and "++" not in pattern and "?+" not in pattern:
        assert finds(text) == expected
