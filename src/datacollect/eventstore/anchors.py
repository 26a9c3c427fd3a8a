"""Anchors: what the chain was at some position, kept outside the database.

Whoever can write to the database can change an event and compute every hash after it anew. An anchor they cannot reach
shows it. Anchors are lines of one text file per tenant, `DATA_DIR/anchors/<tenant>.log`, that is only ever added to:

    <position> v3:<chain hash as hex> <when the anchor was written>

Lines stand in the order they were written, which need not be that of their positions.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from urllib.parse import quote, unquote

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.ids import TenantId

_LINE = re.compile(r"([1-9][0-9]{0,18}) v3:([0-9a-f]{64}) (\S+)", re.ASCII)
_SUFFIX = ".log"
_LONGEST_LINE = 200


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
    """Where a tenant's anchors are added. Upper-case letters are escaped: not every file system tells `A` from `a`."""
    escaped = (f"%{ord(letter):X}" if letter in ascii_uppercase else quote(letter, safe="") for letter in tenant_id)
    return _folder(data_dir) / f"{''.join(escaped)}{_SUFFIX}"


def anchored_tenants(data_dir: Path) -> Sequence[TenantId]:
    """The tenants that have an anchor file."""
    files = (name.removesuffix(_SUFFIX) for name in _names(data_dir) if name.endswith(_SUFFIX))
    return sorted({TenantId(unquote(name)) for name in files})


def read_anchors(data_dir: Path, tenant_id: TenantId) -> Sequence[Anchor]:
    """All anchors of a tenant, oldest first. Raises `AnchorsUnreadable`, naming the line, if one is not an anchor."""
    return [anchor for file in _files(data_dir, tenant_id) for anchor in _read_file(file)]


def last_anchor(data_dir: Path, tenant_id: TenantId) -> Anchor | None:
    """The anchor written last; None if the tenant has none. Reads the end of one file, however long it is."""
    for file in reversed(_files(data_dir, tenant_id)):
        if end := _read(file, last_bytes=_LONGEST_LINE):
            *_, line, rest = ["", *end.split("\n")]
            if rest:
                raise _unfinished(file)
            return _read_line(line, "The last line", file)
    return None


def write_anchor(data_dir: Path, tenant_id: TenantId, anchor: Anchor) -> bool:
    """Add an anchor and leave it on disk; False, and nothing is added, if the last one is as far on already.

    Raises `AnchorContradicted` if the tenant's last anchor is of the same position and names another chain hash.
    """
    last = last_anchor(data_dir, tenant_id)
    if last is not None and anchor.position <= last.position:
        if anchor.position == last.position and anchor.chain_hash != last.chain_hash:
            raise AnchorContradicted()
        return False
    add_anchors(data_dir, tenant_id, [anchor])
    return True


def add_anchors(data_dir: Path, tenant_id: TenantId, anchors: Sequence[Anchor]) -> None:
    """Add anchors, whatever is there already, and leave them on disk. Several processes may, at once.

    Raises `AnchorsUnwritable`, and nothing is added.
    """
    file = anchor_file(data_dir, tenant_id)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _add(file, "".join(f"{anchor.line()}\n" for anchor in anchors).encode())
        # The file's name, too, must be on disk.
        _sync(file.parent)
    except OSError as error:
        raise AnchorsUnwritable(f"{file} cannot be written ({error.strerror}).") from error


def set_aside_anchors(data_dir: Path, tenant_id: TenantId, now: Millis) -> None:
    """Rename the tenant's anchor files, for its log is gone: they are kept, and say nothing of a later log of that name.

    Harmless if there are none. Raises `AnchorsUnwritable`.
    """
    for file in _files(data_dir, tenant_id):
        try:
            file.rename(file.with_name(f"{file.name}.purged-{now}"))
            _sync(file.parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise AnchorsUnwritable(f"{file} cannot be renamed ({error.strerror}).") from error


def _former_name(tenant_id: TenantId) -> str:
    """The file's name before upper-case letters were escaped."""
    return f"{quote(tenant_id, safe='')}{_SUFFIX}"


def _files(data_dir: Path, tenant_id: TenantId) -> Sequence[Path]:
    """The tenant's anchor files that may exist, the older first."""
    file, former = anchor_file(data_dir, tenant_id), _former_name(tenant_id)
    # By the folder's own list: opened by name, it could be the file of a tenant that differs in letter case.
    if former == file.name or former not in _names(data_dir):
        return [file]
    return [file.with_name(former), file]


def _read_file(file: Path) -> Sequence[Anchor]:
    lines = _read(file).split("\n")
    if lines.pop():
        raise _unfinished(file)
    return [_read_line(line, f"Line {number}", file) for number, line in enumerate(lines, 1)]


def _unfinished(file: Path) -> AnchorsUnreadable:
    return AnchorsUnreadable(f"{file} does not end with a whole line. Remove what follows the last whole one.")


def _read(file: Path, *, last_bytes: int | None = None) -> str:
    """The file's text, or its end; empty if there is no file."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH)
            if last_bytes is not None:
                opened.seek(max(0, os.fstat(opened.fileno()).st_size - last_bytes))
            return opened.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise AnchorsUnreadable(f"{file} cannot be read ({error.strerror}).") from error


def _folder(data_dir: Path) -> Path:
    return data_dir / "anchors"


def _names(data_dir: Path) -> Sequence[str]:
    try:
        return [path.name for path in _folder(data_dir).iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AnchorsUnreadable(f"The folder {_folder(data_dir)} cannot be read ({error.strerror}).") from error


def _read_line(line: str, place: str, file: Path) -> Anchor:
    match = _LINE.fullmatch(line)
    try:
        if match is None:
            raise ValueError(line)
        return Anchor(int(match[1]), bytes.fromhex(match[2]), parse_timestamp(match[3]))
    except ValueError as error:
        raise AnchorsUnreadable(f"{place} of {file} is not an anchor.") from error


def _add(file: Path, lines: bytes) -> None:
    with _locked(file) as descriptor:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            raise OSError(0, "it does not end with a whole line")
        if os.write(descriptor, lines) != len(lines):
            os.ftruncate(descriptor, size)
            raise OSError(0, "the disk is full")
        os.fsync(descriptor)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The file, to add to it in one write while nobody else does or reads: no line is ever seen or left half."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
