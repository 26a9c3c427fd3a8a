"""What citizens do with their own record. Source: the contract's self-service area, 4.

Everything here takes a scope of `OwnRecord.about` and looks at that one entity only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from datacollect.db import Reading, Tx
from datacollect.eventstore.event import Event
from datacollect.eventstore.log import EventLog
from datacollect.features.entities.errors import EntityNotFound
from datacollect.features.entities.service import StoredEntity, find_entity
from datacollect.features.reviews import service as reviews
from datacollect.features.reviews.model import Review, Status, Submission, SubmissionOrigin, citizen_key
from datacollect.features.selfservice.errors import (
    FormTypeNotAllowed,
    InvalidSubmission,
    SubmissionNotFound,
    TooManySubmissions,
)
from datacollect.features.selfservice.model import Checked, Own, OwnForm, OwnForms, checked
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import OwnRecord, TenantScope
from datacollect.kernel.ids import new_guid
from datacollect.kernel.rates import Allowance, Rate
from datacollect.kernel.tenancy import Tenant

SUBMISSIONS = Rate("submissions", 20, 3600)
"""Of one record. Each takes the log's lock, and somebody's time who has to look at it."""

Key = tuple[Millis, str]
"""Where a submission stands in the list of them."""


async def read_record(view: Reading, scope: TenantScope, guid: str) -> StoredEntity:
    """Raises `EntityNotFound`."""
    entity = await find_entity(view, scope, guid)
    if entity is None:
        raise EntityNotFound(guid)
    return entity


def own_of(entity: StoredEntity) -> Own:
    return Own(entity.guid, entity.type, entity.entity_name, msgspec.json.decode(entity.data))


# -- submitting


@dataclass(frozen=True, slots=True)
class Wish:
    """What a citizen sends: a form, filled in."""

    form_type: str
    form_data: Mapping[str, Any]
    submission_guid: str | None
    replaces: str | None = None
    """An earlier submission, whose place this one takes."""

    @property
    def content(self) -> str:
        """The same for the same wish: it tells a retry from another wish under the same guid."""
        return hashlib.sha256(canonical_json([self.form_type, self.form_data, self.replaces])).hexdigest()


async def find_same(view: Reading, scope: TenantScope, own: OwnRecord, wish: Wish) -> Review | None:
    """The submission that the wish has made before. What it was judged by may have changed since: it is not judged again."""
    if wish.submission_guid is None:
        return None
    known = await reviews.find_by_submission(view, scope, wish.submission_guid)
    if known is None or known.submitter_key != citizen_key(own.entity_guid) or known.content_hash != wish.content:
        return None
    return known


def submission_of(forms: OwnForms, record: Own, own: OwnRecord, wish: Wish, *, now: Millis) -> Submission:
    """What the wish asks for, as it goes the way of all submissions.

    The record's own kind decides the type of event, and not where the form stands in the program. Raises
    `FormTypeNotAllowed`, `InvalidSubmission`.
    """
    form = next((form for form in forms.of(record) if form.type == wish.form_type), None)
    if form is None:
        raise FormTypeNotAllowed()
    found = checked(forms, form, record, wish.form_data)
    if found.issues:
        raise InvalidSubmission(found.issues, details=found.issues)
    event = Event(
        guid=wish.submission_guid or new_guid(),
        entity_guid=own.entity_guid,
        type="update-record" if form.standalone else f"update-{record.kind}",
        data=_data(form, found),
        occurred_at=now,
        user_id=own.citizen.label,
        sync_level=0,
    )
    return Submission(
        event,
        submitted_by=own.citizen.label,
        submitter_key=citizen_key(own.entity_guid),
        origin=SubmissionOrigin.CITIZEN,
        standalone=form.standalone,
        at_least_internal=forms.require_review,
        replaces=wish.replaces,
        content=wish.content,
    )


def _data(form: OwnForm, found: Checked) -> dict[str, Any]:
    """A report says which form it is of; a record stays one of the form it came from."""
    return {"entityName": form.name or form.type} | found.data if form.standalone else found.data


async def submit(
    tx: Tx,
    log: EventLog,
    scope: TenantScope,
    tenant: Tenant,
    submission: Submission,
    judged: StoredEntity,
    *,
    now: Millis,
) -> Review | None:
    """Take it the way that the program has set; None if the record is not any more as it was when the submission was
    `judged` by it, of which objects and rows hold parts. Open the transaction in the log's `turn`.

    Raises `EntityNotFound`, `TooManySubmissions`, and what `reviews.submit` does.
    """
    await log.lock(tx, scope)  # so that those who send many at the same time are counted one after the other
    if await read_record(tx, scope, judged.guid) != judged:
        return None
    window = SUBMISSIONS.window_seconds * 1000
    key, since = submission.submitter_key, Millis(now - window)
    # What was sent later than now was sent before the clock was set back: it is not to count until it is that time again.
    sent = await reviews.sent_between(
        tx, scope, submission.event.entity_guid, key, after=since, before=Millis(now + window)
    )
    # One that comes again while it is taken in was looked for before it was there.
    if sent.number >= SUBMISSIONS.quota and not await reviews.find_by_submission(tx, scope, submission.event.guid):
        left = -(-(sent.oldest - since) // 1000)
        raise TooManySubmissions(headers=Allowance(SUBMISSIONS, 0, max(left, 1), True).headers())
    return await reviews.submit(tx, log, scope, tenant, submission, now=now)


# -- looking after what was sent


@dataclass(frozen=True, slots=True)
class SubmissionPage:
    """The latest first. `next_key` is None on the last page."""

    found: Sequence[Review]
    asked: Mapping[str, str]
    """What reviewers want changed, by the submission's id."""
    next_key: Key | None


async def list_submissions(
    view: Reading, scope: TenantScope, own: OwnRecord, *, before: Key | None, limit: int
) -> SubmissionPage:
    """What the citizen has sent, whatever they had signed in with, and nobody else. Fewer where they are large."""
    guid = own.entity_guid
    found, is_cut = await reviews.list_of_entity(
        view, scope, guid, before=before, limit=limit + 1, submitter_key=citizen_key(guid)
    )
    page = found[:limit]
    waiting = [one.id for one in page if one.status is Status.CHANGES_REQUESTED]
    asked = await reviews.asked_changes(view, scope, waiting) if waiting else {}
    return SubmissionPage(page, asked, (page[-1].created_at, page[-1].id) if is_cut or len(found) > limit else None)


async def withdraw(tx: Tx, scope: TenantScope, own: OwnRecord, id: str, *, now: Millis) -> Review:
    """Raises `SubmissionNotFound`, also for somebody else's, and `ReviewNotPending` when it is decided."""
    key = citizen_key(own.entity_guid)
    found = await reviews.find(tx, scope, id)
    if found is None or found.submitter_key != key:
        raise SubmissionNotFound()
    return await reviews.withdraw(tx, scope, id, key, now=now)


def is_applied(review: Review) -> bool:
    return review.status is Status.APPROVED
