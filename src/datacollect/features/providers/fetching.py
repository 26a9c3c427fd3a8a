"""Requests to providers. Their addresses come from configs, so they go through the guarded client."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from datacollect.features.providers.documents import FetchFailed
from datacollect.features.providers.errors import Fault
from datacollect.kernel.errors import DataCollectError
from datacollect.outgoing import GuardedClient
from datacollect.outgoing.client import Answer, Method
from datacollect.outgoing.errors import UpstreamTooSlow

TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 512 * 1024
_JSON, _TOKEN, _FORM = "application/json", "application/jwt", "application/x-www-form-urlencoded"


class GuardedFetcher:
    """Implements `Fetcher`."""

    def __init__(self, client: GuardedClient) -> None:
        self._client = client

    async def get_json(self, url: str, *, bearer: str | None = None) -> Any:
        headers = {"Accept": _JSON} | ({} if bearer is None else {"Authorization": f"Bearer {bearer}"})
        return _document(await self._answer("GET", url, headers))

    async def get_claims(self, url: str, *, bearer: str) -> Any:
        headers = {"Accept": f"{_TOKEN}, {_JSON}", "Authorization": f"Bearer {bearer}"}
        answer = await self._answer("GET", url, headers)
        if answer.headers.get("content-type", "").partition(";")[0].strip().lower() == _TOKEN:
            return answer.body.decode("latin-1").strip()
        return _document(answer)

    async def post_form(self, url: str, fields: Mapping[str, str]) -> Any:
        headers = {"Accept": _JSON, "Content-Type": _FORM}
        return _document(await self._answer("POST", url, headers, urlencode(fields).encode()))

    async def _answer(
        self, method: Method, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Answer:
        try:
            answer = await self._client.request(
                method, url, headers=headers, content=content, max_bytes=_MOST_BYTES, timeout_seconds=TIMEOUT_SECONDS
            )
        except DataCollectError as failed:
            fault = Fault.SLOW if isinstance(failed, UpstreamTooSlow) else Fault.AWAY
            raise FetchFailed(failed.code, fault=fault) from None
        if answer.status != 200:
            raise FetchFailed(f"status {answer.status}", answer.status, error=_error(answer))
        return answer


def _document(answer: Answer) -> Any:
    try:
        return answer.json()
    except DataCollectError as unreadable:
        raise FetchFailed(unreadable.code) from None


def _error(answer: Answer) -> str | None:
    try:
        told = answer.json()
    except DataCollectError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    return error if isinstance(error, str) else None
