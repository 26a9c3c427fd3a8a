"""Enrolment in the programmes of an external registry: asked for, then applied or rejected there.

Pure: from an entity's data and an event to the fields that the event sets. Source: the contract's model, 4.9.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import items_in, once_each
from datacollect.features.entities.errors import InvalidProgramId
from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp

PENDING, ENROLLED, REJECTED = "pendingProgramEnrolments", "enrolledPrograms", "rejectedPrograms"
FIELDS = frozenset({PENDING, ENROLLED, REJECTED})
"""Fields of an entity that only these events write."""

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,15}\s*", re.ASCII)

Fields = Mapping[str, Any]


def enrol(data: Fields, event: Event) -> Fields:
    """Ask for an enrolment. Nothing changes if that has been done, or if it was decided after the event was made."""
    program = _program_id(event)
    pending = items_in(data, PENDING)
    asked = format_timestamp(event.occurred_at)
    if any(item["enrolledAt"] <= asked for item in _of(program, pending) if isinstance(item.get("enrolledAt"), str)):
        return {}
    if _is_decided_after(event.occurred_at, program, data):
        return {}
    entry = {"programId": program, **_given(event, "programName"), "enrolledAt": asked}
    return {PENDING: sorted([*_without(program, pending), entry], key=lambda item: str(item.get("enrolledAt")))}


def is_rejected_since(data: Fields, event: Event) -> bool:
    """Whether asking comes to nothing, because the registry has refused an enrolment after the event was made."""
    program = _program_id(event)
    if _of(program, items_in(data, PENDING)) or _of(program, items_in(data, ENROLLED)):
        return False
    return any(_is_after(item.get("rejectedAt"), event.occurred_at) for item in _of(program, items_in(data, REJECTED)))


def apply_enrolment(data: Fields, event: Event) -> Fields:
    """The registry has enrolled the entity."""
    program = _program_id(event)
    enrolled = items_in(data, ENROLLED)
    if not _of(program, enrolled):
        entry = {
            "programId": program,
            **_given(event, "programName"),
            "appliedAt": event.data.get("appliedAt") or format_timestamp(event.occurred_at),
            **_given(event, "crId", "crName"),
        }
        enrolled = [*enrolled, entry]
    return {PENDING: _without(program, items_in(data, PENDING)), ENROLLED: enrolled}


def reject_enrolment(data: Fields, event: Event) -> Fields:
    """The registry has refused the enrolment; it may be asked for again."""
    program = _program_id(event)
    rejected = items_in(data, REJECTED)
    request = event.data.get("crId")
    if not any(item.get("crId") == request for item in _of(program, rejected)):
        entry = {
            "programId": program,
            **_given(event, "programName"),
            "rejectedAt": event.data.get("rejectedAt") or format_timestamp(event.occurred_at),
            **_given(event, "crId", "crName", "rejectionReason"),
        }
        rejected = [*rejected, entry]
    return {PENDING: _without(program, items_in(data, PENDING)), REJECTED: rejected}


def united(data: Fields, other: Fields) -> Fields:
    """The fields of one person who was registered twice; nothing where `other` has none. What was decided after it was
    asked for is not pending, whichever of the two it was decided for."""
    if not any(items_in(other, name) for name in FIELDS):
        return {}
    both = {name: [*items_in(data, name), *items_in(other, name)] for name in FIELDS}
    decided = {
        ENROLLED: once_each(both[ENROLLED], "programId"),
        REJECTED: once_each(both[REJECTED], "programId", "crId"),
    }
    asked = once_each(sorted(both[PENDING], key=lambda item: str(item.get("enrolledAt"))), "programId")
    pending = [item for item in asked if not _is_settled(item, decided)]
    return {name: found for name, found in {PENDING: pending, **decided}.items() if found or name in data}


def _is_settled(pending: Fields, decided: Fields) -> bool:
    program, asked = pending.get("programId"), pending.get("enrolledAt")
    if not isinstance(program, int | float) or not isinstance(asked, str):
        return False
    try:
        return _is_decided_after(parse_timestamp(asked), program, decided)
    except ValueError:
        return False


def _program_id(event: Event) -> int | float:
    value = event.data.get("programId")
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise InvalidProgramId(path=["data", "programId"])


def _is_decided_after(asked: Millis, program: int | float, data: Fields) -> bool:
    decisions = [item.get("appliedAt") for item in _of(program, items_in(data, ENROLLED))]
    decisions += [item.get("rejectedAt") for item in _of(program, items_in(data, REJECTED))]
    return any(_is_after(decision, asked) for decision in decisions)


def _is_after(decision: Any, asked: Millis) -> bool:
    if not isinstance(decision, str):
        return False
    try:
        return parse_timestamp(decision) >= asked
    except ValueError:
        return False


def _of(program: int | float, entries: Sequence[Fields]) -> list[Fields]:
    return [item for item in entries if item.get("programId") == program]


def _without(program: int | float, entries: Sequence[Fields]) -> list[Fields]:
    return [item for item in entries if item.get("programId") != program]


def _given(event: Event, *keys: str) -> Fields:
    return {key: event.data[key] for key in keys if event.data.get(key) is not None}
