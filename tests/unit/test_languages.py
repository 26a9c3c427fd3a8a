"""Which of the languages that are offered a caller is answered in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.languages import negotiated

OFFERED = ("en", "fr", "pt-BR")


@pytest.mark.parametrize(
    ("asked", "header", "language"),
    [
        (None, None, "en"),
        (None, "fr", "fr"),
        (None, "fr-CA,fr;q=0.9", "fr"),
        (None, "FR_ca", "fr"),
        (None, "km, fr;q=0.5, en;q=0.8", "en"),
        (None, "de", "en"),
        (None, "pt", "pt-BR"),
        (None, "fr;q=0, en;q=0.1", "en"),
        (None, "fr;q=0", "en"),
        (None, "*", "en"),
        (None, "de;q=1, *;q=0.1", "en"),
        (None, ";;;,,q=,fr", "fr"),
        ("fr", "en", "fr"),
        ("de", "fr", "fr"),
    ],
)
def test_the_language_that_fits_best_is_taken(asked: str | None, header: str | None, language: str) -> None:
    assert negotiated(OFFERED, asked=asked, header=header) == language


def test_a_program_without_languages_speaks_english() -> None:
    assert negotiated((), asked="fr", header=None) == "en"


@given(st.text(), st.text())
def test_whatever_is_asked_for_the_answer_is_one_that_is_offered(asked: str, header: str) -> None:
    assert negotiated(OFFERED, asked=asked, header=header) in OFFERED


def test_a_name_of_thousands_of_words_is_not_looked_up_word_by_word() -> None:
    """Anybody may ask so, and each word takes as long as all in front of it."""
    begun = time.process_time()
    assert negotiated(("en", "fr"), asked="fr" + "-x" * 32_000, header=None) == "fr"
    assert time.process_time() - begun < 0.5
