"""An adapter for systems that exchange files: each person of ours is put there as a file, theirs are read from a list.

PUT    {url}/out/{guid}.csv       a person of ours: names and values, one line each
DELETE {url}/out/{guid}.csv       not a person of ours any more
GET    {url}/in.csv?after={n}     theirs, from line n on: id, first name, last name
"""

import csv
import io
from collections.abc import Sequence
from urllib.parse import quote

from pydantic import Field, SecretStr

from datacollect.adapters.batches import push_each
from datacollect.adapters.calling import CallFailed, refusal, send
from datacollect.adapters.errors import Failure
from datacollect.adapters.health import measured
from datacollect.adapters.kinds import AdapterKind, Capability, Context
from datacollect.adapters.options import AdapterOptions
from datacollect.adapters.port import Health, Incoming, Link, Outcome, Outgoing, Page, Pushed, RecordType, Skipped
from datacollect.adapters.transformers import transform
from datacollect.outgoing.client import Answer, Method

LINES = 500


class CsvDropOptions(AdapterOptions):
    """What the form of a program asks for, beside the URL."""

    access_key: SecretStr = Field(title="Access key", min_length=8)
    delimiter: str = Field(",", title="Delimiter", min_length=1, max_length=1, description="Between values of a line.")


class CsvDrop:
    def __init__(self, options: CsvDropOptions, context: Context) -> None:
        self._options = options
        self._context = context

    async def check(self) -> Health:
        async def probe() -> None:
            await self._call("GET", "/in.csv?after=0", what="read the list")

        return await measured(probe)

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        return await push_each(records, self._push)

    async def _push(self, record: Outgoing) -> Outcome:
        if record.type is not RecordType.INDIVIDUAL:
            return Skipped(reason="TYPE_NOT_SUPPORTED")
        # The file is named after our record, so that writing it twice is writing it once: nothing need be looked for
        # when an earlier try is uncertain, and no key of theirs has to be kept.
        path = f"/out/{quote(record.guid, safe='')}.csv"
        if record.is_deleted:
            await self._call("DELETE", path, what="remove a file", missing_is_fine=True)
        else:
            await self._call("PUT", path, what="write a file", content=self._written(record))
        return Pushed(link=Link(external_id=record.guid))

    def _written(self, record: Outgoing) -> bytes:
        names = {mapping.form_field: mapping for mapping in self._context.mappings}
        text = io.StringIO()
        lines = csv.writer(text, delimiter=self._options.delimiter)
        for name, value in sorted(record.data.items()):
            mapping = names.get(name)
            lines.writerow([mapping.remote_field, transform(mapping, value)] if mapping else [name, value])
        return text.getvalue().encode()

    async def pull(self, mark: str | None) -> Page:
        # The mark is ours to choose: here, how many lines we have read. One that is none means to begin again.
        after = int(mark) if mark and mark.isdecimal() else 0
        try:
            answer = await self._call("GET", f"/in.csv?after={after}&limit={LINES}", what="read the list")
        except CallFailed as failed:
            raise failed.error("PULL_FETCH_FAILED") from None
        lines = list(csv.reader(io.StringIO(answer.body.decode("utf-8", "replace")), delimiter=self._options.delimiter))
        records = [_read(line) for line in lines]
        failures = [
            # Named by its number: what stands in it may be about a person.
            Failure(code="PULL_RECORD_FAILED", message=f"Line {after + place} cannot be read.", retryable=False)
            for place, record in enumerate(records)
            if record is None
        ]
        return Page(
            records=[record for record in records if record],
            mark=str(after + len(lines)),
            is_last=len(lines) < LINES,
            failures=failures,
        )

    async def close(self) -> None:
        """There is nothing to let go of: the client is the hub's."""

    async def _call(
        self, method: Method, path: str, *, what: str, content: bytes | None = None, missing_is_fine: bool = False
    ) -> Answer:
        """A system that speaks JSON is called with `JsonApi`, which signs in and tries again; this one is simpler."""
        headers = {"x-access-key": self._options.access_key.get_secret_value()}
        if content is not None:
            headers["content-type"] = "text/csv"
        url = self._options.base_url + path
        answer = await send(self._context.client, method, url, what=what, content=content, headers=headers)
        if answer.status >= 400 and not (missing_is_fine and answer.status == 404):
            raise refusal(answer, what)
        return answer


def _read(line: Sequence[str]) -> Incoming | None:
    if len(line) != 3 or not line[0].strip():
        return None
    id, first, last = line
    return Incoming(
        external_id=id.strip(), type=RecordType.INDIVIDUAL, data={"firstName": first.strip(), "lastName": last.strip()}
    )


KIND = AdapterKind(
    name="csv-drop",
    label="CSV drop",
    version="1.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=CsvDropOptions,
    create=CsvDrop,
    event_user="csv-drop-sync",
)
