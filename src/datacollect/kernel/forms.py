"""Form.io definitions, as far as several slices read them. Never an error, whatever a definition holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LAYOUT = frozenset({"panel", "fieldset", "well", "columns", "table", "tabs"})
"""Types of components that arrange others, and are no place in the data."""

WITHOUT_VALUE = frozenset({"button", "content", "htmlelement"})

DEEPEST = 16
MOST_COMPONENTS = 2000
"""Per form; real ones have a hundred. What goes beyond these two is not looked at."""


def components_in(definition: Any) -> Any:
    """What should be the list of a form's components."""
    return definition.get("components") if isinstance(definition, Mapping) else None


def arranged_by(component: Mapping[str, Any], kind: str) -> Iterator[Any]:
    """What should be the lists of components that a layout component of that type holds."""
    if kind == "table":
        for row in items_of(component.get("rows")):
            yield from (cell.get("components") for cell in items_of(row) if isinstance(cell, Mapping))
    elif kind in ("columns", "tabs"):
        parts = component.get("columns" if kind == "columns" else "components")
        yield from (part.get("components") for part in items_of(parts) if isinstance(part, Mapping))
    else:
        yield component.get("components")


def is_conditional(component: Mapping[str, Any]) -> bool:
    """Whether a condition decides if it is shown; for Form.io its flag `hidden` says nothing then."""
    condition = component.get("conditional")
    is_simple = isinstance(condition, Mapping) and any(condition.get(key) for key in ("when", "conditions", "json"))
    return is_simple or bool(component.get("customConditional"))


def items_of(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
