"""What a review is, which way a submission goes, and what has changed beneath it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import Entity
from datacollect.features.users.model import normal_email
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import CITIZEN_PREFIX, Action, Actor, Role
from datacollect.kernel.ids import UserId

SYSTEM_REVIEWER = "system"
"""Who reviews what no person has to."""


class Status(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes-requested"
    """Whoever submitted it is to send another one in its place."""
    WITHDRAWN = "withdrawn"
    """Whoever submitted it does not want it any more."""


class Policy(StrEnum):
    """Which way submissions of a type of event go."""

    AUTO_APPROVE = "auto-approve"
    """Applied at once."""
    INTERNAL_REVIEW = "internal-review"
    """Somebody of the program decides."""
    EXTERNAL_DELEGATE = "external-delegate"
    """The other system of the program decides."""


class SubmissionOrigin(StrEnum):
    STAFF = "staff"
    CITIZEN = "citizen"


class CommentKind(StrEnum):
    COMMENT = "comment"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes-requested"
    APPROVED = "approved"


class News(StrEnum):
    """What those whom it concerns are told of."""

    SUBMITTED = "submitted"
    ASSIGNED = "assigned"
    APPROVED = "approved"
    REJECTED = "rejected"
    CHANGES_REQUESTED = "changes-requested"
    WITHDRAWN = "withdrawn"
    DUE = "due"
    """It should have been decided."""


class DelegationStatus(StrEnum):
    WAITING = "waiting"
    """The other system has not been told yet."""
    ASKED = "asked"
    """It has been told, and has not answered."""
    FAILED = "failed"
    """It cannot be told; people of the program decide."""
    ENDED = "ended"


class DelegationCode(StrEnum):
    """What the hub itself says of a decision that is another system's; adapters have codes of their own."""

    CANNOT_DELEGATE = "REVIEW_CANNOT_DELEGATE"
    """The program's other system does not decide about changes as it is configured now."""
    NOT_DELEGABLE = "REVIEW_NOT_DELEGABLE"
    """It does not take what this is about."""
    ASKED_ELSEWHERE = "REVIEW_ASKED_ELSEWHERE"
    """It was asked of a system that the program has been turned away from since."""
    TAKEN_BACK = "TAKEN_BACK"
    """Somebody has decided that people decide."""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What a program has set for one type of event."""

    id: str
    event_type: str
    policy: Policy
    required_role: Role | None = None
    external_adapter_type: str | None = None
    due_days: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """Something that is submitted."""

    event: Event
    submitted_by: str
    """How whoever did it is called; from their token, never from what they say."""
    submitter_key: str
    """See `staff_key`, `citizen_key`."""
    origin: SubmissionOrigin = SubmissionOrigin.STAFF
    standalone: bool = False
    """It is about the entity and changes nothing of it: approved, it is kept, and not appended."""
    at_least_internal: bool = False
    """Somebody has to look at it whatever the program has set, or not set."""
    replaces: str | None = None
    """The review, of the same submitter, that this one takes the place of."""
    content: str | None = None
    """What tells whether two submissions of one guid are the same; None takes the whole event."""


@dataclass(frozen=True, slots=True)
class Review:
    """A submission and what has become of it."""

    id: str
    status: Status
    policy: Policy
    required_role: Role | None
    adapter_type: str | None
    origin: SubmissionOrigin
    standalone: bool
    submitted_by: str
    submitter_key: str
    event: Event
    content_hash: str
    base: Mapping[str, Any] | None
    """What the record held, when this was submitted, of what it is to change; None if there was none."""
    created_at: Millis
    updated_at: Millis
    reviewed_by: str | None = None
    reviewed_at: Millis | None = None
    rejection_reason: str | None = None
    due_at: Millis | None = None
    assigned_to: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None

    @property
    def submission_guid(self) -> str:
        return self.event.guid

    @property
    def event_type(self) -> str:
        return self.event.type

    @property
    def entity_guid(self) -> str:
        return self.event.entity_guid

    @property
    def is_open(self) -> bool:
        return self.status is Status.PENDING or (self.status is Status.CHANGES_REQUESTED and not self.replaced_by)


@dataclass(frozen=True, slots=True)
class Comment:
    id: str
    kind: CommentKind
    author: str
    text: str
    created_at: Millis


@dataclass(frozen=True, slots=True)
class Delegation:
    """How it stands with the other system."""

    review_id: str
    status: DelegationStatus
    updated_at: Millis
    system: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    link: Mapping[str, Any] | None = None
    code: str | None = None
    message: str | None = None
    tries: int = 0


_ACCOUNT = "user:"


def staff_key(actor: Actor) -> str:
    """Who an account is, whatever its e-mail becomes."""
    return f"{_ACCOUNT}{actor.user_id}" if actor.user_id is not None else f"{actor.kind}:{actor.label}"


def account_of(submitter_key: str) -> UserId | None:
    """The account that has submitted something, if it was one."""
    return UserId(int(submitter_key.removeprefix(_ACCOUNT))) if submitter_key.startswith(_ACCOUNT) else None


def citizen_key(entity_guid: str) -> str:
    """Who a citizen is, whatever they have signed in with."""
    return f"citizen:{entity_guid}"


def is_submitter(review: Review, actor: Actor, record: Mapping[str, Any] | None = None) -> bool:
    """Whether the two are the same person, as far as the hub can tell: also somebody who submitted as a citizen and signed
    in with the e-mail of their account, or with something else of a record (`record`, as it is now) that has that e-mail."""
    if review.submitter_key == staff_key(actor):
        return True
    if review.origin is not SubmissionOrigin.CITIZEN:
        return False
    addresses = (review.submitted_by.removeprefix(CITIZEN_PREFIX), (record or {}).get("email"))
    mine = normal_email(actor.label)
    return any(isinstance(address, str) and normal_email(address) == mine for address in addresses)


# -- which way it goes


@dataclass(frozen=True, slots=True)
class Way:
    """What is to become of a submission."""

    policy: Policy
    required_role: Role | None = None
    adapter_type: str | None = None
    due_days: int | None = None


def way_of(submission: Submission, row: PolicyRow | None) -> Way:
    """What the program has set, but never less than the submission demands."""
    way = (
        Way(Policy.AUTO_APPROVE)
        if row is None
        else Way(row.policy, row.required_role, row.external_adapter_type, row.due_days)
    )
    # Nothing that a person has to look at is approved by nobody; and no other system knows what changes nothing.
    delegates_nothing = submission.standalone and way.policy is not Policy.INTERNAL_REVIEW
    if delegates_nothing or (submission.at_least_internal and way.policy is Policy.AUTO_APPROVE):
        return Way(Policy.INTERNAL_REVIEW, Role.SUPERVISOR, due_days=way.due_days)
    return way


_RIGHTS = {"create": Action.CREATE, "delete-entity": Action.DELETE, "resolve-duplicate": Action.APPROVE}


def right_for(event_type: str) -> Action:
    """What somebody must be allowed to do to submit such an event."""
    return _RIGHTS.get(event_type) or _RIGHTS.get(event_type.partition("-")[0]) or Action.UPDATE


# -- what has changed beneath it

_WRITES = frozenset(f"{verb}-{kind}" for verb in ("create", "update") for kind in ("individual", "group", "record"))
_NO_FIELDS = frozenset({"members", "memberIds"})
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that was changed since, to something else than what is submitted. `UNSET` for what is not there."""

    field: str
    before: Any
    now: Any
    submitted: Any


class Choice(StrEnum):
    """What a reviewer decides about a field."""

    SUBMITTED = "submitted"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Decision:
    """How a reviewer wants it applied."""

    force: bool = False
    """What is submitted wins everywhere."""
    fields: Mapping[str, Choice] = field(default_factory=dict)

    def choice(self, field: str) -> Choice | None:
        return self.fields.get(field) or (Choice.SUBMITTED if self.force else None)


def is_write(event: Event) -> bool:
    """Whether it writes fields of its entity."""
    return event.type in _WRITES


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of its entity that an event writes."""
    if not is_write(event):
        return {}
    return {field: value for field, value in event.data.items() if field not in _NO_FIELDS}


def base_of(event: Event, held: Entity | None) -> dict[str, Any] | None:
    """What is to be remembered of a record when something about it is submitted."""
    if held is None or not held.is_live:
        return None
    if event.type == "delete-entity":
        return dict(held.data)
    return {field: held.data[field] for field in fields_of(event) if field in held.data}


def conflicts_of(review: Review, held: Entity | None) -> Sequence[FieldConflict]:
    """The fields that stand in the way, as the record is now."""
    if review.standalone or held is None or not held.is_live:
        return ()
    return list(_conflicts(review, held))


def _conflicts(review: Review, held: Entity) -> Iterator[FieldConflict]:
    event, base = review.event, review.base
    wanted = fields_of(event)
    names = [*wanted] if event.type != "delete-entity" or base is None else [*{**base, **held.data}]
    for name in names:
        before = _ABSENT if base is None else base.get(name, _ABSENT)
        now, submitted = held.data.get(name, _ABSENT), wanted.get(name, _ABSENT)
        if now is _ABSENT or _is_same(now, before) or _is_same(now, submitted):
            continue
        # A record that came into being since, from before this: what was to be changed was on its way, too.
        is_sequel = base is None and event.type.startswith("update-")
        if not is_sequel or held.stamp_of_field(name).time > event.occurred_at:
            yield FieldConflict(name, _told(before), _told(now), _told(submitted))


def is_gone(review: Review, held: Entity | None) -> bool:
    """Whether what it is about was there when it was submitted, and is not now."""
    return review.base is not None and (held is None or not held.is_live) and not review.standalone


def late_fields(event: Event, held: Entity | None) -> Sequence[str]:
    """The fields that the event would not win by its own time, because they were written, or deleted, later."""
    if held is None:
        return ()
    deleted = held.deleted.time if held.deleted is not None else event.occurred_at
    return [
        field
        for field in fields_of(event)
        if deleted > event.occurred_at or (field in held.data and held.stamp_of_field(field).time > event.occurred_at)
    ]


def is_late_delete(event: Event, held: Entity | None) -> bool:
    """Whether it would leave what was written after it, by its own time."""
    if event.type != "delete-entity" or held is None or held.latest is None:
        return False
    return held.latest.time > event.occurred_at


def _is_same(one: Any, other: Any) -> bool:
    if one is _ABSENT or other is _ABSENT:
        return one is other
    return canonical_json(one) == canonical_json(other)


def _told(value: Any) -> Any:
    return msgspec.UNSET if value is _ABSENT else value
