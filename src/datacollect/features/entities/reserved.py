"""Keys of an entity's data that forms may not write, because events of their own keep them. Pure."""

from dataclasses import replace
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities import attendance, entitlements
from datacollect.features.entities.model import reserved_keys
from datacollect.features.entities.touched import DEEPEST_NESTING
from datacollect.kernel.tenancy import Tenant

Path = list[str | int]

_WRITING = ("create-", "update-", "add-member")
_COUNTED = attendance.FIELDS | entitlements.FIELDS


def as_taken_now(event: Event, tenant: Tenant) -> Event:
    """What has waited, without the keys that the program has reserved since it came: a push of it would be taken without
    them, too."""
    data, paths = without_reserved(event.type, event.data, reserved_keys(tenant.custom_event_types))
    return replace(event, data=data) if paths else event


def is_reserved(key: str, value: Any, reserved: frozenset[str]) -> bool:
    """Whether no form may write this under that key.

    Where the events that keep a balance are not switched on, a form may use its name for an answer. But not for what would
    be taken for a balance on the day on which they are.
    """
    return key in reserved or (key in _COUNTED and _could_be_counted(key, value))


def _could_be_counted(key: str, value: Any) -> bool:
    """Whether those who count would take it for what they have counted: see `attendance` and `entitlements`."""
    if key in attendance.FIELDS:
        return isinstance(value, dict) and any(isinstance(item, dict) for item in _items(value.get("sessions")))
    names = {"id"} if key == entitlements.ENTITLEMENTS else {"entitlementId", "entitlementIds"}
    return any(isinstance(item, dict) and not names.isdisjoint(item) for item in _items(value))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def without_reserved(
    event_type: str, data: dict[str, Any], reserved: frozenset[str]
) -> tuple[dict[str, Any], list[Path]]:
    """The data of an event without the reserved keys of the entities it writes, and where those stood.

    Only what would become a field of an entity counts: keys of the data itself and of its members' objects. Deeper
    ones are part of a form's answer.
    """
    found: list[Path] = []
    if not event_type.startswith(_WRITING):
        return data, found
    if "members" not in data and reserved.isdisjoint(data) and _COUNTED.isdisjoint(data):
        return data, found
    kept = _without(data, reserved, ["data"], found, 0)
    return (kept, found) if found else (data, found)


def _without(
    data: dict[str, Any], reserved: frozenset[str], path: Path, found: list[Path], depth: int
) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if not is_reserved(key, value, reserved)}
    found += [[*path, key] for key in data if key not in kept]
    members = kept.get("members")
    if isinstance(members, list) and depth < DEEPEST_NESTING:
        kept["members"] = [
            _without(member, reserved, [*path, "members", index], found, depth + 1)
            if isinstance(member, dict)
            else member
            for index, member in enumerate(members)
        ]
    return kept
