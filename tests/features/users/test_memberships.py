"""Programs and roles of an account when a request gives only one of the two lists."""

from datacollect.features.users.model import Memberships


def role(tenant: str, name: str = "viewer") -> dict[str, str]:
    return {"tenantId": tenant, "role": name}


# A viewer of a and b, and a member of c without any role there.
STORED = Memberships(("a", "b", "c"), (role("a"), role("b")))


def test_nothing_given_changes_nothing() -> None:
    assert STORED.changed(None, None) == STORED


def test_an_assignment_makes_a_member() -> None:
    assert Memberships().changed(None, [role("a"), role("a", "supervisor")]).tenant_ids == ("a",)
    assert Memberships().changed(["b"], [role("a")]).tenant_ids == ("b", "a")


def test_who_is_put_out_of_a_program_keeps_no_role_there() -> None:
    assert STORED.changed(["a", "d"], None) == Memberships(("a", "d"), (role("a"),))


def test_who_loses_the_role_in_a_program_does_not_stay_as_a_member_without_one() -> None:
    """Such a member counts as an enumerator: taking the viewer's role away would give the right to write."""
    assert STORED.changed(None, [role("b", "supervisor")]) == Memberships(("c", "b"), (role("b", "supervisor"),))
    assert STORED.changed(None, []) == Memberships(("c",), ())


def test_both_lists_given_are_both_taken() -> None:
    assert STORED.changed(["a"], []) == Memberships(("a",), ())
