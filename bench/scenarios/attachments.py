"""Files on their way in and out: how fast, in how much memory, and what is left of those that were cut or killed."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.client import BenchError, HubClient
from bench.machine import peak_memory_mib, reset_peak_memory, usage
from bench.runner import Bench, say
from bench.serve import Commands, Database, HubProcess
from bench.stats import Samples

MIB = 1024 * 1024
LARGE = 50 * MIB
AT_ONCE = 32
KILLED_UPLOADS = 200
_PIECE = 64 * 1024
_BLOCK = os.urandom(MIB)
_TIDYING_SECONDS = 5.0
_LOOKS = 100
_PATIENCE = aiohttp.ClientTimeout(total=600)


@dataclass(frozen=True, slots=True)
class File:
    """A file that is like no other, without holding it: a mark, and then the same block again and again."""

    size: int
    mark: bytes = field(default_factory=lambda: os.urandom(32).hex().encode())
    guid: str = field(default_factory=lambda: str(uuid.uuid4()))
    entity: str = field(default_factory=lambda: str(uuid.uuid4()))

    def pieces(self) -> "list[memoryview]":
        head = memoryview(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + self.mark)
        rest, pieces = self.size - len(head), [head]
        block = memoryview(_BLOCK)
        while rest > 0:
            for begin in range(0, min(rest, MIB), _PIECE):
                pieces.append(block[begin : min(begin + _PIECE, rest)])
            rest -= MIB
        return pieces

    def digest(self) -> str:
        hashed = hashlib.sha256()
        for piece in self.pieces():
            hashed.update(piece)
        return hashed.hexdigest()


class Cut(Exception):
    """The link breaks here."""


async def attachments(bench: Bench) -> None:
    """50 MiB files beside a copy, 32 at once with half of them cut, and kills; needs --serve."""
    if bench.commands is None or bench.options.pid is None:
        raise BenchError("attachments needs a hub of its own: add --serve sqlite or --serve postgres")
    program = await bench.client.make_program("attachments")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=_PATIENCE, headers=bench.client.signed
    ) as session:
        files = Files(bench, session, program)
        await _warm_up(files)
        await _one_by_one(bench, files)
        await _many(bench, files)
        await _cut(bench, files)
    await _require_in_order(bench.commands, program)
    await _killed(bench)


class Files:
    """A program's files, and what to do with them."""

    def __init__(self, bench: Bench, session: aiohttp.ClientSession, program: str, url: str | None = None) -> None:
        self.bench, self.session, self.program = bench, session, program
        self.url = url or bench.options.url
        self.stored: list[File] = []

    async def upload(self, file: File, *, cut_at: float | None = None) -> int:
        """The status. Raises `Cut` if the link broke, at that part of the file."""
        texts = {"configId": self.program, "entityGuid": file.entity, "guid": file.guid}
        boundary = uuid.uuid4().hex
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in texts.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="p.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        tail = f"\r\n--{boundary}--\r\n"
        pieces = file.pieces()
        until = len(pieces) if cut_at is None else int(len(pieces) * cut_at)

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            for piece in pieces[:until]:
                yield bytes(piece)
            if cut_at is not None:
                raise Cut
            yield tail.encode()

        length = len(head) + file.size + len(tail)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        try:
            async with self.session.post(f"{self.url}/api/attachments/upload", data=body(), headers=headers) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError as error:
            if cut_at is not None:
                raise Cut from error
            raise

    async def download(self, file: File, *, cut_at: float | None = None) -> tuple[int, str]:
        """The status, and the hash of what came."""
        hashed, left = hashlib.sha256(), None if cut_at is None else int(file.size * cut_at)
        url = f"{self.url}/api/attachments/{file.guid}?configId={self.program}"
        async with self.session.get(url) as answer:
            async for piece in answer.content.iter_chunked(_PIECE):
                hashed.update(piece)
                if left is not None and (left := left - len(piece)) < 0:
                    answer.close()
                    raise Cut
            return answer.status, hashed.hexdigest()

    async def take(self, file: File) -> None:
        """A download that nobody looks at."""
        url = f"{self.url}/api/attachments/{file.guid}?configId={self.program}"
        size = 0
        async with self.session.get(url) as answer:
            async for piece in answer.content.iter_any():
                size += len(piece)
        if size != file.size:
            raise BenchError(f"a download of {size} bytes instead of {file.size}")

    async def store(self, file: File) -> None:
        status = await self.upload(file)
        if status != 201:
            raise BenchError(f"an upload was answered {status}")
        self.stored.append(file)


async def _warm_up(files: Files) -> None:
    """Small files, as many at once as large ones follow: threads, connections and caches are there then."""
    small = [File(MIB // 10) for _ in range(AT_ONCE * 4)]
    for begin in range(0, len(small), AT_ONCE):
        some = small[begin : begin + AT_ONCE]
        await asyncio.gather(*(files.store(file) for file in some))
        await asyncio.gather(*(_require_whole(files, file) for file in some))


async def _one_by_one(bench: Bench, files: Files) -> None:
    """One file after the other, beside what a copy of it to the same disk takes."""
    assert bench.commands is not None
    copying = [await asyncio.to_thread(_copy, bench.commands.folder) for _ in range(4)]
    large = [File(LARGE) for _ in range(5)]
    meter, up, down = bench.meter(), Samples(), Samples()
    for file in large:
        begun = time.perf_counter()
        await files.store(file)
        up.add("200", time.perf_counter() - begun)
    for file in large:
        begun = time.perf_counter()
        await files.take(file)
        down.add("200", time.perf_counter() - begun)
        await _require_whole(files, file)
    copy = min(copying)
    seconds = {"upload": _median(up), "download": _median(down)}
    bench.record(
        "attachments/50MiB",
        meter,
        copy_mib_per_s=round(50 / copy),
        **{f"{name}_mib_per_s": round(50 / taken) for name, taken in seconds.items()},
        **{f"{name}_ratio_to_copy": round(copy / taken, 2) for name, taken in seconds.items()},
    )


async def _many(bench: Bench, files: Files) -> None:
    """Photos as telephones make them, 32 on the way at once."""
    photos = [File(2 * MIB) for _ in range(AT_ONCE * 4)]
    waiting = iter(photos)

    async def work() -> None:
        for file in waiting:
            await files.store(file)

    async with _memory(bench) as memory:
        meter, begun = bench.meter(), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - begun
    bench.record(
        f"attachments/2MiB/parallel{AT_ONCE}",
        meter,
        uploads=len(photos),
        uploads_per_s=round(len(photos) / seconds, 1),
        mib_per_s=round(2 * len(photos) / seconds),
        **memory,
    )


async def _cut(bench: Bench, files: Files) -> None:
    """Large files, half of which break off in the middle."""
    chance = random.Random(7)
    large = [(File(LARGE), chance.uniform(0.2, 0.9) if number % 2 else None) for number in range(AT_ONCE)]

    async def upload(file: File, cut_at: float | None) -> str:
        try:
            status = await files.upload(file, cut_at=cut_at)
        except Cut:
            return "cut"
        files.stored.append(file)
        return str(status)

    async with _memory(bench) as memory:
        meter, begun = bench.meter(), time.perf_counter()
        outcomes = await asyncio.gather(*(upload(*one) for one in large))
        seconds = time.perf_counter() - begun
    await _record_cut(bench, "upload", meter, outcomes, seconds, memory)
    await _require_listed(files)
    whole = [file for file, cut_at in large if cut_at is None]

    async def download(number: int) -> str:
        file = whole[number // 2]
        try:
            status, digest = await files.download(file, cut_at=chance.uniform(0.2, 0.9) if number % 2 else None)
        except Cut:
            return "cut"
        return f"{status}" if digest == file.digest() else "changed"

    async with _memory(bench) as memory:
        meter, begun = bench.meter(), time.perf_counter()
        outcomes = await asyncio.gather(*(download(number) for number in range(AT_ONCE)))
        seconds = time.perf_counter() - begun
    await _record_cut(bench, "download", meter, outcomes, seconds, memory)


async def _record_cut(
    bench: Bench, name: str, meter: Any, outcomes: Sequence[str], seconds: float, memory: dict[str, Any]
) -> None:
    assert bench.commands is not None
    left = await _left_in_spool(_data(bench.commands))
    bench.record(
        f"attachments/50MiB/{name}/parallel{AT_ONCE}/half-cut",
        meter,
        outcomes={outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        seconds=round(seconds, 1),
        spooled_files_left=left,
        **memory,
    )
    if "changed" in outcomes:
        raise BenchError(f"{outcomes.count('changed')} downloads were not what had been uploaded")
    _require_empty(left)


async def _left_in_spool(data_dir: Path) -> int:
    """How many files nobody has put away soon after the last transfer ended."""
    for _ in range(_LOOKS):
        if not any((data_dir / "spool").iterdir()):
            return 0
        await asyncio.sleep(_TIDYING_SECONDS / _LOOKS)
    return len(list((data_dir / "spool").iterdir()))


def _require_empty(left: int) -> None:
    if left:
        raise BenchError(f"{left} files are left in the spool")


async def _require_listed(files: Files) -> None:
    """What was answered is there, and nothing else."""
    listed: set[str] = set()
    cursor = ""
    while True:
        path = f"/api/attachments?configId={files.program}&since={cursor}&limit=500"
        page = await files.bench.client.get_json(path)
        listed |= {one["guid"] for one in page["attachments"]}
        cursor = page["nextCursor"]
        if not page["hasMore"]:
            break
    if listed != {file.guid for file in files.stored}:
        raise BenchError(f"{len(listed)} attachments are there, and {len(files.stored)} were acknowledged")


async def _require_whole(files: Files, file: File) -> None:
    status, digest = await files.download(file)
    if status != 200 or digest != file.digest():
        raise BenchError(f"an attachment that was acknowledged is answered {status}, or is not what was sent")


async def _require_in_order(commands: Commands, program: str) -> dict[str, Any]:
    """The hub's own check finds nothing, reading every byte."""
    process = await asyncio.create_subprocess_exec(
        *commands.command("attachments", "check", "--deep", "--json"),
        cwd=commands.folder,
        env=commands.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, said = await process.communicate()
    if process.returncode != 0:
        raise BenchError(
            f"attachments check ends with {process.returncode}: {told.decode()[-500:]} {said.decode()[-500:]}"
        )
    say(f"attachments check --deep finds nothing wrong in {program}")
    outcome: dict[str, Any] = json.loads(told)
    return outcome


# -- kills


async def _killed(bench: Bench) -> None:
    """A hub of its own that is killed again and again, until 200 uploads have been acknowledged."""
    assert bench.commands is not None
    folder = Path(tempfile.mkdtemp(prefix="killed-", dir=bench.commands.folder))
    hub = HubProcess(Database(), folder, settings={"LOG_LEVEL": "warning"})
    meter, told = bench.meter(), _Told()
    try:
        await hub.start()
        async with HubClient(hub.url, hub.credentials, timeout_seconds=60) as client:
            program = await client.make_program("killed")
            client.keep_program(program)
            while len(told.acknowledged) < KILLED_UPLOADS:
                await _kill_once(bench, hub, client, program, told)
                await hub.start()
                await _look(bench, hub, client, program, told)
        left = await _left_in_spool(hub.data_dir)
        checked = await _require_in_order(hub.commands, program)
    finally:
        with contextlib.suppress(Exception):
            await hub.stop()
        shutil.rmtree(folder, ignore_errors=True)
    bench.record(
        "attachments/killed",
        meter,
        kills=told.kills,
        acknowledged=len(told.acknowledged),
        unanswered=told.unanswered,
        unanswered_but_whole=told.unanswered_but_whole,
        spooled_files_left=left,
        checked_files=checked["programs"][0]["files"],
    )
    _require_empty(left)


@dataclass(slots=True)
class _Told:
    """What became of the uploads to a hub that is killed."""

    acknowledged: list[File] = field(default_factory=list)
    in_flight: list[File] = field(default_factory=list)
    kills: int = 0
    unanswered: int = 0
    unanswered_but_whole: int = 0


async def _kill_once(bench: Bench, hub: HubProcess, client: HubClient, program: str, told: _Told) -> None:
    """Upload side by side, and kill the hub at a random moment."""
    chance = random.Random(told.kills)
    async with aiohttp.ClientSession(timeout=_PATIENCE, headers=client.signed) as session:
        files = Files(bench, session, program, hub.url)

        async def work() -> None:
            while True:
                file = File(chance.choice((20_000, 200_000, 2 * MIB)))
                told.in_flight.append(file)
                if await files.upload(file) == 201:
                    told.acknowledged.append(file)
                told.in_flight.remove(file)

        workers = [asyncio.create_task(work()) for _ in range(16)]
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        await hub.kill()
        told.kills += 1
        await asyncio.gather(*workers, return_exceptions=True)


async def _look(bench: Bench, hub: HubProcess, client: HubClient, program: str, told: _Told) -> None:
    """After the restart: acknowledged ones are whole, and of the others nothing is seen, or all."""
    async with aiohttp.ClientSession(timeout=_PATIENCE, headers=client.signed) as session:
        files = Files(bench, session, program, hub.url)
        for file in told.acknowledged:
            await _require_whole(files, file)
        for file in told.in_flight:
            status, digest = await files.download(file)
            told.unanswered += 1
            if status == 200:
                if digest != file.digest():
                    raise BenchError("an upload that was not answered is seen, and is not whole")
                told.unanswered_but_whole += 1
                told.acknowledged.append(file)
            elif status != 404:
                raise BenchError(f"an upload that was not answered is answered {status}")
        told.in_flight.clear()


# -- small things


@contextlib.asynccontextmanager
async def _memory(bench: Bench) -> AsyncIterator[dict[str, Any]]:
    """By how much the hub's memory grows meanwhile, at its most."""
    pid = bench.options.pid
    assert pid is not None
    before = usage(pid).rss_mib
    reset_peak_memory(pid)
    told: dict[str, Any] = {}
    yield told
    told |= {"rss_before_mib": before, "rss_growth_mib": round(peak_memory_mib(pid) - before, 1)}


def _copy(folder: Path) -> float:
    """Seconds that copying such a file takes, until it is on disk."""
    source, target = folder / "copied-from", folder / "copied-to"
    if not source.exists():
        source.write_bytes(_BLOCK * 50)
    begun = time.perf_counter()
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, MIB)
        writing.flush()
        os.fsync(writing.fileno())
    seconds = time.perf_counter() - begun
    target.unlink()
    return seconds


def _median(samples: Samples) -> float:
    return float(samples.summary()["latency_ms"]["p50"]) / 1000


def _data(commands: Commands) -> Path:
    return Path(commands.environment["DATA_DIR"])
