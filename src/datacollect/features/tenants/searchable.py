"""Which fields of a program are searchable: what its forms mark. Pure, and never an error, whatever the forms hold.

The marks are written down in `docs/reference/searchable-fields.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datacollect.kernel.forms import DEEPEST, LAYOUT, MOST_COMPONENTS, WITHOUT_VALUE, arranged_by, components_in

REINDEX = "reindex"
"""The kind of job that brings a program's search index to its searchable fields."""

ALWAYS = ("externalId", "nationalId")
"""Searchable in every program: by these, other systems name an entity. Words of its name are as well."""

MOST_FIELDS = 20
"""Per program, `ALWAYS` among them; the first of the first forms count."""
LONGEST_FIELD = 100
"""Characters of a field's path."""

_SECRET = frozenset({"password", "signature", "file"})
_ROWS = frozenset({"datagrid", "editgrid", "datamap", "dynamicWizard"})
_YES = (True, "true", "yes", "1")
_NO = (False, "false", "no", "0")


def searchable_fields(forms: Mapping[str, Any], factors: Sequence[str] = ()) -> tuple[str, ...]:
    """The paths of a program's searchable fields. `forms` are Form.io definitions by the form's name.

    `factors` are what citizens sign in by: they are among them whatever the forms say.
    """
    always = (*ALWAYS, *factors)
    found = dict.fromkeys(always)
    denied: set[str] = set()
    for definition in forms.values():
        marked = marked_fields(definition)
        found |= dict.fromkeys(field for field, wanted in marked.items() if wanted)
        denied |= {field for field, wanted in marked.items() if not wanted}
    # A field that several forms have is one field: where one of them says no, it is none.
    return tuple([field for field in found if field not in denied or field in always][:MOST_FIELDS])


def marked_fields(definition: Any) -> dict[str, bool]:
    """Of one form: the paths of marked fields, and whether the mark says yes."""
    found: dict[str, bool] = {}
    for path, component in values_in(definition):
        mark = _mark(component)
        if mark is not None and len(path) <= LONGEST_FIELD:
            found[path] = found.get(path, True) and mark
    return found


def values_in(definition: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The components of a form that hold one value, with its path in the data."""
    components = components_in(definition)
    return _Walk().values(components, "", 0)


def _mark(component: Mapping[str, Any]) -> bool | None:
    kind = component.get("type")
    if (
        (isinstance(kind, str) and kind in _SECRET)
        or component.get("protected") is True
        or component.get("encrypted") is True
    ):
        return False
    explicit = component.get("searchable")
    properties = component.get("properties")
    if explicit is None and isinstance(properties, Mapping):
        explicit = properties.get("searchable")
    if isinstance(explicit, str):
        explicit = explicit.strip().lower()
    if explicit in _YES:
        return True
    if explicit in _NO:
        return False
    tags = component.get("tags")
    if isinstance(tags, list) and any(isinstance(tag, str) and tag.strip().lower() == "searchable" for tag in tags):
        return True
    return True if component.get("dbIndex") is True or component.get("unique") is True else None


class _Walk:
    def __init__(self) -> None:
        self._left = MOST_COMPONENTS

    def values(self, components: Any, above: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Components that hold one value, with its path; layout is passed through, rows of a grid are left out."""
        if not isinstance(components, Sequence) or isinstance(components, str) or depth > DEEPEST:
            return
        for component in components:
            self._left -= 1
            if self._left < 0:
                return
            if isinstance(component, Mapping):
                yield from self._of(component, above, depth)

    def _of(self, component: Mapping[str, Any], above: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        kind, key = component.get("type"), component.get("key")
        if not isinstance(kind, str):
            kind = ""
        if kind in LAYOUT:
            for inner in arranged_by(component, kind):
                yield from self.values(inner, above, depth + 1)
            return
        if kind in _ROWS or kind in WITHOUT_VALUE or not isinstance(key, str) or not key:
            return
        path = f"{above}.{key}" if above else key
        if kind == "container":
            yield from self.values(component.get("components"), path, depth + 1)
            return
        yield path, component
