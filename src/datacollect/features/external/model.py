"""Pure rules of synchronising with another system: what a record's content is, when it is sent, and how a run ends."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import RecordType
from datacollect.eventstore.event import SERVER_MANAGED_KEYS, without_server_managed
from datacollect.features.entities.reserved import is_reserved
from datacollect.kernel.canonical import MAXIMUM_DEPTH, canonical_json, holds_nul, is_deeper
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId

_NEVER = Millis(0)
MOST_ERRORS = 100
"""Kept with a run; what does not fit is listed by itself."""
LONGEST_MESSAGE = 500
LONGEST_ID_BYTES = 512
LARGEST_RECORD_BYTES = 256 * 1024
MOST_FIELDS = 500
_OF_A_RECORD = "A record did not arrive."


# -- runs


class Status(StrEnum):
    PENDING = "pending"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"


class Phase(StrEnum):
    PENDING = "pending"
    PUSHING = "pushing"
    PULLING = "pulling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        return self in (Phase.PENDING, Phase.PUSHING, Phase.PULLING)


@dataclass(frozen=True, slots=True)
class RunError:
    """One entry of a run's `errors`."""

    code: str
    message: str
    guid: str | None = None
    retryable: bool | None = None
    cause: str | None = None
    """The code of what went wrong, where `code` says only that the run could not go on."""

    def to_wire(self) -> dict[str, Any]:
        told: dict[str, Any] = {} if self.guid is None else {"entityGuid": self.guid}
        told |= {"code": self.code, "message": self.message}
        if self.retryable is not None:
            told["retryable"] = self.retryable
        return told if self.cause is None else told | {"cause": self.cause}


def error_of(failure: Failure, *, guid: str | None = None) -> RunError:
    return RunError(failure.code, failure.message[:LONGEST_MESSAGE], guid or failure.guid, failure.retryable)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept: the job that clients see."""

    id: int
    job_id: str
    tenant_id: TenantId
    status: Status
    phase: Phase
    adapter: str | None
    pushed: int
    pulled: int
    failed: int
    skipped: int
    duration_ms: int
    errors: tuple[RunError, ...]
    trouble: RunError | None
    triggered_by: str
    retry_of: str | None
    error_message: str | None
    created_at: Millis
    started_at: Millis | None
    updated_at: Millis

    @property
    def moved(self) -> bool:
        return bool(self.pushed or self.pulled)

    def naming_nobody(self) -> "Run":
        """As it is told to who may not know of all in the program: what a system says of a record may name somebody."""
        if self.phase is Phase.FAILED:
            return self  # what it tells is of the run itself
        return replace(self, errors=tuple(replace(one, guid=None, message=_OF_A_RECORD) for one in self.errors))

    def counting(self, counts: "Counts") -> "Run":
        return replace(
            self,
            pushed=self.pushed + counts.pushed,
            pulled=self.pulled + counts.pulled,
            failed=self.failed + counts.failed,
            skipped=self.skipped + counts.skipped,
            errors=(*self.errors, *counts.errors)[:MOST_ERRORS],
        )

    def completed(self, now: Millis) -> "Run":
        """Both directions have come to their end."""
        status = Status.SUCCESS if not self.failed else Status.PARTIAL if self.moved else Status.FAILED
        return self._ended(Phase.COMPLETED, status, now)

    def broken(self, error: RunError, now: Millis) -> "Run":
        """It could not go on."""
        status = Status.PARTIAL if self.moved else Status.FAILED
        ended = self._ended(Phase.FAILED, status, now)
        return replace(ended, errors=(error,), error_message=error.message)

    def cancelled(self, now: Millis) -> "Run":
        return replace(
            self._ended(Phase.CANCELLED, Status.FAILED, now), errors=(), error_message="The sync was cancelled."
        )

    def _ended(self, phase: Phase, status: Status, now: Millis) -> "Run":
        began = self.started_at if self.started_at is not None else self.created_at
        return replace(self, phase=phase, status=status, duration_ms=max(0, now - began), updated_at=now, trouble=None)


@dataclass(slots=True)
class Counts:
    """What one step adds to a run."""

    pushed: int = 0
    pulled: int = 0
    failed: int = 0
    skipped: int = 0
    errors: list[RunError] = field(default_factory=list)

    def fail(self, error: RunError) -> None:
        self.failed += 1
        self.errors.append(error)


# -- records


class Stage(IntEnum):
    """The order in which a push goes through a program: members before the groups they are in."""

    INDIVIDUALS = 0
    GROUPS = 1
    RECORDS = 2
    DELETED = 3

    @property
    def kind(self) -> str | None:
        return None if self is Stage.DELETED else _KINDS[self]


_KINDS = {Stage.INDIVIDUALS: "individual", Stage.GROUPS: "group", Stage.RECORDS: "record"}
_STAGES = {kind: stage for stage, kind in _KINDS.items()}


def stage_of(kind: str) -> Stage:
    return _STAGES[kind]


class Standing(StrEnum):
    """How a record stands with the other system."""

    SENDING = "sending"
    """Handed to the adapter, and not answered yet: it may have arrived."""
    AGREED = "agreed"
    """Both sides have what the last exchange gave."""
    SKIPPED = "skipped"
    FAILED = "failed"
    """Not there; offered again by the next run."""
    DEAD = "dead"
    """Not there; offered again when it changes, or when somebody says so."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one entity's exchange with one system."""

    guid: str
    stage: Stage
    standing: Standing
    run_id: int
    is_due: bool = False
    sent_key: str | None = None
    agreed_key: str | None = None
    seen: Mapping[str, str] | None = None
    pulls: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    is_open: bool = False
    code: str | None = None
    message: str | None = None
    tries: int = 0
    updated_at: Millis = _NEVER

    @property
    def is_uncertain(self) -> bool:
        """Whether an earlier try may have arrived without our knowing."""
        return self.standing is Standing.SENDING

    @property
    def is_unanswered(self) -> bool:
        """Whether the adapter was handed it and never got to say anything."""
        return self.standing is Standing.SENDING and self.code is None

    def sending(self, key: str, *, run_id: int, now: Millis) -> "Record":
        """As it has to be on disk before the adapter is told of it."""
        return replace(
            self,
            standing=Standing.SENDING,
            is_due=True,
            sent_key=key,
            run_id=run_id,
            code=None,
            message=None,
            updated_at=now,
        )

    def agreed(self, key: str | None) -> "Record":
        return replace(
            self,
            standing=Standing.AGREED,
            is_due=False,
            agreed_key=key,
            code=None,
            message=None,
            tries=0,
        )

    def failing(self, failure: Failure, *, is_uncertain: bool = False) -> "Record":
        """Not there, or (`is_uncertain`) perhaps there all the same."""
        known = Standing.FAILED if failure.retryable else Standing.DEAD
        return replace(
            self,
            standing=Standing.SENDING if is_uncertain else known,
            is_due=failure.retryable or is_uncertain,
            code=failure.code,
            message=failure.message[:LONGEST_MESSAGE],
            tries=self.tries + 1,
        )


def is_to_be_sent(record: Record | None, key: str, *, run_id: int, anew_since: int = 0) -> bool:
    """Whether content with that key has to go to the other system, in this run, on account of a change here, or because
    more or other of it is exchanged since a run."""
    if record is None or record.is_unanswered or record.run_id < anew_since:
        return True
    if record.agreed_key == key and record.standing is Standing.AGREED:
        return False
    if record.sent_key == key and record.standing in (Standing.SKIPPED, Standing.DEAD):
        return False
    # It has been offered by this run already, and failed.
    return record.code is None or record.sent_key != key or record.run_id != run_id


# -- content


def content_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of an entity as other systems get it."""
    kept = {name: value for name, value in data.items() if not name.startswith("_")}
    return without_server_managed(kept)


def key_of(kind: str | None, data: Mapping[str, Any], members: Iterable[tuple[str, bool]] | None) -> str:
    """Names what would be sent. A group's members count with whether they have a twin: one that gets one later has to be
    told."""
    listed = None if members is None else sorted(members)
    return _short(canonical_json([kind, dict(data), None if listed is None else [list(one) for one in listed]]), 16)


def gone_key(external_id: str | None) -> str:
    """Names a deletion."""
    return _short(canonical_json(["deleted", external_id]), 16)


def sending_key(guid: str, version: int, key: str) -> str:
    """An idempotency key: with the version, because what is changed and changed back has to arrive twice."""
    return _short(f"{guid}\n{version}\n{key}".encode(), 16)


MEMBERS = "\1members"
"""Stands among the fields for who is in a group, as the other system's keys: no field of a form is called that."""
MISSING = "\1missing"
"""Stands among the fields for who else is in a group there, and not known here."""
PUSHED = "\1pushed"
"""Stands among the fields while they are those that we sent, and not those that the other system told."""
GONE = "\1gone"
"""Stands among the fields while the other system has told that the record is no more."""

ASKED = "\1asked:"
"""Stands before the name of a field whose value there is asked for, and not known to be done."""


def with_asked(seen: Mapping[str, str] | None, data: Mapping[str, Any]) -> dict[str, str]:
    """What is seen, with this asked for in place of what was asked for before."""
    kept = {name: known for name, known in (seen or {}).items() if name != PUSHED and not name.startswith(ASKED)}
    return kept | {ASKED + name: known for name, known in hashes_of(data).items()}


def with_done(seen: Mapping[str, str] | None) -> dict[str, str]:
    """What was asked for is what the other system holds now."""
    known = {name: one for name, one in (seen or {}).items() if not name.startswith(ASKED)}
    return known | {name.removeprefix(ASKED): one for name, one in (seen or {}).items() if name.startswith(ASKED)}


def without_done(seen: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Without what was asked for and has turned out to be so."""
    return {
        name: known
        for name, known in seen.items()
        if not (name.startswith(ASKED) and told.get(name.removeprefix(ASKED)) == known)
    }


def members_text(external_ids: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(external_ids)).decode()


def members_in(seen: Mapping[str, str] | None) -> frozenset[str] | None:
    """Who was in the group when we last knew; None if we never did."""
    return _listed(seen, MEMBERS)


def missing_in(seen: Mapping[str, str] | None) -> frozenset[str]:
    """Who else is in the group there, and was not known here when we last knew."""
    return _listed(seen, MISSING) or frozenset()


def _listed(seen: Mapping[str, str] | None, name: str) -> frozenset[str] | None:
    text = None if seen is None else seen.get(name)
    return None if text is None else frozenset(msgspec.json.decode(text))


def hash_of(value: Any) -> str:
    return _short(canonical_json(value), 8)


def hashes_of(data: Mapping[str, Any]) -> dict[str, str]:
    return {name: hash_of(value) for name, value in data.items()}


def changed_fields(data: Mapping[str, Any], seen: Mapping[str, str] | None) -> dict[str, Any]:
    """The fields that the other system has changed since we last knew what it holds.

    What it was asked for is nothing that others have changed there: a record here may be further by now.
    """
    known = seen or {}
    return {
        name: value for name, value in data.items() if hash_of(value) not in (known.get(name), known.get(ASKED + name))
    }


def _short(text: bytes, size: int) -> str:
    return hashlib.blake2b(text, digest_size=size).hexdigest()


# -- what may come in

_FIELD = re.compile(r"[^\W_][\w.\- ]{0,127}")
_STRUCTURE = frozenset(
    {"members", "memberIds", "memberId", "duplicates", "shouldDelete", "guid", "id", "parentId", "parentGuid"}
)
"""What events mean something by beyond a field: only the hub says those."""


def readable(value: Any) -> Any:
    """The value as JSON gives it back. Raises `ValueError` for what cannot be stored."""
    if is_deeper(value, MAXIMUM_DEPTH):
        raise ValueError("is nested too deeply")
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ValueError("is no JSON") from error
    if len(text) > LARGEST_RECORD_BYTES:
        raise ValueError("is too large")
    if holds_nul(text):
        raise ValueError("holds a NUL character")
    return msgspec.json.decode(text)


def allowed_fields(data: Mapping[str, Any], reserved: frozenset[str]) -> dict[str, Any]:
    """Those of a record's fields that another system may set: nothing that the hub keeps itself, or that moves other
    entities."""
    kept = {
        name: value
        for name, value in data.items()
        if _FIELD.fullmatch(name)
        and name not in _STRUCTURE
        and name not in SERVER_MANAGED_KEYS
        and not is_reserved(name, value, reserved)
    }
    return without_server_managed(kept)


def fitted(
    data: Mapping[str, Any],
    held: Mapping[str, Any],
    *,
    also_called: Mapping[str, Sequence[str]],
    derived: Collection[str],
) -> dict[str, Any]:
    """A record's fields for an entity that holds some already: under the names it has for them, and none it has not that
    only follows from others. What it is called, `entityName`, is its own affair."""
    fit: dict[str, Any] = {}
    for name, value in data.items():
        if name == "entityName" or (name in derived and name not in held):
            continue
        if name not in held:
            others = (one for one in also_called.get(name, ()) if one in held and one not in data)
            name = next(others, name)
        fit[name] = value
    return fit


def is_event_allowed(event_type: str, kind: RecordType) -> bool:
    """Of systems that send events: only what a record of that type is made and changed by."""
    return event_type in (f"create-{kind}", f"update-{kind}")


FOLLOW_UP_EVENTS = frozenset({"program-enrolment-applied", "program-enrolment-rejected"})
