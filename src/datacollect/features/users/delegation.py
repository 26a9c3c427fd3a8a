"""What somebody who is no ADMIN may do with the accounts of the programs whose users they manage.

One rule runs through it: whatever a delegate does to an account in a program, it had there no more than the delegate
has, and has no more afterwards. See docs/decisions/0022-delegated-administration.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

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
from datacollect.kernel.clock import parse_timestamp
from datacollect.kernel.errors import AdminRequired
from datacollect.kernel.identity import MINIMUM_ROLE, AccountRole, Action, Actor, Role
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sync_scope import NOWHERE, Reach

_MANAGES = MINIMUM_ROLE[Action.MANAGE_USERS]


@dataclass(frozen=True, slots=True)
class Rights:
    """What an account may do in one program, and with how much of it."""

    role: Role | None
    reaches: Mapping[Role, Reach]
    """Where it has each role up to that one, or a higher one."""
    windows: tuple[Mapping[str, Any], ...]
    """All of them hold: the narrowest decides what is delivered."""

    @classmethod
    def of(cls, actor: Actor, tenant_id: TenantId) -> "Rights":
        role = actor.role_in(tenant_id)
        held = [one for one in Role if role is not None and one.level <= role.level]
        overrides = [one.sync_scope_override or {} for one in actor.assignments_in(tenant_id)]
        return cls(
            role,
            {one: actor.reach_in(tenant_id, one) for one in held},
            tuple(override["timeWindow"] for override in overrides if override.get("timeWindow")),
        )

    def reach_to_give(self, role: Role) -> Reach:
        """Where who has these rights may give that role: where they have it, or a higher one, and manage users."""
        return self.reaches.get(max(role, _MANAGES, key=attrgetter("level")), NOWHERE)

    def exceed_role(self, own: "Rights") -> bool:
        return self.role is not None and (own.role is None or self.role.level > own.role.level)

    def exceed_scope(self, own: "Rights") -> bool:
        return self.role is not None and not (
            all(reach.is_part_of(own.reach_to_give(role)) for role, reach in self.reaches.items())
            and all(any(_is_narrower(window, limit) for window in self.windows) for limit in own.windows)
        )


def managed_programs(manager: Actor) -> frozenset[TenantId]:
    """The programs in which a delegate manages users. An ADMIN's word counts in all, so do not ask about one."""
    return frozenset(tenant_id for tenant_id in manager.tenant_ids if manager.may(tenant_id, Action.MANAGE_USERS))


def require_manager(manager: Actor) -> None:
    """Raises `AdminRequired` for somebody who manages no users at all."""
    if not manager.is_admin and not managed_programs(manager):
        raise AdminRequired()


def seen_by(manager: Actor, user: User) -> User | None:
    """The account as the manager may see it; None for one that is not their business.

    Of memberships elsewhere, and of administrators, a delegate learns nothing.
    """
    if manager.is_admin:
        return user
    visible = user.memberships.within(managed_programs(manager))
    if user.role is AccountRole.ADMIN or not visible.tenant_ids:
        return None
    return user.with_memberships(visible)


def shown_to(manager: Actor, user: User) -> User:
    """As `seen_by`. Raises `UserNotFound`."""
    seen = seen_by(manager, user)
    if seen is None:
        raise UserNotFound()
    return seen


def require_managed(manager: Actor, named: Sequence[str]) -> None:
    """Raises `ForeignProgram` if a delegate names another program, whether or not there is one of that name."""
    if not manager.is_admin and not managed_programs(manager).issuperset(named):
        raise ForeignProgram()


def changed_memberships(
    manager: Actor,
    held: Memberships,
    tenant_ids: Sequence[str] | None,
    assignments: Sequence[Mapping[str, Any]] | None,
) -> Memberships:
    """What the lists of a request make of the memberships. A delegate's speak of their own programs; the rest stays."""
    if manager.is_admin:
        return held.changed(tenant_ids, assignments)
    mine = managed_programs(manager)
    return held.without(mine).joined(held.within(mine).changed(tenant_ids, assignments))


def judge_change(manager: Actor, before: User | None, after: User | None) -> None:
    """Raises unless the manager may turn the account `before` into `after`; None means that there is none.

    The caller has made sure that `before` is visible to the manager (`shown_to`).
    """
    if manager.is_admin:
        return
    _judge_account(manager, before, after)
    if after is not None and not after.tenant_ids:
        raise ProgramRequired()
    _judge_programs(manager, before, after)


def admitted(manager: Actor, user: User, given: Memberships) -> User:
    """The account with memberships of programs it does not belong to yet. Raises unless the manager may give it those.

    A delegate needs no permission to see it: whoever knows its e-mail may. Left alone are administrators, and accounts
    without any program: such a one would be the delegate's alone, password and all.
    """
    after = user.with_memberships(user.memberships.joined(given))
    if not manager.is_admin:
        if user.role is AccountRole.ADMIN or not user.tenant_ids:
            raise UserNotFound()
        if user.id == manager.user_id:
            raise OwnAccount()
    if not set(given.tenant_ids).isdisjoint(user.tenant_ids):
        raise AlreadyMember()
    if not manager.is_admin:
        _judge_programs(manager, user, after)
    return after


def _judge_account(manager: Actor, before: User | None, after: User | None) -> None:
    """What is not about one program: whose account it is, and who can sign in with it."""
    if any(account is not None and account.role is AccountRole.ADMIN for account in (before, after)):
        raise AdminRequired()
    if before is None:
        return
    if before.id == manager.user_id:
        raise OwnAccount()
    if after is not None and _sign_in(after) == _sign_in(before):
        return
    # Whoever sets the password can act as the account, wherever it belongs.
    if not managed_programs(manager).issuperset(before.tenant_ids):
        raise AccountBelongsElsewhere()
    for tenant_id, held in before.by_program().items():
        _require_no_more_than_own(manager, tenant_id, held)


def _judge_programs(manager: Actor, before: User | None, after: User | None) -> None:
    mine = managed_programs(manager)
    for tenant_id, (held, given) in _changes(before, after).items():
        if tenant_id not in mine:
            raise ForeignProgram()
        if held is not None:
            _require_no_more_than_own(manager, tenant_id, held)
        if given is not None:
            own, new = Rights.of(manager, tenant_id), Rights.of(given, tenant_id)
            if new.exceed_role(own):
                raise RoleAboveOwn()
            if new.exceed_scope(own):
                raise ScopeBeyondOwn()


def _require_no_more_than_own(manager: Actor, tenant_id: TenantId, member: Actor) -> None:
    own, held = Rights.of(manager, tenant_id), Rights.of(member, tenant_id)
    if held.exceed_role(own) or held.exceed_scope(own):
        raise AccountOutranksYou()


def _changes(before: User | None, after: User | None) -> dict[TenantId, tuple[Actor | None, Actor | None]]:
    """The programs in which the account is not what it was: what it was there, and what it becomes."""
    held, given = ({} if user is None else user.by_program() for user in (before, after))
    return {tenant: pair for tenant in held | given if _differ(*(pair := (held.get(tenant), given.get(tenant))))}


def _differ(held: Actor | None, given: Actor | None) -> bool:
    return held is None or given is None or held.assignments != given.assignments


def _sign_in(user: User) -> tuple[str, str, bool]:
    return user.email, user.password_hash, user.must_change_password


def _is_narrower(window: Mapping[str, Any], limit: Mapping[str, Any]) -> bool:
    """Whether the window never begins before the limit's does. Of a rolling and a fixed one, nobody can say so."""
    if window["type"] != limit["type"]:
        return False
    if window["type"] == "rolling":
        return bool(window["days"] <= limit["days"])
    return parse_timestamp(window["floor"]) >= parse_timestamp(limit["floor"])
