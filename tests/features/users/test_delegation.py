"""The rule of delegated administration: nobody gets more than whoever gives it, and nothing changes elsewhere."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datacollect.features.users.delegation import (
    admitted,
    changed_memberships,
    judge_change,
    managed_programs,
    require_managed,
    shown_to,
)
from datacollect.features.users.errors import (
    AccountBelongsElsewhere,
    AccountOutranksYou,
    AlreadyMember,
    ForeignProgram,
    OwnAccount,
    ProgramRequired,
    RoleAboveOwn,
    ScopeBeyondOwn,
    UserNotFound,
)
from datacollect.features.users.model import Memberships, User
from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.kernel.errors import AdminRequired, DataCollectError
from datacollect.kernel.identity import AccountRole, Action
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import effective_scope

NOW = parse_timestamp("2026-06-01T00:00:00.000Z")
DAY = 86_400_000


def user(user_id: int = 7, *assignments: dict[str, Any], tenants: tuple[str, ...] = (), **changes: Any) -> User:
    held = Memberships().changed(list(tenants), list(assignments))
    plain = User(UserId(user_id), f"u{user_id}@hub.test", "hash", AccountRole.USER, (), (), 1)
    return replace(plain.with_memberships(held), **changes)


def role(program: str, name: str = "program-admin", **limits: Any) -> dict[str, Any]:
    return {"tenantId": program, "role": name} | limits


def window(**scope: Any) -> dict[str, Any]:
    return {"syncScopeOverride": {"timeWindow": scope}}


BOSS = user(1, role("p"), role("q", "supervisor"))
HERS = user(2, role("p", "enumerator"))
NORTH = user(1, role("p", areaId="north"))


def judged(manager: User, before: User | None, after: User | None) -> None:
    judge_change(manager.to_actor(), before, after)


# -- what is allowed


@pytest.mark.parametrize(
    ("manager", "before", "after"),
    [
        (BOSS, None, HERS),
        (BOSS, HERS, None),
        (BOSS, HERS, user(2, role("p", "program-admin"))),
        (BOSS, user(2, role("p"), role("r")), user(2, role("r"))),
        (BOSS, HERS, replace(HERS, email="new@hub.test", password_hash="new")),
        (BOSS, HERS, user(2, tenants=("p",))),
        (NORTH, None, user(2, role("p", "viewer", areaId="north"))),
        (user(1, role("p", **window(type="rolling", days=30))), None, user(2, role("p", **window(type="rolling", days=7)))),
        (user(1, role("p", "system-admin")), user(2, role("p", "system-admin")), None),
        (user(1, role("p", "ROOT"), role("p")), None, HERS),
        (replace(BOSS, role=AccountRole.ADMIN), None, user(2, role=AccountRole.ADMIN)),
    ],
)  # fmt: skip
def test_within_ones_own_rights_everything_is_allowed(manager: User, before: User | None, after: User | None) -> None:
    judged(manager, before, after)


# -- what is refused, each with a code of its own


FIXED = {"type": "fixed", "floor": "2026-01-01T00:00:00.000Z"}


@pytest.mark.parametrize(
    ("manager", "before", "after", "refusal"),
    [
        (BOSS, None, user(2, role("p"), role=AccountRole.ADMIN), AdminRequired),
        (BOSS, HERS, replace(HERS, role=AccountRole.ADMIN), AdminRequired),
        (BOSS, user(2, role("p"), role=AccountRole.ADMIN), HERS, AdminRequired),
        (BOSS, BOSS, user(1, role("p", "system-admin")), OwnAccount),
        (BOSS, BOSS, None, OwnAccount),
        (BOSS, None, user(2), ProgramRequired),
        (BOSS, HERS, user(2), ProgramRequired),
        (BOSS, None, user(2, role("p"), role("r")), ForeignProgram),
        (BOSS, None, user(2, role("q", "viewer")), ForeignProgram),
        (BOSS, user(2, role("p"), role("r")), user(2, role("p")), ForeignProgram),
        (BOSS, None, user(2, role("p", "system-admin")), RoleAboveOwn),
        (BOSS, HERS, user(2, role("p", "viewer"), role("p", "system-admin")), RoleAboveOwn),
        (BOSS, user(2, role("p", "system-admin")), HERS, AccountOutranksYou),
        (BOSS, user(2, role("p", "system-admin")), None, AccountOutranksYou),
        (BOSS, user(2, role("p"), role("r")), None, AccountBelongsElsewhere),
        (BOSS, user(2, role("p"), tenants=("r",)), user(2, role("p"), tenants=("r",), password_hash="x"), AccountBelongsElsewhere),
        (BOSS, user(2, role("p"), role("r")), user(2, role("p"), role("r"), email="x@hub.test"), AccountBelongsElsewhere),
        (BOSS, user(2, role("p", "system-admin")), user(2, role("p", "system-admin"), password_hash="x"), AccountOutranksYou),
        (NORTH, None, HERS, ScopeBeyondOwn),
        (NORTH, None, user(2, tenants=("p",)), ScopeBeyondOwn),
        (NORTH, None, user(2, role("p", "viewer", areaId="south")), ScopeBeyondOwn),
        (NORTH, None, user(2, role("p", "viewer", areaId="north"), role("p", "viewer", areaId="south")), ScopeBeyondOwn),
        (NORTH, None, user(2, role("p", areaId="north", syncScopeOverride={"entityTypes": ["group"]})), ScopeBeyondOwn),
        (NORTH, HERS, None, AccountOutranksYou),
        (user(1, role("p", syncScopeOverride={"entityTypes": ["group"]})), None, HERS, ScopeBeyondOwn),
        (user(1, role("p", **window(type="rolling", days=7))), None, HERS, ScopeBeyondOwn),
        (user(1, role("p", **window(type="rolling", days=7))), None, user(2, role("p", **window(type="rolling", days=8))), ScopeBeyondOwn),
        (user(1, role("p", **window(type="rolling", days=7))), None, user(2, role("p", **window(**FIXED))), ScopeBeyondOwn),
        (user(1, role("p", **window(**FIXED))), None, user(2, role("p", **window(**FIXED | {"floor": "2025-12-31T00:00:00Z"}))), ScopeBeyondOwn),
    ],
)  # fmt: skip
def test_beyond_them_nothing_is(
    manager: User, before: User | None, after: User | None, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        judged(manager, before, after)


# -- what is seen


def test_a_delegate_sees_of_an_account_what_it_is_in_their_programs() -> None:
    seen = shown_to(BOSS.to_actor(), user(2, role("p", "viewer"), role("q"), role("r"), tenants=("s",)))
    assert (seen.tenant_ids, seen.role_assignments) == (("p",), (role("p", "viewer"),))


@pytest.mark.parametrize("hidden", [user(2), user(2, role("q")), user(2, role("p"), role=AccountRole.ADMIN)])
def test_what_is_none_of_a_delegates_business_is_not_there(hidden: User) -> None:
    with pytest.raises(UserNotFound):
        shown_to(BOSS.to_actor(), hidden)
    assert shown_to(replace(BOSS, role=AccountRole.ADMIN).to_actor(), hidden) == hidden


def test_the_lists_of_a_delegate_speak_of_their_programs_only() -> None:
    held = user(2, role("p", "viewer"), role("r", "supervisor"), tenants=("s",)).memberships
    boss = BOSS.to_actor()
    assert changed_memberships(boss, held, [], []) == Memberships(("s", "r"), (role("r", "supervisor"),))
    again = changed_memberships(boss, held, None, [role("p", "enumerator")])
    assert set(again.tenant_ids) == {"p", "r", "s"}
    assert list(again.assignments) == [role("r", "supervisor"), role("p", "enumerator")]
    for foreign in ("r", "s", "no-such-program"):
        with pytest.raises(ForeignProgram):
            require_managed(boss, ["p", foreign])


# -- adding an account that exists


def test_whoever_knows_the_email_may_add_an_account_of_another_program() -> None:
    after = admitted(BOSS.to_actor(), user(2, role("r")), Memberships().changed(None, [role("p", "viewer")]))
    assert (after.tenant_ids, after.role_assignments) == (("r", "p"), (role("r"), role("p", "viewer")))


@pytest.mark.parametrize(
    ("account", "given_role", "refusal"),
    [
        (user(2), "viewer", UserNotFound),
        (user(2, role("r"), role=AccountRole.ADMIN), "viewer", UserNotFound),
        (user(2, role("p"), role=AccountRole.ADMIN), "viewer", UserNotFound),
        (user(1, role("r")), "viewer", OwnAccount),
        (HERS, "viewer", AlreadyMember),
        (user(2, role("r")), "system-admin", RoleAboveOwn),
    ],
)
def test_an_account_is_not_added_where_that_would_give_power_over_it(
    account: User, given_role: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        admitted(BOSS.to_actor(), account, Memberships().changed(None, [role("p", given_role)]))


# -- whatever is tried


PROGRAMS, AREAS, KINDS = ("p", "q", "r"), ("north", "south"), ("individual", "group")
AGES = (5, 20, 100, 1000)
"""In days, of data: narrower windows leave more of it out."""

_windows = st.sampled_from(
    [
        {"type": "rolling", "days": 10},
        {"type": "rolling", "days": 50},
        {"type": "fixed", "floor": "2026-05-20T00:00:00Z"},
        {"type": "fixed", "floor": "2025-01-01T00:00:00Z"},
    ]
)
_overrides = st.fixed_dictionaries(
    {},
    optional={
        "areaIds": st.lists(st.sampled_from(AREAS), min_size=1, unique=True),
        "entityTypes": st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
        "timeWindow": _windows,
    },
)


def _assignments(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"tenantId": st.sampled_from(PROGRAMS), "role": st.sampled_from(names)},
        optional={"areaId": st.sampled_from(AREAS), "syncScopeOverride": _overrides},
    )


_any_assignments = st.lists(
    _assignments("viewer", "enumerator", "supervisor", "program-admin", "system-admin", "ENUMERATOR"), max_size=4
)
_tenants = st.lists(st.sampled_from(PROGRAMS), max_size=3)
_managers = st.builds(
    lambda first, others, tenants: user(1, first, *others, tenants=tuple(tenants)),
    _assignments("program-admin", "system-admin"),
    _any_assignments,
    _tenants,
)
_accounts = st.builds(
    lambda assignments, tenants, kind, user_id: user(user_id, *assignments, tenants=tuple(tenants), role=kind),
    _any_assignments,
    _tenants,
    st.sampled_from([AccountRole.USER] * 5 + [AccountRole.ADMIN]),
    st.sampled_from([2, 2, 2, 1]),
)
_kinds_of_account = st.sampled_from([AccountRole.USER] * 5 + [AccountRole.ADMIN])
_sign_ins = st.sampled_from(
    [{}, {}, {"email": "new@hub.test"}, {"password_hash": "new"}, {"must_change_password": True}]
)

Power = tuple[str, Action, str, str, int]


def powers(account: User | None, program: str | None = None) -> set[Power]:
    """Everything the account may do: which action, in which program and area, to what kind of entity, how old it is.

    Told in the words of the guards and of sync, not of the rule that is tested.
    """
    if account is None:
        return set()
    actor, found = account.to_actor(), set()
    for tenant in account.tenant_ids:
        begin = effective_scope(None, actor.assignments_in(TenantId(tenant)), now=NOW).begins(NOW)
        for action in (action for action in Action if actor.may(TenantId(tenant), action)):
            reach = actor.in_tenant(TenantId(tenant), action).reach
            for area, kind, age in itertools.product(AREAS, KINDS, AGES):
                delivered = begin is None or Millis(NOW - age * DAY) >= begin
                if reach.includes(kind, area) and delivered:
                    found.add((tenant, action, area, kind, age))
    return {power for power in found if program in (None, power[0])}


def parts(account: User | None, program: str) -> Any:
    return None if account is None else account.memberships.within((program,))


def assert_nobody_gained(manager: User, before: User | None, after: User | None) -> None:
    """What must be true of every change that a delegate may make."""
    mine, own = managed_programs(manager.to_actor()), powers(manager)
    # A lower role of theirs, where they manage no users, is not theirs to give.
    where = {power[:1] + power[2:] for power in own if power[1] is Action.MANAGE_USERS}
    own = {power for power in own if power[:1] + power[2:] in where}
    assert after is None or after.role is AccountRole.USER
    assert before is None or (before.id != manager.id and before.role is AccountRole.USER)
    assert powers(after) - powers(before) <= {power for power in own if power[0] in mine}
    for program in PROGRAMS:
        if program in mine:
            changed = (parts(before, program) or Memberships()) != (parts(after, program) or Memberships())
            assert not changed or powers(before, program) | powers(after, program) <= own
        else:
            assert (parts(before, program) or Memberships()) == (parts(after, program) or Memberships())


def assert_no_take_over(manager: User, before: User, after: User | None) -> None:
    names = ("email", "password_hash", "must_change_password")
    if after is None or any(getattr(before, name) != getattr(after, name) for name in names):
        assert set(before.tenant_ids) <= managed_programs(manager.to_actor())
        where = {power[:1] + power[2:] for power in powers(manager) if power[1] is Action.MANAGE_USERS}
        assert {power[:1] + power[2:] for power in powers(before)} <= where
        assert powers(before) <= powers(manager)


@settings(max_examples=500)
@given(_managers, _accounts, st.none() | _tenants, st.none() | _any_assignments, _kinds_of_account, _sign_ins)
def test_no_request_of_a_delegate_gives_anybody_more_than_the_delegate_has(
    manager: User,
    before: User,
    tenants: list[str] | None,
    assignments: list[dict[str, Any]] | None,
    kind: AccountRole,
    sign_in: dict[str, Any],
) -> None:
    actor = manager.to_actor()
    before = manager if before.id == manager.id else before
    try:
        shown_to(actor, before)
        require_managed(actor, [*(tenants or ()), *(one["tenantId"] for one in assignments or ())])
        memberships = changed_memberships(actor, before.memberships, tenants, assignments)
        after = replace(before.with_memberships(memberships), role=kind, **sign_in)
        judge_change(actor, before, after)
    except DataCollectError as refused:
        event(refused.code)
        return
    event("allowed, and changed" if after != before else "allowed")
    assert_nobody_gained(manager, before, after)
    assert_no_take_over(manager, before, after)


@settings(max_examples=300)
@given(_managers, st.none() | _accounts, st.none() | _accounts)
def test_not_even_a_request_that_no_route_makes_does(manager: User, before: User | None, after: User | None) -> None:
    """From any account to any other, creation and deletion among them."""
    try:
        if before is not None:
            before = manager if before.id == manager.id else before
            shown_to(manager.to_actor(), before)
        judge_change(manager.to_actor(), before, after)
    except DataCollectError as refused:
        event(refused.code)
        return
    event("allowed")
    if before is None and after is None:
        return
    assert_nobody_gained(manager, before, after)
    if before is not None:
        assert_no_take_over(manager, before, after)


@settings(max_examples=300)
@given(_managers, _accounts, _tenants, _any_assignments)
def test_nor_does_adding_an_account_that_exists(
    manager: User, before: User, tenants: list[str], assignments: list[dict[str, Any]]
) -> None:
    actor = manager.to_actor()
    before = manager if before.id == manager.id else before
    wanted = Memberships().changed(tenants, assignments)
    try:
        require_managed(actor, wanted.tenant_ids)
        after = admitted(actor, before, wanted)
    except DataCollectError as refused:
        event(refused.code)
        return
    event("allowed")
    assert_nobody_gained(manager, before, after)
    assert before.tenant_ids
    # Whoever was nobody's is not made the delegate's alone.
    assert set(before.tenant_ids) <= set(after.tenant_ids)
