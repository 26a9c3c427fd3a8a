"""What has changed in the registry, page by page: individuals, then groups.

The registry is asked by day and pages by offset over records that move while we read. So each page overlaps the one
before: a page that shows none of the records last seen has been reached by a jump, and is asked for again further back.
Where a page is too long, or holds something that cannot be read, its records are asked for one by one.
Whatever changes meanwhile, or is told with another day than ours, is in the next run, which begins a day before this one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v2 import codes
from datacollect.adapters.openspp_v2.client import MAX_BYTES, PAGE_SIZE, RegistryClient, document
from datacollect.adapters.openspp_v2.direct import MEMBERS, Registrants, version_of
from datacollect.adapters.openspp_v2.identifiers import RESOURCES, Identifiers, Key
from datacollect.adapters.openspp_v2.resources import DERIVED, Resources, also_called
from datacollect.adapters.port import Incoming, Page, RecordType
from datacollect.adapters.times import http_date, instant
from datacollect.kernel.clock import Clock, Millis

OVERLAP = 5
SMALL_PAGE = 10
_LONGEST_OFFSET = 15
_OVERLAP_OF_RUNS = timedelta(days=1)
_ORDER = (RecordType.INDIVIDUAL, RecordType.GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    since: str | None = None
    """The day from which on the run reads."""
    began_at: int | None = None
    """When the run began; None between runs."""
    type: RecordType = RecordType.INDIVIDUAL
    offset: int = 0
    """Of the first record not seen yet."""
    seen: Sequence[str] = ()
    """The last records before `offset`, each as who it is and which version, shortened."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Also a plain time, which is what other hubs keep as their mark; from the beginning for anything else."""
        if not text:
            return cls()
        try:
            told = msgspec.json.decode(text)
            return cls(
                since=told["since"],
                began_at=told.get("beganAt"),
                type=RecordType(told.get("type", RecordType.INDIVIDUAL)),
                offset=int(told.get("offset", 0)),
                seen=tuple(told.get("seen", ())),
            )
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
            at = instant(text)
            return cls(since=None if at is None else _day(at))

    @property
    def text(self) -> str:
        told: dict[str, Any] = {"since": self.since}
        if self.began_at is not None:
            told |= {"beganAt": self.began_at, "type": self.type.value, "offset": self.offset, "seen": list(self.seen)}
        return msgspec.json.encode(told).decode()


@dataclass(frozen=True, slots=True)
class _Read:
    """One answer of the registry."""

    items: Sequence[Any]
    offset: int
    next_offset: int | None
    at: Millis | None
    """When the registry answered, by its own clock."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """What stands where a record cannot be read, or alone is longer than a page may be."""

    place: int


class Pulling:
    def __init__(
        self,
        client: RegistryClient,
        clock: Clock,
        registrants: Registrants,
        identifiers: Identifiers,
        resources: Resources,
    ) -> None:
        self._client, self._clock, self._registrants = client, clock, registrants
        self._identifiers, self._resources = identifiers, resources

    async def page(self, text: str | None) -> Page:
        """Raises `CallFailed`; then the mark stays where it was."""
        mark, began_at = Mark.read(text), self._clock.now()
        if mark.began_at is None and mark.since is not None and mark.since > _day(began_at):
            # Made by a clock that has been set back since: nobody knows how far the run before this one has read.
            mark = Mark()
        read = await self._read(mark)
        if mark.began_at is None:
            # If our clock is ahead, the next run would leave out all that changes in the registry until that day.
            mark = replace(mark, began_at=min(began_at, began_at if read.at is None else read.at))
        fresh = [item for item in read.items if _name(item) not in mark.seen and _is_since(item, mark.since)]
        records: list[Incoming] = []
        failures: list[Failure] = []
        skipped = 0
        for item in fresh:
            try:
                record = self._record(mark.type, item)
            except (AttributeError, KeyError, TypeError, ValueError):
                failures.append(self._unreadable(mark.type, read, item))
                continue
            if record is None:
                skipped += 1
            else:
                records.append(record)
        following = self._following(mark, read)
        return Page(
            records=records,
            mark=following.text,
            is_last=following.began_at is None,
            skipped=skipped,
            failures=failures,
        )

    async def _read(self, mark: Mark) -> _Read:
        """The page that begins at the mark or, for safety, before it."""
        back = OVERLAP if mark.seen else 0
        while True:
            read = await self._ask(mark, max(0, mark.offset - back))
            if not mark.seen or read.offset == 0 or _shows(read, mark.seen):
                return read
            back = max(back * 4, PAGE_SIZE)

    async def _ask(self, mark: Mark, offset: int) -> _Read:
        try:
            return await self._page_at(mark, offset, PAGE_SIZE)
        except CallFailed as failed:
            if failed.kind is not CallKind.UNREADABLE:
                raise
        # Too long, maybe: people come with their photos.
        try:
            return await self._page_at(mark, offset, SMALL_PAGE)
        except CallFailed as failed:
            if failed.kind is not CallKind.UNREADABLE:
                raise
            return await self._one_by_one(mark, offset, failed)

    async def _one_by_one(self, mark: Mark, offset: int, failed: CallFailed) -> _Read:
        """A small page, or what of it is as long as a page may be. Raises `failed` if the registry gives no record at all
        that can be read: then it is none of the records' fault."""
        reads: list[_Read] = []
        following: int | None = offset
        size = 0
        while following is not None and len(reads) < SMALL_PAGE and size < MAX_BYTES:
            reads.append(await self._single(mark, following))
            following = reads[-1].next_offset
            # Those that were seen before are there to be recognised only.
            size += sum(_length(item) for item in reads[-1].items if _name(item) not in mark.seen)
        if all(isinstance(item, _Unreadable) for read in reads for item in read.items or [None]):
            raise failed
        items: list[Any] = []
        for item in (item for read in reads for item in read.items):
            # Asked for once more, now that it has answered: it may have been the registry that was away.
            items += (await self._single(mark, item.place)).items if isinstance(item, _Unreadable) else [item]
        return _Read(items, offset, following, next((read.at for read in reads if read.at is not None), None))

    async def _single(self, mark: Mark, place: int) -> _Read:
        try:
            return await self._page_at(mark, place, 1)
        except CallFailed as failed:
            if failed.kind is not CallKind.UNREADABLE:
                raise
            return _Read([_Unreadable(place)], place, place + 1, None)

    async def _page_at(self, mark: Mark, offset: int, count: int) -> _Read:
        query = {
            "_count": count,
            "_offset": offset,
            "_lastUpdated": f"ge{mark.since}" if mark.since else None,
            **self._registrants.extensions,
        }
        resource = RESOURCES[mark.type]
        reply = await self._client.call("GET", resource, what=f"read {resource.lower()}s", query=query)
        told = document(reply)
        items = told.get("data")
        if not isinstance(items, list):
            raise CallFailed(CallKind.UNREADABLE, f"read {resource.lower()}s")
        following = _next_offset(told, offset, len(items), count)
        return _Read(items, offset, following, http_date(reply.headers.get("date")))

    def _following(self, mark: Mark, read: _Read) -> Mark:
        if read.next_offset is not None:
            last = tuple(_name(item) for item in read.items[-OVERLAP:]) or tuple(mark.seen)
            return replace(mark, offset=read.next_offset, seen=last)
        if mark.type is not _ORDER[-1]:
            return replace(mark, type=_ORDER[_ORDER.index(mark.type) + 1], offset=0, seen=())
        assert mark.began_at is not None
        return Mark(since=_day(mark.began_at, less=_OVERLAP_OF_RUNS))

    def _record(self, type: RecordType, resource: Mapping[str, Any]) -> Incoming | None:
        """None for a registrant that is known under foreign identifiers only."""
        link = self._registrants.link_to(type, resource)
        if link is None:
            return None
        meta = resource.get("meta")
        members = self._members(type, resource)
        state = link.state
        if members is not None:
            state = {**state, MEMBERS: sorted(map(self._identifiers.reference, members))}
        return Incoming(
            external_id=link.external_id,
            type=type,
            data=self._resources.read(type, resource),
            also_called=also_called(type),
            derived=DERIVED[type],
            occurred_at=instant(meta.get("lastUpdated")) if isinstance(meta, dict) else None,
            version=version_of(resource),
            state=state,
            guid=self._identifiers.guid(type, resource),
            members=None if members is None else [self._identifiers.external_id(key) for key in members],
            is_deleted=resource.get("active") is False,
        )

    def _unreadable(self, type: RecordType, read: _Read, item: Any) -> Failure:
        resource = RESOURCES[type].lower()
        place = item.place if isinstance(item, _Unreadable) else read.offset + list(read.items).index(item)
        message = f"A record cannot be read: number {place} of the registry's {resource}s."
        key = self._identifiers.of_resource(type, item) if isinstance(item, dict) else None
        name = f"{resource}{_name(item)}" if key is None else self._identifiers.external_id(key)
        return Failure(code=codes.PULL_FAILED, message=message, retryable=True, external_id=name)

    def _members(self, type: RecordType, group: Mapping[str, Any]) -> Sequence[Key] | None:
        """Who belongs to a group. None if the registry does not tell, or tells one of them by an identifier by which we
        know nobody: part of the members would read as if the others had left."""
        told = group.get("member")
        if type is not RecordType.GROUP or not isinstance(told, list):
            return None
        members: list[Key] = []
        for one in told:
            if not one.get("inactive"):
                key = self._identifiers.of_reference(one.get("entity", {}).get("reference"))
                if key is None:
                    return None
                members.append(key)
        return members


def _next_offset(page: Mapping[str, Any], offset: int, got: int, count: int) -> int | None:
    """Where it goes on; None at the end. A short page is no end if the registry names a next one: it may have left out
    people whose consent is missing. The link itself is never followed, only its offset is believed."""
    links = page.get("links")
    if not isinstance(links, dict) or "next" not in links:
        return offset + got if got == count else None
    if not isinstance(links["next"], str) or not links["next"]:
        return None
    named = _named_offset(links["next"])
    following = offset + got if named is None else named
    return following if following > offset else None


def _named_offset(link: str) -> int | None:
    """None if the link is none, or names none that a registry can have."""
    try:
        named = parse_qs(urlsplit(link).query).get("_offset", [""])[0]
    except ValueError:
        return None
    return int(named) if named.isdecimal() and len(named) <= _LONGEST_OFFSET else None


def _shows(read: _Read, seen: Sequence[str]) -> bool:
    """One that has changed meanwhile may have changed its place as well, and proves nothing."""
    return any(_name(item) in seen for item in read.items)


def _name(item: Any) -> str:
    """Who it is and which version, without telling who: marks are shown."""
    if isinstance(item, _Unreadable):
        return f"?{item.place}"
    if not isinstance(item, dict):
        return "?"
    who = msgspec.json.encode(item.get("identifier"), order="sorted")
    return f"{sha256(who).hexdigest()[:10]}@{sha256(str(version_of(item)).encode()).hexdigest()[:6]}"


def _length(item: Any) -> int:
    return 0 if isinstance(item, _Unreadable) else len(msgspec.json.encode(item))


def _is_since(item: Any, since: str | None) -> bool:
    """Registries that do not know `_lastUpdated` for a kind of record tell all of them."""
    meta = item.get("meta") if isinstance(item, dict) else None
    at = instant(meta.get("lastUpdated")) if isinstance(meta, dict) else None
    return since is None or at is None or _day(at) >= since


def _day(at: int, *, less: timedelta = timedelta()) -> str:
    return (datetime.fromtimestamp(Millis(at) / 1000, UTC) - less).date().isoformat()
