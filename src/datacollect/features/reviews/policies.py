"""Setting policies, and who may be named for a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol

import msgspec

from datacollect.db import Reading, Tx
from datacollect.eventstore.checks import EventChecks, Mismatch
from datacollect.eventstore.log import EventLog
from datacollect.features.exports.errors import FileUnreadable
from datacollect.features.reviews import queries
from datacollect.features.reviews.errors import CannotDelegate, MissingRequiredRole, NoSuchReviewer
from datacollect.features.reviews.model import Policy, PolicyRow, Review
from datacollect.features.tenants import asked as tenants
from datacollect.features.users import service as users
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantNotFound
from datacollect.kernel.identity import Action, Role, TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.tenancy import Tenant

DELEGABLE = frozenset({"create-individual", "update-individual", "create-group", "update-group", "delete-entity"})
"""What another system can be asked about: what makes a record of its own other than it is."""


class Deciders(Protocol):
    """What is asked of the way to other systems."""

    async def deciders(self, scope: TenantScope, tenant: Tenant) -> Sequence[str]:
        """The adapter's names, the right one first, if somebody in the program's other system decides about changes."""


class Portable(msgspec.Struct, rename="camel", omit_defaults=True):
    """A policy in an export."""

    event_type: str
    policy: Policy
    required_role: Role | None = None
    external_adapter_type: str | None = None
    due_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None


class PortablePolicies:
    """Implements `Policies` of the exports."""

    async def list_portable(self, view: Reading, scope: TenantScope) -> Sequence[Mapping[str, Any]]:
        rows = await queries.list_policies(view, scope)
        return [
            msgspec.to_builtins(
                Portable(row.event_type, row.policy, row.required_role, row.external_adapter_type, row.due_days)
            )
            for row in rows
        ]

    async def take_up(self, tx: Tx, scope: TenantScope, documents: Sequence[Mapping[str, Any]], *, now: Millis) -> None:
        # One that asks another system waits until somebody has set that up: nothing is approved in its place.
        try:
            read = msgspec.convert(documents, list[Portable])
        except msgspec.ValidationError as error:
            raise FileUnreadable(f"In the review policies: {error}") from error
        there = {row.event_type for row in await queries.list_policies(tx, scope)}
        for one in read:
            if one.event_type not in there:
                row = PolicyRow(
                    new_guid(),
                    one.event_type,
                    one.policy,
                    one.required_role,
                    one.external_adapter_type,
                    one.due_days,
                )
                await queries.store_policy(tx, scope, row, now=now)


async def checked(deciders: Deciders, scope: TenantScope, tenant: Tenant, row: PolicyRow) -> PolicyRow:
    """The policy as it is to be stored. Raises `MissingRequiredRole`, `CannotDelegate`."""
    match row.policy:
        case Policy.INTERNAL_REVIEW:
            if row.required_role is None:
                raise MissingRequiredRole()
        case Policy.EXTERNAL_DELEGATE:
            if row.event_type not in DELEGABLE:
                raise CannotDelegate("Only what writes or deletes a person or a household can be delegated.")
            # A policy that nobody can carry out would be a queue that nothing ever leaves.
            names = await deciders.deciders(scope, tenant)
            wanted = row.external_adapter_type or next(iter(names), None)
            if wanted is None or wanted not in names:
                raise CannotDelegate()
            return replace(row, external_adapter_type=wanted)
    return row


async def store(tx: Tx, scope: TenantScope, row: PolicyRow, *, now: Millis) -> PolicyRow:
    """In place of what was set for the type. Gives it with the id that it has."""
    if not await tenants.hold(tx, scope):
        raise TenantNotFound(scope.tenant_id)
    await queries.store_policy(tx, scope, row, now=now)
    stored = await queries.find_policy(tx, scope, row.event_type)
    assert stored is not None
    return stored


async def reviewer(view: Reading, scope: TenantScope, email: str) -> str:
    """The e-mail, as it is written, of an account that may approve in the program. Raises `NoSuchReviewer`."""
    user = await users.find_user_by_email(view, email)
    if user is None or not user.to_actor().may(scope.tenant_id, Action.APPROVE):
        raise NoSuchReviewer()
    return user.email


async def findings(checks: EventChecks, log: EventLog, tenant: Tenant, review: Review) -> Sequence[Mismatch]:
    """What the program's forms say, now, of what is approved: it is flagged. Whether it is let in, a person has decided."""
    if review.standalone:
        return ()
    check = await checks.of(tenant)
    return () if check is None else check.mismatches(log.upcasters.upcast(review.event))
