"""Wire models of a program's versions."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.features.tenants.differences import Kind
from datacollect.features.tenants.versions_model import VersionAction
from datacollect.http.wire import Model, examples

_LINE: dict[str, Any] = {
    "revision": 2,
    "action": "replaced",
    "at": "2026-11-16T08:30:00.000Z",
    "by": {"id": 1, "label": "admin@example.org"},
    "archived": False,
}
_CHANGE: dict[str, Any] = {
    "path": ["version"],
    "text": 'version: "1.0.0" -> "1.1.0"',
    "kind": "changed",
    "before": "1.0.0",
    "after": "1.1.0",
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class ChangedBy(_Out):
    """Who changed a program."""

    id: int | None = Field(description="Of their account; null for the hub itself.")
    label: str = Field(description="Their e-mail then; `system` for the hub itself.")


class VersionLine(_Out):
    """A version of a program: what was done, when, by whom."""

    revision: int
    action: VersionAction
    section: str | None = Field(None, description="Of `section-changed`: which one.")
    from_revision: int | None = Field(None, description="Of `reverted`: the version that came back.")
    at: str
    by: ChangedBy
    archived: bool


class VersionList(_Out):
    model_config = examples({"versions": [_LINE], "nextCursor": None})

    versions: list[VersionLine]
    next_cursor: str | None = Field(description="For `cursor`, to get what is older; null at the end.")


class ProgramDifference(_Out):
    """One place at which two versions are different."""

    path: list[str | int | dict[str, Any]] = Field(
        description='Members by name, items of lists by place or, as `{"name": "household"}`, by what they are called.'
    )
    text: str = Field(description="The same for people.")
    kind: Kind
    before: Any = Field(None, description="Absent for what is added. Secrets are masked.")
    after: Any = Field(None, description="Absent for what is removed. Secrets are masked.")
    index: int | None = Field(None, description="Of an added item that is told by its name: its place.")


class SeedDifference(_Out):
    """How many seeds of a form are different."""

    form: str
    added: int
    removed: int
    changed: int


class VersionDiff(_Out):
    model_config = examples(
        {
            "revision": 2,
            "against": 1,
            "changes": [_CHANGE],
            "seedData": [{"form": "individual", "added": 1, "removed": 0, "changed": 0}],
        }
    )

    revision: int
    against: int | None = Field(description="Null: there is no version before, so everything is added.")
    changes: list[ProgramDifference]
    seed_data: list[SeedDifference]
