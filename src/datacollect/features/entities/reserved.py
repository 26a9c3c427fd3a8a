"""Keys of an entity's data that forms may not write, because events of their own keep them. Pure."""

from dataclasses import replace
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.entities.model import reserved_keys
from datacollect.features.entities.touched import DEEPEST_NESTING
from datacollect.kernel.tenancy import Tenant

Path = list[str | int]

_WRITING = ("create-", "update-", "add-member")


def as_taken_now(event: Event, tenant: Tenant) -> Event:
    """What has waited, without the keys that the program has reserved since it came: a push of it would be taken without
    them, too."""
    data, paths = without_reserved(event.type, event.data, reserved_keys(tenant.custom_event_types))
    return replace(event, data=data) if paths else event


def without_reserved(
    event_type: str, data: dict[str, Any], reserved: frozenset[str]
) -> tuple[dict[str, Any], list[Path]]:
    """The data of an event without the reserved keys of the entities it writes, and where those stood.

    Only what would become a field of an entity counts: keys of the data itself and of its members' objects. Deeper
    ones are part of a form's answer.
    """
    found: list[Path] = []
    if not event_type.startswith(_WRITING) or (reserved.isdisjoint(data) and "members" not in data):
        return data, found
    kept = _without(data, reserved, ["data"], found, 0)
    return (kept, found) if found else (data, found)


def _without(
    data: dict[str, Any], reserved: frozenset[str], path: Path, found: list[Path], depth: int
) -> dict[str, Any]:
    found += [[*path, key] for key in data if key in reserved]
    kept = {key: value for key, value in data.items() if key not in reserved}
    members = kept.get("members")
    if isinstance(members, list) and depth < DEEPEST_NESTING:
        kept["members"] = [
            _without(member, reserved, [*path, "members", index], found, depth + 1)
            if isinstance(member, dict)
            else member
            for index, member in enumerate(members)
        ]
    return kept
