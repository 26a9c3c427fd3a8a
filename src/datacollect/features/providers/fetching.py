"""Requests to providers. Their addresses come from configs, so they go through the guarded client."""

from typing import Any

from datacollect.features.providers.documents import FetchFailed
from datacollect.features.providers.errors import Fault
from datacollect.kernel.errors import DataCollectError
from datacollect.outgoing import GuardedClient
from datacollect.outgoing.errors import UpstreamTooSlow

TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 512 * 1024


class GuardedFetcher:
    """Implements `Fetcher`."""

    def __init__(self, client: GuardedClient) -> None:
        self._client = client

    async def get_json(self, url: str, *, bearer: str | None = None) -> Any:
        headers = {"Accept": "application/json"}
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            answer = await self._client.request(
                "GET", url, headers=headers, max_bytes=_MOST_BYTES, timeout_seconds=TIMEOUT_SECONDS
            )
            if answer.status != 200:
                raise FetchFailed(f"status {answer.status}", answer.status)
            return answer.json()
        except DataCollectError as failed:
            fault = Fault.SLOW if isinstance(failed, UpstreamTooSlow) else Fault.AWAY
            raise FetchFailed(failed.code, fault=fault) from None
