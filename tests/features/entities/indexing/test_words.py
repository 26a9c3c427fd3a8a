"""Words are found as people type them, whatever the script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.features.entities.indexing.words import MOST_ASKED, MOST_WORDS, answers, asked_in, words_in


def finds(stored: str, search: str) -> bool:
    return answers(words_in([stored]), asked_in(search))


@pytest.mark.parametrize(
    ("stored", "search"),
    [
        ("Adaeze Okonkwo", "okonk ada"),
        ("ÉLODIE Garçon", "elodie garcon"),
        ("elodie garcon", "Élodie GARÇON"),
        ("Müller-Lüdenscheid", "ludensch"),
        ("Straße", "strasse"),
        ("Łukasz Żółć", "lukasz zolc"),
        ("Søren Ærø", "soren aero"),
        ("İpek Yıldız", "ipek yildiz"),
        ("O'Brien", "obrien"),
        ("O’Brien", "o'brien"),
        ("Gʻulom", "g'ulom"),
        ("Nguyễn Thị Hồng", "nguyen hong"),
        ("Νίκος Παπαδόπουλος", "νικος παπ"),
        ("Пётр", "петр"),
        ("مُحَمَّد", "محمد"),  # with and without vowel signs
        ("أحمد", "احمد"),
        ("محمـــد", "محمد"),  # stretched
        ("علي", "علی"),  # an Arabic and a Persian keyboard
        ("שָׁלוֹם", "שלום"),
        ("王小明", "小明"),
        ("王小明", "王"),
        ("王小明", "明"),
        ("山田 太郎", "太郎"),
        ("ヤマダ", "ﾔﾏﾀﾞ"),  # half-width
        ("김철수", "김철"),
        ("សុខ ដារា", "ដារា"),
        ("សុខ\u200bដារា", "ដារា"),  # with the space that is not seen
        ("សុខ ដារា", "សុខ\u200bដារា"),
        ("می\u200cخواهم", "میخواهم"),  # joiners stand inside of words
        ("สมชาย ใจดี", "สมชาย"),
        ("प्रिया शर्मा", "प्रिया"),
        ("+1 555 123-4567", "15551234567"),
        ("+1 555 123-4567", "5551"[:3]),
        ("0912 345 678", "0912345678"),
        ("0912345678", "091234"),
        ("0912345678", "0912 345 678"),
        ("0912345678", "(0912) 345-678"),
        ("0912345678", "٠٩١٢ ٣٤٥ ٦٧٨"),
        ("+251911223344", "+251 911 223 344"),
        ("Ana Cruz 0912345678", "ana 0912 345"),
        ("12 Hill Road, 345", "345 12"),
        ("15 15, 1512", "15 15"),
        ("NID-2024-00123", "NID202400123"),
        ("NID202400123", "nid-2024-00123"),
        ("NID-2024-00123", "00123"),
        ("٠٩١٢٣", "09123"),
        ("file: a/b_c", "b c"),
    ],
)
def test_a_word_is_found(stored: str, search: str) -> None:
    assert finds(stored, search)


@pytest.mark.parametrize(
    ("stored", "search"),
    [
        ("Adaeze Okonkwo", "konkwo"),  # words are found by how they begin
        ("Adaeze Okonkwo", "adaeze banda"),
        ("王小明", "小王"),
        ("កិ", "កុ"),  # vowels are no accents
        ("かき", "がき"),
        ("0912345678", "912345678"),
        ("0912345678", "0912 678"),
        ("0912345678", "0912 ana 345"),
        ("0912345678 ana", "345 678 ana"),
        ("", "a"),
    ],
)
def test_another_word_is_not(stored: str, search: str) -> None:
    assert not finds(stored, search)


def test_a_search_without_words_asks_for_nothing() -> None:
    assert asked_in("  - ,.! ") == ()


def test_what_is_kept_and_asked_has_its_limits() -> None:
    many = " ".join(f"w{n}x" for n in range(200))
    assert len(words_in([many])) == MOST_WORDS
    assert len(asked_in(many)) == MOST_ASKED
    assert max(map(len, words_in(["a" * 500]))) <= 40
    assert finds("a" * 500, "a" * 500)


@given(st.text())
def test_every_text_is_found_by_its_own_words(text: str) -> None:
    words = words_in([text])
    assert all(answers(words, asked_in(word)) for word in words)
    assert all(word for word in words)


@given(st.text(alphabet=st.characters(categories=["L", "M", "N", "Z", "P"])))
def test_a_name_is_found_as_it_is_written(text: str) -> None:
    assert finds(text, text)


@given(st.text())
def test_a_words_own_words_are_itself(text: str) -> None:
    for word in words_in([text]):
        assert word in words_in([word])
