"""Who came to which session. Pure: from an entity's data and an event to the fields that the event sets.

Sessions are kept in the order of their dates, whatever the order in which the events arrive. Source: the contract's
model, 5.1.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import items_in, once_each
from datacollect.features.entities.errors import InvalidAttendance

ATTENDANCE = "attendance"
FIELDS = frozenset({ATTENDANCE})
"""Fields of an entity that only these events write."""

_STATUSES = ("present", "late", "excused", "absent")
_CAME = ("present", "late")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?", re.ASCII)

Fields = Mapping[str, Any]


def record(data: Fields, event: Event) -> Fields:
    """Note one person's attendance of one session, and count anew."""
    return _counted([*_sessions(data), _session(event)])


def united(data: Fields, other: Fields) -> Fields:
    """The field of one person who was registered twice; nothing where `other` has none."""
    sessions = _sessions(other)
    return _counted(once_each([*_sessions(data), *sessions], "formGuid")) if sessions else {}


def _sessions(data: Fields) -> list[Fields]:
    held = data.get(ATTENDANCE)
    return items_in(held, "sessions") if isinstance(held, dict) else []


def _counted(sessions: Iterable[Fields]) -> Fields:
    in_order = sorted(sessions, key=lambda one: (str(one.get("date")), str(one.get("formGuid"))))
    return {ATTENDANCE: _summary(in_order)}


def _session(event: Event) -> Fields:
    given = event.data
    if not isinstance(given.get("sessionId"), str | int) or not given["sessionId"]:
        raise InvalidAttendance("`sessionId` must name the session.", path=["data", "sessionId"])
    if not isinstance(given.get("date"), str) or not _DATE.fullmatch(given["date"]):
        raise InvalidAttendance("`date` must be the session's date, as YYYY-MM-DD.", path=["data", "date"])
    if given.get("status") not in _STATUSES:
        raise InvalidAttendance(f"`status` must be one of {', '.join(_STATUSES)}.", path=["data", "status"])
    for key in ("groupGuid", "programId"):
        if isinstance(given.get(key), dict | list):
            raise InvalidAttendance(f"`{key}` must be a text or a number.", path=["data", key])
    kept = ("sessionId", "groupGuid", "programId", "date", "status")
    return {key: given[key] for key in kept if given.get(key) is not None} | {"formGuid": event.guid}


def _summary(sessions: Sequence[Fields]) -> Fields:
    counts = _counts(sessions)
    came = [str(one.get("date")) for one in sessions if one.get("status") in _CAME]
    return {
        "sessions": sessions,
        "totalSessions": counts.pop("sessions"),
        **counts,
        "lastAttended": max(came, default=None),
        "byGroup": _counts_by("groupGuid", sessions),
        "byProgram": _counts_by("programId", sessions),
    }


def _counts_by(key: str, sessions: Sequence[Fields]) -> dict[str, dict[str, int]]:
    parts: dict[str, list[Fields]] = {}
    for one in sessions:
        if one.get(key) is not None:
            parts.setdefault(str(one[key]), []).append(one)
    return {part: _counts(parts[part]) for part in sorted(parts)}


def _counts(sessions: Iterable[Fields]) -> dict[str, int]:
    statuses = [one.get("status") for one in sessions]
    return {
        "sessions": len(statuses),
        "attended": sum(status in _CAME for status in statuses),
        "excused": statuses.count("excused"),
        "absent": statuses.count("absent"),
        "late": statuses.count("late"),
    }
