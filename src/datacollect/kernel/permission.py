"""What a route asks of its caller, as data: the rows of the permission matrix.

A route is open to nobody until it declares a `Permission`, and it is this value that lets a caller in: the matrix in the
reference, the command that explains it and the check on a request read the same rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from datacollect.kernel.errors import Forbidden, InsufficientRole, PasswordChangeRequired, SelfServiceOnly
from datacollect.kernel.identity import MINIMUM_ROLE, AccountRole, Action, Actor, Role, TenantScope
from datacollect.kernel.ids import TenantId


class Callers(StrEnum):
    """Whose credentials a route takes."""

    ANYBODY = "anybody"
    """None are asked for."""
    STAFF = "staff"
    """An access token of an account."""
    SYNC = "staff and devices"
    """As STAFF, and tokens of the identity providers that the program names."""
    ADMIN = "administrators"
    """An access token of an account with role ADMIN."""
    CITIZEN = "citizens"
    """A self-service token, for the record that it names."""


class Where(StrEnum):
    """Which program the action is in."""

    NO_PROGRAM = "–"
    CONFIG_ID = "`configId`"
    TENANT_ID = "`tenantId`"
    PATH = "the path"
    OBJECT = "what the path names"
    ANY_PROGRAM = "any of the caller's"


@dataclass(frozen=True, slots=True)
class Permission:
    """One row: who may call, and what they must be allowed to do where."""

    callers: Callers
    action: Action | None = None
    where: Where = Where.NO_PROGRAM
    whole: bool = False
    """Whether the route tells of the whole program or changes it, so that a caller who is limited to a part of it may not
    call."""
    assigned: bool = False
    """Whether the caller must have a role of their own in the program: the contract lets a member without any assignment
    count as an enumerator on other routes only."""
    denied: type[Forbidden] | None = None
    """What to raise instead of the usual refusals, where the contract has a text of its own."""
    password_due: bool = False
    """Whether the route is also there for accounts that have to change their password before anything else."""

    @property
    def minimum_role(self) -> Role | None:
        return None if self.action is None else MINIMUM_ROLE[self.action]

    def require_own_password(self, actor: Actor) -> None:
        """Raises `PasswordChangeRequired` for who has to choose one before they do this."""
        if actor.must_change_password and not self.password_due:
            raise PasswordChangeRequired()

    def admit(self, actor: Actor, tenant_id: TenantId | None = None) -> TenantScope | None:
        """Let the caller in: with a scope where the action is in one program, else with none.

        Raises a `Forbidden`: `AdminRequired`, `TenantAccessDenied`, `InsufficientRole`, `BeyondReach`, or `denied`.
        """
        try:
            scope = self._admit(actor, tenant_id)
        except Forbidden:
            if self.denied is None:
                raise
            raise self.denied() from None
        if self.whole and scope is not None:
            scope.require_everything()  # never `denied`: another role would not help
        return scope

    def _admit(self, actor: Actor, tenant_id: TenantId | None) -> TenantScope | None:
        if self.callers is Callers.CITIZEN:
            raise SelfServiceOnly()
        if self.callers is Callers.ADMIN:
            actor.require_admin()
        if self.action is None:
            return None
        if self.where is Where.ANY_PROGRAM:
            if not actor.is_admin and not any(actor.may(tenant, self.action) for tenant in actor.tenant_ids):
                raise InsufficientRole(action=self.action.value)
            return None
        assert tenant_id is not None
        scope = actor.in_tenant(tenant_id, self.action)
        if self.assigned and not actor.is_admin and not actor.assignments_in(tenant_id):
            raise InsufficientRole(action=self.action.value)
        return scope

    def is_open_to(self, role: Role) -> bool:
        """Whether a member with that role, and with no limits, may call in their program."""
        if self.callers in (Callers.ADMIN, Callers.CITIZEN):
            return False
        return self.minimum_role is None or role.level >= self.minimum_role.level


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a caller may or may not: facts in the order in which they count, and the refusal if there is one."""

    facts: tuple[tuple[str, str], ...]
    refused: Forbidden | None


def explain(permission: Permission, actor: Actor, tenant_id: TenantId | None) -> Explanation:
    """The verdict is what `require_own_password` and `admit` say on a request; the facts are what they look at."""
    facts = [("route", asked_by(permission)), ("account", _account(actor))]
    if actor.must_change_password:
        facts.append(("password", "must be changed before anything else"))
    if permission.action is not None:
        tenants = sorted(actor.tenant_ids) if permission.where is Where.ANY_PROGRAM else [tenant_id or TenantId("")]
        for tenant in tenants:
            facts += _in_tenant(permission, actor, tenant)
    try:
        permission.require_own_password(actor)
        permission.admit(actor, tenant_id)
    except Forbidden as refused:
        return Explanation(tuple(facts), refused)
    return Explanation(tuple(facts), None)


def asked_by(permission: Permission) -> str:
    """What the row asks, in words."""
    text = f"open to {permission.callers.value}"
    if permission.action is not None and permission.minimum_role is not None:
        place = "any program" if permission.where is Where.ANY_PROGRAM else f"the program named by {permission.where}"
        text += f"; needs `{permission.action}` in {place}, which takes {permission.minimum_role} or higher"
    if permission.assigned:
        text += "; only with an assignment there"
    if permission.whole:
        text += "; only without limits of areas or kinds"
    return text


def _account(actor: Actor) -> str:
    if actor.is_admin:
        return "role ADMIN: every action in every program"
    programs = ", ".join(sorted(actor.tenant_ids)) or "no program"
    return f"role {AccountRole.USER}, member of {programs}"


def _in_tenant(permission: Permission, actor: Actor, tenant_id: TenantId) -> Iterator[tuple[str, str]]:
    if actor.is_admin:
        return
    role = actor.role_in(tenant_id)
    held = [one.role for one in actor.assignments if one.tenant_id == tenant_id]
    if tenant_id not in actor.tenant_ids:
        yield "role", f"not a member of {tenant_id}"
    elif role is None:
        yield "role", f"member of {tenant_id}, but no assignment there has a known role ({', '.join(held)})"
    elif not held:
        yield "role", f"{role} in {tenant_id}: what a member without any assignment counts as"
    else:
        yield "role", f"{role} in {tenant_id}, the highest of its assignments ({', '.join(held)})"
    if role is not None:
        needed = permission.minimum_role
        yield "reach", actor.reach_in(tenant_id, needed if needed and needed.level <= role.level else role).describe()
