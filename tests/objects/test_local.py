"""Names that are safe, and a folder that holds whole objects only."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.ids import TenantId
from datacollect.objects import LocalStore, ObjectKey, Spool, StorageFull, StorageUnavailable, new_key, tenant_folder
from datacollect.testing.objects import put, reading

pytestmark = pytest.mark.anyio

TENANT = TenantId("Mini")


@given(one=st.text(min_size=1, max_size=200), other=st.text(min_size=1, max_size=200))
def test_folders_are_safe_and_no_two_programs_share_one(one: str, other: str) -> None:
    folders = [tenant_folder(TenantId(text)) for text in (one, other)]
    for folder in folders:
        assert set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-!")
        assert len(folder) <= 200
    assert (folders[0] == folders[1]) == (one == other)


@pytest.mark.parametrize("name", ["mini", "Mini", "MINI", "m" * 81, "../x", "a/b", "é", "!a"])
def test_other_programs_have_other_folders(name: str) -> None:
    others = ["mini", "Mini", "MINI", "m" * 81, "../x", "a/b", "é", "!a", "m" * 80]
    assert [tenant_folder(TenantId(other)) for other in others].count(tenant_folder(TenantId(name))) == 1


@pytest.mark.parametrize(
    ("folder", "digest", "generation"),
    [
        ("..", "0" * 64, "0" * 16),
        ("a/b", "0" * 64, "0" * 16),
        ("", "0" * 64, "0" * 16),
        ("a", "0" * 63, "0" * 16),
        ("a", "../" + "0" * 61, "0" * 16),
        ("a", "0" * 64, "/" + "0" * 15),
    ],
)
def test_nothing_else_is_a_name(folder: str, digest: str, generation: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        ObjectKey(folder, digest, generation)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.ENOTSUP])
async def test_where_there_are_no_links_it_is_copied(
    tmp_path: Path, store: LocalStore, spool: Spool, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", link)
    key = await put(store, spool, TENANT, b"a photo")
    assert b"".join([piece async for piece in reading(store, key, 7)]) == b"a photo"
    [file] = files_in(tmp_path / "store")
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("reason", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageUnavailable)])
async def test_a_disk_that_fails_leaves_nothing(
    tmp_path: Path,
    store: LocalStore,
    spool: Spool,
    monkeypatch: pytest.MonkeyPatch,
    reason: int,
    error: type[Exception],
) -> None:
    def fsync(_: int) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(error):
        await put(store, spool, TENANT, b"a photo")
    assert files_in(tmp_path) == []


async def test_everything_is_on_disk_before_it_answers(
    tmp_path: Path, store: LocalStore, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    key = await put(store, spool, TENANT, b"a photo")
    shelf = (tmp_path / "store" / key.path).parent
    assert synced[0].parent == tmp_path / "spool"
    # The file, then each folder that was made, in the one above it, and at last the name.
    assert synced[1:] == [tmp_path, tmp_path / "store", shelf.parent, shelf]


async def test_a_link_in_the_place_of_an_object_is_not_followed(
    tmp_path: Path, store: LocalStore, spool: Spool
) -> None:
    await put(store, spool, TENANT, b"a photo")
    key = new_key(TENANT, "0" * 64)
    (tmp_path / "secret").write_text("secret!")
    target = tmp_path / "store" / key.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(tmp_path / "secret")
    with pytest.raises(StorageUnavailable):
        await store.open(key, 7)
    await store.delete(key)
    assert (tmp_path / "secret").exists()
