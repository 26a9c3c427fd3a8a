"""Every store of objects keeps the contract."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import obstore
import pytest
from structlog.testing import capture_logs

from datacollect.kernel.ids import TenantId
from datacollect.objects import (
    InTurns,
    LocalStore,
    MemoryStore,
    ObjectKey,
    ObjectStore,
    Spool,
    StorageUnavailable,
    new_key,
)
from datacollect.objects.s3 import S3Options, S3Store
from datacollect.testing.objects import ObjectStoreContract, Tamper, a_tenant, put
from datacollect.testing.s3 import S3Server
from tests.processes import free_port

pytestmark = pytest.mark.anyio


class TestLocal(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return LocalStore(tmp_path / "store")

    @pytest.fixture
    def away(self, tmp_path: Path) -> ObjectStore:
        # A folder that is none: whoever is root may write into every other.
        (tmp_path / "away").write_text("")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        return LocalStore(tmp_path / "loop")

    @pytest.fixture
    def tamper(self, tmp_path: Path) -> Tamper:
        async def change(key: ObjectKey, content: bytes) -> None:
            (tmp_path / "store" / key.path).write_bytes(content)

        return change


class TestMemory(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def away(self) -> ObjectStore:
        store = MemoryStore()
        store.is_away = True
        return store

    @pytest.fixture
    def tamper(self, store: MemoryStore) -> Tamper:
        async def change(key: ObjectKey, content: bytes) -> None:
            store.objects[key] = content

        return change


class TestInTurns(ObjectStoreContract):
    @pytest.fixture
    def memory(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def store(self, memory: MemoryStore) -> ObjectStore:
        return InTurns(memory, at_once=16)

    @pytest.fixture
    def away(self) -> ObjectStore:
        store = MemoryStore()
        store.is_away = True
        return InTurns(store, at_once=16)

    @pytest.fixture
    def tamper(self, memory: MemoryStore) -> Tamper:
        async def change(key: ObjectKey, content: bytes) -> None:
            memory.objects[key] = content

        return change


class TestS3(ObjectStoreContract):
    @pytest.fixture
    async def store(self, s3: S3Server, tmp_path: Path) -> AsyncIterator[S3Store]:
        store = S3Store(s3.options())
        # The bucket is made by what is put into it first.
        await put(store, Spool(tmp_path / "first"), a_tenant(), os.urandom(10))
        yield store
        await store.aclose()

    @pytest.fixture
    def away(self, s3: S3Server) -> ObjectStore:
        return S3Store(s3.options(endpoint=f"http://127.0.0.1:{free_port()}"))

    async def test_a_bucket_that_is_not_there_is_away_and_not_empty(
        self, s3: S3Server, spool: Spool, tenant: TenantId
    ) -> None:
        store, key = S3Store(s3.options(bucket="never-made")), new_key(tenant, "0" * 64)
        asked = (store.health, lambda: store.stat(key), lambda: store.open(key, 1), lambda: store.delete(key))
        for ask in asked:
            with pytest.raises(StorageUnavailable):
                await ask()

    @pytest.fixture
    def tamper(self, store: S3Store) -> Tamper:
        async def change(key: ObjectKey, content: bytes) -> None:
            await obstore.put_async(store._bucket, store._path(key), content)

        return change


# -- what answers, and is no store as it should be

Told = tuple[int, dict[str, str], bytes]
_PAGE: Told = (200, {"content-type": "text/html"}, b"<html><body>Sign in to the network</body></html>")


@contextlib.asynccontextmanager
async def answering(answer: Callable[[str, str], Told]) -> AsyncIterator[S3Store]:
    """A store whose bucket answers so, by method and target."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if length := re.search(r"content-length: ([0-9]+)", head):
                    await reader.readexactly(int(length[1]))
                method, target, _ = head.split(maxsplit=2)
                status, headers, body = answer(method.upper(), target)
                told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} -\r\n{told}content-length: {len(body)}\r\n\r\n".encode())
                writer.write(b"" if method == "head" else body)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield S3Store(
            S3Options("hub", endpoint=url, access_key_id="hub", secret_access_key="in tests", allow_http=True)
        )


async def test_a_page_that_is_answered_to_whatever_is_asked_is_no_store() -> None:
    """As networks answer that want somebody to sign in. It is no list of nothing, and no object."""
    key = new_key(a_tenant(), "0" * 64)
    async with answering(lambda method, target: _PAGE) as store:

        async def listed() -> None:
            assert [item async for item in store.list(key.folder)]

        asked = (
            store.health,
            store.folders,
            listed,
            lambda: store.stat(key),
            lambda: store.open(key, len(_PAGE[2])),
            lambda: store.delete(key),
            lambda: store.delete_folder(key.folder, before_each=_nothing),
        )
        for ask in asked:
            with pytest.raises(StorageUnavailable):
                await ask()


async def test_a_key_that_may_list_below_the_prefix_only_is_let_in() -> None:
    """It gets a 403 for what is not there, and for an object that it may not read: neither is known to be missing."""
    key = new_key(a_tenant(), "0" * 64)
    empty = b"<ListBucketResult><Name>hub</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    async with answering(lambda method, target: (403 if method == "HEAD" else 200, {}, empty)) as store:
        with capture_logs() as logs:
            await store.health()
            assert await store.folders() == []
            assert [item async for item in store.list(key.folder)] == []
        assert logs == []
        with pytest.raises(StorageUnavailable):
            await store.stat(key)


async def test_a_key_that_may_not_list_is_not_let_in() -> None:
    async with answering(lambda method, target: (403, {}, b"")) as store:
        for ask in (store.health, store.folders):
            with pytest.raises(StorageUnavailable):
                await ask()


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_store_that_does_not_know_what_it_is_to_delete_is_asked_what_it_has(is_gone: bool) -> None:
    """Some say NoSuchKey of what is gone, at which the answer is read no further, whatever it says of others."""
    tenant = a_tenant()
    keys = [new_key(tenant, digit * 64) for digit in "ab"]
    refused = "<DeleteResult><Error><Key>{}</Key><Code>NoSuchKey</Code><Message>-</Message></Error></DeleteResult>"
    entry = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"

    def answer(method: str, target: str) -> Told:
        if method == "POST":
            return 200, {}, refused.format(keys[0].path).encode()
        if method == "GET":
            name = "<Name>hub</Name><IsTruncated>false</IsTruncated>"
            return (
                200,
                {},
                f"<ListBucketResult>{name}{''.join(entry.format(k.path) for k in keys)}</ListBucketResult>".encode(),
            )
        is_there = not is_gone and keys[1].name in target
        return (200, {"etag": '"x"'}, b"x") if is_there else (404, {}, b"")

    async with answering(answer) as store:
        deleting = store.delete_folder(keys[0].folder, before_each=_nothing)
        if is_gone:
            assert await deleting == 2
        else:
            with pytest.raises(StorageUnavailable):
                await deleting


async def _nothing() -> None:
    pass
