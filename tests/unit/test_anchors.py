import stat
from dataclasses import replace
from pathlib import Path

import pytest

from datacollect.eventstore.anchors import (
    Anchor,
    AnchorContradicted,
    AnchorsUnreadable,
    AnchorsUnwritable,
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


@pytest.mark.parametrize("name", ["a/../b", "..", "ü %", "A", "a"])
def test_any_tenant_has_a_file_of_its_own_in_the_folder(tmp_path: Path, name: str) -> None:
    tenant = TenantId(name)
    write_anchor(tmp_path, tenant, FIRST)
    assert anchor_file(tmp_path, tenant).parent == tmp_path / "anchors"
    assert list(anchored_tenants(tmp_path)) == [tenant]


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


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "anchors").touch()
    with pytest.raises((AnchorsUnwritable, AnchorsUnreadable)):
        write_anchor(tmp_path, TENANT, FIRST)
