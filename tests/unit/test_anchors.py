import resource
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from datacollect.eventstore.anchors import (
    Anchor,
    AnchorContradicted,
    AnchorsUnreadable,
    AnchorsUnwritable,
    add_anchors,
    anchor_file,
    anchored_tenants,
    last_anchor,
    read_anchors,
    write_anchor,
)
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId

TENANT = TenantId("p-1")
FIRST = Anchor(3, bytes(range(32)), Millis(1_750_000_000_123))
SECOND = Anchor(8, bytes(range(32, 64)), Millis(1_750_000_009_000))


def test_anchors_are_added_one_line_each_and_read_back(tmp_path: Path) -> None:
    assert write_anchor(tmp_path, TENANT, FIRST)
    assert write_anchor(tmp_path, TENANT, SECOND)
    assert list(read_anchors(tmp_path, TENANT)) == [FIRST, SECOND]
    assert last_anchor(tmp_path, TENANT) == SECOND
    line = anchor_file(tmp_path, TENANT).read_text().splitlines()[0]
    assert line == f"3 v3:{FIRST.chain_hash.hex()} 2025-06-15T15:06:40.123Z"


def test_without_a_file_there_is_no_anchor(tmp_path: Path) -> None:
    assert list(read_anchors(tmp_path, TENANT)) == []
    assert last_anchor(tmp_path, TENANT) is None
    assert list(anchored_tenants(tmp_path)) == []


def test_only_the_hub_may_read_them(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, FIRST)
    file = anchor_file(tmp_path, TENANT)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["a/../b", "..", "ü %", "A", "a", "%A", "C3"])
def test_any_tenant_has_a_file_of_its_own_in_the_folder(tmp_path: Path, name: str) -> None:
    tenant = TenantId(name)
    write_anchor(tmp_path, tenant, FIRST)
    assert anchor_file(tmp_path, tenant).parent == tmp_path / "anchors"
    assert list(anchored_tenants(tmp_path)) == [tenant]


def test_tenants_that_differ_in_letter_case_have_files_on_any_file_system(tmp_path: Path) -> None:
    names = {anchor_file(tmp_path, TenantId(name)).name.casefold() for name in ("a", "A", "%41", "ab", "aB", "Ab")}
    assert len(names) == 6


def test_a_file_of_the_former_name_is_read_before_the_new_one(tmp_path: Path) -> None:
    tenant = TenantId("North")
    write_anchor(tmp_path, tenant, FIRST)
    former = tmp_path / "anchors" / "North.log"
    anchor_file(tmp_path, tenant).rename(former)
    assert last_anchor(tmp_path, tenant) == FIRST
    assert not write_anchor(tmp_path, tenant, FIRST)
    assert write_anchor(tmp_path, tenant, SECOND)
    assert list(read_anchors(tmp_path, tenant)) == [FIRST, SECOND]
    assert last_anchor(tmp_path, tenant) == SECOND
    assert list(anchored_tenants(tmp_path)) == [tenant]
    assert former.read_text().count("\n") == 1


def test_the_last_anchor_is_the_one_written_last_and_found_from_the_end(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, FIRST)
    file = anchor_file(tmp_path, TENANT)
    with file.open("r+b") as opened:
        # So large that reading all of it would be noticed, and no anchor but at its end.
        opened.truncate(2**34)
    add = [replace(SECOND, position=9), SECOND]
    with file.open("ab") as opened:
        opened.write(b"\n")
    add_anchors(tmp_path, TENANT, add)
    assert last_anchor(tmp_path, TENANT) == SECOND


def test_anchors_may_go_back_in_position(tmp_path: Path) -> None:
    add_anchors(tmp_path, TENANT, [SECOND])
    add_anchors(tmp_path, TENANT, [FIRST, SECOND])
    assert list(read_anchors(tmp_path, TENANT)) == [SECOND, FIRST, SECOND]


def test_processes_that_add_at_once_leave_whole_lines_to_whoever_reads_meanwhile(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from datacollect.eventstore.anchors import Anchor, add_anchors
for number in range(40):
    position = 1 + 1000 * int(sys.argv[2]) + number
    add_anchors(Path(sys.argv[1]), "p-1", [Anchor(position, bytes(32), 0), Anchor(position, bytes(32), 1)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, tmp_path, str(number)]) for number in range(4)]
    while any(writer.poll() is None for writer in writers):
        read_anchors(tmp_path, TENANT)
    assert [writer.returncode for writer in writers] == [0] * 4
    written = read_anchors(tmp_path, TENANT)
    assert [one.position for one in written[::2]] == [one.position for one in written[1::2]]
    assert sorted(one.position for one in written[::2]) == [
        1 + 1000 * writer + number for writer in range(4) for number in range(40)
    ]


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, FIRST)
    size = anchor_file(tmp_path, TENANT).stat().st_size
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, former[1]))
        with pytest.raises(AnchorsUnwritable, match="the disk is full"):
            add_anchors(tmp_path, TENANT, [SECOND])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(read_anchors(tmp_path, TENANT)) == [FIRST]


def test_an_anchor_is_never_lowered_or_repeated(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, SECOND)
    assert not write_anchor(tmp_path, TENANT, FIRST)
    assert not write_anchor(tmp_path, TENANT, replace(SECOND, recorded_at=Millis(0)))
    assert list(read_anchors(tmp_path, TENANT)) == [SECOND]


def test_an_anchor_that_contradicts_the_last_is_refused(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, SECOND)
    with pytest.raises(AnchorContradicted):
        write_anchor(tmp_path, TENANT, replace(SECOND, chain_hash=FIRST.chain_hash))


@pytest.mark.parametrize(
    "added", ["9 v3:00 2025-01-01T00:00:00.000Z\n", "\n", "half a li", "\udcff\n", f"{SECOND.line()} \n"]
)
def test_a_file_with_anything_else_in_it_is_refused(tmp_path: Path, added: str) -> None:
    write_anchor(tmp_path, TENANT, FIRST)
    with anchor_file(tmp_path, TENANT).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(added)
    with pytest.raises(AnchorsUnreadable):
        read_anchors(tmp_path, TENANT)
    with pytest.raises(AnchorsUnreadable):
        write_anchor(tmp_path, TENANT, SECOND)


def test_nothing_is_added_behind_an_unfinished_line(tmp_path: Path) -> None:
    write_anchor(tmp_path, TENANT, FIRST)
    with anchor_file(tmp_path, TENANT).open("a") as file:
        file.write("half a li")
    with pytest.raises(AnchorsUnwritable, match="whole line"):
        add_anchors(tmp_path, TENANT, [SECOND])


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "anchors").touch()
    with pytest.raises((AnchorsUnwritable, AnchorsUnreadable)):
        write_anchor(tmp_path, TENANT, FIRST)
