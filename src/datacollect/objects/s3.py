"""Objects in a bucket that speaks S3."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import S3Store as Bucket

from datacollect.kernel.errors import StartupError
from datacollect.objects.errors import ObjectDamaged, ObjectMissing, StorageFull, StorageUnavailable
from datacollect.objects.names import ObjectKey, is_folder, read_name
from datacollect.objects.port import Listed, Spooled
from datacollect.objects.reading import PIECE_BYTES, Opened, checked, span_of

if TYPE_CHECKING:
    from obstore import BytesStream, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config

_PART_BYTES = 5 * 1024 * 1024
"""The least that S3 takes for a part but the last. It is held while it is sent."""
_DELETED_AT_ONCE = 500
_PUTS_AT_ONCE = 3
"""So all that is held of uploads is a few parts; who waits has the file in the spool."""
_READ_TIMEOUT = timedelta(seconds=30)
_RETRY_FOR = timedelta(seconds=20)
_NO_LIMIT = timedelta(days=1)
"""Of a whole request: a download lasts as long as its reader takes. What stands still is ended by the read timeout."""

_STATUS = re.compile(r"status code: ([0-9]{3})\b")
_NO_ROOM = 507
_NO_SUCH_KEY = "(code: NoSuchKey)"
_NEVER_THERE = ".never-there"
"""A name that no object has."""

_log = structlog.get_logger(component="objects")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the bucket is, and how it lets us in. Without keys those of the surroundings are used (`AWS_*`, a role)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    virtual_hosted: bool = False
    """Whether the bucket is part of the host's name; for an endpoint of one's own it then has to be in it."""
    allow_http: bool = False
    root_certificate: bytes | None = None
    """PEM of an authority to trust beside those of the system."""


class S3Store:
    """Implements `ObjectStore`."""

    def __init__(self, options: S3Options) -> None:
        self._bucket = _bucket(options)
        self._prefix = f"{options.prefix.strip('/')}/" if options.prefix.strip("/") else ""
        self._turns = asyncio.Semaphore(_PUTS_AT_ONCE)

    async def put(self, key: ObjectKey, spooled: Spooled) -> None:
        async with self._turns:
            with _failing():
                await obstore.put_async(
                    self._bucket,
                    self._path(key),
                    spooled.path,
                    use_multipart=spooled.size_bytes > _PART_BYTES,
                    chunk_size=_PART_BYTES,
                    max_concurrency=1,
                )
        if await self.stat(key) != spooled.size_bytes:
            raise StorageUnavailable()

    async def open(self, key: ObjectKey, size_bytes: int, *, start: int = 0, end: int | None = None) -> Opened:
        span = span_of(size_bytes, start, end)
        with _failing():
            try:
                part = {} if span.count in (0, size_bytes) else {"range": (span.begin, span.end)}
                found = await obstore.get_async(self._bucket, self._path(key), options=part)  # type: ignore[arg-type]
            except FileNotFoundError:
                found = None
        if found is None:
            await self._require_bucket()
            raise ObjectMissing()
        if _size_of(found.meta) != size_bytes:
            raise ObjectDamaged()
        with _failing():
            stream = found.stream(PIECE_BYTES)
        if not span.count:
            return await Opened.begun(_nothing())
        return await Opened.begun(checked(_pieces(stream), span, key.digest))

    async def stat(self, key: ObjectKey) -> int | None:
        size_bytes = await self._size(self._path(key))
        if size_bytes is None:
            await self._require_bucket()
        return size_bytes

    async def delete(self, key: ObjectKey) -> None:
        await self._delete([self._path(key)])

    async def delete_folder(self, folder: str, *, before_each: Callable[[], Awaitable[object]]) -> int:
        count, paths = 0, list[str]()
        async for listed in self.list(folder):
            if listed.key is not None:
                paths.append(self._path(listed.key))
            if len(paths) == _DELETED_AT_ONCE:
                count, paths = count + await self._delete_all(paths, before_each), []
        return count + await self._delete_all(paths, before_each)

    async def _delete_all(self, paths: Sequence[str], before: Callable[[], Awaitable[object]]) -> int:
        if paths:
            await before()
            await self._delete(paths)
        return len(paths)

    async def _delete(self, paths: Sequence[str]) -> None:
        with _failing():
            try:
                await obstore.delete_async(self._bucket, paths)
                return
            except (BaseError, FileNotFoundError) as error:
                if not isinstance(error, FileNotFoundError) and _NO_SUCH_KEY not in str(error):
                    raise
        # Some stores say so of what is gone already. It ends the answer, whatever became of the others.
        await self._require_bucket()
        for path in paths:
            if await self._size(path) is not None:
                raise StorageUnavailable()

    async def folders(self) -> Sequence[str]:
        with _failing():
            found = await obstore.list_with_delimiter_async(self._bucket, self._prefix or None)
        await self._require_s3()
        names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]
        return sorted(name for name in names if is_folder(name))

    async def list(self, folder: str) -> AsyncIterator[Listed]:
        inside = f"{self._prefix}{folder}/"
        stream = obstore.list(self._bucket, inside, chunk_size=500)
        with _failing():
            async for some in stream:
                for item in some:
                    name = item["path"].removeprefix(inside)
                    yield Listed(name, read_name(folder, name), item["size"])
        await self._require_s3()

    async def health(self) -> None:
        await self._require_bucket()

    async def aclose(self) -> None:
        pass

    async def _size(self, path: str) -> int | None:
        """None also where there is no such bucket."""
        with _failing():
            try:
                found = await obstore.head_async(self._bucket, path)
            except FileNotFoundError:
                return None
        return _size_of(found)

    async def _require_bucket(self) -> None:
        """Raises `StorageUnavailable` unless what is not found in the bucket is not there: of one that is not there itself
        nothing is found either."""
        with _failing():
            async for _ in obstore.list(self._bucket, self._prefix or None, chunk_size=1):
                break
        await self._require_s3()

    async def _require_s3(self) -> None:
        """Raises `StorageUnavailable` where a page is answered to whatever is asked, as by networks that want somebody to
        sign in: read as a list it is an empty one.

        To be asked after a list, which shows that the keys are good: keys that may list below a prefix only get a 403 for
        what is not there.
        """
        with _failing():
            try:
                await obstore.head_async(self._bucket, f"{self._prefix}{_NEVER_THERE}")
            except (FileNotFoundError, PermissionDeniedError):
                return
        raise StorageUnavailable()

    def _path(self, key: ObjectKey) -> str:
        return self._prefix + key.path


def _bucket(options: S3Options) -> Bucket:
    config: S3Config = {
        "region": options.region,
        "virtual_hosted_style_request": options.virtual_hosted,
    }
    if options.endpoint:
        config["endpoint"] = options.endpoint
    if options.access_key_id and options.secret_access_key:
        config["access_key_id"] = options.access_key_id
        config["secret_access_key"] = options.secret_access_key
    client: ClientConfig = {
        "allow_http": options.allow_http,
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": _READ_TIMEOUT,
        "timeout": _NO_LIMIT,
        "user_agent": "datacollect-hub",
    }
    if options.root_certificate is not None:
        _require_certificates(options.root_certificate)
        client["root_certificate"] = options.root_certificate
    retries: RetryConfig = {"max_retries": 4, "retry_timeout": _RETRY_FOR}
    return Bucket(options.bucket, config=config, client_options=client, retry_config=retries)


def _require_certificates(pem: bytes) -> None:
    try:
        Bucket("none", client_options={"root_certificate": pem})  # by themselves: so nothing else is to blame
    except (ValueError, BaseError):
        raise StartupError("S3_CA_FILE cannot be read as certificates (PEM)") from None


def _size_of(meta: "ObjectMeta") -> int:
    """Raises `StorageUnavailable` for an answer without a tag, which every store gives to what it holds."""
    if meta["e_tag"] is None:
        raise StorageUnavailable()
    return meta["size"]


async def _pieces(stream: "BytesStream") -> AsyncGenerator[bytes]:
    with _failing():
        async for piece in stream:
            data = bytes(piece)
            # What the network brings at once may be more.
            for begin in range(0, len(data), PIECE_BYTES):
                yield data[begin : begin + PIECE_BYTES]


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield b""


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """What the library raises as ours. Its texts quote addresses and answers: only the status goes on, into the log."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        status = _STATUS.search(str(error))
        number = int(status[1]) if status else None
        _log.warning("storage.failed", error=type(error).__name__, status=number)
        if number == _NO_ROOM:
            raise StorageFull() from None
        away = StorageUnavailable()
        away.answered = number
        raise away from None
