"""What messages say, in whose language."""

import pytest

from datacollect.features.messages.model import Purpose
from datacollect.features.messages.texts import TEXTS, best_language, compose
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import MessageRules, Tenant

_EVERY_PHONES_LETTERS = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)


def program(*languages: str, **texts: dict[str, str]) -> Tenant:
    return Tenant(TenantId("p"), "Cash for School", messages=MessageRules(None, languages, texts))


def test_each_language_says_everything() -> None:
    assert {"en", "fr"} <= TEXTS.keys()
    for language, words in TEXTS.items():
        assert set(words) == set(Purpose), language


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_text_fits_into_one_message_of_every_phone(language: str, purpose: Purpose) -> None:
    long_name = Tenant(TenantId("p"), "N" * 100, messages=MessageRules(None, (language,)))
    text = compose(long_name, purpose, code="123456", minutes="15").text
    assert len(text) <= 160
    assert set(text) <= _EVERY_PHONES_LETTERS


def test_the_code_and_the_program_are_in_the_text() -> None:
    said = compose(program("fr"), Purpose.OTP, code="007123", minutes="5")
    assert said.text.startswith("007123 est votre code pour Cash for School.")
    assert said.subject == "Votre code pour Cash for School"


@pytest.mark.parametrize(
    ("languages", "accepted", "expected"),
    [
        (("fr", "en"), None, "fr"),
        (("fr", "en"), "en-GB,en;q=0.9,fr;q=0.8", "en"),
        (("fr", "en"), "de,fr;q=0.5", "fr"),
        (("fr", "en"), "en;q=0, *;q=0.1", "fr"),
        (("pt-BR", "en"), "pt", "pt-BR"),
        (("fr",), "@@@,;q=,,", "fr"),
        ((), "fr", "en"),
    ],
)
def test_the_language_is_one_of_the_programs(languages: tuple[str, ...], accepted: str | None, expected: str) -> None:
    assert best_language(program(*languages), accepted) == expected


def test_an_endless_header_is_read_in_part() -> None:
    assert best_language(program("en", "fr"), "de," * 5000 + "fr") == "en"


def test_a_programs_own_words_come_first() -> None:
    own = program("wo", "fr", otp={"wo": "{code}: {program}, {minutes} simili. {other}"})
    assert compose(own, Purpose.OTP, code="1", minutes="5").text == "1: Cash for School, 5 simili. {other}"
    assert compose(own, Purpose.OTP, language="fr-CA", code="1", minutes="5").text.startswith("1 est votre code")
    # There are no words for it in this language: the next of the program's speaks.
    assert compose(own, Purpose.REVIEW_DUE).text.startswith("Des revues")


def test_own_words_of_other_purposes_are_named_as_in_the_config() -> None:
    own = program("en", reviewDecided={"en": "News at {program}."})
    assert compose(own, Purpose.REVIEW_DECIDED).text == "News at Cash for School."


def test_what_is_put_in_is_not_filled_in_again() -> None:
    named = Tenant(TenantId("p"), "{code} Trust", messages=MessageRules())
    assert compose(named, Purpose.OTP, code="123456", minutes="5").text.startswith(
        "123456 is your code for {code} Trust."
    )
