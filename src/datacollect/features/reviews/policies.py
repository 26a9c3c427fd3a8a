"""Setting policies, and who may be named for a decision."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from datacollect.db import Reading, Tx
from datacollect.eventstore.checks import EventChecks, Mismatch
from datacollect.eventstore.log import EventLog
from datacollect.features.reviews import queries
from datacollect.features.reviews.errors import CannotDelegate, MissingRequiredRole, NoSuchReviewer
from datacollect.features.reviews.model import Policy, PolicyRow, Review
from datacollect.features.tenants import asked as tenants
from datacollect.features.users import service as users
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import TenantNotFound
from datacollect.kernel.identity import Action, TenantScope
from datacollect.kernel.tenancy import Tenant

DELEGABLE = frozenset({"create-individual", "update-individual", "create-group", "update-group", "delete-entity"})
"""What another system can be asked about: what makes a record of its own other than it is."""


class Deciders(Protocol):
    """What is asked of the way to other systems."""

    async def deciders(self, scope: TenantScope, tenant: Tenant) -> Sequence[str]:
        """The adapter's names, the right one first, if somebody in the program's other system decides about changes."""


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
