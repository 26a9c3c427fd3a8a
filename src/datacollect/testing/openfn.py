"""A workflow behind a webhook, as a fake: strict about what it takes, and counting what was done twice.

with OpenFnWorkflow() as workflow:
    ... push to workflow.url with workflow.api_key ...
    assert workflow.records.keys() == {...} and not workflow.doubled
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from datacollect.kernel.clock import Millis, parse_timestamp
from datacollect.testing.remote import Answer, RemoteSystem, Request

PATH = "/i/0b0a5f3e"

_REQUIRED = {"guid", "type", "data", "version", "idempotencyKey"}
_OPTIONAL = {"deleted", "members"}
_TYPES = {"individual", "group", "record"}
_MOST_ENTITIES = 1000

Paging = Literal["none", "cursor", "link", "next", "more"]


class OpenFnWorkflow(RemoteSystem):
    """Takes records by POST, and gives by GET what `give` was told."""

    def __init__(
        self,
        *,
        api_key: str = "openfn-key",
        callback_token: str | None = None,
        paging: Paging = "none",
        page_size: int = 100,
        is_inclusive: bool = False,
        gives: bool = True,
        heeds_batches: bool = True,
        port: int = 0,
    ) -> None:
        """`is_inclusive`: whether `since` gives items of that very moment too. With `heeds_batches` the same batch key
        gets the same answer; each record's own key is heeded always."""
        super().__init__(self._answer, port=port)
        self.api_key = api_key
        self.callback_token = callback_token
        self.paging = paging
        self.page_size = page_size
        self.is_inclusive = is_inclusive
        self.gives = gives
        self.heeds_batches = heeds_batches
        self.records: dict[str, Mapping[str, Any]] = {}
        """What it holds, by guid: the payloads taken last."""
        self.deleted: set[str] = set()
        self.doubled: list[str] = []
        """Records that were sent twice with the same content under two keys, or twice under one key with two contents."""
        self.repeated = 0
        """Records that came again under their key, as they do after a crash: harmless."""
        self.outbox: list[Any] = []
        self._by_key: dict[str, Mapping[str, Any]] = {}
        self._batches: dict[str, tuple[bytes, Answer]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def url(self) -> str:
        """Of the webhook."""
        return super().url + PATH

    @property
    def origin(self) -> str:
        return super().url

    def give(self, *items: Any) -> None:
        """Have it tell of these, in whatever order."""
        self.outbox += items

    def _answer(self, request: Request) -> Answer:
        if request.path != PATH:
            return _refused(404, "no such webhook")
        if request.headers.get("x-api-key") != self.api_key:
            return _refused(401, "who are you?")
        match request.method:
            case "POST":
                return self._take_batch(request)
            case "GET" if self.gives:
                return self._give_page(request)
        return Answer(405, None, {"Allow": "POST, GET" if self.gives else "POST"})

    # -- taking

    def _take_batch(self, request: Request) -> Answer:
        key = request.headers.get("idempotency-key", "")
        if not key:
            return _refused(400, "Idempotency-Key is missing")
        if self.heeds_batches and key in self._batches:
            body, answer = self._batches[key]
            return answer if body == request.body else _refused(422, "the key belongs to another batch")
        answer = self._take(request)
        if answer.status == 200:
            self._batches[key] = request.body, answer
        return answer

    def _take(self, request: Request) -> Answer:
        try:
            entities = _entities(request)
        except ValueError as reason:
            return _refused(422, str(reason))
        if len(entities) > _MOST_ENTITIES:
            return _refused(413, "too many")
        for entity in entities:
            self._apply(entity)
        return Answer(200, {"work_order_id": "9d1f"})

    def _apply(self, entity: Mapping[str, Any]) -> None:
        guid, key = entity["guid"], entity["idempotencyKey"]
        if key in self._by_key:
            self.repeated += 1
            if self._by_key[key] != entity:
                self.doubled.append(guid)
            return
        held = self.records.get(guid)
        if held is not None and _content(held) == _content(entity) and guid not in self.deleted:
            self.doubled.append(guid)
        self._by_key[key] = entity
        self.records[guid] = entity
        (self.deleted.add if entity.get("deleted") else self.deleted.discard)(guid)

    # -- giving

    def _give_page(self, request: Request) -> Answer:
        if self.callback_token is not None and request.headers.get("x-callback-token") != self.callback_token:
            return _refused(401, "whose callback is this?")
        unknown = request.query.keys() - {"since", "cursor"}
        if unknown:
            return _refused(400, "unknown parameters")
        wanted = [item for item in self.outbox if self._is_after(item, request.query.get("since"))]
        if self.paging == "none":
            return Answer(200, wanted)
        begin = int(request.query.get("cursor", "0"))
        page = wanted[begin : begin + self.page_size]
        return self._with_sign_of_more(request, page, begin + self.page_size, len(wanted))

    def _is_after(self, item: Any, since: str | None) -> bool:
        time = _time(item)
        if since is None or time is None:
            return True
        begin = parse_timestamp(since)
        return time >= begin if self.is_inclusive else time > begin

    def _with_sign_of_more(self, request: Request, page: Sequence[Any], following: int, total: int) -> Answer:
        told: dict[str, Any] = {"events": list(page)}
        if following >= total:
            return Answer(200, told)
        since = f"&since={request.query['since']}" if "since" in request.query else ""
        target = f"{PATH}?cursor={following}{since}"
        match self.paging:
            case "cursor":
                return Answer(200, {**told, "nextCursor": str(following)})
            case "next":
                return Answer(200, {**told, "next": target})
            case "link":
                return Answer(200, list(page), {"Link": f'<{self.origin}{target}>; rel="next"'})
        return Answer(200, {**told, "hasMore": True})


def _entities(request: Request) -> Sequence[Mapping[str, Any]]:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise ValueError("not JSON")
    body = request.json()
    if not isinstance(body, dict) or body.keys() != {"entities"}:
        raise ValueError("expected {entities}")
    entities = body["entities"]
    if not isinstance(entities, list) or not entities:
        raise ValueError("no entities")
    for entity in entities:
        _check(entity)
    if len({entity["guid"] for entity in entities}) != len(entities):
        raise ValueError("an entity twice in one batch")
    return entities


def _check(entity: Any) -> None:
    if not isinstance(entity, dict) or not _REQUIRED <= entity.keys() <= _REQUIRED | _OPTIONAL:
        raise ValueError("not an entity")
    if not (isinstance(entity["guid"], str) and entity["guid"] and entity["type"] in _TYPES):
        raise ValueError("guid or type")
    if not (isinstance(entity["version"], int) and isinstance(entity["idempotencyKey"], str)):
        raise ValueError("version or key")
    data = entity["data"]
    if not isinstance(data, dict) or any(name.startswith("_") for name in data):
        raise ValueError("data")


def _content(entity: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: entity.get(name) for name in ("type", "data", "version", "deleted", "members")}


def _time(item: Any) -> Millis | None:
    try:
        return parse_timestamp(item["timestamp"])
    except (KeyError, TypeError, ValueError):
        return None


def _refused(status: int, why: str) -> Answer:
    return Answer(status, {"error": why})
