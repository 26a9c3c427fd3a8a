"""The rules of accounts."""

from typing import Any

import pytest

from datacollect.features.users.errors import InvalidUserId, UserNotFound
from datacollect.features.users.model import Memberships, broken_password_rules, exact_key_of, key_of, normal_email

LENGTH = "Password must be at least 8 characters"
UPPER = "Password must contain at least one uppercase letter"
LOWER = "Password must contain at least one lowercase letter"
NUMBER = "Password must contain at least one number"
SPECIAL = "Password must contain at least one special character"
UTF8 = "Password must be valid UTF-8 without NUL characters"


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("Correct-Horse-7", []),
        ("Aa1!aaaa", []),
        ("Aa1 aaaa", []),
        ("Aa1éaaaa", []),
        ("Aa1!aaa", [LENGTH]),
        ("aa1!aaaa", [UPPER]),
        ("AA1!AAAA", [LOWER]),
        ("Aaa!aaaa", [NUMBER]),
        ("Aa1aaaaa", [SPECIAL]),
        ("Éa1!aaaa", [UPPER]),
        ("Aa٣!aaaa", [NUMBER]),
        ("", [LENGTH, UPPER, LOWER, NUMBER, SPECIAL]),
        ("Correct-H\udcf6rse-7", [UTF8]),
        ("Correct-Horse-7\0", [UTF8]),
        ("Aa1!" * 256, []),
        ("Aa1!" * 256 + "a", ["Password must be at most 1024 characters"]),
    ],
)
def test_every_broken_password_rule_is_named(password: str, broken: list[str]) -> None:
    assert broken_password_rules(password, strict=True) == broken


@pytest.mark.parametrize(
    "password",
    [
        "Password1!",
        "Welcome1!",
        "P@ssw0rd2024!",
        "@Dmin1234!",
        "Aa123456!",
        "Qwerty123!",
        "Qwert12345!",
        "1q2w3e4R!",
        "Summer2026!",
        "We1come1!",
        "AdminPassword1!",
        "W3lc0me1!",
        "Pa$$word1",
        "Pass-Word-1",
        "!QAZ2wsx",
        "Abcd1234!",
        "Admin@123",
        "Changeme1!",
        "Letmein1!",
        "PasswordPassword1!",
        "Abc123456!",
        "Datacollect-1",
    ],
)
def test_passwords_that_everybody_takes_are_none(password: str) -> None:
    assert broken_password_rules(password, strict=True) == ["Password must not be one of those that are guessed first"]


@pytest.mark.parametrize(
    "password",
    ["Tr0ub4dor&3x", "Password-93817465029", "Another-Password-1", "Wx9#kL2p", "My password is a long Sentence, 7", "Zimt+Sand=2"],
)  # fmt: skip
def test_a_word_that_everybody_takes_may_be_a_part(password: str) -> None:
    assert broken_password_rules(password, strict=True) == []


@pytest.mark.parametrize(
    ("email", "password", "is_good"),
    [
        ("maria@hub.test", "Maria-Kilo-7", False),
        (" Maria@Hub.test", "x-mARIa-Kilo-7", False),
        ("ana@hub.test", "Banana-Kilo-7", True),
        ("maria@hub.test", "Hub.test-Kilo-7", True),
        (None, "Maria-Kilo-7", True),
        (["maria@hub.test"], "Maria-Kilo-7", True),
    ],
)
def test_a_password_does_not_contain_its_owners_name(email: object, password: str, is_good: bool) -> None:
    assert (broken_password_rules(password, strict=True, email=email) == []) is is_good


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("12", 12),
        ("12abc", 12),
        ("0012", 12),
        ("12@hub.test", "12@hub.test"),
        (" U@Hub.test", "u@hub.test"),
        ("999999999", 999_999_999),
        ("abc", InvalidUserId),
        ("", InvalidUserId),
        ("-1", InvalidUserId),
        ("٣", InvalidUserId),
        ("9999999999", UserNotFound),
    ],
)
def test_a_key_is_a_number_or_an_email(text: str, key: Any) -> None:
    if isinstance(key, type):
        with pytest.raises(key):
            key_of(text)
    else:
        assert key_of(text) == key


def test_what_cannot_be_undone_takes_whole_keys_only() -> None:
    assert [exact_key_of(text) for text in ("12", "12abc", "٣", " U@Hub.test")] == [12, "12abc", "٣", "u@hub.test"]


def test_one_address_has_one_form() -> None:
    assert {normal_email(text) for text in ("u@hub.test", " U@Hub.Test\t", "u@HUB.TEST\n")} == {"u@hub.test"}


def assignment(tenant: str, role: str = "viewer") -> dict[str, str]:
    return {"tenantId": tenant, "role": role}


HELD = Memberships(("a", "b"), (assignment("a"),))


@pytest.mark.parametrize(
    ("tenant_ids", "assignments", "after"),
    [
        (None, None, HELD),
        (["b"], None, Memberships(("b",), ())),
        ([], None, Memberships()),
        (["c", "c", "a"], None, Memberships(("c", "a"), (assignment("a"),))),
        (None, [assignment("c")], Memberships(("b", "c"), (assignment("c"),))),
        (None, [], Memberships(("b",), ())),
        (["b"], [assignment("c"), assignment("b")], Memberships(("b", "c"), (assignment("c"), assignment("b")))),
    ],
    ids=str,
)
def test_memberships_and_assignments_never_contradict_each_other(
    tenant_ids: list[str] | None, assignments: list[dict[str, str]] | None, after: Memberships
) -> None:
    changed = HELD.changed(tenant_ids, assignments)
    assert changed == after
    assert {one["tenantId"] for one in changed.assignments} <= set(changed.tenant_ids)
