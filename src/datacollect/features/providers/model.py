"""Who a provider's caller is here, and how long what it said is remembered."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from datacollect.kernel.clock import Clock, Millis
from datacollect.kernel.identity import Actor, Role
from datacollect.kernel.ids import TenantId
from datacollect.kernel.oidc import DEFAULT_ROLES, Identity, Provider, TokenRefused
from datacollect.kernel.sync_scope import RoleAssignment

HIGHEST_ROLE = max(DEFAULT_ROLES, key=lambda role: role.level)
"""No more than this comes in by a program's provider, whatever the account's role: whoever runs the provider must not
get at accounts and configs."""


def provider_actor(tenant_id: TenantId, provider: Provider, identity: Identity, account: Actor | None) -> Actor:
    """The caller, as what they are in this one program.

    `account` is the hub's own account of the same verified e-mail. It counts if somebody has given it a role in this
    program; an administrator's never does. Else the provider's default holds; raises `TokenRefused` if there is none.
    """
    given: Sequence[RoleAssignment] = ()
    if account is not None and not account.is_admin and tenant_id in account.tenant_ids:
        given = [_limited(assignment) for assignment in account.assignments_in(tenant_id)]
    if not given:
        given = [_default(tenant_id, provider)]
        account = None
    return Actor(
        kind="provider",
        label=f"{provider.type}:{identity.subject}",
        user_id=None if account is None else account.user_id,
        tenant_ids=frozenset({tenant_id}),
        assignments=tuple(given),
    )


def _default(tenant_id: TenantId, provider: Provider) -> RoleAssignment:
    if provider.default_role is None:
        raise TokenRefused("no account with a role in the program")
    return RoleAssignment(tenant_id, provider.default_role, area_id=provider.default_area)


def _limited(assignment: RoleAssignment) -> RoleAssignment:
    role = min(Role(assignment.role), HIGHEST_ROLE, key=lambda one: one.level)
    return replace(assignment, role=role.value)


_K = TypeVar("_K")
_V = TypeVar("_V")


class Remembered(Generic[_K, _V]):
    """The latest so many things, each until a moment of its own."""

    def __init__(self, clock: Clock, *, most: int) -> None:
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[_K, tuple[_V, Millis, Millis]] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        entry = self._entries.get(key)
        # A clock that was set back must not make it last.
        return entry[0] if entry is not None and entry[1] <= self._clock.now() < entry[2] else None

    def keep(self, key: _K, value: _V, *, until: Millis) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (value, self._clock.now(), until)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
