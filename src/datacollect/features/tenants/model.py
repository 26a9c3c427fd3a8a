"""What a program's forms mean, and how programs are listed.

Source: the contract's model, 2.11, and programs, 3.1 and 4.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import Role, TenantScope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import FormValidation

EntityType = Literal["group", "individual", "record"]

LARGEST_CONFIG_BYTES = 10 * 1024 * 1024


class Revision(NamedTuple):
    """Which state of which program: one that is made under the id of a purged one begins at the same numbers."""

    number: int
    made_at: Millis
    """When the program was created."""

    @property
    def next(self) -> "Revision":
        return Revision(self.number + 1, self.made_at)


@dataclass(frozen=True, slots=True)
class Program:
    """A stored program. `config` is the accepted document without `externalSync` and `entityData`.

    Seeds can be many megabytes and are read by whoever asks for them; `seed_digest` names them.
    """

    id: TenantId
    artifact_id: str
    config: Mapping[str, Any]
    external_sync: Mapping[str, Any] | None
    entity_data: Sequence[Mapping[str, Any]]
    archived_at: Millis | None
    revision: int
    created_at: Millis
    updated_at: Millis
    seed_digest: str | None = None
    locked: frozenset[str] = frozenset()
    """Sections with secrets that no key of this hub opens; the secrets are missing then."""

    @property
    def at(self) -> Revision:
        return Revision(self.revision, self.created_at)

    @property
    def document(self) -> dict[str, Any]:
        """The accepted document as a whole."""
        return {**self.config, "entityData": self.entity_data, "externalSync": self.external_sync}


@dataclass(frozen=True, slots=True)
class Expected:
    """What somebody who changes a program takes it to be."""

    revisions: frozenset[tuple[int, Millis | None]] | None = None
    """At one of these, and created then, if that is said; None for at any."""
    exists: bool | None = None
    """Whether it is there; None if they do not mind."""


ANYTHING = Expected()


@dataclass(frozen=True, slots=True)
class Listed:
    """A program's line in the list."""

    id: TenantId
    artifact_id: str
    name: str
    description: str | None
    version: str | None
    archived_at: Millis | None
    seeding: "Progress | None" = None
    """Of seeds that are still to come."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of a program's seed records are done with."""

    total: int
    done: int


@dataclass(frozen=True, slots=True)
class ArtifactStamp:
    """Which state of a program its files are made from: there are no two of one stamp."""

    artifact_id: str
    revision: int
    updated_at: Millis


@dataclass(frozen=True, slots=True)
class FormKind:
    """What entities of a form are."""

    entity_type: EntityType
    parent_is_group: bool

    @property
    def category(self) -> Literal["entity", "record"]:
        return "record" if self.entity_type == "record" else "entity"


UNKNOWN_FORM = FormKind("record", parent_is_group=False)
"""What a form name means that no form has."""


def classify(forms: Sequence[Mapping[str, Any]]) -> dict[str, FormKind]:
    """The kind of each form, by name. Forms are in wire form.

    An explicit `entityType` decides. Else a form on top is a group. A form below is an individual, except that in a
    hierarchy of three levels or more only forms that are parents themselves are, and the leaves are records.
    """
    parent_of = {form["name"]: form.get("dependsOn") or None for form in forms}
    parents = {parent for parent in parent_of.values() if parent}
    mixed = any(parent_of.get(parent) for parent in parents)
    explicit: dict[str, EntityType] = {form["name"]: form["entityType"] for form in forms if form.get("entityType")}

    def type_of(name: str) -> EntityType:
        if name in explicit:
            return explicit[name]
        if parent_of[name] is None:
            return "group"
        return "individual" if not mixed or name in parents else "record"

    def is_group(name: str | None) -> bool:
        if name not in parent_of:
            return False
        return explicit[name] == "group" if name in explicit else parent_of[name] is None

    return {name: FormKind(type_of(name), is_group(parent)) for name, parent in parent_of.items()}


def levels(forms: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How deep each form stands: 0 on top, 1 below that. Forms that depend on themselves have no level.

    A parent that does not exist counts as top level. Takes time in proportion to the number of forms.
    """
    parent_of = {form["name"]: form.get("dependsOn") or None for form in forms}
    found: dict[str | None, int | None] = {}
    for name in parent_of:
        path: dict[str, None] = {}
        at: str | None = name
        while at is not None and at in parent_of and at not in found and at not in path:
            path[at] = None
            at = parent_of[at]
        # Where the walk up ended: above the top, in a circle, or at a form whose level is known.
        level = None if at in path else found.get(at, -1)
        for step in reversed(path):
            level = None if level is None else level + 1
            found[step] = level
    return {name: level for name in parent_of if (level := found[name]) is not None}


def form_validation(setting: Any) -> FormValidation:
    """What the config's `formValidation` asks for: `true` is the lenient mode."""
    if isinstance(setting, bool) or setting is None:
        return FormValidation.WARN if setting else FormValidation.OFF
    return FormValidation(setting)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the list is asked for, as understood; `sort_by` is echoed even when it names nothing to sort by."""

    page: int = 1
    page_size: int = 12
    sort_by: str = "name"
    descending: bool = False
    search: str = ""
    include_archived: bool = False

    @property
    def by_count(self) -> bool:
        return self.sort_by == "entitiesCount"


def matching(programs: Sequence[Listed], search: str) -> list[Listed]:
    """Those with `search` in name, id or version, whatever the letter case. `search` is trimmed and lower-case."""
    if not search:
        return list(programs)
    return [p for p in programs if any(search in (text or "").lower() for text in (p.name, p.id, p.version))]


def ordered(programs: Sequence[Listed], query: ListQuery, counts: Mapping[TenantId, int]) -> list[Listed]:
    """In the order asked for. Equal ones stand in the order of their ids, so that pages do not overlap."""
    keys: dict[str, Callable[[Listed], Any]] = {
        "id": lambda program: base_letters(program.id),
        "entitiesCount": lambda program: counts.get(program.id, 0),
    }
    key = keys.get(query.sort_by, lambda program: base_letters(program.name))
    by_id = sorted(programs, key=lambda program: program.id)
    return sorted(by_id, key=key, reverse=query.descending)


def base_letters(text: str) -> str:
    """Text for comparing as people do: without letter case and accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def page_of(total: int, query: ListQuery) -> tuple[int, int]:
    """The page that is delivered, and how many there are; of nothing, it is page 1 of 0."""
    pages = -(-total // query.page_size)
    return min(query.page, max(pages, 1)), pages


def sees_seeds(scope: TenantScope) -> bool:
    """Seeds are people, of the whole program: other members get theirs by sync, as far as their scope reaches."""
    return scope.role is Role.SYSTEM_ADMIN and not scope.reach.is_bounded


def status_of(archived_at: Millis | None) -> Literal["running", "archived"]:
    """Whether devices sync with the program."""
    return "running" if archived_at is None else "archived"
