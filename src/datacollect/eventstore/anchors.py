"""Anchors: what the chain was at some position, kept outside the database.

Whoever can write to the database can change an event and compute every hash after it anew. An anchor they cannot reach
shows it. Anchors are lines of one text file per tenant, `DATA_DIR/anchors/<tenant>.log`, that is only ever added to:

    <position> v3:<chain hash as hex> <when the anchor was written>
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.ids import TenantId

_LINE = re.compile(r"([1-9][0-9]{0,18}) v3:([0-9a-f]{64}) (\S+)", re.ASCII)
_SUFFIX = ".log"


class AnchorsUnreadable(DataCollectError):
    """An anchor file cannot be read."""

    code = "ANCHORS_UNREADABLE"
    help = "Check the anchor file's rights and its lines."


class AnchorsUnwritable(DataCollectError):
    """An anchor cannot be written."""

    code = "ANCHORS_UNWRITABLE"
    help = "Check the anchor folder's rights and free space."


class AnchorContradicted(DataCollectError):
    """Another anchor of the same position names another chain hash."""

    code = "ANCHOR_CONTRADICTED"
    help = "Keep both files, and find out which log the other anchor is of."


@dataclass(frozen=True, slots=True)
class Anchor:
    """The chain hash a tenant's log had at a position."""

    position: int
    chain_hash: bytes
    recorded_at: Millis
    """When the anchor was written."""

    def line(self) -> str:
        return f"{self.position} {chain_text(self.chain_hash)} {format_timestamp(self.recorded_at)}"


def chain_text(chain_hash: bytes) -> str:
    """A chain hash with the tag of its algorithm."""
    return f"v3:{chain_hash.hex()}"


def anchor_file(data_dir: Path, tenant_id: TenantId) -> Path:
    return _folder(data_dir) / f"{quote(tenant_id, safe='')}{_SUFFIX}"


def anchored_tenants(data_dir: Path) -> Sequence[TenantId]:
    """The tenants that have an anchor file."""
    try:
        names = sorted(path.name for path in _folder(data_dir).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AnchorsUnreadable(f"The folder {_folder(data_dir)} cannot be read ({error.strerror}).") from error
    return [TenantId(unquote(name.removesuffix(_SUFFIX))) for name in names if name.endswith(_SUFFIX)]


def read_anchors(data_dir: Path, tenant_id: TenantId) -> Sequence[Anchor]:
    """All anchors of a tenant, oldest first. Raises `AnchorsUnreadable`, naming the line, if one is not an anchor."""
    file = anchor_file(data_dir, tenant_id)
    try:
        lines = file.read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AnchorsUnreadable(f"{file} cannot be read ({error.strerror}).") from error
    if lines.pop():
        # A line that was not finished: the next one would be written into it.
        raise AnchorsUnreadable(f"{file} does not end with a whole line. Remove what follows the last whole one.")
    return [_read_line(line, number, file) for number, line in enumerate(lines, 1)]


def last_anchor(data_dir: Path, tenant_id: TenantId) -> Anchor | None:
    """The anchor of the greatest position; None if the tenant has none."""
    return max(read_anchors(data_dir, tenant_id), key=lambda anchor: anchor.position, default=None)


def write_anchor(data_dir: Path, tenant_id: TenantId, anchor: Anchor) -> bool:
    """Add an anchor and leave it on disk; False, and nothing is added, if there is one as far on already.

    Raises `AnchorContradicted` if the tenant's last anchor is of the same position and names another chain hash.
    """
    last = last_anchor(data_dir, tenant_id)
    if last is not None and anchor.position <= last.position:
        if anchor.position == last.position and anchor.chain_hash != last.chain_hash:
            raise AnchorContradicted()
        return False
    file = anchor_file(data_dir, tenant_id)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _add(file, f"{anchor.line()}\n".encode())
        # The file's name, too, must be on disk.
        _sync(file.parent)
    except OSError as error:
        raise AnchorsUnwritable(f"{file} cannot be written ({error.strerror}).") from error
    return True


def _folder(data_dir: Path) -> Path:
    return data_dir / "anchors"


def _read_line(line: str, number: int, file: Path) -> Anchor:
    match = _LINE.fullmatch(line)
    try:
        if match is None:
            raise ValueError(line)
        return Anchor(int(match[1]), bytes.fromhex(match[2]), parse_timestamp(match[3]))
    except ValueError as error:
        raise AnchorsUnreadable(f"Line {number} of {file} is not an anchor.") from error


def _add(file: Path, line: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # One write: two processes that add an anchor at once do not mix their lines.
        if os.write(descriptor, line) != len(line):
            raise OSError(0, "the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
