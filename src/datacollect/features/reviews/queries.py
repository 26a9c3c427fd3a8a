"""SQL of reviews."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, true, update

from datacollect.db import Reading, Tx, insert_into
from datacollect.eventstore.event import event_from_body
from datacollect.features.reviews.model import (
    Comment,
    CommentKind,
    Delegation,
    DelegationStatus,
    News,
    Policy,
    PolicyRow,
    Review,
    Status,
    SubmissionOrigin,
)
from datacollect.features.reviews.tables import (
    review_comments,
    review_configs,
    review_delegations,
    review_owners,
    submission_reviews,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import CITIZEN_PREFIX, Role, TenantScope
from datacollect.kernel.ids import TenantId

_r, _c, _d = submission_reviews.c, review_configs.c, review_delegations.c

_UNDER_WAY = (DelegationStatus.WAITING.value, DelegationStatus.ASKED.value)

Key = tuple[Millis, str]
"""When a review was made, and its id: what lists are sorted by."""

MOST_BYTES = 16 * 1024 * 1024
"""Of submissions that are held in memory at the same time; one more may be begun. What citizens send fills lists."""


class Listed(NamedTuple):
    """A part of a list."""

    found: Sequence[Review]
    is_cut: bool
    """Whether there were more to give, but for their size."""


# -- reviews


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; None does not narrow."""

    status: str | None = None
    event_type: str | None = None
    entity_guid: str | None = None
    submitted_by: str | None = None
    assigned_to: str | None = None
    since: Millis | None = None
    until: Millis | None = None
    due_by: Millis | None = None


async def insert_review(tx: Tx, scope: TenantScope, review: Review, *, news: News | None) -> None:
    await tx.execute(insert(submission_reviews).values(_values(scope, review) | {"news": news}))
    await tx.execute(insert(review_owners).values(id=review.id, tenant_id=scope.tenant_id))


async def find(view: Reading, scope: TenantScope, id: str) -> Review | None:
    row = (await view.execute(_of(scope).where(_r.id == id))).first()
    return None if row is None else _review(row)


async def find_many(view: Reading, scope: TenantScope, ids: Collection[str]) -> Mapping[str, Review]:
    """By id."""
    found = await view.execute(_of(scope).where(_r.id.in_(sorted(ids))))
    return {row.id: _review(row) for row in found}


async def find_by_submission(view: Reading, scope: TenantScope, guid: str) -> Review | None:
    row = (await view.execute(_of(scope).where(_r.submission_guid == guid))).first()
    return None if row is None else _review(row)


async def list_oldest(view: Reading, scope: TenantScope, filters: Filters, *, after: Key | None, limit: int) -> Listed:
    wanted = _narrowed(scope, filters).limit(limit)
    if after is not None:
        at, id = after
        # In this form both engines begin at the page, and not at the oldest row.
        wanted = wanted.where(_r.created_ms >= at, or_(_r.created_ms > at, _r.id > id))
    return await _listed(view, scope, wanted, newest_first=False)


async def list_newest_of_entity(
    view: Reading,
    scope: TenantScope,
    entity_guid: str,
    *,
    before: Key | None,
    limit: int,
    submitter_key: str | None = None,
) -> Listed:
    wanted = _of(scope).where(_r.entity_guid == entity_guid)
    if submitter_key is not None:
        wanted = wanted.where(_r.submitter_key == submitter_key)
    wanted = wanted.limit(limit)
    if before is not None:
        at, id = before
        wanted = wanted.where(_r.created_ms <= at, or_(_r.created_ms < at, _r.id < id))
    return await _listed(view, scope, wanted, newest_first=True)


async def _listed(view: Reading, scope: TenantScope, wanted: Select[Any], *, newest_first: bool) -> Listed:
    """Those that are wanted, in order, as far as there is room for them: in one statement."""

    def order(columns: Any) -> Sequence[Any]:
        keys = (columns.created_ms, columns.id)
        return [key.desc() for key in keys] if newest_first else keys

    # On PostgreSQL the one that does not unpack the text.
    length = func.octet_length if view.dialect == "postgresql" else func.length
    size = (length(_r.body) + func.coalesce(length(_r.base), 0)).label("size")
    page = wanted.with_only_columns(_r.id, _r.created_ms, size).order_by(*order(_r)).subquery()
    upto = func.sum(page.c.size).over(order_by=order(page.c), rows=(None, 0))
    sized = select(page.c.id, (upto - page.c.size).label("before"), func.count().over().label("number")).subquery()
    rows = (
        select(submission_reviews, sized.c.number)
        .join(sized, _r.id == sized.c.id)
        .where(_r.tenant_id == scope.tenant_id, sized.c.before < MOST_BYTES)
        .order_by(*order(_r))
    )
    found: Sequence[Any] = (await view.execute(rows)).all()
    return Listed([_review(row) for row in found], bool(found) and found[0].number > len(found))


class Sent(NamedTuple):
    """How many somebody has sent, and when the first of them."""

    number: int
    oldest: Millis


async def sent_between(
    view: Reading, scope: TenantScope, entity_guid: str, submitter_key: str, *, after: Millis, before: Millis
) -> Sent:
    """Of the submissions about one entity, those of one submitter between these instants."""
    mine = and_(
        _r.tenant_id == scope.tenant_id,
        _r.entity_guid == entity_guid,
        _r.created_ms > after,
        _r.created_ms < before,
        _r.submitter_key == submitter_key,
    )
    found = select(func.count().label("number"), func.min(_r.created_ms).label("oldest")).where(mine)
    row: Any = (await view.execute(found)).one()
    return Sent(row.number, Millis(after if row.oldest is None else row.oldest))


async def change(
    tx: Tx,
    scope: TenantScope,
    id: str,
    *,
    found_in: Collection[Status],
    now: Millis,
    unreplaced: bool = False,
    **values: Any,
) -> bool:
    """Change a review if it is in one of these states; whether it was. Of several at the same time one is first."""
    wanted = and_(_r.tenant_id == scope.tenant_id, _r.id == id, _r.status.in_(sorted(found_in)))
    if unreplaced:
        wanted = and_(wanted, _r.replaced_by.is_(None))
    done = await tx.execute(update(submission_reviews).where(wanted).values(updated_ms=now, **values))
    return bool(done.rowcount)


async def list_news(view: Reading, scope: TenantScope, *, now: Millis, limit: int) -> Sequence[tuple[Review, News]]:
    """What has not been told; first what has happened, then what is due."""
    untold = submission_reviews.c.news
    rows = list(await view.execute(_of(scope).where(untold.is_not(None)).order_by(_r.id).limit(limit)))
    found = [(_review(row), News(row.news)) for row in rows]
    if len(found) < limit:
        due = _of(scope).where(_r.status == Status.PENDING.value, _r.due_told.is_(False), _r.due_ms <= now)
        rows = list(await view.execute(due.order_by(_r.due_ms).limit(limit - len(found))))
        found += [(_review(row), News.DUE) for row in rows]
    return found


async def note_told(tx: Tx, scope: TenantScope, review: Review, news: News) -> bool:
    """Whether it still was what there was to tell."""
    ours = and_(_r.tenant_id == scope.tenant_id, _r.id == review.id)
    if news is News.DUE:
        done = await tx.execute(update(submission_reviews).where(ours, _r.due_told.is_(False)).values(due_told=true()))
    else:
        is_latest = and_(ours, _r.news == news.value, _r.updated_ms == review.updated_at)
        done = await tx.execute(update(submission_reviews).where(is_latest).values(news=None))
    return bool(done.rowcount)


def unless_untold(first: News, news: News) -> ColumnElement[str | None]:
    """What there is to tell from now on: `first`, if that has not been told, for somebody waits for it."""
    return case((_r.news == first.value, _r.news), else_=news.value)


async def tenants_with_news(view: Reading, *, now: Millis) -> Sequence[TenantId]:
    """Those where there is something to tell; asked for all tenants."""
    happened = select(_r.tenant_id).where(_r.news.is_not(None)).distinct()
    due = select(_r.tenant_id).where(
        _r.status == Status.PENDING.value, _r.due_told.is_(False), _r.due_ms.is_not(None), _r.due_ms <= now
    )
    found = await view.execute(happened.union(due))
    return sorted(TenantId(row.tenant_id) for row in found)


def _narrowed(scope: TenantScope, filters: Filters) -> Select[Any]:
    wanted = _of(scope)
    if filters.submitted_by is not None:
        wanted = wanted.where(_is_by(scope, filters.submitted_by))
    for name in ("status", "event_type", "entity_guid", "assigned_to"):
        value = getattr(filters, name)
        if value is not None:
            wanted = wanted.where(_r[name] == value)
    if filters.since is not None:
        wanted = wanted.where(_r.created_ms >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(_r.created_ms <= filters.until)
    if filters.due_by is not None:
        wanted = wanted.where(_r.due_ms <= filters.due_by)
    return wanted


def _is_by(scope: TenantScope, label: str) -> ColumnElement[bool]:
    """Of a citizen, all that they have submitted: what they sign in with, and how they type it, changes from time to time."""
    if not label.startswith(CITIZEN_PREFIX):
        return _r.submitted_by == label
    named = submission_reviews.alias().c
    keys = select(named.submitter_key).where(named.tenant_id == scope.tenant_id, named.submitted_by == label)
    return _r.submitter_key.in_(keys)


def _of(scope: TenantScope) -> Select[Any]:
    return select(submission_reviews).where(_r.tenant_id == scope.tenant_id)


def _values(scope: TenantScope, review: Review) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "id": review.id,
        "submission_guid": review.submission_guid,
        "status": review.status.value,
        "policy": review.policy.value,
        "required_role": review.required_role,
        "adapter_type": review.adapter_type,
        "origin": review.origin.value,
        "standalone": review.standalone,
        "submitted_by": review.submitted_by,
        "submitter_key": review.submitter_key,
        "reviewed_by": review.reviewed_by,
        "reviewed_ms": review.reviewed_at,
        "rejection_reason": review.rejection_reason,
        "event_type": review.event_type,
        "entity_guid": review.entity_guid,
        "body": review.event.body(),
        "content_hash": review.content_hash,
        "base": None if review.base is None else _text(review.base),
        "due_ms": review.due_at,
        "assigned_to": review.assigned_to,
        "replaces": review.replaces,
        "replaced_by": review.replaced_by,
        "created_ms": review.created_at,
        "updated_ms": review.updated_at,
    }


def _review(row: Any) -> Review:
    return Review(
        id=row.id,
        status=Status(row.status),
        policy=Policy(row.policy),
        required_role=None if row.required_role is None else Role(row.required_role),
        adapter_type=row.adapter_type,
        origin=SubmissionOrigin(row.origin),
        standalone=bool(row.standalone),
        submitted_by=row.submitted_by,
        submitter_key=row.submitter_key,
        event=event_from_body(row.body),
        content_hash=row.content_hash,
        base=None if row.base is None else msgspec.json.decode(row.base),
        created_at=Millis(row.created_ms),
        updated_at=Millis(row.updated_ms),
        reviewed_by=row.reviewed_by,
        reviewed_at=_instant(row.reviewed_ms),
        rejection_reason=row.rejection_reason,
        due_at=_instant(row.due_ms),
        assigned_to=row.assigned_to,
        replaces=row.replaces,
        replaced_by=row.replaced_by,
    )


# -- whose they are


async def find_owner(view: Reading, id: str) -> TenantId | None:
    return (await view.execute(select(review_owners.c.tenant_id).where(review_owners.c.id == id))).scalar_one_or_none()


async def find_owners(view: Reading, ids: Collection[str]) -> Mapping[str, TenantId]:
    """By id; of those that there are."""
    found = select(review_owners.c.id, review_owners.c.tenant_id).where(review_owners.c.id.in_(sorted(ids)))
    return {row.id: TenantId(row.tenant_id) for row in await view.execute(found)}


async def forget_owners(tx: Tx, scope: TenantScope) -> None:
    await tx.execute(delete(review_owners).where(review_owners.c.tenant_id == scope.tenant_id))


async def count(view: Reading, scope: TenantScope) -> tuple[int, int]:
    """All reviews, and those of them that wait for a decision."""
    waiting = func.count().filter(_r.status == Status.PENDING.value)
    counted = select(func.count(), waiting).where(_r.tenant_id == scope.tenant_id)
    row: Any = (await view.execute(counted)).one()
    return int(row[0]), int(row[1])


# -- policies


async def find_policy(view: Reading, scope: TenantScope, event_type: str) -> PolicyRow | None:
    found = select(review_configs).where(_c.tenant_id == scope.tenant_id, _c.event_type == event_type)
    row = (await view.execute(found)).first()
    return None if row is None else _policy(row)


async def list_policies(view: Reading, scope: TenantScope) -> Sequence[PolicyRow]:
    found = select(review_configs).where(_c.tenant_id == scope.tenant_id).order_by(_c.event_type)
    return [_policy(row) for row in await view.execute(found)]


async def store_policy(tx: Tx, scope: TenantScope, row: PolicyRow, *, now: Millis) -> None:
    """In place of what was set for the type; its id stays."""
    changed = {
        "policy": row.policy.value,
        "required_role": row.required_role,
        "external_adapter_type": row.external_adapter_type,
        "due_days": row.due_days,
        "updated_ms": now,
    }
    new = insert_into(tx, review_configs)
    new = new.values(tenant_id=scope.tenant_id, event_type=row.event_type, id=row.id, created_ms=now, **changed)
    await tx.execute(new.on_conflict_do_update(index_elements=[_c.tenant_id, _c.event_type], set_=changed))


def _policy(row: Any) -> PolicyRow:
    return PolicyRow(
        row.id,
        row.event_type,
        Policy(row.policy),
        None if row.required_role is None else Role(row.required_role),
        row.external_adapter_type,
        row.due_days,
    )


# -- what is said about them


async def add_comment(tx: Tx, scope: TenantScope, review_id: str, comment: Comment) -> None:
    await tx.execute(
        insert(review_comments).values(
            tenant_id=scope.tenant_id,
            review_id=review_id,
            created_ms=comment.created_at,
            id=comment.id,
            kind=comment.kind.value,
            author=comment.author,
            text=comment.text,
        )
    )


async def asked_changes(view: Reading, scope: TenantScope, review_ids: Collection[str]) -> Mapping[str, str]:
    """What reviewers want changed, by review; the last word of each."""
    c = review_comments.c
    wanted = select(c.review_id, c.text).where(
        c.tenant_id == scope.tenant_id,
        c.review_id.in_(sorted(review_ids)),
        c.kind == CommentKind.CHANGES_REQUESTED.value,
    )
    return {row.review_id: row.text for row in await view.execute(wanted.order_by(c.created_ms, c.id))}


async def list_comments(
    view: Reading, scope: TenantScope, review_id: str, *, after: Key | None, limit: int
) -> Sequence[Comment]:
    """The oldest first."""
    c = review_comments.c
    wanted = select(review_comments).where(c.tenant_id == scope.tenant_id, c.review_id == review_id)
    if after is not None:
        at, id = after
        wanted = wanted.where(c.created_ms >= at, or_(c.created_ms > at, c.id > id))
    found = await view.execute(wanted.order_by(c.created_ms, c.id).limit(limit))
    return [Comment(row.id, CommentKind(row.kind), row.author, row.text, Millis(row.created_ms)) for row in found]


# -- the other system


async def store_delegation(tx: Tx, scope: TenantScope, delegation: Delegation) -> None:
    changed = {
        "status": delegation.status.value,
        "system": delegation.system,
        "state": _text(delegation.state),
        "link": None if delegation.link is None else _text(delegation.link),
        "code": delegation.code,
        "message": delegation.message,
        "tries": delegation.tries,
        "updated_ms": delegation.updated_at,
    }
    new = insert_into(tx, review_delegations)
    new = new.values(tenant_id=scope.tenant_id, review_id=delegation.review_id, **changed)
    await tx.execute(new.on_conflict_do_update(index_elements=[_d.tenant_id, _d.review_id], set_=changed))


async def find_delegations(view: Reading, scope: TenantScope, ids: Collection[str]) -> Mapping[str, Delegation]:
    """By the reviews' ids."""
    found = select(review_delegations).where(_d.tenant_id == scope.tenant_id, _d.review_id.in_(sorted(ids)))
    return {row.review_id: _delegation(row) for row in await view.execute(found)}


async def list_delegations(
    view: Reading, scope: TenantScope, status: DelegationStatus, *, after: str, limit: int
) -> Sequence[Delegation]:
    wanted = select(review_delegations).where(
        _d.tenant_id == scope.tenant_id, _d.status == status.value, _d.review_id > after
    )
    found = await view.execute(wanted.order_by(_d.review_id).limit(limit))
    return [_delegation(row) for row in found]


async def note_tries(tx: Tx, scope: TenantScope, ids: Sequence[str], *, now: Millis) -> None:
    """The other system is about to be told of these."""
    wanted = and_(_d.tenant_id == scope.tenant_id, _d.review_id.in_(ids))
    await tx.execute(update(review_delegations).where(wanted).values(tries=_d.tries + 1, updated_ms=now))


async def note_trouble(tx: Tx, scope: TenantScope, *, code: str, message: str, now: Millis) -> None:
    """Why those that wait go on waiting."""
    wanted = and_(_d.tenant_id == scope.tenant_id, _d.status.in_(_UNDER_WAY))
    await tx.execute(update(review_delegations).where(wanted).values(code=code, message=message, updated_ms=now))


async def has_untold(view: Reading, scope: TenantScope) -> bool:
    """Whether there are any that nobody has tried to propose."""
    waits = and_(_d.tenant_id == scope.tenant_id, _d.status == DelegationStatus.WAITING.value)
    found = select(_d.review_id).where(waits, _d.tries == 0, _d.code.is_(None)).limit(1)
    return (await view.execute(found)).first() is not None


async def take_back(tx: Tx, scope: TenantScope, id: str, *, code: str, now: Millis) -> bool:
    """Leave it to people of the program; whether it was the other system's."""
    wanted = and_(_d.tenant_id == scope.tenant_id, _d.review_id == id, _d.status.in_(_UNDER_WAY))
    values = {"status": DelegationStatus.FAILED.value, "code": code, "message": None, "updated_ms": now}
    return bool((await tx.execute(update(review_delegations).where(wanted).values(values))).rowcount)


async def tenants_delegating(view: Reading) -> Sequence[TenantId]:
    """Those that another system has yet to be asked for, or to answer; asked for all tenants."""
    found = select(_d.tenant_id).where(_d.status.in_(_UNDER_WAY)).distinct()
    return sorted(TenantId(row.tenant_id) for row in await view.execute(found))


def _delegation(row: Any) -> Delegation:
    return Delegation(
        row.review_id,
        DelegationStatus(row.status),
        Millis(row.updated_ms),
        row.system,
        msgspec.json.decode(row.state),
        None if row.link is None else msgspec.json.decode(row.link),
        row.code,
        row.message,
        row.tries,
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _instant(value: int | None) -> Millis | None:
    return None if value is None else Millis(value)
