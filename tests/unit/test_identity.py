"""Roles and the walls between tenants."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import datacollect
from datacollect.kernel.errors import AdminRequired, InsufficientRole, NotOwnRecord, TenantAccessDenied
from datacollect.kernel.identity import AccountRole, Action, Actor, Citizen, Role, TenantScope, system_scope
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import Box, Reach, RoleAssignment

A, B = TenantId("a"), TenantId("b")


def user(*roles: tuple[TenantId, str], member_of: tuple[TenantId, ...] = (A, B)) -> Actor:
    return Actor(
        kind="user",
        label="u@hub.test",
        user_id=UserId(7),
        tenant_ids=frozenset(member_of),
        assignments=tuple(RoleAssignment(tenant, role) for tenant, role in roles),
    )


ALLOWED = {
    Role.VIEWER: {Action.READ},
    Role.ENUMERATOR: {Action.READ, Action.CREATE, Action.UPDATE},
    Role.SUPERVISOR: {Action.READ, Action.CREATE, Action.UPDATE, Action.DELETE, Action.APPROVE},
    Role.PROGRAM_ADMIN: set(Action) - {Action.MANAGE_CONFIG},
    Role.SYSTEM_ADMIN: set(Action),
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_a_role_allows_what_it_and_the_lower_ones_may(role: Role, action: Action) -> None:
    actor = user((A, role.value))
    if action in ALLOWED[role]:
        assert actor.in_tenant(A, action).tenant_id == A
    else:
        with pytest.raises(InsufficientRole) as refused:
            actor.in_tenant(A, action)
        assert refused.value.extra["action"] == action.value


def test_power_in_one_tenant_is_none_in_another() -> None:
    actor = user((A, "supervisor"), (B, "viewer"))
    assert actor.in_tenant(A, Action.APPROVE)
    with pytest.raises(InsufficientRole):
        actor.in_tenant(B, Action.CREATE)


def test_who_was_let_in_for_one_thing_is_let_in_for_no_other() -> None:
    """An actor is remembered from one request to the next."""
    actor = user((A, "viewer"))
    for _ in range(2):
        assert actor.in_tenant(A, Action.READ).tenant_id == A
        with pytest.raises(InsufficientRole):
            actor.in_tenant(A, Action.CREATE)


def test_a_providers_caller_is_of_one_program_and_a_citizen_a_member_of_none() -> None:
    for tenants in (frozenset[TenantId](), frozenset({A, B})):
        with pytest.raises(ValueError, match="exactly one program"):
            Actor(kind="provider", label="oidc:ana", tenant_ids=tenants)
    assigned = (RoleAssignment(A, "viewer"),)
    for held in ({"tenant_ids": frozenset({A})}, {"assignments": assigned}, {"account_role": AccountRole.ADMIN}):
        with pytest.raises(ValueError, match="member of no program"):
            Actor(kind="citizen", label="self-service:ana", **held)  # type: ignore[arg-type]


def test_a_citizens_permission_is_about_their_own_record() -> None:
    own = Citizen(A, "ana", "ana@example.test", "session").own_record()
    assert own.about("ana").tenant_id == A
    with pytest.raises(NotOwnRecord):
        own.about("bo")


def test_only_the_hub_itself_acts_on_the_word_of_another_system() -> None:
    assert system_scope(A).where_decided("registry").actor.label == "external:registry"
    with pytest.raises(ValueError, match="only the hub itself"):
        user((A, "system-admin")).in_tenant(A, Action.READ).where_decided("registry")


def test_a_stranger_is_denied_even_with_an_assignment() -> None:
    with pytest.raises(TenantAccessDenied):
        user((A, "system-admin"), member_of=(B,)).in_tenant(A, Action.READ)


def test_a_member_without_assignments_is_an_enumerator() -> None:
    assert user().role_in(A) is Role.ENUMERATOR


def test_an_unknown_role_grants_nothing() -> None:
    with pytest.raises(InsufficientRole):
        user((A, "ENUMERATOR")).in_tenant(A, Action.READ)


def test_an_unknown_role_lifts_no_limit() -> None:
    limited = RoleAssignment(A, "enumerator", area_id="A1")
    actor = Actor(
        kind="user",
        label="somebody",
        user_id=UserId(1),
        tenant_ids=frozenset({A}),
        assignments=(limited, RoleAssignment(A, "ENUMERATOR")),
    )
    assert actor.in_tenant(A, Action.CREATE).reach == Reach((Box(frozenset({"A1"})),))
    assert actor.assignments_in(A) == [limited]


def test_the_highest_of_several_assignments_counts() -> None:
    assert user((A, "viewer"), (A, "supervisor")).role_in(A) is Role.SUPERVISOR


def test_a_role_counts_where_its_own_assignments_reach() -> None:
    held = (RoleAssignment(A, "viewer"), RoleAssignment(A, "supervisor", area_id="A1"))
    actor = Actor(kind="user", label="somebody", tenant_ids=frozenset({A}), assignments=held)
    reading, deciding = actor.in_tenant(A, Action.READ), actor.in_tenant(A, Action.APPROVE)
    assert (reading.role, reading.reach.is_bounded) == (Role.VIEWER, False)
    assert (deciding.role, deciding.reach) == (Role.SUPERVISOR, Reach((Box(frozenset({"A1"})),)))
    assert reading.held_as(Role.SUPERVISOR) == replace(deciding, actor=actor)
    assert reading.held_as(Role.PROGRAM_ADMIN) is None
    assert deciding.held_as(Role.ENUMERATOR) is deciding


def test_an_admin_passes_everywhere() -> None:
    admin = Actor(kind="user", label="admin", user_id=UserId(1), account_role=AccountRole.ADMIN)
    assert all(admin.in_tenant(TenantId("any"), action) for action in Action)
    admin.require_admin()


def test_nobody_else_is_an_admin() -> None:
    with pytest.raises(AdminRequired):
        user((A, "system-admin")).require_admin()


def test_a_scope_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError):
        TenantScope(object(), A, user(), Role.SYSTEM_ADMIN)
    assert system_scope(A).actor.event_user_id == "system"


def test_the_key_of_a_scope_is_not_shown() -> None:
    assert "object" not in repr(system_scope(A))


def test_only_commands_act_as_the_command_line() -> None:
    source = Path(datacollect.__file__).parent
    users = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if re.search(r"\b(COMMAND_LINE|AT_THE_COMMAND_LINE)\b", file.read_text())
    }
    # What names it elsewhere lets it pass where an account would have to be looked up.
    elsewhere = {"kernel/identity.py", "kernel/source.py", "features/users/service.py"}
    assert {name for name in users if not name.startswith("cli/")} == elsewhere
