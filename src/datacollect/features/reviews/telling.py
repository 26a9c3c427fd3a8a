"""Telling whom it concerns that something has become of a review: by the program's webhook, by mail or text message.

What there is to tell is a mark on the review, set with the change itself; a job takes it off in the transaction that puts the
messages in the outbox. A message says that there is news, and nothing of anybody: who reads it signs in.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import structlog

from datacollect.db import Tx
from datacollect.features.citizens.service import comparable
from datacollect.features.entities.service import current_data
from datacollect.features.messages.service import Channel, NewMessage, Outbox, Purpose, channel_of, compose
from datacollect.features.reviews import queries
from datacollect.features.reviews.model import News, Review, SubmissionOrigin, account_of
from datacollect.features.reviews.service import TELLING
from datacollect.features.tenants import asked as tenants
from datacollect.features.tenants.asked import ReviewNotifications
from datacollect.features.users import service as users
from datacollect.features.users.service import User
from datacollect.jobs import Continue, Done, Job, Step
from datacollect.kernel.clock import Clock, Millis, format_timestamp
from datacollect.kernel.identity import CITIZEN_PREFIX, Action, TenantScope
from datacollect.kernel.sealing import CannotOpen, Seals
from datacollect.kernel.tenancy import Tenant

AT_ONCE = 20
_WORTH_MILLIS = timedelta(days=3) // timedelta(milliseconds=1)

_DECIDED = (News.APPROVED, News.REJECTED, News.CHANGES_REQUESTED)
_TO_BE_DONE = (News.REJECTED, News.CHANGES_REQUESTED)
"""What staff are told of what they have submitted; what went as they wanted they see in the list."""
_PURPOSES = {
    News.ASSIGNED: Purpose.REVIEW_WAITING,
    News.SUBMITTED: Purpose.REVIEW_WAITING,
    News.DUE: Purpose.REVIEW_DUE,
}

_log = structlog.get_logger(component="reviews")


class TellingHandler:
    """Implements `Handler`: a step tells of some reviews."""

    kind = TELLING

    def __init__(self, outbox: Outbox, seals: Seals, clock: Clock) -> None:
        self._outbox = outbox
        self._seals = seals
        self._clock = clock

    async def step(self, tx: Tx, scope: TenantScope, job: Job) -> Step:
        tenant = await tenants.find_running(tx, scope.tenant_id)
        if tenant is None:
            return Done()
        now = self._clock.now()
        found = await queries.list_news(tx, scope, now=now, limit=AT_ONCE)
        webhook = await self._webhook(tx, scope) if found else None
        messages: list[NewMessage] = []
        for review, news in found:
            if await queries.note_told(tx, scope, review, news):
                messages += await self._messages(tx, scope, tenant, review, news, webhook, now=now)
        for message in messages:
            await self._outbox.enqueue(tx, scope, tenant, message, now=now)
        return Continue({}, job.progress.done + len(found)) if found else Done()

    async def _webhook(self, tx: Tx, scope: TenantScope) -> ReviewNotifications | None:
        try:
            return await tenants.review_notifications(tx, scope.tenant_id, seals=self._seals)
        except CannotOpen:
            _log.warning("reviews.webhook_locked", tenant_id=scope.tenant_id)
            return None

    async def _messages(
        self,
        tx: Tx,
        scope: TenantScope,
        tenant: Tenant,
        review: Review,
        news: News,
        webhook: ReviewNotifications | None,
        *,
        now: Millis,
    ) -> list[NewMessage]:
        until = Millis(now + _WORTH_MILLIS)
        purpose = _PURPOSES.get(news, Purpose.REVIEW_DECIDED)
        told: list[NewMessage] = []
        if webhook is not None:
            document = msgspec.json.encode(_document(scope, review, news)).decode()
            told.append(
                NewMessage(Channel.WEBHOOK, webhook.url, purpose, document, expires_at=until, secret=webhook.secret)
            )
        address = await _address(tx, scope, review, news)
        if address is not None and channel_of(address) in self._outbox.channels:
            text = compose(tenant, purpose)
            told.append(
                NewMessage(channel_of(address), address, purpose, text.text, expires_at=until, subject=text.subject)
            )
        return told


def _document(scope: TenantScope, review: Review, news: News) -> Mapping[str, Any]:
    """Ids and states: who wants more asks for it."""
    return {
        "type": f"review.{news.value}",
        "tenantId": scope.tenant_id,
        "reviewId": review.id,
        "submissionGuid": review.submission_guid,
        "entityGuid": review.entity_guid,
        "eventType": review.event_type,
        "status": review.status.value,
        "timestamp": format_timestamp(review.updated_at),
    }


async def _address(tx: Tx, scope: TenantScope, review: Review, news: News) -> str | None:
    """Who is told in person; None for nobody."""
    if news in (News.ASSIGNED, News.DUE):
        return None if review.assigned_to is None else await _assignee(tx, scope, review.assigned_to)
    if review.origin is SubmissionOrigin.CITIZEN:
        return await _citizen(tx, scope, review) if news in _DECIDED else None
    return await _submitter(tx, scope, review) if news in _TO_BE_DONE else None


async def _assignee(tx: Tx, scope: TenantScope, email: str) -> str | None:
    """The address of an account that may still decide: the program may have put them out, or the address be another's."""
    return _address_of(await users.find_user_by_email(tx, email), scope, Action.APPROVE)


async def _submitter(tx: Tx, scope: TenantScope, review: Review) -> str | None:
    """The address that the account has now, if it is still there and in the program: what it had may be somebody else's by
    then."""
    user_id = account_of(review.submitter_key)
    return None if user_id is None else _address_of(await users.find_user(tx, user_id), scope, Action.READ)


def _address_of(user: User | None, scope: TenantScope, action: Action) -> str | None:
    return user.email if user is not None and user.to_actor().may(scope.tenant_id, action) else None


async def _citizen(tx: Tx, scope: TenantScope, review: Review) -> str | None:
    """What they have signed in with, if it is on their record now: a phone may be somebody else's by then. As the record
    has it: what was typed may only look like it."""
    identifier = comparable(review.submitted_by.removeprefix(CITIZEN_PREFIX))
    data = await current_data(tx, scope, review.entity_guid) or {}
    held = (str(data[name]).strip() for name in ("phone", "email") if isinstance(data.get(name), str | int))
    return next((address for address in held if comparable(address) == identifier), None)
