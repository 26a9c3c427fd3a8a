"""The rules of accounts."""

import pytest

from datacollect.features.users.model import Memberships, broken_password_rules, normal_email

LENGTH = "Password must be at least 8 characters"
UPPER = "Password must contain at least one uppercase letter"
LOWER = "Password must contain at least one lowercase letter"
NUMBER = "Password must contain at least one number"
SPECIAL = "Password must contain at least one special character"


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
        ("Aa1!" * 256, []),
        ("Aa1!" * 256 + "a", ["Password must be at most 1024 characters"]),
    ],
)
def test_every_broken_password_rule_is_named(password: str, broken: list[str]) -> None:
    assert broken_password_rules(password) == broken


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
