"""Enrolments in programmes: each one asked for is a change request of its own, in either mode of writing.

When one has ended, an event says so and the request is forgotten. So a programme that refused somebody can be asked again.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v2 import codes
from datacollect.adapters.openspp_v2.client import objects
from datacollect.adapters.openspp_v2.identifiers import Identifiers
from datacollect.adapters.openspp_v2.requests import (
    APPLIED,
    DRAFT,
    REJECTED,
    Asked,
    Asking,
    ChangeRequests,
    NotMade,
    NotSubmitted,
    sent_back,
)
from datacollect.adapters.openspp_v2.resources import digest
from datacollect.adapters.port import FollowUpEvent, Link, RecordType
from datacollect.adapters.times import instant
from datacollect.kernel.clock import Clock, Millis, format_timestamp

ENROLMENTS, SETTLED = "enrolments", "settledEnrolments"
_PENDING = "pendingProgramEnrolments"
_TOLD_AT = "toldAt"
"""When one was asked for whose answer was lost."""
_CODE = "assign_program"
_NUMBER = re.compile(r"\+?[0-9]{1,15}", re.ASCII)

NO_ANSWER = (CallKind.UNREACHABLE, CallKind.UNAVAILABLE, CallKind.TOO_SLOW)

State = dict[str, Any]


@dataclass(slots=True)
class Enrolling:
    """What has come of the enrolments of one record."""

    state: State
    events: list[FollowUpEvent] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failed: CallFailed | None = None
    """The call after which no more were made, because the registry is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who is to be enrolled."""

    guid: str
    type: RecordType
    data: Mapping[str, Any]
    link: Link | None
    is_uncertain: bool = False
    told_at: Millis | None = None


class Enrolments:
    def __init__(
        self, requests: ChangeRequests, identifiers: Identifiers, clock: Clock, request_types: Mapping[str, str]
    ) -> None:
        self._requests, self._identifiers, self._clock = requests, identifiers, clock
        self._code = request_types.get("enrol-in-program", _CODE)

    async def put(
        self, subject: Subject, state: Mapping[str, Any], *, again: bool = True, ended: Collection[str] = ()
    ) -> Enrolling:
        """Ask for those that are pending and have not been asked for, or (`again`) were refused, but not for those that
        have `ended` just now. What fails is tried again later."""
        result = Enrolling({**state})
        pending = [one for one in self._pending(subject, result) if one[0] not in ended]
        numbers = {number for number, _ in pending}
        asked_for: State = {
            number: held
            for number, held in state.get(ENROLMENTS, {}).items()
            if number in numbers or "reference" in held
        }
        for number, entry in pending:
            held: Mapping[str, Any] = asked_for.get(number, {})
            asked_at = entry.get("enrolledAt")
            is_settled = asked_at is not None and state.get(SETTLED, {}).get(number) == asked_at
            is_under_way = "reference" in held and held.get("status") != DRAFT
            if is_settled or is_under_way or (held.get("isRefused") and not again):
                continue
            asked_for[number] = await self._ask(subject, number, entry, held, result)
        if asked_for or ENROLMENTS in result.state:
            result.state[ENROLMENTS] = asked_for
        return result

    async def follow(self, subject: Subject, state: Mapping[str, Any]) -> Enrolling:
        """See what has become of those under way, and ask again for what could not be asked for."""
        result = Enrolling({**state})
        asked_for: State = {**state.get(ENROLMENTS, {})}
        settled: State = {**state.get(SETTLED, {})}
        names = {str(program_id(one.get("programId"))): one for one in objects(subject.data.get(_PENDING))}
        for number, held in list(asked_for.items()):
            asked = Asked.read(held)
            if asked is None or asked.status == DRAFT or result.failed:
                continue
            now = await self._looked(asked, subject, result)
            if now.status in (APPLIED, REJECTED):
                del asked_for[number]
                settled[number] = held.get("enrolledAt")
                self._settle(subject, number, now, held | names.get(number, {}), result)
            else:
                asked_for[number] = {**held, **now.state}
        result.state |= {ENROLMENTS: asked_for} | ({SETTLED: settled} if settled else {})
        ended = state.get(ENROLMENTS, {}).keys() - asked_for.keys()
        if result.failed:
            return result
        again = await self.put(subject, result.state, again=False, ended=ended)
        return Enrolling(again.state, result.events, result.failures + again.failures)

    def _pending(self, subject: Subject, result: Enrolling) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for entry in objects(subject.data.get(_PENDING)):
            number = program_id(entry.get("programId"))
            if number is None:
                message = "An enrolment names its programme by something that is no number, and cannot be asked for."
                failure = Failure(code=codes.INVALID_PROGRAM_ID, message=message, retryable=False, guid=subject.guid)
                result.failures.append(failure)
            else:
                yield str(number), entry

    async def _ask(
        self, subject: Subject, number: str, entry: Mapping[str, Any], held: Mapping[str, Any], result: Enrolling
    ) -> State:
        kept = {name: entry[name] for name in ("enrolledAt", "programName") if entry.get(name) is not None}
        if subject.link is None:
            return kept
        asked = Asked.read(held)
        draft = asked.state if asked else {}
        try:
            if asked is None:
                # What could not be asked for once, a follow-up may have asked for whose end was never noted.
                is_uncertain = subject.is_uncertain or bool(held)
                told_at = held.get(_TOLD_AT, subject.told_at)
                asking = self._asking(subject, number, entry)
                asked = await self._requests.ask(asking, is_uncertain=is_uncertain, told_at=told_at)
            else:
                asked = await self._requests.submit(asked)
            return {**kept, **asked.state}
        except NotSubmitted as error:
            failed, draft = error.failed, error.asked.state
        except NotMade as error:
            failed = error.failed
        except CallFailed as error:
            failed = error
        result.failures.append(failed.failure(codes.PUSH_FAILED, subject.guid))
        told_at = self._clock.now() if failed.may_have_arrived else held.get(_TOLD_AT)
        noted = {_TOLD_AT: told_at, "isRefused": not failed.retryable and not draft}
        return {**kept, **draft, **{name: value for name, value in noted.items() if value}}

    def _asking(self, subject: Subject, number: str, entry: Mapping[str, Any]) -> Asking:
        assert subject.link
        key = self._identifiers.of_link(subject.type, subject.link)
        return Asking(
            code=self._code,
            registrant={"system": self._identifiers.vocabulary, "value": key.value},
            detail={"program_id": int(number)},
            description=f"DataCollect entity {subject.guid}",
            content=digest([subject.guid, number, entry.get("enrolledAt")]),
            is_unique=entry.get("enrolledAt") is not None,
        )

    async def _looked(self, asked: Asked, subject: Subject, result: Enrolling) -> Asked:
        try:
            now = await self._requests.look(asked)
            return await self._requests.submit(now) if now.status == DRAFT else self._told(now, subject, result)
        except NotSubmitted as error:
            failed = error.failed
        except CallFailed as error:
            failed = error
        if failed.kind is not CallKind.NOT_FOUND:
            result.failures.append(failed.failure(codes.CR_POLL_FAILED, subject.guid))
        if failed.is_systemic or failed.kind in NO_ANSWER:
            result.failed = failed
        return asked

    def _told(self, now: Asked, subject: Subject, result: Enrolling) -> Asked:
        if not now.is_sent_back or now.is_told:
            return now
        result.failures.append(sent_back(now, subject.guid))
        return replace(now, is_told=True)

    def _settle(self, subject: Subject, number: str, now: Asked, entry: Mapping[str, Any], result: Enrolling) -> None:
        decided = instant(now.decided_at)
        at = format_timestamp(self._clock.now() if decided is None else decided)
        told: dict[str, Any] = {"programId": int(number), "crId": now.reference, "crName": now.reference}
        if isinstance(entry.get("programName"), str):
            told["programName"] = entry["programName"]
        if now.status == APPLIED:
            kind, told = "program-enrolment-applied", {**told, "appliedAt": at}
        else:
            kind, told = "program-enrolment-rejected", {**told, "rejectedAt": at}
            told |= {"rejectionReason": now.reason} if now.reason else {}
        key = f"{kind}:{number}:{now.reference}"
        result.events.append(FollowUpEvent(type=kind, data=told, key=key))


def is_open(state: Mapping[str, Any]) -> bool:
    """Whether an enrolment is under way, or is still to be asked for."""
    return any("reference" in held or not held.get("isRefused") for held in state.get(ENROLMENTS, {}).values())


def program_id(value: Any) -> int | None:
    """A programme's number, also where it is written as a text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
