"""What an adapter is, what it is handed and what it answers.

Nothing here is lost when the hub or the other system dies at any moment, because of three rules:

- What an adapter answers is stored in one transaction with the mark that it is answered. Whatever it was told and did not
  answer is told again, with `Outgoing.is_uncertain`: it then looks for the twin before it makes one.
- A record is never dropped: it is pushed, skipped for a reason that a later change of it ends, or failed and offered again.
- `Page.mark` is stored with the records of the page; the next call, in this run or the next one, begins there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from datacollect.adapters.errors import Failure
from datacollect.kernel.clock import Millis


class RecordType(StrEnum):
    INDIVIDUAL = "individual"
    GROUP = "group"
    RECORD = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What is known of a record's twin in the other system."""

    external_id: str
    """Its key there, stable for its life. One definition per adapter; unique per program."""
    version: str | None = None
    """The twin's version as we last saw it (ETag, version id, time of change), for optimistic locking."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """The adapter's own JSON beside it: the type of the identifier, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a group, as far as the other system needs to know."""

    guid: str
    type: RecordType
    """Groups can be members of groups; not every system knows that."""
    link: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A record as it is now, to be made the same in the other system."""

    guid: str
    type: RecordType
    data: Mapping[str, Any]
    """Without members whose names begin with `_`, and without server-managed ones."""
    version: int
    key: str
    """The same whenever the same content of the same record is sent again, and never for anything else: an idempotency key."""
    link: Link | None = None
    is_uncertain: bool = False
    """An earlier try of this record has not been answered: it may have arrived. Look for the twin before making one."""
    told_at: Millis | None = None
    """When it was told at the latest, if that is uncertain: the call may still be at work in a slow system. None if nobody
    knows."""
    is_deleted: bool = False
    """Deleted here; `data` is what it was. Take the twin away or end it, where the other system can."""
    members: Sequence[Member] | None = None
    """Of a group: those it has now. None for everything else."""
    strange_members: frozenset[str] = frozenset()
    """Of a group: external ids of members it has there that are not known here. Nobody here has taken those out: they stay."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What the adapter left with this record in its last outcome, link or not: a change request under way, say."""


class Delivery(StrEnum):
    """What the other system has of a record that was pushed."""

    DONE = "done"
    """It is there as it is here."""
    REQUESTED = "requested"
    """It is asked for. Until somebody there has done it, the other system holds what it held before."""
    WAITING = "waiting"
    """Nothing of its data has been handed over yet: it is asked for when an earlier request has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The other system has it, or sees to it."""

    link: Link | None
    """None where the other system gives none (webhooks)."""
    state: Mapping[str, Any] | None = None
    """To be kept for the next time; None keeps what there was."""
    is_open: bool = False
    """Something is under way there that ends later: it will be handed to `FollowsUp.follow_up` until it ends."""
    delivery: Delivery = Delivery.DONE
    has_members: bool = True
    """Of a group: whether it has the members as well. False where nobody has told it of them."""
    warnings: Sequence[Failure] = ()
    """What did not work beside the record itself, and does not make it a failed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Nothing was sent, and nothing is to be sent until the record changes: a type the other system does not know, say.

    Never an answer to a conflict or an error: those fail.
    """

    reason: str
    """UPPER_SNAKE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It is not there, as far as is known. Offered again by the next run if retryable; else when it changes, or when
    somebody says so."""

    failure: Failure
    state: Mapping[str, Any] | None = None
    link: Link | None = None
    """If there is a twin nevertheless: what was made before it failed is not forgotten."""
    is_uncertain: bool = False
    """It may have arrived all the same (the answer was late, or broke off): told again with `Outgoing.is_uncertain`."""


Outcome = Pushed | Skipped | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A record of the other system, in our words."""

    external_id: str
    type: RecordType | None
    """None if the other system does not say: what the entity is here, and `record` for a new one."""
    data: Mapping[str, Any]
    """Fields of the form, mapped back. Never server-managed ones: who runs the adapter adds those. `entityName` is what a
    new entity is called; that of an entity which exists stays."""
    also_called: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other names of members of `data`. An entity that has one of them, and not the member, gets the value there, so that
    a form that calls it `first_name` does not get a `firstName` beside it."""
    derived: frozenset[str] = frozenset()
    """Members of `data` that follow from others: for entities that are new or have them, and not to be added to others."""
    occurred_at: Millis | None = None
    """When it changed there; None if it does not say."""
    version: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    guid: str | None = None
    """Our record's guid, if the other system keeps it beside its own key. Believed only where no link says otherwise, and,
    unless it is a UUID, only if there is such an entity: keys of other systems may well be people's numbers."""
    members: Sequence[str] | None = None
    """Of a group: the external ids of its members. None: the adapter does not tell."""
    is_deleted: bool = False
    event_type: str | None = None
    """For systems that send events rather than records: the type asked for. Only allowed ones are believed."""
    event_guid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    records: Sequence[Incoming]
    mark: str
    """Where the next page, or the next run, begins. Text of the adapter's own."""
    is_last: bool
    skipped: int = 0
    failures: Sequence[Failure] = ()
    """Records that could not be read; the mark is past them, so each must be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Something under way in the other system, as it was left."""

    guid: str
    type: RecordType
    state: Mapping[str, Any]
    link: Link | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What has become of it. Events are stored with the new state, or neither is."""

    guid: str
    state: Mapping[str, Any]
    is_open: bool
    link: Link | None = None
    is_done: bool = False
    """What was asked for of the record itself (`Delivery.REQUESTED`) has been done there."""
    is_requested: bool = False
    """It has been asked for again, as it is now."""
    events: Sequence["FollowUpEvent"] = ()
    failures: Sequence[Failure] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpEvent:
    type: str
    data: Mapping[str, Any]
    key: str
    """Names the occurrence: the same occurrence told twice becomes one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    is_healthy: bool
    latency_ms: float | None = None
    message: str | None = None
    """For people who configure the adapter. Never what the other system said, never a secret."""


class Adapter(Protocol):
    """One program's way to one other system, for one run. Made by `AdapterKind.create`; signs in when it first has to."""

    async def check(self) -> Health:
        """Ask the other system whether it would take and give, signing in if it needs that. Never raises."""

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send a batch; one outcome for each, in the order of `records`. An empty batch makes no call.

        May be cut off at any moment. Raises `AdapterError` only if nothing can go on (signing in fails, the other system
        is away): then all records count as not answered.
        """

    async def pull(self, mark: str | None) -> Page:
        """The next page of what has changed there since `mark`; everything from the beginning for None."""

    async def close(self) -> None:
        """Let go of everything. Callable at any time, more than once."""


@runtime_checkable
class FollowsUp(Protocol):
    """An adapter of a system in which things end later than they begin (change requests)."""

    async def follow_up(self, followed: Sequence[Followed]) -> Sequence[FollowUp]:
        """Ask what has become of a few of them. Those it does not answer for stay as they are."""


class Verdict(StrEnum):
    """What somebody in the other system has decided about a change."""

    APPROVED = "approved"
    """It has been made there."""
    REJECTED = "rejected"
    SENT_BACK = "sent-back"
    """It is to be asked for again, changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """How it stands with a change that was proposed."""

    key: str
    """`Outgoing.key` of the proposal."""
    state: Mapping[str, Any]
    verdict: Verdict | None
    """None while nobody has decided."""
    reason: str | None = None
    """In the words of whoever decided."""
    link: Link | None = None
    failure: Failure | None = None
    """Why it could not be asked, or does not come to an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A proposal that nobody had decided about when it was last looked at."""

    key: str
    followed: Followed


@runtime_checkable
class Decides(Protocol):
    """An adapter of a system in which somebody approves changes before they are made.

    A proposal is no record: nothing of it holds here until it is approved there, and its state is its own.
    """

    @property
    def decides(self) -> bool:
        """Whether somebody there decides, as the adapter is configured."""

    async def propose(self, proposals: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Ask for records to become what they would be; one outcome for each, in their order, as `Adapter.push`.

        `Pushed` with `Delivery.DONE` and nothing open says that the other system has it so already.
        """

    async def rulings(self, proposed: Sequence[Proposed]) -> Sequence[Ruling]:
        """Ask what has become of at most a hundred of them. Those it does not answer for stay as they are."""
