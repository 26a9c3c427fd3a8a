"""What the registry holds, in SQLite: in a file, or in memory."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

Kind = Literal["persons", "groups"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, uuid TEXT NOT NULL, document TEXT NOT NULL,
    created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, deleted_us INTEGER,
    PRIMARY KEY (kind, uuid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resources_by_change ON resources (kind, updated_us, uuid);
CREATE TABLE IF NOT EXISTS identifiers (
    scheme TEXT NOT NULL, value TEXT NOT NULL, type TEXT NOT NULL, scheme_name TEXT,
    kind TEXT NOT NULL, uuid TEXT NOT NULL, PRIMARY KEY (scheme, value)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identifiers_by_resource ON identifiers (kind, uuid);
CREATE TABLE IF NOT EXISTS members (
    group_uuid TEXT NOT NULL, person_uuid TEXT NOT NULL, role TEXT, joined_us INTEGER NOT NULL,
    PRIMARY KEY (group_uuid, person_uuid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS members_by_person ON members (person_uuid);
CREATE TABLE IF NOT EXISTS answered (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, answer TEXT NOT NULL)
WITHOUT ROWID;
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Taken(Exception):
    """Another record has that identifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    type: str
    value: str
    scheme: str
    scheme_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    kind: Kind
    uuid: str
    own: Mapping[str, Any]
    created_us: int
    updated_us: int
    deleted_us: int | None

    @property
    def updated_at(self) -> str:
        return instant(self.updated_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    updated_since_us: int | None = None
    identifier_type: str | None = None
    identifier_scheme: str | None = None
    identifier_value: str | None = None
    with_deleted: bool = False


def instant(micros: int) -> str:
    moment = _EPOCH + timedelta(microseconds=micros)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def read_instant(text: str) -> int:
    """Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Store:
    """Used by one request at a time."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def setting(self, name: str, first: str) -> str:
        """A value that is kept; `first` if there is none yet."""
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, first))
        return str(self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])

    def add(
        self, kind: Kind, uuid: str, own: Mapping[str, Any], identifiers: Sequence[Identifier], now_us: int
    ) -> None:
        self._db.execute("INSERT INTO resources VALUES (?, ?, ?, ?, ?, NULL)", (kind, uuid, _text(own), now_us, now_us))
        for identifier in identifiers:
            self.identify(kind, uuid, identifier)

    def identify(self, kind: Kind, uuid: str, one: Identifier) -> None:
        """Raises `Taken`."""
        values = (one.scheme, one.value, one.type, one.scheme_name, kind, uuid)
        try:
            self._db.execute("INSERT INTO identifiers VALUES (?, ?, ?, ?, ?, ?)", values)
        except sqlite3.IntegrityError:
            raise Taken from None

    def change(self, resource: Resource, own: Mapping[str, Any], now_us: int) -> None:
        self._db.execute(
            "UPDATE resources SET document = ?, updated_us = ? WHERE kind = ? AND uuid = ?",
            (_text(own), _later(resource, now_us), resource.kind, resource.uuid),
        )

    def touch(self, resource: Resource, now_us: int) -> None:
        self.change(resource, resource.own, now_us)

    def remove(self, resource: Resource, now_us: int) -> None:
        """Leaves a tombstone, so that others can learn of it; its identifiers become free."""
        when, place = _later(resource, now_us), (resource.kind, resource.uuid)
        self._db.execute(
            "UPDATE resources SET deleted_us = ?, updated_us = ? WHERE kind = ? AND uuid = ?", (when, when, *place)
        )
        self._db.execute("DELETE FROM identifiers WHERE kind = ? AND uuid = ?", place)
        self._db.execute("DELETE FROM members WHERE group_uuid = ? OR person_uuid = ?", (resource.uuid, resource.uuid))

    def find(self, kind: Kind, uuid: str) -> Resource | None:
        """None for one that was deleted, too."""
        found = self._db.execute(
            "SELECT * FROM resources WHERE kind = ? AND uuid = ? AND deleted_us IS NULL", (kind, uuid)
        ).fetchone()
        return found and _resource(found)

    def page(self, kind: Kind, asked: Filter, *, limit: int, offset: int) -> tuple[list[Resource], int]:
        """In the order of change, and how many there are in all."""
        where, values = _where(kind, asked)
        total = self._db.execute(f"SELECT count(*) FROM resources r WHERE {where}", values).fetchone()[0]
        found = self._db.execute(
            f"SELECT r.* FROM resources r WHERE {where} ORDER BY r.updated_us, r.uuid LIMIT :limit OFFSET :offset",
            values | {"limit": limit, "offset": offset},
        )
        return [_resource(row) for row in found], total

    def identifiers(self, kind: Kind, uuid: str) -> list[Identifier]:
        found = self._db.execute(
            "SELECT * FROM identifiers WHERE kind = ? AND uuid = ? ORDER BY scheme, value", (kind, uuid)
        )
        return [
            Identifier(type=row["type"], value=row["value"], scheme=row["scheme"], scheme_name=row["scheme_name"])
            for row in found
        ]

    def members(self, kind: Kind, uuid: str) -> list[dict[str, Any]]:
        """Of a group, or the memberships of a person."""
        column = "group_uuid" if kind == "groups" else "person_uuid"
        found = self._db.execute(f"SELECT * FROM members WHERE {column} = ? ORDER BY joined_us, person_uuid", (uuid,))
        return [
            {
                "group_uuid": row["group_uuid"],
                "person_uuid": row["person_uuid"],
                "role": row["role"],
                "joined_at": instant(row["joined_us"]),
                "ended_at": None,
            }
            for row in found
        ]

    def join(self, group: Resource, person_uuid: str, role: str | None, now_us: int) -> bool:
        """False if it was a member in that role before."""
        found = self._db.execute(
            "SELECT role FROM members WHERE group_uuid = ? AND person_uuid = ?", (group.uuid, person_uuid)
        ).fetchone()
        if found and found["role"] == role:
            return False
        self._db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", (group.uuid, person_uuid, role, now_us))
        self.touch(group, now_us)
        return True

    def leave(self, group: Resource, person_uuid: str, now_us: int) -> bool:
        """False if it was no member."""
        gone = self._db.execute(
            "DELETE FROM members WHERE group_uuid = ? AND person_uuid = ?", (group.uuid, person_uuid)
        ).rowcount
        if gone:
            self.touch(group, now_us)
        return bool(gone)

    def answered(self, key: str) -> tuple[str, int, Any] | None:
        """The request of that idempotency key, and how it was answered."""
        row = self._db.execute("SELECT request, status, answer FROM answered WHERE key = ?", (key,)).fetchone()
        return row and (row["request"], row["status"], msgspec.json.decode(row["answer"]))

    def remember(self, key: str, request: str, status: int, answer: Any) -> None:
        self._db.execute("INSERT INTO answered VALUES (?, ?, ?, ?)", (key, request, status, _text(answer)))

    def counts(self) -> dict[str, int]:
        found = self._db.execute("SELECT kind, count(*) FROM resources WHERE deleted_us IS NULL GROUP BY kind")
        return {"persons": 0, "groups": 0} | {row[0]: row[1] for row in found}


def _where(kind: Kind, asked: Filter) -> tuple[str, dict[str, Any]]:
    terms, values = ["r.kind = :kind"], {"kind": kind, "since": asked.updated_since_us}
    if not asked.with_deleted:
        terms.append("r.deleted_us IS NULL")
    if asked.updated_since_us is not None:
        terms.append("r.updated_us >= :since")
    told = {"type": asked.identifier_type, "scheme": asked.identifier_scheme, "value": asked.identifier_value}
    told = {name: value for name, value in told.items() if value is not None}
    if told:
        same = " AND ".join(f"i.{name} = :{name}" for name in told)
        terms.append(f"r.uuid IN (SELECT i.uuid FROM identifiers i WHERE i.kind = :kind AND {same})")
    return " AND ".join(terms), values | told


def _later(resource: Resource, now_us: int) -> int:
    """No two states of a record have the same time of change, or `If-Match` would not tell them apart."""
    return max(now_us, resource.updated_us + 1)


def _resource(row: sqlite3.Row) -> Resource:
    return Resource(
        kind=row["kind"],
        uuid=row["uuid"],
        own=msgspec.json.decode(row["document"]),
        created_us=row["created_us"],
        updated_us=row["updated_us"],
        deleted_us=row["deleted_us"],
    )


def _text(document: Any) -> str:
    return msgspec.json.encode(document).decode()
