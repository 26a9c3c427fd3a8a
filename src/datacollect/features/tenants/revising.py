"""How requests that change a program say what they take it to be, and how they are answered: by its revision.

Older tags name the number alone: that is enough for a change, and no program that is known is held to be the same by it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response

from datacollect.features.tenants import service
from datacollect.features.tenants.errors import InvalidRevision
from datacollect.features.tenants.model import Expected, Revision, sees_seeds
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope

REVISED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {
                "description": "The program's revision, and which program of that id it is.",
                "schema": {"type": "string"},
            }
        }
    }
}
CHANGED = "The program is not at the revision that `If-Match` names: somebody else has changed it."
TAKEN = "With `If-None-Match: *`, there is a program of this id already; or one that had it is still being purged."

_TAG = re.compile(
    r'(?:W/)?"?(?:([0-9]{1,9})(?:\.([0-9a-f]{1,15}))?(?:-masked)?|[0-9]{1,9}(?:\.[0-9a-f]{1,15})?-part)"?'
)


def etag_of(revision: Revision, suffix: str = "") -> str:
    return f'"{revision.number}.{revision.made_at:x}{suffix}"'


def etag_for(scope: TenantScope, revision: Revision) -> str:
    """Of the program as the reader sees it, which is another text for each of three kinds of them."""
    if scope.actor.is_admin:
        return etag_of(revision)
    return etag_of(revision, "-masked" if sees_seeds(scope) else "-part")


def expected_of(request: Request, *, creating: bool = False) -> Expected:
    """What `If-Match` asks for; and `If-None-Match: *` of a request that may create. Raises `InvalidRevision`."""
    wanted = request.headers.get("if-match")
    if creating and request.headers.get("if-none-match", "").strip() == "*":
        return Expected(_revisions(wanted), exists=False)
    return Expected(_revisions(wanted), exists=None if wanted is None else True)


def _revisions(wanted: str | None) -> frozenset[tuple[int, Millis | None]] | None:
    if wanted is None or wanted.strip() == "*":
        return None
    # Proxies that compress an answer make its tag a weak one, which is as good here.
    tags = [_TAG.fullmatch(tag.strip()) for tag in wanted.split(",")]
    if None in tags:
        raise InvalidRevision()
    # Who has seen a part of it knows no revision that they could replace.
    return frozenset(
        (int(tag[1]), None if tag[2] is None else Millis(int(tag[2], 16))) for tag in tags if tag is not None and tag[1]
    )


def saved(stored: service.Stored, more: Sequence[str]) -> Response:
    members: dict[str, Any] = {"artifactId": stored.artifact_id}
    if stored.seeding is not None:
        members["seeding"] = {"total": stored.seeding.total, "done": stored.seeding.tally.done}
    return done(members, stored.revision, [*stored.warnings, *more])


def done(members: Mapping[str, Any], revision: Revision, warnings: Sequence[str] = ()) -> Response:
    body = {"status": "success", **members} | ({"warnings": list(warnings)} if warnings else {})
    return json_answer(body, {"ETag": etag_of(revision)})


def json_answer(document: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json", headers=headers)
