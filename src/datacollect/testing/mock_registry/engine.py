"""The registry's protocol: one request in, one answer out."""

import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from datacollect.testing.mock_registry import page
from datacollect.testing.mock_registry.store import (
    Filter,
    Identifier,
    Kind,
    Resource,
    Store,
    Taken,
    instant,
    read_instant,
)
from datacollect.testing.remote import Answer, Request

SCHEME = "urn:mock:vocab:id-type"
SYSTEM_ID = "system_id"
TOKEN_SECONDS = 3600
MOST_AT_ONCE = 1000


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str, fields: Sequence[str] = ()) -> None:
        self.answer = Answer(
            status,
            {"error": {"code": code, "message": message}}
            | ({"errors": [{"field": field, "code": "invalid"} for field in fields]} if fields else {}),
        )
        super().__init__(message)


class MockRegistry:
    """Answers requests from several threads, one after the other."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        client_id: str = "mock-client",
        client_secret: str = "mock-secret",
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        token_seconds: int = TOKEN_SECONDS,
        new_uuid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """In memory, or in the file `path`. `now_us` is the time in microseconds."""
        self._store = Store(path)
        self._client = (client_id, client_secret)
        self._now_us = now_us
        self._new_uuid = new_uuid
        self._token_seconds = token_seconds
        self._key = OctKey.import_key(self._store.setting("token-key", secrets.token_urlsafe(48)))
        self._lock = threading.Lock()

    def close(self) -> None:
        self._store.close()

    def end_tokens(self) -> None:
        """From now on no token that was given is accepted."""
        self._key = OctKey.import_key(secrets.token_urlsafe(48))

    def handle(self, request: Request) -> Answer:
        with self._lock:
            try:
                with self._store.transaction():
                    return self._answer(request)
            except Refused as refused:
                return refused.answer
            except Taken:
                return Refused(409, "IDENTIFIER_TAKEN", "Another record has one of the identifiers").answer

    def _answer(self, request: Request) -> Answer:
        match request.method, *request.segments:
            case ["GET", ""]:
                return page.overview(self._store)
            case ["GET", "health"]:
                return Answer(200, {"status": "ok"})
            case ["POST", "oauth", "token"]:
                return self._token(request)
            case [_, "v1", "persons" | "groups" as kind, *rest]:
                self._require_token(request)
                return self._resources(request, kind, rest)
        raise Refused(404, "NOT_FOUND", "There is no such address")

    def _token(self, request: Request) -> Answer:
        asked = _form(request) if "form" in request.headers.get("content-type", "") else _object(request)
        given = (asked.get("client_id"), asked.get("client_secret"))
        if asked.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "Only client_credentials are known")
        if not all(isinstance(one, str) for one in given) or not _same(given, self._client):
            raise Refused(401, "invalid_client", "The client is not known, or its secret is wrong")
        expiry = self._now_us() // 1_000_000 + self._token_seconds
        token = jwt.encode(
            {"alg": "HS256"}, {"sub": self._client[0], "exp": expiry, "jti": secrets.token_hex(8)}, self._key
        )
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": self._token_seconds}
        return Answer(200, granted | {"scope": "registry"}, {"Cache-Control": "no-store"})

    def _require_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"]).claims
        except (JoseError, ValueError):
            claims = {}
        if scheme.lower() != "bearer" or int(claims.get("exp", 0)) <= self._now_us() // 1_000_000:
            raise Refused(401, "UNAUTHORIZED", "The token is missing, or not valid any more")

    def _resources(self, request: Request, kind: Kind, rest: Sequence[str]) -> Answer:
        match request.method, *rest:
            case ["GET"]:
                return self._list(request, kind)
            case ["POST"]:
                return self._once(request, lambda: self._create(kind, _object(request)))
            case ["GET", uuid]:
                return Answer(200, self._shown(self._get(kind, uuid)))
            case ["PATCH", uuid]:
                return self._patch(request, self._get(kind, uuid))
            case ["DELETE", uuid]:
                self._store.remove(self._get(kind, uuid), self._now_us())
                return Answer(204)
            case ["POST", uuid, "identifiers"]:
                return self._identify(self._get(kind, uuid), _object(request))
            case ["POST", uuid, "identity-documents"]:
                return self._document(self._get(kind, uuid), _object(request))
            case ["POST", uuid, "members"] if kind == "groups":
                return self._join(self._get(kind, uuid), _object(request))
            case ["DELETE", uuid, "members", person] if kind == "groups":
                if not self._store.leave(self._get(kind, uuid), person, self._now_us()):
                    raise Refused(404, "NOT_FOUND", "The person is no member of the group")
                return Answer(204)
        raise Refused(404, "NOT_FOUND", "There is no such address")

    def _get(self, kind: Kind, uuid: str) -> Resource:
        found = self._store.find(kind, uuid)
        if found is None:
            raise Refused(404, "NOT_FOUND", "There is no such record")
        return found

    def _list(self, request: Request, kind: Kind) -> Answer:
        query = request.query
        limit, offset = _number(query, "limit", 100, MOST_AT_ONCE), _number(query, "offset", 0, 10**9)
        asked = Filter(
            updated_since_us=_since(query),
            identifier_type=query.get("identifier_type"),
            identifier_scheme=query.get("identifier_scheme_id"),
            identifier_value=query.get("identifier_value"),
            with_deleted=query.get("include_deleted") == "true",
        )
        found, total = self._store.page(kind, asked, limit=limit, offset=offset)
        following = offset + len(found)
        shown = {"items": [self._shown(one) for one in found], "total": total, "limit": limit, "offset": offset}
        return Answer(200, shown | {"next_offset": following if found and following < total else None})

    def _once(self, request: Request, act: Callable[[], Answer]) -> Answer:
        """Do it, unless it was done under the same `Idempotency-Key`: then answer as then."""
        key = request.headers.get("idempotency-key")
        if not key:
            return act()
        digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.body).hexdigest()
        if known := self._store.answered(key):
            if known[0] != digest:
                raise Refused(422, "IDEMPOTENCY_KEY_REUSED", "That key was used for another request")
            return Answer(known[1], known[2], {"Idempotency-Replayed": "true"})
        answer = act()
        self._store.remember(key, digest, answer.status, answer.document)
        return answer

    def _create(self, kind: Kind, sent: Mapping[str, Any]) -> Answer:
        own = _checked(kind, sent)
        if kind == "groups" and not isinstance(own.get("name"), str):
            raise Refused(422, "INVALID", "A group needs a name", ["name"])
        uuid, now_us = self._new_uuid(), self._now_us()
        issued = Identifier(type=SYSTEM_ID, value=uuid, scheme=SCHEME, scheme_name="Mock ID Type")
        self._store.add(kind, uuid, own, [issued, *_identifiers(sent.get("identifiers", []))], now_us)
        return Answer(201, self._shown(self._get(kind, uuid)))

    def _patch(self, request: Request, resource: Resource) -> Answer:
        sent = _object(request)
        expected = request.headers.get("if-match", "").strip('"')
        if expected and expected not in ("*", resource.updated_at):
            raise Refused(412, "PRECONDITION_FAILED", "The record has changed since")
        if "identifiers" in sent:
            raise Refused(422, "INVALID", "Identifiers have an address of their own", ["identifiers"])
        self._store.change(resource, {**resource.own, **_checked(resource.kind, sent)}, self._now_us())
        return Answer(200, self._shown(self._get(resource.kind, resource.uuid)))

    def _identify(self, resource: Resource, sent: Mapping[str, Any]) -> Answer:
        for one in _identifiers([sent]):
            self._store.identify(resource.kind, resource.uuid, one)
        self._store.touch(resource, self._now_us())
        return Answer(201, self._shown(self._get(resource.kind, resource.uuid)))

    def _document(self, resource: Resource, sent: Mapping[str, Any]) -> Answer:
        if resource.kind != "persons" or not isinstance(sent.get("document_type"), str):
            raise Refused(422, "INVALID", "A person's document needs a type", ["document_type"])
        documents = [*resource.own.get("identity_documents", []), sent]
        self._store.change(resource, {**resource.own, "identity_documents": documents}, self._now_us())
        return Answer(201, self._shown(self._get(resource.kind, resource.uuid)))

    def _join(self, group: Resource, sent: Mapping[str, Any]) -> Answer:
        person, role = sent.get("person_uuid"), sent.get("role")
        if not isinstance(person, str) or not (role is None or isinstance(role, str)):
            raise Refused(422, "INVALID", "A member is named by its uuid", ["person_uuid"])
        self._get("persons", person)
        is_new = self._store.join(group, person, role, self._now_us())
        joined = next(one for one in self._store.members("groups", group.uuid) if one["person_uuid"] == person)
        return Answer(201 if is_new else 200, joined | {"updated_at": self._get("groups", group.uuid).updated_at})

    def _shown(self, resource: Resource) -> dict[str, Any]:
        shown = {"uuid": resource.uuid, **resource.own}
        shown["created_at"], shown["updated_at"] = instant(resource.created_us), resource.updated_at
        if resource.deleted_us is not None:
            return shown | {"deleted_at": instant(resource.deleted_us), "identifiers": [], "memberships": []}
        shown["identifiers"] = [
            {
                "identifier_type": one.type,
                "identifier_value": one.value,
                "identifier_scheme_id": one.scheme,
                "identifier_scheme_name": one.scheme_name,
            }
            for one in self._store.identifiers(resource.kind, resource.uuid)
        ]
        return shown | {"memberships": self._store.members(resource.kind, resource.uuid)}

    def persons(self) -> list[dict[str, Any]]:
        """All of them, as the API shows them."""
        return self._all("persons")

    def groups(self) -> list[dict[str, Any]]:
        return self._all("groups")

    def _all(self, kind: Kind) -> list[dict[str, Any]]:
        with self._lock:
            found, _ = self._store.page(kind, Filter(), limit=10**9, offset=0)
            return [self._shown(one) for one in found]

    def add_person(self, **own: Any) -> dict[str, Any]:
        """As if another client had created it."""
        return self._added("persons", own)

    def add_group(self, name: str, *, members: Sequence[str] = (), **own: Any) -> dict[str, Any]:
        group = self._added("groups", {"name": name, **own})
        for person in members:
            group = self.join(group["uuid"], person)
        return group

    def join(self, group: str, person: str, *, role: str | None = None) -> dict[str, Any]:
        with self._lock, self._store.transaction():
            self._join(self._get("groups", group), {"person_uuid": person, "role": role})
            return self._shown(self._get("groups", group))

    def _added(self, kind: Kind, own: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock, self._store.transaction():
            created: dict[str, Any] = self._create(kind, own).document
            return created

    def change(self, kind: Kind, uuid: str, **own: Any) -> dict[str, Any]:
        """As if another client had changed it."""
        with self._lock, self._store.transaction():
            resource = self._get(kind, uuid)
            self._store.change(resource, {**resource.own, **_checked(kind, own)}, self._now_us())
            return self._shown(self._get(kind, uuid))

    def remove(self, kind: Kind, uuid: str) -> None:
        with self._lock, self._store.transaction():
            self._store.remove(self._get(kind, uuid), self._now_us())


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("utf-8", "replace")))


def _object(request: Request) -> dict[str, Any]:
    try:
        sent = request.json()
    except (msgspec.DecodeError, ValueError):
        sent = None
    if not isinstance(sent, dict):
        raise Refused(400, "INVALID_JSON", "The body is no JSON object")
    return sent


def _same(given: Sequence[Any], expected: Sequence[str]) -> bool:
    return secrets.compare_digest("\n".join(given).encode(), "\n".join(expected).encode())


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) > most or (name == "limit" and int(text) < 1):
        raise Refused(422, "INVALID", f"{name} is not a number from 0 to {most}", [name])
    return int(text)


def _since(query: Mapping[str, str]) -> int | None:
    if not query.get("updated_since"):
        return None
    try:
        return read_instant(query["updated_since"])
    except ValueError:
        raise Refused(422, "INVALID", "updated_since is no time", ["updated_since"]) from None


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 1000)


def _is_day(value: Any) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_object(value: Any) -> bool:
    return value is None or isinstance(value, dict)


_MEMBERS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "persons": {
        "given_name": _is_text,
        "family_name": _is_text,
        "date_of_birth": _is_day,
        "gender": _is_text,
        "attributes": _is_object,
    },
    "groups": {"name": _is_text, "group_type": _is_text, "attributes": _is_object},
}


def _checked(kind: Kind, sent: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in sent.items() if name != "identifiers"}
    known = _MEMBERS[kind]
    wrong = [name for name, value in own.items() if name not in known or not known[name](value)]
    if wrong:
        raise Refused(422, "INVALID", "Members are not known, or not of the right form", wrong)
    return own


def _identifiers(sent: Any) -> list[Identifier]:
    if not isinstance(sent, list):
        raise Refused(422, "INVALID", "identifiers are an array", ["identifiers"])
    read = []
    for place, one in enumerate(sent):
        names = ("identifier_type", "identifier_value", "identifier_scheme_id")
        values: list[Any] = [one.get(name) for name in names] if isinstance(one, dict) else []
        if not values or not all(isinstance(value, str) and value for value in values):
            raise Refused(422, "INVALID", "An identifier has a type, a value and a scheme", [f"identifiers.{place}"])
        type_, value, scheme = values
        read.append(Identifier(type=type_, value=value, scheme=scheme, scheme_name=one.get("identifier_scheme_name")))
    return read
