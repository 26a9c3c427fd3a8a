"""Writing and reading the security log. Source: the contract's authentication area, weak point W18."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.db import Reading, Tx
from datacollect.features.security_log import queries
from datacollect.features.security_log.model import Entry, Filters, Mark, SecurityAction, hint_of
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId, UserId
from datacollect.kernel.source import Source

__all__ = ["Entry", "Filters", "Mark", "SecurityAction", "forget_expired", "hint_of", "newest", "record"]

_DAY_MILLIS = 86_400_000
_FORGOTTEN_AT_ONCE = 100


async def record(
    tx: Tx,
    action: SecurityAction,
    *,
    source: Source | None,
    now: Millis,
    actor: UserId | None = None,
    subject: UserId | None = None,
    hint: str | None = None,
    tenant_id: TenantId | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note what happens in `tx`: it is kept if and only if that is, and what cannot be noted does not happen.

    `subject` is the account it is about, `actor` the one that did it; `hint` (see `hint_of`) stands for an account that
    does not exist. `details` names things (`{"changed": ["role"]}`), never e-mails or values of secrets. Without a
    `source` the hub did it by itself.
    """
    await queries.insert_entry(
        tx,
        recorded_ms=now,
        action=action.value,
        actor_user_id=actor,
        subject_user_id=subject,
        subject_hint=hint,
        tenant_id=tenant_id,
        origin=source.origin if source else None,
        request_id=source.request_id if source else None,
        details=details or {},
    )


async def forget_expired(tx: Tx, *, days: int, now: Millis) -> None:
    """Forget a few of the entries that are older than `days`. Called by what is done often, so no job is needed."""
    await queries.delete_before(tx, Millis(now - days * _DAY_MILLIS), most=_FORGOTTEN_AT_ONCE)


async def newest(
    view: Reading, filters: Filters, *, before: Mark | None, limit: int
) -> tuple[Sequence[Entry], Mark | None]:
    """A page, and what to give as `before` for the one that follows; None on the last page."""
    found = await queries.list_newest(view, filters, before=before, limit=limit + 1)
    page = found[:limit]
    return page, Mark(page[-1].recorded_at, page[-1].id) if len(found) > limit else None
