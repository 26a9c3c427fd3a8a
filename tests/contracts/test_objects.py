"""Every store of objects keeps the contract."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
import pytest

from datacollect.objects import LocalStore, MemoryStore, ObjectKey, ObjectStore, Spool
from datacollect.objects.s3 import S3Store
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

    @pytest.fixture
    def tamper(self, store: S3Store) -> Tamper:
        async def change(key: ObjectKey, content: bytes) -> None:
            await obstore.put_async(store._bucket, store._path(key), content)

        return change
