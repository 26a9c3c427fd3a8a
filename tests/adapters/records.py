"""Records to push, and how to go through all pages of a pull."""

import itertools
from collections.abc import Mapping
from typing import Any

from datacollect.adapters.port import Adapter, Failed, Incoming, Link, Member, Outgoing, Page, Pushed, RecordType

_numbers = itertools.count(1)


def person(guid: str = "in-1", **changes: Any) -> Outgoing:
    data = {"entityName": "individual", "firstName": "Lan", "lastName": "Tran"} | changes.pop("data", {})
    return _record(guid, RecordType.INDIVIDUAL, data, changes)


def household(guid: str = "hh-1", *members: Outgoing, **changes: Any) -> Outgoing:
    changes.setdefault("members", [Member(guid=one.guid, type=one.type, link=one.link) for one in members])
    return _record(guid, RecordType.GROUP, {"entityName": "household", "name": "Tran"}, changes)


def _record(guid: str, type: RecordType, data: Mapping[str, Any], changes: dict[str, Any]) -> Outgoing:
    values = {"guid": guid, "type": type, "data": data, "version": 1, "key": f"key-{next(_numbers)}"}
    return Outgoing(**(values | changes))


async def pushed(adapter: Adapter, *records: Outgoing) -> list[Link]:
    """The links of records that must all arrive."""
    links = []
    for outcome in await adapter.push(records):
        assert isinstance(outcome, Pushed), outcome
        assert outcome.link
        links.append(outcome.link)
    return links


async def failed(adapter: Adapter, record: Outgoing) -> Failed:
    [outcome] = await adapter.push([record])
    assert isinstance(outcome, Failed), outcome
    return outcome


async def pulled(adapter: Adapter, mark: str | None = None) -> tuple[list[Incoming], str]:
    """All there is from the mark on, and the mark behind it."""
    records: list[Incoming] = []
    for _ in range(1000):
        page: Page = await adapter.pull(mark)
        records += page.records
        mark = page.mark
        if page.is_last:
            return records, mark
    raise AssertionError("the pull does not end")
