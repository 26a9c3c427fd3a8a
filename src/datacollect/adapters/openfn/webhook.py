"""The calls to a workflow's webhook: one to hand over, one to ask. All raise `CallFailed`."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from datacollect.adapters.calling import CallFailed, JsonApi, Reply, Retrying
from datacollect.adapters.leniently import read_leniently
from datacollect.adapters.openfn.marks import Mark
from datacollect.adapters.openfn.options import OpenFnOptions
from datacollect.adapters.port import Outgoing
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.outgoing import GuardedClient

MOST_BYTES = 20_000_000
"""An answer to `ask` may be all that ever happened there."""

GIVES_NOTHING = 405
"""What a webhook says to GET that takes records only."""


class Webhook:
    def __init__(self, client: GuardedClient, options: OpenFnOptions, retrying: Retrying) -> None:
        self._url = options.url
        self._token = options.callback_token
        key = {"X-Api-Key": options.api_key.get_secret_value()}
        self._api = JsonApi(client, "", headers=key, max_bytes=MOST_BYTES, retrying=retrying)

    async def hand_over(self, records: Sequence[Outgoing]) -> None:
        """Doing it twice is doing it once, if the workflow heeds the keys; and if it does not, a late answer leaves no
        other way than to do it twice."""
        try:
            await self._api.call(
                "POST",
                self._url,
                what="hand over records",
                headers={"Idempotency-Key": batch_key(records)},
                json={"entities": [_payload(record) for record in records]},
                repeatable=True,
            )
        except CallFailed as failed:
            if not 200 <= (failed.status or 0) < 300:  # what a webhook answers need not be JSON
                raise

    async def ask(
        self, mark: Mark, *, accept: Collection[int] = (), what: str = "ask for changes", timeout_seconds: float = 30
    ) -> Reply:
        url = mark.url or _with(self._url, _query(mark))
        token = {} if self._token is None else {"X-Callback-Token": self._token.get_secret_value()}
        return await self._api.call(
            "GET",
            url,
            what=what,
            headers=token,
            accept=(GIVES_NOTHING, *accept),
            timeout_seconds=timeout_seconds,
            read=read_leniently,
        )


def batch_key(records: Sequence[Outgoing]) -> str:
    """The same for the same content of the same records. After a crash they may stand in other batches than before: what
    tells them then is each record's own key."""
    return hashlib.sha256("\n".join(record.key for record in records).encode()).hexdigest()


def _payload(record: Outgoing) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "guid": record.guid,
        "type": record.type.value,
        "data": record.data,
        "version": record.version,
        "idempotencyKey": record.key,
    }
    if record.is_deleted:
        payload["deleted"] = True
    if record.members is not None:
        payload["members"] = [{"guid": member.guid} for member in record.members]
    return payload


def _query(mark: Mark) -> Mapping[str, str]:
    since = {} if mark.since is None else {"since": format_timestamp(Millis(mark.since))}
    return {**since, **({} if mark.cursor is None else {"cursor": mark.cursor})}


def _with(url: str, query: Mapping[str, str]) -> str:
    """The address with `query` added to what it has; a `since` of its own gives way."""
    parts = urlsplit(url)
    own = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    return urlunsplit(parts._replace(query=urlencode([*own, *query.items()]), fragment=""))
