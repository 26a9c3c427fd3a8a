"""What a form asks for: the keys that its data has, and who may see and fill them in. Pure, and never an error.

Built like the translation to a schema, with the same limits: what goes beyond them is no field of the form.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from datacollect.kernel.forms import (
    DEEPEST,
    LAYOUT,
    MOST_COMPONENTS,
    WITHOUT_VALUE,
    arranged_by,
    components_in,
    is_conditional,
    items_of,
)

_NESTED = frozenset({"container", "datagrid", "editgrid", "dynamicWizard"})
"""Types whose components' keys are those of their value, or of each of its rows. Other values with components in them (of
a form inside the form, a tree) have shapes of their own and are taken as a whole."""
_WRITE_ONLY = frozenset({"password"})


@dataclass(slots=True)
class Fields:
    """The keys of one object of a form's data."""

    below: dict[str, "Fields | None"] = field(default_factory=dict)
    """Each key the form asks for, with what it holds: the fields of an object or of each row of a list, or None for a
    value that is taken as a whole."""
    fixed: set[str] = field(default_factory=set)
    """Those of them that nobody fills in: disabled or hidden components, by themselves or by what they stand in."""
    unseen: set[str] = field(default_factory=set)
    """Those of them that are not shown to who fills in the form: hidden and protected components."""
    mixed: set[str] = field(default_factory=set)
    """Those of them that are taken as a whole though nobody fills in some part of it: nobody can say where that stands."""
    steady: set[str] = field(default_factory=set)
    """Those of them to which nobody adds rows, and of which nobody takes any away."""

    @property
    def has_fixed(self) -> bool:
        """Whether there is something, however deep, that nobody fills in."""
        inside = (inner.has_fixed for inner in self.below.values() if inner is not None)
        return bool(self.fixed or self.mixed) or any(inside)

    @property
    def has_unseen(self) -> bool:
        return bool(self.unseen) or any(inner.has_unseen for inner in self.below.values() if inner is not None)


class _Closed(NamedTuple):
    """What layout hands down to all that stands in it."""

    hidden: bool = False
    disabled: bool = False
    is_report: bool = False
    """Whether components of the type `hidden` are open: a report takes along what the form itself puts into them."""

    def by(self, component: Mapping[str, Any]) -> "_Closed":
        """With what the component says itself. A condition or logic may show what is hidden, but for what has nothing to
        show; logic may also enable what is disabled."""
        hidden = component.get("hidden") is True and not component.get("logic") and not is_conditional(component)
        disabled = component.get("disabled") is True and not any(map(_may_enable, _actions_of(component)))
        hidden = hidden or (_kind(component) == "hidden" and not self.is_report)
        return self._replace(hidden=self.hidden or hidden, disabled=self.disabled or disabled)


def fields_of(definition: Any, *, is_report: bool = False) -> Fields:
    """Never raises, whatever the definition holds. `is_report` for a form that changes no record."""
    components = components_in(definition)
    return _fields(components, _Closed(is_report=is_report), 0)


def unsaved_keys(definition: Any) -> frozenset[str]:
    """Keys that clients send although they are no data: of buttons, and of fields that are not saved."""
    components = components_in(definition)
    keys = (component.get("key") for component in _every(components, 0) if _is_unsaved(component))
    return frozenset(key for key in keys if isinstance(key, str))


def _fields(components: Any, above: _Closed, depth: int) -> Fields:
    found = Fields()
    if depth > DEEPEST:
        return found
    for component, closed in islice(_laid_out(components, above, 0), MOST_COMPONENTS):
        key = component.get("key")
        if isinstance(key, str) and key and not _is_unsaved(component):
            _add(found, key.split("."), component, closed, depth)
    return found


def _laid_out(components: Any, above: _Closed, depth: int) -> Iterator[tuple[Mapping[str, Any], _Closed]]:
    """The components in a list that give data, layout taken away, and how far they are closed."""
    if depth > DEEPEST:
        return
    for component in items_of(components):
        if not isinstance(component, Mapping):
            continue
        kind, closed = _kind(component), above.by(component)
        if kind in LAYOUT:
            for inner in arranged_by(component, kind):
                yield from _laid_out(inner, closed, depth + 1)
        elif kind not in WITHOUT_VALUE:
            yield component, closed


def _add(found: Fields, steps: Sequence[str], component: Mapping[str, Any], closed: _Closed, depth: int) -> None:
    """Note a component; a key with dots names a place deeper down."""
    step, *rest = steps
    if rest:
        inner = found.below.setdefault(step, Fields())
        if inner is not None:
            _add(inner, rest, component, closed, depth)
        return
    parts = _fields(_components_of(component), _Closed(is_report=closed.is_report), depth + 1)
    is_whole = _kind(component) not in _NESTED
    found.below[step] = None if is_whole else parts
    if closed.hidden or closed.disabled:
        found.fixed.add(step)
    if closed.hidden or _is_secret(component) or (is_whole and parts.has_unseen):
        found.unseen.add(step)
    if is_whole and parts.has_fixed:
        found.mixed.add(step)
    if component.get("disableAddingRemovingRows") is True and not is_whole:
        found.steady.add(step)


def _components_of(component: Mapping[str, Any]) -> Sequence[Any]:
    """Those that its value is made of; a datamap has one for all of its values."""
    return [*items_of(component.get("components")), component.get("valueComponent")]


def _actions_of(component: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the component's logic does."""
    for rule in items_of(component.get("logic")):
        if isinstance(rule, Mapping):
            yield from (action for action in items_of(rule.get("actions")) if isinstance(action, Mapping))


def _may_enable(action: Mapping[str, Any]) -> bool:
    """What only sets the value, as in a field that is calculated, leaves it disabled."""
    changed = action.get("property")
    if action.get("type") == "property":
        return isinstance(changed, Mapping) and changed.get("value") == "disabled" and action.get("state") is not True
    return action.get("type") != "value"


def _is_secret(component: Mapping[str, Any]) -> bool:
    return _kind(component) in _WRITE_ONLY or _is_protected(component)


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
