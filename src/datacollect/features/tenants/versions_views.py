"""Versions in wire form."""

from typing import Any

from datacollect.features.tenants.differences import Comparison, Difference, Kind, path_for_people
from datacollect.features.tenants.versions_model import Version, VersionAction
from datacollect.kernel.clock import format_timestamp


def version_line(version: Version) -> dict[str, Any]:
    """In wire form."""
    action, detail = version.change.action, version.change.detail
    line: dict[str, Any] = {
        "revision": version.revision,
        "action": action.value,
        "at": format_timestamp(version.recorded_at),
        "by": {"id": version.actor_id, "label": version.actor},
        "archived": version.is_archived,
    }
    if action is VersionAction.SECTION_CHANGED:
        line["section"] = detail
    if action is VersionAction.REVERTED:
        line["fromRevision"] = int(detail or 0)
    return line


def diff_document(found: Comparison) -> dict[str, Any]:
    """In wire form."""
    return {
        "revision": found.revision,
        "against": found.against,
        "changes": [_difference(change) for change in found.changes],
        "seedData": found.seeds,
    }


def _difference(change: Difference) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "path": list(change.path),
        "text": path_for_people(change.path),
        "kind": change.kind.value,
    }
    if change.kind is not Kind.ADDED:
        shown["before"] = change.before
    if change.kind is not Kind.REMOVED:
        shown["after"] = change.after
    if change.index is not None:
        shown["index"] = change.index
    return shown
