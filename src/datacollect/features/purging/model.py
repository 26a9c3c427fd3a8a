"""How far a purge is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Progress:
    """What a purge has done: it is the checkpoint of its job."""

    stage: int = 0
    """How many of the tables are empty."""
    deleted: dict[str, int] = field(default_factory=dict)
    """Rows, by table; tables that had none are left out."""
    accounts: int = 0
    """Accounts that belonged to the program."""
    rows_gone: bool = False
    """Whether the files are next: those that attachments had."""
    files: int = 0

    @classmethod
    def at(cls, checkpoint: Mapping[str, Any]) -> "Progress":
        return cls(**checkpoint) if checkpoint else cls()

    def count(self, table: str, rows: int) -> None:
        if rows:
            self.deleted[table] = self.deleted.get(table, 0) + rows

    @property
    def total(self) -> int:
        return sum(self.deleted.values()) + self.accounts

    def told(self) -> dict[str, Any]:
        """Where there were no files, nothing is said of them."""
        files = {"files": self.files} if self.files else {}
        return {"rows": self.deleted, "accounts": self.accounts, **files}

    def checkpoint(self) -> dict[str, Any]:
        return asdict(self)
