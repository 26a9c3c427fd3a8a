"""The contract every store of objects keeps, as a suite: subclass it and provide `store`, `away` and `tamper`.

class TestMyStore(ObjectStoreContract):
    @pytest.fixture
    def store(self): ...
    @pytest.fixture
    def away(self): ...      # one that cannot be reached
    @pytest.fixture
    def tamper(self): ...    # an async function that puts other bytes in the place of an object
"""

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from datacollect.kernel.ids import TenantId
from datacollect.objects import (
    PIECE_BYTES,
    ObjectDamaged,
    ObjectKey,
    ObjectMissing,
    ObjectStore,
    Spool,
    StorageUnavailable,
    new_key,
    tenant_folder,
)

Tamper = Callable[[ObjectKey, bytes], Awaitable[None]]
SIZES = (1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 17, 6 * 1024 * 1024)


def a_tenant() -> TenantId:
    return TenantId(f"Program-{uuid.uuid4().hex[:8]}")


class ObjectStoreContract:
    """What a store promises, wherever it keeps its bytes."""

    @pytest.fixture
    def store(self) -> ObjectStore:
        raise NotImplementedError

    @pytest.fixture
    def away(self) -> ObjectStore:
        raise NotImplementedError

    @pytest.fixture
    def tamper(self) -> Tamper:
        raise NotImplementedError

    @pytest.fixture
    def tenant(self) -> TenantId:
        return a_tenant()

    @pytest.fixture
    def spool(self, tmp_path: Path) -> Spool:
        return Spool(tmp_path / "spool")

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_is_put_is_read_back(
        self, store: ObjectStore, spool: Spool, tenant: TenantId, size: int
    ) -> None:
        content = os.urandom(size)
        key = await put(store, spool, tenant, content)
        pieces = [piece async for piece in reading(store, key, size)]
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= PIECE_BYTES
        assert await store.stat(key) == size

    async def test_a_part_is_read_alone(self, store: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        content = os.urandom(2 * PIECE_BYTES + 100)
        key = await put(store, spool, tenant, content)
        end = len(content)
        for start, stop in ((0, 1), (10, 20), (PIECE_BYTES - 1, PIECE_BYTES + 1), (5, end), (end - 1, end), (7, 7)):
            got = b"".join([piece async for piece in reading(store, key, end, start=start, end=stop)])
            assert got == content[start:stop]

    async def test_it_is_there_once_however_often_it_is_put(
        self, store: ObjectStore, spool: Spool, tenant: TenantId
    ) -> None:
        async with spool.receiving(most_bytes=10) as incoming:
            await incoming.write(b"a photo")
            spooled = await incoming.finish()
            key = new_key(tenant, spooled.digest)
            await asyncio.gather(*(store.put(key, spooled) for _ in range(4)))
            assert spooled.path.read_bytes() == b"a photo"
        listed = [item async for item in store.list(tenant_folder(tenant))]
        assert [(item.key, item.size_bytes) for item in listed] == [(key, 7)]

    async def test_it_is_not_found_before_and_after(self, store: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        await put(store, spool, tenant, b"so that the store has something")
        key = new_key(tenant, hashlib.sha256(b"x").hexdigest())
        for _ in range(2):
            assert await store.stat(key) is None
            with pytest.raises(ObjectMissing):
                await store.open(key, 1)
            await store.delete(key)
            async with spool.receiving(most_bytes=1) as incoming:
                await incoming.write(b"x")
                await store.put(key, await incoming.finish())
            await store.delete(key)

    async def test_another_generation_of_the_same_content_is_another_object(
        self, store: ObjectStore, spool: Spool, tenant: TenantId
    ) -> None:
        one, other = [await put(store, spool, tenant, b"a photo") for _ in range(2)]
        await store.delete(one)
        assert await store.stat(one) is None
        assert b"".join([piece async for piece in reading(store, other, 7)]) == b"a photo"

    async def test_a_small_object_that_was_changed_is_not_begun(
        self, store: ObjectStore, spool: Spool, tenant: TenantId, tamper: Tamper
    ) -> None:
        key = await put(store, spool, tenant, b"a photo")
        await tamper(key, b"a phoTo")
        with pytest.raises(ObjectDamaged):
            await store.open(key, 7)

    async def test_a_large_object_that_was_changed_breaks_off_before_its_end(
        self, store: ObjectStore, spool: Spool, tenant: TenantId, tamper: Tamper
    ) -> None:
        content = bytearray(os.urandom(4 * PIECE_BYTES))
        key = await put(store, spool, tenant, bytes(content))
        content[5] ^= 1
        await tamper(key, bytes(content))
        got = 0
        with pytest.raises(ObjectDamaged):
            async for piece in reading(store, key, len(content)):
                got += len(piece)
        assert 0 < got < len(content)

    async def test_no_end_of_an_object_that_was_changed_is_given(
        self, store: ObjectStore, spool: Spool, tenant: TenantId, tamper: Tamper
    ) -> None:
        """Wherever a reader goes on who has what is in front of it."""
        content = bytearray(os.urandom(4 * PIECE_BYTES + 5))
        key = await put(store, spool, tenant, bytes(content))
        content[5] ^= 1
        await tamper(key, bytes(content))
        size = len(content)
        for start in (1, PIECE_BYTES, 3 * PIECE_BYTES + 1, 4 * PIECE_BYTES, size - 1):
            got = b""
            with pytest.raises(ObjectDamaged):
                async for piece in reading(store, key, size, start=start):
                    got += piece
            assert got == content[start : start + len(got)] and start + len(got) < size
        # A part from the middle is nobody's last.
        assert b"".join([piece async for piece in reading(store, key, size, end=10)]) == content[:10]

    async def test_a_torn_object_is_not_begun(
        self, store: ObjectStore, spool: Spool, tenant: TenantId, tamper: Tamper
    ) -> None:
        content = os.urandom(2 * PIECE_BYTES)
        key = await put(store, spool, tenant, content)
        await tamper(key, content[:-1])
        for start in (0, 10):
            with pytest.raises(ObjectDamaged):
                await store.open(key, len(content), start=start)

    async def test_folders_are_apart(self, store: ObjectStore, spool: Spool) -> None:
        ours, theirs = TenantId(f"a{uuid.uuid4().hex[:8]}"), a_tenant()
        key = await put(store, spool, ours, b"ours")
        lost = [await put(store, spool, theirs, text) for text in (b"theirs", b"and more")]
        assert {tenant_folder(ours), tenant_folder(theirs)} <= set(await store.folders())
        assert {item.key async for item in store.list(tenant_folder(theirs))} == set(lost)
        assert await store.delete_folder(tenant_folder(theirs), before_each=_nothing) == 2
        assert [item async for item in store.list(tenant_folder(theirs))] == []
        assert await store.stat(key) == 4
        assert await store.delete_folder(tenant_folder(theirs), before_each=_nothing) == 0

    async def test_of_a_folder_that_is_anothers_by_now_nothing_is_deleted(
        self, store: ObjectStore, spool: Spool, tenant: TenantId
    ) -> None:
        old, new = await put(store, spool, tenant, b"old"), list[ObjectKey]()

        async def made_anew() -> None:
            new.append(await put(store, spool, tenant, b"new"))
            raise PermissionError

        with pytest.raises(PermissionError):
            await store.delete_folder(tenant_folder(tenant), before_each=made_anew)
        assert {item.key async for item in store.list(tenant_folder(tenant))} == {old, *new}

    async def test_what_comes_into_a_folder_while_it_is_deleted_stays(
        self, store: ObjectStore, spool: Spool, tenant: TenantId
    ) -> None:
        """Whoever stands still after it has asked may delete what it has seen before, however long it takes."""
        old, new = await put(store, spool, tenant, b"a photo"), list[ObjectKey]()

        async def made_anew() -> None:
            new.append(await put(store, spool, tenant, b"a photo"))

        assert await store.delete_folder(tenant_folder(tenant), before_each=made_anew) == 1
        assert (await store.stat(old), await store.stat(new[0])) == (None, 7)

    async def test_who_stops_reading_holds_nothing(self, store: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        content = os.urandom(8 * PIECE_BYTES)
        key = await put(store, spool, tenant, content)
        opened = await store.open(key, len(content))
        async for _ in opened:
            break
        await opened.aclose()
        assert [piece async for piece in opened] == []

    async def test_many_at_once(self, store: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        contents = [os.urandom(1000 + number) for number in range(32)]
        keys = await asyncio.gather(*(put(store, spool, tenant, content) for content in contents))
        sizes = await asyncio.gather(*(store.stat(key) for key in keys))
        assert sizes == [len(content) for content in contents]

    async def test_health(self, store: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        await put(store, spool, tenant, b"so that the store has something")
        await store.health()

    async def test_a_store_that_is_away_says_so(self, away: ObjectStore, spool: Spool, tenant: TenantId) -> None:
        key = new_key(tenant, hashlib.sha256(b"x").hexdigest())
        with pytest.raises(StorageUnavailable):
            await away.health()
        with pytest.raises(StorageUnavailable):
            await away.stat(key)
        with pytest.raises(StorageUnavailable):
            await away.open(key, 1)
        with pytest.raises(StorageUnavailable):
            await put(away, spool, tenant, b"x")


async def _nothing() -> None:
    pass


async def put(store: ObjectStore, spool: Spool, tenant: TenantId, content: bytes) -> ObjectKey:
    async with spool.receiving(most_bytes=len(content)) as incoming:
        await incoming.write(content)
        spooled = await incoming.finish()
        key = new_key(tenant, spooled.digest)
        await store.put(key, spooled)
    return key


async def reading(
    store: ObjectStore, key: ObjectKey, size: int, *, start: int = 0, end: int | None = None
) -> AsyncIterator[bytes]:
    async with await store.open(key, size, start=start, end=end) as opened:
        async for piece in opened:
            yield piece
