"""What a form asks for: the keys that its data has, and who may see and fill them in. Pure, and never an error.

Built like the translation to a schema, with the same limits: what goes beyond them is no field of the form.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datacollect.features.forms.translation import components_of
from datacollect.kernel.forms import DEEPEST, components_in

_NESTED = frozenset({"container", "datagrid", "editgrid"})
_WRITE_ONLY = frozenset({"password"})


@dataclass(slots=True)
class Fields:
    """The keys of one object of a form's data."""

    below: dict[str, "Fields | None"] = field(default_factory=dict)
    """Each key the form asks for, with what it holds: the fields of an object or of each row of a list, or None for a
    value that is taken as a whole."""
    fixed: set[str] = field(default_factory=set)
    """Those of them that nobody fills in: disabled or hidden components."""
    unseen: set[str] = field(default_factory=set)
    """Those of them that are not shown to who fills in the form: hidden and protected components."""


def fields_of(definition: Any) -> Fields:
    """Never raises, whatever the definition holds."""
    components = components_in(definition)
    return _fields(components, 0)


def unsaved_keys(definition: Any) -> frozenset[str]:
    """Keys that clients send although they are no data: of buttons, and of fields that are not saved."""
    components = components_in(definition)
    keys = (component.get("key") for component in _every(components, 0) if _is_unsaved(component))
    return frozenset(key for key in keys if isinstance(key, str))


def _fields(components: Any, depth: int) -> Fields:
    found = Fields()
    if depth > DEEPEST:
        return found
    for component in components_of(components):
        key = component.get("key")
        if isinstance(key, str) and key and not _is_unsaved(component):
            _add(found, key.split("."), component, depth)
    return found


def _add(found: Fields, steps: Sequence[str], component: Mapping[str, Any], depth: int) -> None:
    """Note a component; a key with dots names a place deeper down."""
    step, *rest = steps
    if rest:
        inner = found.below.setdefault(step, Fields())
        if inner is not None:
            _add(inner, rest, component, depth)
        return
    found.below[step] = _inside(component, depth)
    hidden = component.get("hidden") is True and not component.get("logic")
    if hidden or component.get("disabled") is True:
        found.fixed.add(step)
    if hidden or _kind(component) in _WRITE_ONLY or _is_protected(component):
        found.unseen.add(step)


def _inside(component: Mapping[str, Any], depth: int) -> Fields | None:
    if _kind(component) in _NESTED:
        return _fields(component.get("components"), depth + 1)
    return None


def _is_protected(component: Mapping[str, Any]) -> bool:
    return component.get("protected") is True or component.get("encrypted") is True


def _is_unsaved(component: Mapping[str, Any]) -> bool:
    return _kind(component) == "button" or component.get("persistent") in (False, "client-only")


def _kind(component: Mapping[str, Any]) -> str:
    kind = component.get("type")
    return kind if isinstance(kind, str) else ""


def _every(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """All components on the top level of the data, buttons too."""
    if depth > DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _every(item, depth + 1)
    elif isinstance(value, Mapping):
        yield value
        if _kind(value) in _NESTED:
            return
        for key in ("components", "columns", "rows"):
            yield from _every(value.get(key), depth + 1)
