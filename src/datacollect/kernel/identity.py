"""Who acts, and in which tenant: the walls between tenants as types.

Whatever touches tenant data takes a `TenantScope`. Only `Actor.in_tenant` makes one (and `system_scope`, for work
the hub does itself), so "forgot the filter" has no spelling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from datacollect.kernel.errors import AdminRequired, BeyondReach, InsufficientRole, NotOwnRecord, TenantAccessDenied
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.sync_scope import EVERYWHERE, NOWHERE, Reach, RoleAssignment, united_reach


class AccountRole(StrEnum):
    ADMIN = "ADMIN"
    USER = "USER"


class Role(StrEnum):
    """What a user is in one program; each may do all that the ones before it may."""

    VIEWER = "viewer"
    ENUMERATOR = "enumerator"
    SUPERVISOR = "supervisor"
    PROGRAM_ADMIN = "program-admin"
    SYSTEM_ADMIN = "system-admin"

    @property
    def level(self) -> int:
        return _LEVELS[self]


_LEVELS = {role: 20 * (rank + 1) for rank, role in enumerate(Role)}
_ROLE_NAMES = frozenset(role.value for role in Role)


class Action(StrEnum):
    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    APPROVE = "approve"
    EXPORT = "export"
    """Take data out as a file: much of it at once, and out of the hub's hands from then on."""
    SYNCHRONISE = "synchronise"
    """Have the program exchange with its other system, and decide what becomes of records that did not arrive."""
    MANAGE_USERS = "manage-users"
    MANAGE_CONFIG = "manage-config"


MINIMUM_ROLE: Mapping[Action, Role] = {
    Action.READ: Role.VIEWER,
    Action.CREATE: Role.ENUMERATOR,
    Action.UPDATE: Role.ENUMERATOR,
    Action.DELETE: Role.SUPERVISOR,
    Action.APPROVE: Role.SUPERVISOR,
    Action.EXPORT: Role.PROGRAM_ADMIN,
    Action.SYNCHRONISE: Role.PROGRAM_ADMIN,
    Action.MANAGE_USERS: Role.PROGRAM_ADMIN,
    Action.MANAGE_CONFIG: Role.SYSTEM_ADMIN,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """An authenticated caller, as the database knows them now (not as their token remembers them)."""

    kind: Literal["user", "provider", "citizen", "system"]
    """A provider's caller is someone whom a program's identity provider vouches for, and nobody elsewhere. A citizen has
    no role anywhere: what they may do is `OwnRecord`."""
    label: str
    """Who this is in audit and log lines: the e-mail, `<type>:<sub>` of a provider's caller, `self-service:<identifier>`
    of a citizen, `system`, `command line`."""
    user_id: UserId | None = None
    account_role: AccountRole = AccountRole.USER
    tenant_ids: frozenset[TenantId] = frozenset()
    assignments: tuple[RoleAssignment, ...] = ()
    must_change_password: bool = False
    """Whether the account has to get another password before it may do anything else."""
    session: str | None = None
    """The sign-in they speak from: the family of their tokens."""
    _entered: "dict[tuple[TenantId, Action], TenantScope]" = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Where they have been let in. An actor does not change: an account that did is another one."""

    def __post_init__(self) -> None:
        if self.kind == "provider" and (self.is_admin or len(self.tenant_ids) != 1):
            raise ValueError("a provider's caller belongs to exactly one program")
        if self.kind == "citizen" and (self.is_admin or self.tenant_ids or self.assignments):
            raise ValueError("a citizen is a member of no program")

    @property
    def is_admin(self) -> bool:
        return self.account_role is AccountRole.ADMIN

    @property
    def event_user_id(self) -> str:
        """The actor as text beside the `userId` an event claims."""
        return str(self.user_id) if self.user_id is not None else self.label

    def require_admin(self) -> None:
        if not self.is_admin:
            raise AdminRequired()

    def role_in(self, tenant_id: TenantId) -> Role | None:
        """The highest role in that program, wherever it reaches; None for a stranger.

        A member without any assignment there counts as an enumerator (existing deployments have such users);
        assignments with unknown role names grant nothing.
        """
        if self.is_admin:
            return Role.SYSTEM_ADMIN
        if tenant_id not in self.tenant_ids:
            return None
        mine = [a.role for a in self.assignments if a.tenant_id == tenant_id]
        if not mine:
            return Role.ENUMERATOR
        known = [Role(role) for role in mine if role in _ROLE_NAMES]
        return max(known, key=lambda role: role.level, default=None)

    def assignments_in(self, tenant_id: TenantId, least: Role = Role.VIEWER) -> Sequence[RoleAssignment]:
        """Those that grant that role there, or a higher one: one with an unknown role must not lift the limits of the
        others."""
        mine = [a for a in self.assignments if a.tenant_id == tenant_id and a.role in _ROLE_NAMES]
        return mine if least is Role.VIEWER else [a for a in mine if Role(a.role).level >= least.level]

    def may(self, tenant_id: TenantId, action: Action) -> bool:
        """Whether they may do that to anything there; to what, `in_tenant` tells."""
        role = self.role_in(tenant_id)
        return role is not None and role.level >= MINIMUM_ROLE[action].level

    def in_tenant(self, tenant_id: TenantId, action: Action) -> "TenantScope":
        """Step into a tenant to do one kind of thing there: as far as those of their assignments reach that allow it.

        Raises `TenantAccessDenied` for a stranger, `InsufficientRole` for a member whose role does not allow it.
        """
        scope = self._entered.get((tenant_id, action))
        if scope is None:
            scope = self._entered[tenant_id, action] = self._enter(tenant_id, action)
        return scope

    def _enter(self, tenant_id: TenantId, action: Action) -> "TenantScope":
        role = self.role_in(tenant_id)
        if role is None:
            if tenant_id in self.tenant_ids:
                raise InsufficientRole(action=action.value)
            raise TenantAccessDenied()
        if not self.may(tenant_id, action):
            raise InsufficientRole(action=action.value)
        reach = self.reach_in(tenant_id, MINIMUM_ROLE[action])
        return TenantScope(_KEY, tenant_id, self, self._role_throughout(tenant_id, reach, highest=role), reach)

    def reach_in(self, tenant_id: TenantId, least: Role = Role.VIEWER) -> Reach:
        """Where they are that, or more: what their assignments of such roles reach together; administrators everywhere."""
        role = self.role_in(tenant_id)
        if role is None or role.level < least.level:
            return NOWHERE
        return EVERYWHERE if self.is_admin else united_reach(self.assignments_in(tenant_id, least))

    def _role_throughout(self, tenant_id: TenantId, reach: Reach, *, highest: Role) -> Role:
        """The highest role that they have in all of what is reached."""
        held = [role for role in Role if role.level <= highest.level]
        return next(role for role in reversed(held) if reach.is_part_of(self.reach_in(tenant_id, role)))


_KEY = object()


@dataclass(frozen=True, slots=True)
class TenantScope:
    """Permission to touch one tenant's data. Cannot be built by hand: see the module's docstring."""

    _key: object = field(repr=False)
    tenant_id: TenantId
    actor: Actor
    role: Role
    """What the caller is in all of the reach; in a part of it they may be more."""
    reach: Reach = EVERYWHERE

    def __post_init__(self) -> None:
        if self._key is not _KEY:
            raise TypeError("a TenantScope comes from Actor.in_tenant or system_scope")

    def require_everything(self) -> None:
        """For what tells of the whole tenant. Raises `BeyondReach` if the caller is limited to a part of it."""
        if self.reach.is_bounded:
            raise BeyondReach()

    def held_as(self, role: Role) -> "TenantScope | None":
        """The part of it where the caller is that, or more; None if they are that nowhere."""
        if self.role.level >= role.level:
            return self
        there = self.actor.reach_in(self.tenant_id, role)
        boxes = tuple(part for box in self.reach.boxes for part in there.within(box).boxes)
        return None if there == NOWHERE else replace(self, role=role, reach=Reach(boxes))

    def where_decided(self, system: str) -> "TenantScope":
        """The hub's own permission, on the word of another system: it is what trails name."""
        if self.actor.kind != "system":
            raise ValueError("only the hub itself acts on the word of another system")
        return replace(self, actor=Actor(kind="system", label=f"external:{system}"))

    def limited_to(self, reach: Reach) -> "TenantScope":
        """The same permission for a part of the tenant."""
        return replace(self, reach=reach)


@dataclass(frozen=True, slots=True)
class Citizen:
    """Somebody who has shown whose record is theirs, as the database knows their sign-in now."""

    tenant_id: TenantId
    entity_guid: str
    identifier: str
    """What they have signed in with: a phone number or an e-mail as it was typed, else the guid of their record."""
    session: str

    @property
    def label(self) -> str:
        """The `userId` of what they send."""
        return f"{CITIZEN_PREFIX}{self.identifier}"

    def own_record(self) -> "OwnRecord":
        return OwnRecord(_KEY, self)


CITIZEN_PREFIX = "self-service:"
"""No account and no provider's caller has a label that begins with it."""


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """Permission to touch one entity: a citizen's. It opens no list, no search and nobody else's record."""

    _key: object = field(repr=False)
    citizen: Citizen

    def __post_init__(self) -> None:
        if self._key is not _KEY:
            raise TypeError("an OwnRecord comes from Citizen.own_record")

    @property
    def tenant_id(self) -> TenantId:
        return self.citizen.tenant_id

    @property
    def entity_guid(self) -> str:
        return self.citizen.entity_guid

    def about(self, entity_guid: str) -> TenantScope:
        """A scope for statements about that entity and nothing else. Raises `NotOwnRecord` for any but the citizen's."""
        if entity_guid != self.entity_guid:
            raise NotOwnRecord()
        return TenantScope(_KEY, self.tenant_id, Actor("citizen", self.citizen.label), Role.ENUMERATOR)


SYSTEM = Actor(kind="system", label="system")

COMMAND_LINE = Actor(kind="system", label="command line", account_role=AccountRole.ADMIN)
"""Somebody at the hub's own command line. Who can open the database there may do everything and has no account.

Never reachable from a request's claims: see docs/decisions/0034-the-command-line.md.
"""

LABELS_WITHOUT_ACCOUNT = frozenset({SYSTEM.label, COMMAND_LINE.label})
"""Whom entries name that come from nobody who has signed in."""


def system_scope(tenant_id: TenantId) -> TenantScope:
    """The hub's own hand in a tenant: seeding, jobs and maintenance. Never reachable from a request's claims."""
    return TenantScope(_KEY, tenant_id, SYSTEM, Role.SYSTEM_ADMIN)
