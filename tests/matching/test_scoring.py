"""What speaks for one person and what for two: the cases that people who keep registers argue about."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datacollect.matching.features import Features, Role, features_of, name_in
from datacollect.matching.keys import MOST_KEYS, blocking_keys
from datacollect.matching.names import closeness, plain, tokens
from datacollect.matching.roles import role_of, role_of_key, roles_of_keys
from datacollect.matching.scoring import PROBABLE, compare, worth_of_names

ROLES = {
    "given": Role.GIVEN_NAME, "family": Role.FAMILY_NAME, "name": Role.FULL_NAME, "born": Role.BIRTH_DATE, "age": Role.AGE,
    "sex": Role.SEX, "phone": Role.PHONE, "id": Role.DOCUMENT, "village": Role.LOCALITY,
}  # fmt: skip


def person(relatives: tuple[str, ...] = (), groups: tuple[str, ...] = (), **data: object) -> Features:
    return features_of(data, ROLES, told_in=2025, relatives=relatives, groups=groups)


def bits(one: Features, other: Features) -> float:
    return compare(one, other).bits


AMINA = {"given": "Amina", "family": "Hassan", "born": "1988-03-14", "sex": "female", "village": "Dolow"}

SAME = {
    "a slip in the given name": AMINA | {"given": "Amnia"},
    "another transliteration": AMINA | {"family": "Xasan", "given": "Aminah"},
    "the names swapped": AMINA | {"given": "Hassan", "family": "Amina"},
    "day and month swapped": AMINA | {"born": "1988-14-03"},
    "one digit of the birth date": AMINA | {"born": "1988-03-15"},
    "marks and case": AMINA | {"given": "AMÍNA", "family": "hassan "},
    "another sign of the same phone": AMINA | {"family": "Ali", "phone": "+252 61 5551234"},
}


@pytest.mark.parametrize("what", SAME)
def test_the_same_person_is_found_in_spite_of(what: str) -> None:
    one = person(**(AMINA | {"phone": "0615551234"}))
    assert bits(one, person(**SAME[what])) >= PROBABLE
    assert set(blocking_keys(one)) & set(blocking_keys(person(**SAME[what])))


TWO = {
    "twins": (AMINA | {"phone": "0615551234"}, AMINA | {"given": "Fatuma", "phone": "0615551234"}),
    "brother and sister of one day": (AMINA, AMINA | {"given": "Ahmed", "sex": "male"}),
    "mother and daughter of one name": (AMINA, AMINA | {"born": "2010-06-01"}),
    "people of one household": (AMINA | {"phone": "0615551234"}, {"given": "Yusuf", "family": "Hassan", "phone": "0615551234", "village": "Dolow"}),
    "the same name and no more": ({"name": "Mohamed Ali Hassan"}, {"name": "Mohamed Ali Hassan"}),
    "born on the first of January": ({"given": "Ali", "family": "Noor", "born": "1980-01-01"}, {"given": "Asha", "family": "Noor", "born": "1980-01-01"}),
    "twins of a form that asks for the whole name": (
        {"name": "Amina Ali Hassan", "born": "1988-03-14", "phone": "0615551234", "village": "Dolow"},
        {"name": "Fatuma Ali Hassan", "born": "1988-03-14", "phone": "0615551234", "village": "Dolow"},
    ),
    "twins whose names have the same consonants": (
        AMINA | {"given": "Hassan", "family": "Ali", "phone": "0615551234"},
        AMINA | {"given": "Hussein", "family": "Ali", "phone": "0615551234"},
    ),
    "other documents": (AMINA | {"id": "A1234567"}, {"given": "Amina", "family": "Hassan", "id": "B7654321", "village": "Dolow"}),
}  # fmt: skip


@pytest.mark.parametrize("what", TWO)
def test_two_people_are_not_taken_for_one(what: str) -> None:
    one, other = TWO[what]
    assert bits(person(**one), person(**other)) < PROBABLE


def test_twins_with_names_that_sound_alike_were_registered_together() -> None:
    said, saad = AMINA | {"given": "Said", "phone": "0615551234"}, AMINA | {"given": "Saad", "phone": "0615551234"}
    assert bits(person(**said), person(**saad)) >= PROBABLE
    together = compare(person(**said, groups=("g", "x")), person(**saad, groups=("g",)))
    assert together.bits < PROBABLE
    assert ("household", "registered together") in [(each.about, each.found) for each in together.evidence]
    assert not {"phone", "locality", "relatives"} & {each.about for each in together.evidence}


def test_somebody_entered_twice_in_one_household_is_found_all_the_same() -> None:
    assert bits(person(**AMINA, groups=("g",)), person(**AMINA, groups=("g",))) >= PROBABLE
    whole = {"name": "Amina Ali", "age": 7}
    assert bits(person(**whole, groups=("g",)), person(**whole, groups=("g",))) >= PROBABLE


def test_who_begins_with_the_same_name_may_have_married() -> None:
    born = {"born": "1988-03-14", "sex": "female", "village": "Dolow"}
    one = person(name="Amina Hassan", **born)
    assert bits(one, person(name="Amina Yusuf", **born)) > bits(one, person(name="Halima Hassan", **born))


def test_a_name_that_many_have_is_worth_less_and_never_tells_by_itself() -> None:
    assert worth_of_names(-1) == worth_of_names(0) == 13
    assert worth_of_names(1) == 12 and worth_of_names(7) == 10
    assert worth_of_names(10**9) == 1
    common = compare(person(**AMINA), person(**AMINA), names_most=worth_of_names(100))
    rare = compare(person(**AMINA), person(**AMINA), names_most=worth_of_names(0))
    assert 6 < rare.bits - common.bits < 7
    assert "same, as of others" in [each.found for each in common.evidence if each.about == "givenName"]
    # What speaks against them speaks as loud.
    other = person(**AMINA | {"given": "Yusuf", "family": "Noor"})
    assert compare(person(**AMINA), other, names_most=1.0).bits == bits(person(**AMINA), other)


def test_one_relative_of_many_says_little_and_most_of_them_much() -> None:
    def shared(one: tuple[str, ...], other: tuple[str, ...]) -> float:
        found = compare(person(relatives=one), person(relatives=other)).evidence
        return next(each.bits for each in found if each.about == "relatives")

    many, others = ("A B", "C D", "E F", "G H"), ("A B", "I J", "K L", "M N")
    assert 0 < shared(many, others) < 1
    assert shared(many, many[:3]) == 6
    assert shared(("A B",), ("C D",)) > shared(many, others[1:])


def test_dates_of_one_year_with_another_day_and_month_speak_against() -> None:
    born = person(given="Ali", born="1985-05-05")
    assert bits(born, person(given="Ali", born="1985-09-17")) < bits(born, person(given="Ali"))
    assert bits(born, person(given="Ali", born="1985-05-17")) > bits(born, person(given="Ali"))
    assert bits(born, person(given="Ali", born="1979-05-05")) > bits(born, person(given="Ali"))


def test_what_a_form_calls_somebody_is_put_together() -> None:
    assert name_in({"family": "Hassan", "given": "Amina"}, ROLES) == "Amina Hassan"
    assert name_in({"name": "Amina Hassan"}, ROLES) == "Amina Hassan"
    assert name_in({"village": "Dolow", "name": "unknown"}, ROLES) == ""


def test_an_age_agrees_with_a_birth_date_within_a_year_and_with_a_round_one_within_three() -> None:
    born = person(given="Ali", family="Noor", born="1985-05-05", village="Dolow")
    assert bits(born, person(given="Ali", family="Noor", age=39, village="Dolow")) > bits(
        born, person(given="Ali", family="Noor", age=49, village="Dolow")
    )
    assert bits(born, person(given="Ali", family="Noor", age=42)) < bits(
        born, person(given="Ali", family="Noor", age=40)
    )


def test_words_of_a_name_may_come_in_any_order_and_be_fewer() -> None:
    long = person(name="Mohamed Ahmed Ali", born="1990-05-05")
    assert bits(long, person(name="Ali Mohamed Ahmed", born="1990-05-05")) >= PROBABLE
    assert bits(long, person(name="Mohamed Ahmed", born="1990-05-05")) >= PROBABLE
    assert bits(long, person(name="Mohamed Yusuf", born="1990-05-05")) < PROBABLE


def test_households_are_one_by_those_who_live_in_them() -> None:
    one = person(relatives=("Amina Hassan", "Yusuf Hassan", "Ali Noor"), name="Hassan", village="Dolow")
    same = person(relatives=("Hassan Amina", "Yusuf Hassan"), name="Hassan", village="Dolow")
    other = person(relatives=("Halima Omar",), name="Hassan", village="Dolow")
    assert bits(one, same) > bits(one, other)
    assert [each.found for each in compare(one, same).evidence if each.about == "relatives"] == ["2 in common"]


def test_two_names_with_years_near_to_each_other_share_a_key_however_common_each_is() -> None:
    def keys(**data: object) -> set[str]:
        return {key for key in blocking_keys(person(**data)) if key[0] in "st"}

    for year in range(1980, 1990):
        for apart in range(4):
            assert keys(name="Ali Noor", born=f"{year}") & keys(name="Noor Ali", born=f"{year + apart}")
        assert not keys(name="Ali Noor", born=f"{year}") & keys(name="Noor Ali", born=f"{year + 6}")


def test_a_form_that_was_sent_twice_is_found_by_everything_it_says() -> None:
    assert bits(person(name="Twin", age=5), person(name="Twin", age=5)) >= PROBABLE
    assert bits(person(name="Twin", age=5), person(name="Twin", age=7)) < PROBABLE


def test_evidence_adds_up_and_quotes_no_value() -> None:
    score = compare(person(**AMINA), person(**SAME["a slip in the given name"]))
    assert score.bits == pytest.approx(sum(each.bits for each in score.evidence), abs=0.01)
    assert not [each for each in score.evidence if "amina" in f"{each}".lower() or "1988" in f"{each}"]


WORDS = st.text(min_size=0, max_size=20)
VALUES = st.one_of(WORDS, st.integers(), st.floats(), st.none(), st.booleans(), st.lists(WORDS, max_size=2))
DATA = st.dictionaries(st.sampled_from(sorted(ROLES)), VALUES)


@given(DATA, DATA)
@example({"family": "0 0", "name": "1e46"}, {"family": "1 5"})
@example({"age": "9" * 5000}, {"age": "9" * 40})
def test_whatever_fields_hold_comparing_is_symmetric_and_never_fails(
    one: dict[str, object], other: dict[str, object]
) -> None:
    first, second = person(**one), person(**other)
    there, back = compare(first, second), compare(second, first)
    assert there.bits == pytest.approx(back.bits)
    assert len(blocking_keys(first)) <= MOST_KEYS


def test_long_texts_cost_no_more_than_names_do() -> None:
    one = person(name="Ana " * 300_000, village="Pak " * 300_000, id="7" * 1_000_000)
    other = person(name="Ana " * 300_000 + "B", village="Pak " * 300_000, id="7" * 1_000_000)
    assert compare(one, other).evidence
    assert len(one.whole) <= 16 and len(one.locality) <= 16 and max(map(len, one.documents.values())) <= 200


@given(DATA)
def test_nobody_is_less_like_themselves_than_like_nothing(data: dict[str, object]) -> None:
    assert bits(person(**data), person(**data)) >= 0


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("dateOfBirth", Role.BIRTH_DATE), ("date_of_birth", Role.BIRTH_DATE), ("DOB", Role.BIRTH_DATE),
        ("firstName", Role.GIVEN_NAME), ("Prénom", Role.GIVEN_NAME), ("lastName", Role.FAMILY_NAME),
        ("nationalId", Role.DOCUMENT), ("phoneNumber", Role.PHONE), ("house.phone", Role.PHONE),
        ("favouriteColour", None), ("", None),
    ],
)  # fmt: skip
def test_a_field_is_known_by_what_it_is_called(key: str, role: Role | None) -> None:
    assert role_of(key) is role


def test_a_form_has_the_last_word_on_what_a_field_says() -> None:
    assert role_of("nickname", marked="givenName") is Role.GIVEN_NAME
    assert role_of("firstName", marked="none") is None
    assert role_of("contact", kind="phoneNumber") is Role.PHONE
    assert roles_of_keys(["name", "rooms"]) == {"name": Role.FULL_NAME}
    assert role_of_key("name") is Role.FULL_NAME


def test_names_are_made_plain() -> None:
    assert plain("  Ngô   Thị-Đào ") == "ngo thi dao"
    assert tokens("Sheikh Abdullahi bin Ali") == ("abdullahi", "ali")
    assert closeness("mohamed", "muhammad") >= 0.9 and closeness("khadija", "hadidja") >= 0.9
    assert closeness("amina", "yusuf") < 0.8


def test_somali_spellings_are_those_of_others() -> None:
    for one, other in (("xasan", "hassan"), ("cali", "ali"), ("xaliimo", "halima"), ("maxamed", "mohamed")):
        assert closeness(one, other) >= 0.9
    assert closeness("chali", "ali") < 0.9 and closeness("xasan", "amina") < 0.8


@pytest.mark.parametrize(
    ("one", "other"), [("hassan", "hussein"), ("hassane", "housseini"), ("hasan", "hossain"), ("salim", "selma")]
)
def test_consonants_alone_are_not_a_name(one: str, other: str) -> None:
    assert closeness(one, other) < 0.9
