"""Which fields of a program tell who a record is about: what its forms call them, or mark. Pure, and never an error.

The marks are written down in `docs/reference/matching.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datacollect.features.tenants.searchable import values_in
from datacollect.matching.features import Role
from datacollect.matching.roles import role_of
from datacollect.matching.scoring import PROBABLE

Roles = Mapping[str, Role]
"""By the path of the field."""

_MOST_FIELDS = 40
_LONGEST_FIELD = 100


@dataclass(frozen=True, slots=True)
class Matching:
    """How duplicates are looked for in a program."""

    roles: Mapping[str, Roles]
    """By the form's name."""
    threshold: float
    """Bits from which on a pair is told."""
    is_wanted: bool
    version: str = ""
    """Of the config that says so."""


def read_matching(forms: Mapping[str, Any], section: Any, *, version: str = "") -> Matching:
    """`section` is the config's `duplicates`; what it does not say, or says wrongly, is as it is by default."""
    told = section if isinstance(section, Mapping) else {}
    threshold, wanted = told.get("threshold"), told.get("detect")
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or not 1 <= threshold <= 100:
        threshold = PROBABLE
    return Matching(matching_roles(forms), float(threshold), wanted is not False, version)


def matching_roles(forms: Mapping[str, Any]) -> Mapping[str, Roles]:
    """By the form's name. `forms` are Form.io definitions by the form's name."""
    return {name: _roles_in(definition) for name, definition in forms.items()}


def _roles_in(definition: Any) -> Roles:
    found: dict[str, Role] = {}
    for path, component in values_in(definition):
        properties = component.get("properties")
        marked = properties.get("matching") if isinstance(properties, Mapping) else None
        kind = component.get("type")
        role = role_of(path, kind=kind if isinstance(kind, str) else "", marked=marked)
        if role is not None and len(path) <= _LONGEST_FIELD and len(found) < _MOST_FIELDS:
            found[path] = role
    return found
