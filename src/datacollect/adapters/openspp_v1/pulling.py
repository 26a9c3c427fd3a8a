"""What has changed in Odoo, page by page.

Odoo stores `write_date` to the microsecond, of the moment in which the writing transaction began, and shows and takes it
to the second. So neither that text nor that text with a number says where one was: records of one second are read in the
order of their numbers, and a page that ends within a second says so. And what was written by a transaction that took long
appears behind our back: the next run begins a while before the last change that this one has seen, and as long before this
one began, for it may have appeared behind pages that were read first. What it is told again changes nothing.

Registrants that were brought in past Odoo have no `write_date`. They are read first, in the order of their numbers, by a
pull that begins at the beginning; later ones find them once they are written.

A page that cannot be read (too long, or one value is none that JSON has) is asked for again with half as many, down to one.
That one is told by its number if it cannot be read either, or its list of members is too long, and passed over: it would hold up everybody behind it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v1.members import Rows, members_of
from datacollect.adapters.openspp_v1.odoo import PARTNER, Odoo
from datacollect.adapters.openspp_v1.options import OpenSppV1Options
from datacollect.adapters.openspp_v1.session import ARCHIVED, Registry
from datacollect.adapters.openspp_v1.values import Mappings, instant_of, odoo_text, seen_in, to_form, version_of
from datacollect.adapters.port import Incoming, Page, RecordType
from datacollect.kernel.clock import Clock, Millis

PULL_FAILED = "PULL_FETCH_FAILED"
PAGE_SIZE = 200
_WHAT = "read changed registrants"
_LAYOUT = "%Y-%m-%d %H:%M:%S"
_SECOND = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"
_MARK = re.compile(rf"({_SECOND})\|(\d{{1,12}})(?:\|({_SECOND}))?", re.ASCII)

_NEVER = "1970-01-01 00:00:00"
"""Stands for the second of those that have none."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """Everything before `second` was read, and of that second what has a number up to `number`."""

    second: str
    number: int = 0
    until: str | None = None
    """The second at which the next run begins at the latest, as long as this one goes on. Older versions had none."""

    @property
    def text(self) -> str:
        return f"{self.second}|{self.number}" if self.until is None else f"{self.second}|{self.number}|{self.until}"

    @property
    def next_second(self) -> str:
        return _moved(self.second, 1)


def read_mark(text: str | None) -> Mark | None:
    """None for the beginning, also if it is not one of ours. The hub's own times are read too: older versions kept those."""
    if text and text.endswith("Z"):
        text = f"{text[:19].replace('T', ' ')}|0"
    found = _MARK.fullmatch(text or "")
    if not found or any(instant_of(second) is None for second in (found[1], found[3]) if second):
        return None
    return Mark(found[1], int(found[2]), found[3])


class Pull:
    def __init__(
        self,
        odoo: Odoo,
        registry: Registry,
        options: OpenSppV1Options,
        mappings: Mappings,
        forms: Mapping[RecordType, str],
        clock: Clock,
        page_size: int,
    ) -> None:
        self._odoo = odoo
        self._registry = registry
        self._options = options
        self._mappings = mappings
        self._forms = forms
        self._clock = clock
        self.page_size = page_size
        """Halved where a page cannot be read."""

    async def page(self, text: str | None) -> Page:
        """Raises `CallFailed`."""
        mark, began_at = read_mark(text) or Mark(_NEVER), self._clock.now()
        while True:
            try:
                return await self._page_from(mark, began_at)
            except CallFailed as failed:
                if failed.kind is not CallKind.UNREADABLE or self.page_size == 1:
                    raise
            self.page_size //= 2

    async def _page_from(self, mark: Mark, began_at: Millis) -> Page:
        rows = [*await self._rest_of_second(mark)]
        until = mark.until or self._until(mark, began_at)
        if len(rows) == self.page_size:
            return await self._page(rows, Mark(mark.second, rows[-1]["id"], until), is_last=False)
        later = await self._later_than(mark, self.page_size - len(rows))
        if len(later) < self.page_size - len(rows):
            rows += later
            return await self._page(rows, self._last_mark(mark, until, rows), is_last=True)
        # The last second may hold more than what is here, with lower numbers too: it is read by itself.
        unfinished = later[-1]["write_date"]
        rows += [row for row in later if row["write_date"] != unfinished]
        return await self._page(rows, Mark(unfinished, until=until), is_last=False)

    # -- asking

    async def _rest_of_second(self, mark: Mark) -> Sequence[Row]:
        within: list[list[Any]] = [["write_date", ">=", mark.second], ["write_date", "<", mark.next_second]]
        if mark.second == _NEVER:
            within = [["write_date", "=", False]]
        rows = await self._search([*within, ["id", ">", mark.number]], order="id", limit=self.page_size)
        for row in rows:
            _require(row.get("write_date", "") is False if mark.second == _NEVER else _is_written(row))
        return rows

    async def _later_than(self, mark: Mark, limit: int) -> Sequence[Row]:
        since = [["write_date", ">=", mark.next_second]]
        rows = await self._search(since, order="write_date, id", limit=limit)
        for row in rows:
            _require(_is_written(row))
        return rows

    async def _search(self, domain: Sequence[Any], *, order: str, limit: int) -> Sequence[Row]:
        among = [["is_registrant", "=", True]]
        if not self._options.groups:
            among.append(["is_group", "=", False])
        # One by itself is found first and read then: if it cannot be read, it is known which one that is.
        fields = self._fields if self.page_size > 1 else ("write_date",)
        return await self._read([*among, *domain], fields, order=order, limit=limit)

    async def _whole(self, row: Row) -> Sequence[Row]:
        """It alone, or nothing if it is gone. Raises `CallFailed`."""
        rows = await self._read([["id", "=", row["id"]]], self._fields)
        for row in rows:
            _require(row.get("write_date", "") is False or _is_written(row))
        return rows

    async def _read(self, domain: Sequence[Any], fields: Sequence[str], **keywords: Any) -> Sequence[Row]:
        if self._options.deletes == "archive":
            keywords["context"] = {"active_test": False}
        return await self._odoo.search_read(PARTNER, domain, fields, what=_WHAT, **keywords)

    @property
    def _fields(self) -> Sequence[str]:
        return [*self._registry.fields, "is_group", "active", "write_date", self._options.reference_field]

    def _until(self, mark: Mark, began_at: Millis) -> str:
        """As long before the run began as a transaction of Odoo's may take, by Odoo's clock if that is behind ours; but not
        before where the run began, or runs might go back for ever."""
        now = self._clock.now()
        at = began_at if self._odoo.dated is None else min(began_at, self._odoo.dated - max(0, now - began_at))
        return max(_moved(odoo_text(Millis(at)), -int(self._options.write_seconds)), mark.second)

    def _last_mark(self, mark: Mark, until: str, rows: Sequence[Row]) -> Mark:
        """Where the next run begins: before the last change that was seen, in this page or the one before, by as long as a
        transaction of Odoo's may take, and `until` at the latest."""
        seen = [row["write_date"] for row in rows if row["write_date"]]
        if (mark.number > 0 or mark.until) and mark.second != _NEVER:
            seen.append(mark.second)
        if not seen:
            return replace(mark, until=None)
        return Mark(min(_moved(max(seen), -int(self._options.write_seconds)), until))

    # -- telling

    async def _page(self, rows: Sequence[Row], mark: Mark, *, is_last: bool) -> Page:
        failures: list[Failure] = []
        if self.page_size == 1:
            rows, members, failures = await self._read_each(rows)
        else:
            members = await self._members(rows)
        records: list[Incoming] = []
        for row in rows:
            try:
                records.append(self._incoming(row, members.get(row["id"])))
            except (TypeError, ValueError, KeyError, AttributeError):
                failures.append(_unreadable(row["id"]))
        return Page(records=records, mark=mark.text, is_last=is_last, failures=failures)

    async def _members(self, rows: Sequence[Row]) -> Mapping[int, Rows]:
        groups = [row["id"] for row in rows if row.get("is_group") is True and row.get("active") is not False]
        model = self._registry.members
        return await members_of(self._odoo, model, groups) if model is not None else {}

    async def _read_each(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Mapping[int, Rows], list[Failure]]:
        """Those that were found, with their members, and who of them cannot be read."""
        read: list[Row] = []
        members: dict[int, Rows] = {}
        failures: list[Failure] = []
        for row in rows:
            try:
                whole = await self._whole(row)
            except CallFailed as failed:
                if failed.kind is not CallKind.UNREADABLE:
                    raise
                failures.append(_unreadable(row["id"]))
                continue
            try:
                members |= await self._members(whole)
            except CallFailed as failed:
                if not failed.is_too_large:  # else it may be the same for every group
                    raise
                failures.append(_unreadable(row["id"]))
                continue
            read += whole
        return read, members, failures

    def _incoming(self, row: Row, members: Rows | None) -> Incoming:
        type_ = RecordType.GROUP if row.get("is_group") is True else RecordType.INDIVIDUAL
        types = self._registry.types
        reference = row.get(self._options.reference_field)
        state: dict[str, Any] = {"seen": seen_in(row, types, types)}
        if members is not None:
            state["members"] = sorted(members)
        if row.get("active") is False:
            state[ARCHIVED] = True
        return Incoming(
            external_id=str(row["id"]),
            type=type_,
            data={"entityName": self._forms[type_], **to_form(self._mappings.of(type_), row, types)},
            derived=self._empty_in(type_, row),
            occurred_at=instant_of(row["write_date"]),
            version=version_of(row, types),
            state=state,
            guid=reference if isinstance(reference, str) and reference else None,
            members=None if members is None else [str(member) for member in sorted(members)],
            is_deleted=row.get("active") is False,
        )

    def _empty_in(self, type_: RecordType, row: Row) -> frozenset[str]:
        """Fields that nobody has filled in there. They empty what an entity has; to one that does not have them they would
        add nothing but a time, and an edit from before it, still on its way from a device, would be lost to them."""
        return frozenset(one.form_field for one in self._mappings.of(type_) if not row.get(one.remote_field))


def _is_written(row: Row) -> bool:
    return instant_of(row.get("write_date")) is not None


def _require(is_readable: bool) -> None:
    """Raises `CallFailed`: without a time nothing says what comes next."""
    if not is_readable:
        raise CallFailed(CallKind.UNREADABLE, _WHAT)


def _moved(second: str, seconds: int) -> str:
    moment = datetime.strptime(second, _LAYOUT).replace(tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.strftime(_LAYOUT)


def _unreadable(number: int) -> Failure:
    message = f"The registrant {number} holds values that cannot be read, or too much of them, or too many members."
    return Failure(code="PULL_TRANSFORM_FAILED", message=message, retryable=False, external_id=str(number))
