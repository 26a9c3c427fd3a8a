"""The adapter against a small drop on a real socket: first what every adapter keeps, then what is its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from csv_drop import KIND

from datacollect.adapters.port import Adapter, Pushed
from datacollect.testing.adapters import AdapterContract, Subject
from datacollect.testing.remote import Answer, RemoteSystem, Request


@dataclass
class Drop:
    """The other system: files that we wrote, and lines that are there for us."""

    files: dict[str, bytes] = field(default_factory=dict)
    lines: list[str] = field(default_factory=lambda: ["77,Ana,Cruz", "78,Kofi,Mensah"])

    def handle(self, request: Request) -> Answer:
        if request.headers.get("x-access-key") != "k3y-of-the-drop":
            return Answer(401)
        match request.method, *request.segments:
            case ["PUT", "out", name]:
                self.files[name] = request.body
                return Answer(204)
            case ["DELETE", "out", name]:
                return Answer(204 if self.files.pop(name, None) is not None else 404)
            case ["GET", "in.csv"]:
                return Answer(200, "\n".join(self.lines[int(request.query["after"]) :]).encode())
        return Answer(404)


@pytest.fixture
def drop() -> Drop:
    return Drop()


@pytest.fixture
def subject(drop: Drop) -> Iterator[Subject]:
    with RemoteSystem(drop.handle) as system:
        section = {"type": "csv-drop", "url": system.url, "adapterConfig": {"accessKey": "k3y-of-the-drop"}}
        yield Subject(
            kind=KIND,
            section=section,
            invalid=[
                {**section, "adapterConfig": {}},
                {**section, "adapterConfig": {"accessKey": "k3y-of-the-drop", "delimiter": "||"}},
            ],
            system=system,
            made=lambda: len(drop.files),
        )


class TestCsvDrop(AdapterContract):
    async def test_a_person_becomes_a_file_and_is_removed(self, subject: Subject, adapter: Adapter, drop: Drop) -> None:
        record = subject.individual(guid="in-1", data={"firstName": "Lan", "note": "a, b"})
        [outcome] = await adapter.push([record])
        assert isinstance(outcome, Pushed)
        assert drop.files == {"in-1.csv": b'firstName,Lan\r\nnote,"a, b"\r\n'}
        for _ in range(2):
            await adapter.push([subject.individual(guid="in-1", data={}, link=outcome.link, is_deleted=True)])
        assert drop.files == {}

    async def test_lines_are_read_once_and_bad_ones_are_named(self, adapter: Adapter, drop: Drop) -> None:
        drop.lines.append("nonsense")
        page = await adapter.pull(None)
        assert [record.external_id for record in page.records] == ["77", "78"]
        assert [failure.message for failure in page.failures] == ["Line 2 cannot be read."]
        assert not (await adapter.pull(page.mark)).records
