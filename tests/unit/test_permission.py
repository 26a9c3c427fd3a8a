"""The rows of the permission matrix let in whom they say, and the explanation says what they do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.kernel.errors import (
    AdminRequired,
    BeyondReach,
    Forbidden,
    InsufficientRole,
    PasswordChangeRequired,
    SelfServiceOnly,
)
from datacollect.kernel.identity import MINIMUM_ROLE, AccountRole, Action, Actor, Role
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.permission import Callers, Permission, Where, explain
from datacollect.kernel.sync_scope import RoleAssignment

TENANTS = [TenantId(name) for name in ("a", "b", "c")]

assignments = st.builds(
    RoleAssignment,
    tenant_id=st.sampled_from(TENANTS),
    role=st.sampled_from([*(role.value for role in Role), "ENUMERATOR"]),
    area_id=st.sampled_from([None, "north"]),
)
actors = st.builds(
    Actor,
    kind=st.just("user"),
    label=st.just("u@hub.test"),
    user_id=st.just(UserId(7)),
    account_role=st.sampled_from([AccountRole.USER, AccountRole.USER, AccountRole.ADMIN]),
    tenant_ids=st.frozensets(st.sampled_from(TENANTS)),
    assignments=st.lists(assignments, max_size=4).map(tuple),
)
rows = st.builds(
    Permission,
    callers=st.sampled_from([Callers.STAFF, Callers.SYNC, Callers.ADMIN]),
    action=st.sampled_from(Action),
    where=st.sampled_from([Where.CONFIG_ID, Where.PATH]),
    whole=st.booleans(),
    assigned=st.booleans(),
)


def admitted(permission: Permission, actor: Actor, tenant_id: TenantId | None) -> bool:
    try:
        permission.admit(actor, tenant_id)
    except Forbidden:
        return False
    return True


@given(rows, actors, st.sampled_from(TENANTS))
def test_whoever_is_let_in_is_a_member_with_the_role_and_the_reach(
    permission: Permission, actor: Actor, tenant_id: TenantId
) -> None:
    """Said once more in other words than the code's."""
    roles = [one.role for one in actor.assignments if one.tenant_id == tenant_id]
    known = [Role(role).level for role in roles if role in list(Role)] if roles else [Role.ENUMERATOR.level]
    needed = {"read": 20, "create": 40, "update": 40, "delete": 60, "approve": 60, "manage-users": 80}
    needed |= {"export": 80, "synchronise": 80}
    least = needed.get(str(permission.action), 100)
    held = [one for one in actor.assignments if one.tenant_id == tenant_id and one.role in list(Role)]
    limited = [one.area_id for one in held if Role(one.role).level >= least]
    may = (
        permission.callers is not Callers.ADMIN
        and tenant_id in actor.tenant_ids
        and max(known, default=0) >= least
        and not (permission.whole and limited and all(limited))
        and not (permission.assigned and not held)
    )
    assert admitted(permission, actor, tenant_id) == (actor.is_admin or may)


@given(rows, actors, st.sampled_from(TENANTS))
def test_the_scope_is_the_callers_in_the_program_asked_for(
    permission: Permission, actor: Actor, tenant_id: TenantId
) -> None:
    if admitted(permission, actor, tenant_id):
        scope = permission.admit(actor, tenant_id)
        assert scope is not None
        assert (scope.tenant_id, scope.actor) == (tenant_id, actor)


BOXES = [{}, {"areaIds": ["north"]}, {"areaIds": ["south"]}, {"entityTypes": ["group"]}, {"areaIds": []}]
members = st.builds(
    lambda held: Actor("user", "u@hub.test", tenant_ids=frozenset(TENANTS), assignments=tuple(held)),
    st.lists(
        st.builds(
            RoleAssignment,
            tenant_id=st.just(TENANTS[0]),
            role=st.sampled_from([*(role.value for role in Role), "ENUMERATOR"]),
            sync_scope_override=st.sampled_from(BOXES),
        ),
        min_size=1,
        max_size=4,
    ),
)
PLACES = [(kind, area) for kind in ("group", "individual") for area in ("north", "south", "elsewhere", None)]


def allowed(actor: Actor, action: Action) -> set[tuple[str, str | None]]:
    """The kinds and areas of the entities to which they may do that."""
    if not admitted(Permission(Callers.STAFF, action, Where.CONFIG_ID), actor, TENANTS[0]):
        return set()
    reach = actor.in_tenant(TENANTS[0], action).reach
    return {place for place in PLACES if reach.includes(*place)}


@settings(max_examples=500)
@given(members, st.sampled_from(Action))
def test_an_action_is_allowed_where_one_of_the_assignments_allows_it_alone(actor: Actor, action: Action) -> None:
    alone = [replace(actor, assignments=(one,)) for one in actor.assignments]
    assert allowed(actor, action) == set[tuple[str, str | None]]().union(*(allowed(one, action) for one in alone))


@settings(max_examples=500)
@given(members, st.sampled_from(Action), st.sampled_from(Action))
def test_the_role_of_a_scope_holds_wherever_it_reaches(actor: Actor, action: Action, other: Action) -> None:
    """What a request does besides is asked by that role, or of the part where the caller has a higher one."""
    if allowed(actor, action):
        scope, both = actor.in_tenant(TENANTS[0], action), allowed(actor, action) & allowed(actor, other)
        if scope.role.level >= MINIMUM_ROLE[other].level:
            assert both == allowed(actor, action)
        part = scope.held_as(MINIMUM_ROLE[other])
        assert both == {place for place in PLACES if part is not None and part.reach.includes(*place)}


@given(rows, actors, st.sampled_from(TENANTS))
def test_the_explanation_ends_as_the_request_would(permission: Permission, actor: Actor, tenant_id: TenantId) -> None:
    assert (explain(permission, actor, tenant_id).refused is None) == admitted(permission, actor, tenant_id)


@given(actors, st.sampled_from(Action))
def test_any_program_means_one_where_the_caller_may(actor: Actor, action: Action) -> None:
    anywhere = Permission(Callers.STAFF, action, Where.ANY_PROGRAM)
    there = Permission(Callers.STAFF, action, Where.CONFIG_ID)
    assert admitted(anywhere, actor, None) == (
        actor.is_admin or any(admitted(there, actor, tenant) for tenant in TENANTS)
    )


def test_refusals_say_what_is_missing() -> None:
    limited = Actor(
        kind="user",
        label="u@hub.test",
        tenant_ids=frozenset(TENANTS),
        assignments=(RoleAssignment(TENANTS[0], "supervisor", "north"), RoleAssignment(TENANTS[1], "viewer")),
    )
    asked = Permission(Callers.STAFF, Action.APPROVE, Where.CONFIG_ID, whole=True)
    refused = explain(asked, limited, TENANTS[0])
    assert isinstance(refused.refused, BeyondReach)
    assert ("reach", "areas: north") in refused.facts
    assert ("role", "supervisor in a, the highest of its assignments (supervisor)") in refused.facts
    assert isinstance(explain(asked, limited, TENANTS[1]).refused, InsufficientRole)
    both = replace(limited, assignments=(*limited.assignments, RoleAssignment(TENANTS[0], "viewer")))
    assert ("reach", "areas: north") in explain(asked, both, TENANTS[0]).facts, "where they may do that"
    reading = Permission(Callers.STAFF, Action.READ, Where.CONFIG_ID)
    assert ("reach", "everything") in explain(reading, both, TENANTS[0]).facts
    by_admin = Permission(Callers.ADMIN)
    assert isinstance(explain(by_admin, limited, None).refused, AdminRequired)


def test_a_row_for_citizens_lets_no_account_in() -> None:
    admin = Actor("user", "a@hub.test", UserId(1), account_role=AccountRole.ADMIN)
    with pytest.raises(SelfServiceOnly):
        Permission(Callers.CITIZEN).admit(admin)


def test_a_member_without_a_role_of_their_own_is_not_let_in_by_a_row_that_asks_for_one() -> None:
    a = TENANTS[0]
    row = Permission(Callers.STAFF, Action.CREATE, Where.CONFIG_ID, assigned=True)
    member = Actor("user", "u@hub.test", UserId(7), tenant_ids=frozenset({a}))
    with pytest.raises(InsufficientRole):
        row.admit(member, a)
    assert row.admit(replace(member, assignments=(RoleAssignment(a, "enumerator"),)), a)
    assert row.admit(Actor("user", "a@hub.test", UserId(1), account_role=AccountRole.ADMIN), a)


def test_who_has_to_choose_a_password_first_is_told_so() -> None:
    admin = Actor(kind="user", label="u@hub.test", account_role=AccountRole.ADMIN, must_change_password=True)
    refused = explain(Permission(Callers.STAFF), admin, None)
    assert isinstance(refused.refused, PasswordChangeRequired)
    assert ("password", "must be changed before anything else") in refused.facts
    assert explain(Permission(Callers.STAFF, password_due=True), admin, None).refused is None


def test_a_row_may_have_a_refusal_of_its_own() -> None:
    asked = Permission(Callers.STAFF, Action.MANAGE_CONFIG, Where.PATH, denied=AdminRequired)
    stranger = Actor(kind="user", label="u@hub.test")
    assert isinstance(explain(asked, stranger, TENANTS[0]).refused, AdminRequired)


def test_who_has_the_role_but_not_the_reach_is_told_so_by_every_row() -> None:
    asked = Permission(Callers.STAFF, Action.MANAGE_CONFIG, Where.PATH, whole=True, denied=AdminRequired)
    assignment = RoleAssignment(TENANTS[0], "system-admin", "north")
    limited = Actor(kind="user", label="u@hub.test", tenant_ids=frozenset({TENANTS[0]}), assignments=(assignment,))
    assert isinstance(explain(asked, limited, TENANTS[0]).refused, BeyondReach)
