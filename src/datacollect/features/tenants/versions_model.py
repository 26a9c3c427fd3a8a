"""What has been done to a program, and what it was after that."""

from dataclasses import dataclass
from enum import StrEnum

from datacollect.features.tenants.model import Program
from datacollect.kernel.clock import Millis


class VersionAction(StrEnum):
    CREATED = "created"
    REPLACED = "replaced"
    SECTION_CHANGED = "section-changed"
    """`detail` is the section's key."""
    ARCHIVED = "archived"
    RESTORED = "restored"
    """From the archive."""
    REVERTED = "reverted"
    """To an older version: `detail` is its revision."""
    ARTIFACT_ROTATED = "artifact-rotated"
    ADOPTED = "adopted"
    """Nothing was done: the program is older than its history."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is being done to a program."""

    action: VersionAction
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What the history says of one revision."""

    revision: int
    change: Change
    recorded_at: Millis
    actor_id: int | None
    actor: str
    """The e-mail of the account; of what the hub did itself, `system`."""
    is_archived: bool


@dataclass(frozen=True, slots=True)
class VersionPage:
    versions: list[Version]
    following: int | None
    """What to give as `before` for the page that follows; None on the last one."""


@dataclass(frozen=True, slots=True)
class PastProgram:
    """A program as it was, and by what it came to be so."""

    version: Version
    program: Program
