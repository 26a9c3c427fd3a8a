"""What holds between a config's forms, and inside each. The document has passed the schema.

What a form holds (`formio`) is the clients' business and may be anything; these checks look at what they know and pass
over the rest. All take time in proportion to the config.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from datacollect.features.tenants.findings import Findings, Path
from datacollect.features.tenants.model import levels
from datacollect.features.tenants.published import is_secret_name
from datacollect.features.tenants.rules import (
    AMBIGUOUS_FORM_ID,
    CIRCULAR_FORM,
    COMPONENT_WITHOUT_KEY,
    DUPLICATE_COMPONENT,
    DUPLICATE_FORM,
    DUPLICATE_FORM_ID,
    MANAGED_COMPONENT,
    PUBLISHED_SECRET,
    UNKNOWN_FORM,
    UNKNOWN_NAME_FIELD,
    UNTIDY_NAME,
)
from datacollect.kernel.forms import LAYOUT, WITHOUT_VALUE

MANAGED_KEYS = frozenset({
    "entityName", "_displayName", "parentId", "parentGuid", "members", "memberIds",
    "externalId", "identifierType",
    "pendingProgramEnrolments", "enrolledPrograms", "rejectedPrograms",
})  # fmt: skip
"""Members of an entity's data that are the hub's in every program."""

COUNTED_KEYS = {
    "record-attendance": frozenset({"attendance"}),
    "grant-entitlement": frozenset({"entitlements", "grantHistory", "redemptionHistory"}),
    "redeem-entitlement": frozenset({"entitlements", "grantHistory", "redemptionHistory"}),
    "void-redemption": frozenset({"entitlements", "grantHistory", "redemptionHistory"}),
}
"""Members that are the hub's where the program has switched on an event type that is counted."""

_SHOWN_OF_A_CIRCLE = 6
_LONGEST_SHOWN = 80

_WITHOUT_DATA = LAYOUT | WITHOUT_VALUE
_LEVELS = frozenset({"container", "datagrid", "editgrid", "dynamicwizard", "form", "datamap", "tree"})
"""Components whose children's values are kept inside their own value."""


def check_forms(forms: Sequence[Mapping[str, Any]], custom_event_types: Collection[str], found: Findings) -> None:
    _check_names(forms, found)
    _check_hierarchy(forms, found)
    managed = MANAGED_KEYS.union(*(COUNTED_KEYS.get(name, ()) for name in custom_event_types))
    for index, form in enumerate(forms):
        _check_components(index, form, managed, found)


def _check_names(forms: Sequence[Mapping[str, Any]], found: Findings) -> None:
    names: dict[str, int] = {}
    ids: set[str] = set()
    for index, form in enumerate(forms):
        name, id = form["name"], form["id"]
        if name in names:
            found.add(DUPLICATE_FORM, ("entityForms", index, "name"), f"form {quoted(name)} is defined twice")
        if id in ids:
            found.add(DUPLICATE_FORM_ID, ("entityForms", index, "id"), f"another form has the id {quoted(id)}")
        if name != name.strip() or not name.isprintable():
            message = "begins or ends with a space, or has characters that cannot be seen"
            found.add(UNTIDY_NAME, ("entityForms", index, "name"), message)
        names.setdefault(name, index)
        ids.add(id)
    for index, form in enumerate(forms):
        if names.get(form["id"], index) != index and form["name"] != form["id"]:
            message = f"{quoted(form['id'])} is the name of another form"
            found.add(AMBIGUOUS_FORM_ID, ("entityForms", index, "id"), message)


def _check_hierarchy(forms: Sequence[Mapping[str, Any]], found: Findings) -> None:
    parent_of = {form["name"]: form.get("dependsOn") or None for form in forms}
    place_of = {form["name"]: index for index, form in enumerate(forms)}
    level_of = levels(forms)
    told: set[str] = set()
    for index, form in enumerate(forms):
        name, parent = form["name"], form.get("dependsOn") or None
        if parent is not None and parent not in parent_of:
            found.add(UNKNOWN_FORM, ("entityForms", index, "dependsOn"), f"there is no form {quoted(parent)}")
        elif name not in level_of and name not in told:
            circle = _circle(name, parent_of, told)
            if circle:
                message = f"forms depend on each other in a circle: {_drawn(circle)}"
                found.add(CIRCULAR_FORM, ("entityForms", place_of[circle[0]], "dependsOn"), message)


def _circle(start: str, parent_of: Mapping[str, str | None], told: set[str]) -> list[str]:
    """The circle that a form is in or leads into, from where it is first met; nothing if it is told already.

    `told` grows by every form on the way, so that all forms together are walked through once.
    """
    way: dict[str, int] = {}
    at: str | None = start
    while at is not None and at not in way and at not in told:
        way[at] = len(way)
        at = parent_of.get(at)
    told.update(way)
    return list(way)[way[at] :] if at in way else []


def _drawn(circle: Sequence[str]) -> str:
    shown = [_short(name) for name in circle[:_SHOWN_OF_A_CIRCLE]]
    if len(circle) > _SHOWN_OF_A_CIRCLE:
        shown.append(f"… {len(circle) - _SHOWN_OF_A_CIRCLE} more …")
    return " → ".join([*shown, _short(circle[0])])


def quoted(name: object) -> str:
    """A name from the config, for a message: messages must stay readable whatever names hold."""
    return f'"{_short(str(name))}"'


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"


def _check_components(index: int, form: Mapping[str, Any], managed: Collection[str], found: Findings) -> None:
    keys: set[tuple[int, str]] = set()
    for path, component, level in _components(form["formio"], ("entityForms", index, "formio")):
        _check_headers(component, path, found)
        key = component.get("key")
        if not isinstance(key, str) or not key:
            if _takes_input(component):
                found.add(COMPONENT_WITHOUT_KEY, path, "has no `key`: its value is kept nowhere")
            continue
        if not _takes_input(component):
            continue
        if (level, key) in keys:
            found.add(DUPLICATE_COMPONENT, (*path, "key"), f"another component on this level has the key {quoted(key)}")
        keys.add((level, key))
        if level == 0 and key in managed:
            found.add(MANAGED_COMPONENT, (*path, "key"), f"{quoted(key)} is a member that the hub manages")
    name_field = form.get("nameField")
    # A form that is not designed yet says nothing about its fields.
    if name_field and keys and (0, name_field.partition(".")[0]) not in keys:
        message = f"no component of the form has the key {quoted(name_field)}"
        found.add(UNKNOWN_NAME_FIELD, ("entityForms", index, "nameField"), message)


def _check_headers(component: Mapping[str, Any], path: Path, found: Findings) -> None:
    data = component.get("data")
    headers = data.get("headers") if isinstance(data, dict) else None
    for index, header in enumerate(headers if isinstance(headers, list) else ()):
        name = header.get("key") if isinstance(header, dict) and header.get("value") else None
        if isinstance(name, str) and (name.lower() == "authorization" or is_secret_name(name)):
            message = f"the value of {quoted(name)} is published with the form"
            found.add(PUBLISHED_SECRET, (*path, "data", "headers", index), message)


def _takes_input(component: Mapping[str, Any]) -> bool:
    kind = component.get("type")
    return component.get("input") is not False and isinstance(kind, str) and kind not in _WITHOUT_DATA


def _components(formio: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any], int]]:
    """Every component in document order, with the level its value is kept on: 0 is the data itself."""
    levels_made = 0
    waiting: list[tuple[Path, Any, int]] = [(path, formio, 0)]
    while waiting:
        at, node, level = waiting.pop()
        if at != path:
            yield at, node, level
            kind = node.get("type")
            if isinstance(kind, str) and kind in _LEVELS:
                levels_made += 1
                level = levels_made
        waiting += reversed([(place, child, level) for place, child in _children(node, at)])


def _children(node: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    yield from _of_list(node.get("components"), (*path, "components"))
    columns = node.get("columns")
    if isinstance(columns, list):
        for index, column in enumerate(columns):
            if isinstance(column, dict):
                yield from _of_list(column.get("components"), (*path, "columns", index, "components"))
    rows = node.get("rows")
    if isinstance(rows, list):
        for row_index, row in enumerate(rows):
            for index, cell in enumerate(row if isinstance(row, list) else ()):
                if isinstance(cell, dict):
                    yield from _of_list(cell.get("components"), (*path, "rows", row_index, index, "components"))


def _of_list(components: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if isinstance(components, list):
        for index, component in enumerate(components):
            if isinstance(component, dict):
                yield (*path, index), component
