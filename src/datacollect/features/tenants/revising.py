"""How requests that change a program say what they take it to be, and how they are answered: by its revision."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response

from datacollect.features.tenants import service
from datacollect.features.tenants.errors import InvalidRevision
from datacollect.features.tenants.model import Expected

REVISED: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "The program's revision.", "schema": {"type": "string"}}}}
}
CHANGED = "The program is not at the revision that `If-Match` names: somebody else has changed it."
TAKEN = "With `If-None-Match: *`, there is a program of this id already; or one that had it is still being purged."

_TAG = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')


def etag_of(revision: int) -> str:
    return f'"{revision}"'


def expected_of(request: Request, *, creating: bool = False) -> Expected:
    """What `If-Match` asks for; and `If-None-Match: *` of a request that may create. Raises `InvalidRevision`."""
    wanted = request.headers.get("if-match")
    if creating and request.headers.get("if-none-match", "").strip() == "*":
        return Expected(_revisions(wanted), exists=False)
    return Expected(_revisions(wanted), exists=None if wanted is None else True)


def _revisions(wanted: str | None) -> frozenset[int] | None:
    if wanted is None or wanted.strip() == "*":
        return None
    # Proxies that compress an answer make its tag a weak one, which is as good here.
    tags = [_TAG.fullmatch(tag.strip()) for tag in wanted.split(",")]
    if None in tags:
        raise InvalidRevision()
    return frozenset(int(tag[1]) for tag in tags if tag is not None)


def saved(stored: service.Stored, more: Sequence[str]) -> Response:
    members: dict[str, Any] = {"artifactId": stored.artifact_id}
    if stored.seeding is not None:
        members["seeding"] = {"total": stored.seeding.total, "done": stored.seeding.tally.done}
    return done(members, stored.revision, [*stored.warnings, *more])


def done(members: Mapping[str, Any], revision: int, warnings: Sequence[str] = ()) -> Response:
    body = {"status": "success", **members} | ({"warnings": list(warnings)} if warnings else {})
    return json_answer(body, {"ETag": etag_of(revision)})


def json_answer(document: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json", headers=headers)
