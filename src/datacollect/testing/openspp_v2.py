"""A registry that speaks OpenSPP V2's REST API on a real socket, and takes nothing that is not exactly right.

    with OpenSppV2Registry() as registry:
        registry.add_person(given="Maria", national_id="PH-1")
        ... call registry.url ...
        registry.apply(reference)

What people in a registry do (editing, approving, rejecting) are its methods; faults are those of `RemoteSystem`.
"""

import itertools
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

from datacollect.testing.openspp_v2_forms import (
    CREATABLE,
    ID_TYPES,
    NAMESPACE,
    PATCHABLE,
    ROLES_SYSTEM,
    Problem,
    body_of,
    check_fields,
    check_headers,
    check_identifiers,
    identifier_of,
    number_in,
    page_of,
    query_of,
    reference_in,
    role_in,
)
from datacollect.testing.remote import Answer, Faults, RemoteSystem, Request

BASE = ("api", "v2", "spp")
SIGN_INS_A_MINUTE = 5

_CODES = {
    "add_individual": "Individual",
    "edit_individual": "Individual",
    "archive_individual": "Individual",
    "add_group": "Group",
    "edit_group": "Group",
    "archive_group": "Group",
}
_ASSIGN = "assign_program"
_UNKNOWN_TO_REGISTRY = "datacollect:guid"
_WRONG_FORM = (400, 405, 406, 415, 422, 428)
_LAST_UPDATED = re.compile(r"(ge|gt|le|lt|eq|ne)?(\d{4}-\d{2}-\d{2})", re.ASCII)


@dataclass
class Registrant:
    """`fields` are those of the resource, as last written."""

    number: int
    kind: str
    identifiers: list[dict[str, str]]
    fields: dict[str, Any]
    updated_at: datetime
    version: int = 1
    members: dict[int, str | None] = field(default_factory=dict)
    """Of a group: numbers of individuals, and their roles."""
    programs: set[int] = field(default_factory=set)

    @property
    def order(self) -> tuple[str, int]:
        name = self.fields.get("name", "")
        return (name.get("text", "") if isinstance(name, dict) else name or ""), self.number


@dataclass
class ChangeRequest:
    reference: str
    body: dict[str, Any]
    status: str = "draft"
    registrant: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    """Dates and reasons, once there are some."""


class OpenSppV2Registry:
    def __init__(
        self,
        *,
        client_id: str = "dc",
        client_secret: str = "s3cret",
        stale_status: int = 412,
        keeps_identifiers: bool = True,
        has_unique_identifiers: bool = True,
        token_seconds: int = 3600,
        now: Callable[[], datetime] | None = None,
        port: int = 0,
    ) -> None:
        """`stale_status` answers an `If-Match` of an older version: 412, or 409 in some releases. Without
        `keeps_identifiers`, requests to add somebody make registrants with an identifier of the registry's own."""
        self._client = client_id, client_secret
        self.stale_status = stale_status
        self.keeps_identifiers = keeps_identifiers
        self.has_unique_identifiers = has_unique_identifiers
        self.token_seconds = token_seconds
        self.now = now or (lambda: datetime.now(UTC))
        self._tokens: dict[str, datetime] = {}
        self._signed_in_at: deque[datetime] = deque(maxlen=SIGN_INS_A_MINUTE)
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._registrants: dict[int, Registrant] = {}
        self._by_identifier: dict[tuple[str, str], list[Registrant]] = {}
        self.requests: dict[str, ChangeRequest] = {}
        self.programs: list[dict[str, Any]] = []
        self.studio_fields: list[dict[str, Any]] = []
        self.scope = "individual:read individual:create individual:update group:read group:create group:update"
        self.groups_know_last_updated = True
        """Some releases tell all groups, whatever day is asked for."""
        self.refused: list[str] = []
        """Requests of a form that a real registry might let pass: a test that has not asked for them has found a bug."""
        self.system = RemoteSystem(self._handle, port=port)

    # --- what tests do

    def __enter__(self) -> Self:
        self.system.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        self.system.__exit__(kind, *raised)

    @property
    def url(self) -> str:
        return self.system.url

    @property
    def faults(self) -> Faults:
        return self.system.faults

    def asked(self, method: str, *path: str) -> int:
        """How often a path, or one that goes on from it, was asked for with this method."""
        wanted = (*BASE, *path)
        return sum(one.method == method and one.segments[: len(wanted)] == wanted for one in self.system.log)

    @property
    def registrants(self) -> list[Registrant]:
        return list(self._registrants.values())

    @property
    def people(self) -> list[Registrant]:
        return [one for one in self.registrants if one.kind == "Individual"]

    @property
    def groups(self) -> list[Registrant]:
        return [one for one in self.registrants if one.kind == "Group"]

    def add_person(self, *, identifiers: Mapping[str, str] | None = None, **fields: Any) -> Registrant:
        """As somebody in the registry does. `given` and `family` make the name."""
        name = {part: fields.pop(part) for part in ("given", "family") if part in fields}
        full = ", ".join(name[part] for part in ("family", "given") if part in name)
        if name:
            fields["name"] = {**name, "text": full}
        return self._add("Individual", identifiers, fields)

    def add_group(self, *, identifiers: Mapping[str, str] | None = None, **fields: Any) -> Registrant:
        return self._add("Group", identifiers, {"groupType": "household", **fields})

    def edit(self, registrant: Registrant, **fields: Any) -> None:
        with self._lock:
            registrant.fields |= fields
            self._touch(registrant)

    def join(self, group: Registrant, person: Registrant, role: str | None = None) -> None:
        with self._lock:
            group.members[person.number] = role
            self._touch(group)

    def remove(self, registrant: Registrant) -> None:
        with self._lock:
            self.identify(registrant, [])
            del self._registrants[registrant.number]

    def identify(self, registrant: Registrant, identifiers: Sequence[Mapping[str, str]]) -> None:
        """Give it these identifiers instead, each a `system` and a `value`."""
        with self._lock:
            for one in registrant.identifiers:
                self._by_identifier[one["system"], one["value"]].remove(registrant)
            registrant.identifiers = [dict(one) for one in identifiers]
            for one in registrant.identifiers:
                self._by_identifier.setdefault((one["system"], one["value"]), []).append(registrant)

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def add_studio_field(self, technical_name: str, target: str = "individual", **more: Any) -> None:
        label = technical_name.removeprefix("x_").replace("_", " ").title()
        told = {
            "technicalName": technical_name,
            "label": label,
            "fieldType": "text",
            "targetType": target,
            "apiExposed": True,
        }
        self.studio_fields.append(told | more)

    def add_program(self, id: int, name: str, **more: Any) -> None:
        self.programs.append({"id": id, "name": name, "state": "active", "targetType": "individual"} | more)

    def reject(self, reference: str, reason: str = "No.") -> None:
        self._move(reference, "pending", "rejected", rejectedDate=self._time(), rejectionReason=reason)

    def revise(self, reference: str, notes: str = "More.") -> None:
        self._move(reference, "pending", "revision", revisionNotes=notes)

    def reset(self, reference: str) -> None:
        """Back to a draft, as an operator does with what was sent back."""
        self.requests[reference].status = "draft"

    def approve(self, reference: str) -> None:
        self._move(reference, "pending", "approved", approvedDate=self._time())

    def apply(self, reference: str) -> None:
        if self.requests[reference].status == "pending":
            self.approve(reference)
        with self._lock:
            self._carry_out(self.requests[reference])
            self._move(reference, "approved", "applied", appliedDate=self._time())

    # --- how it answers

    def _handle(self, request: Request) -> Answer:
        with self._lock:
            try:
                return self._answer(request)
            except Problem as problem:
                if problem.status in _WRONG_FORM:
                    told = f"{request.method} {request.path}: {problem.status} {problem.detail} {problem.fields}"
                    self.refused.append(told)
                return problem.answer()

    def _answer(self, request: Request) -> Answer:
        if request.segments[: len(BASE)] != BASE:
            raise Problem(404, "Not found")
        path = request.segments[len(BASE) :]
        check_headers(request)
        if path == ("oauth", "token"):
            return self._sign_in(request)
        self._check_token(request)
        match request.method, *path:
            case "GET", ("Individual" | "Group") as kind:
                return self._search(kind, request)
            case "POST", ("Individual" | "Group") as kind:
                return self._create(kind, request)
            case "GET", ("Individual" | "Group") as kind, identifier:
                return self._read(kind, identifier, request)
            case "PATCH", ("Individual" | "Group") as kind, identifier:
                return self._patch(kind, identifier, request)
            case "POST", "Group", identifier, ("$add-member" | "$remove-member") as action:
                return self._change_members(identifier, action, request)
            case "PATCH", "Group", identifier, "member", member:
                return self._change_role(identifier, member, request)
        return self._answer_about_others(path, request)

    def _answer_about_others(self, path: Sequence[str], request: Request) -> Answer:
        match request.method, *path:
            case "GET", "Studio", "fields":
                return self._list_studio_fields(request)
            case "GET", "Program":
                return self._list_programs(request)
            case "GET", "ChangeRequest":
                return self._search_requests(request)
            case "POST", "ChangeRequest":
                return self._make_request(request)
            case method, "ChangeRequest", reference, *action:
                return self._one_request(method, reference, action, request)
        raise Problem(405, "Method not allowed")

    def _sign_in(self, request: Request) -> Answer:
        now = self.now()
        if len(self._signed_in_at) == SIGN_INS_A_MINUTE and now - self._signed_in_at[0] < timedelta(minutes=1):
            return Answer(429, {"detail": "Rate limit exceeded"}, {"Retry-After": "60"})
        self._signed_in_at.append(now)
        body = body_of(
            request, {"grant_type", "client_id", "client_secret"}, {"grant_type", "client_id", "client_secret"}
        )
        if request.method != "POST" or body["grant_type"] != "client_credentials":
            raise Problem(400, "Unsupported grant_type")
        if (body["client_id"], body["client_secret"]) != self._client:
            raise Problem(401, "Invalid client credentials")
        token = f"token-{len(self._tokens)}-{now.timestamp()}"
        self._tokens[token] = now + timedelta(seconds=self.token_seconds)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds, "scope": self.scope}
        return Answer(200, told)

    def _check_token(self, request: Request) -> None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or self._tokens.get(token, datetime.min.replace(tzinfo=UTC)) <= self.now():
            raise Problem(401, "Invalid token")

    # --- individuals and groups

    def _search(self, kind: str, request: Request) -> Answer:
        query = query_of(request, {"_count", "_offset", "_lastUpdated", "_extensions"})
        count, offset = number_in(query, "_count", 20, 1, 100), number_in(query, "_offset", 0, 0, 100_000)
        found = sorted((one for one in self._registrants.values() if one.kind == kind), key=lambda one: one.order)
        if "_lastUpdated" in query:
            found = self._since(kind, query["_lastUpdated"], found)
        page = found[offset : offset + count]
        following = offset + count if offset + count < len(found) else None
        told = page_of(request, [self._told(one, query) for one in page], len(found), offset, following)
        return Answer(200, told, {"Date": format_datetime(self.now(), usegmt=True)})

    def _since(self, kind: str, asked: str, found: Sequence[Registrant]) -> list[Registrant]:
        match = _LAST_UPDATED.fullmatch(asked)
        if not match or match[1] != "ge":
            raise Problem(400, "Invalid date for _lastUpdated")
        if kind == "Group" and not self.groups_know_last_updated:
            return list(found)
        return [one for one in found if one.updated_at.date() >= date.fromisoformat(match[2])]

    def _create(self, kind: str, request: Request) -> Answer:
        body = body_of(request, CREATABLE[kind], {"type", "identifier"})
        made = self._made(kind, body)
        return Answer(201, self._told(made, {}), {"Location": f"/api/v2/spp/{kind}/{self._primary(made)}"})

    def _made(self, kind: str, body: Mapping[str, Any]) -> Registrant:
        identifiers = body["identifier"]
        check_identifiers(identifiers)
        check_fields(kind, body, self.studio_fields)
        held = [one for one in identifiers if self._find_any(one["system"], one["value"])]
        if held and self.has_unique_identifiers:
            raise Problem(409, "Identifier in use")
        fields = {name: value for name, value in body.items() if name not in ("type", "identifier")}
        return self._keep(kind, identifiers, fields)

    def _keep(self, kind: str, identifiers: Sequence[Mapping[str, str]], fields: dict[str, Any]) -> Registrant:
        made = Registrant(next(self._numbers), kind, [], fields, self.now())
        self._registrants[made.number] = made
        self.identify(made, identifiers)
        return made

    def _read(self, kind: str, identifier: str, request: Request) -> Answer:
        query = query_of(request, {"_extensions"})
        found = self._find(kind, identifier)
        return Answer(200, self._told(found, query), {"ETag": f'"{found.version}"'})

    def _patch(self, kind: str, identifier: str, request: Request) -> Answer:
        body = body_of(request, PATCHABLE[kind])
        found = self._find(kind, identifier)
        match = request.headers.get("if-match", "")
        if not re.fullmatch(r'"[^"]+"', match):
            raise Problem(428 if not match else 400, "If-Match must be a quoted version")
        if match.strip('"') != str(found.version):
            raise Problem(self.stale_status, "Version conflict")
        if not body:
            raise Problem(422, "Nothing to change")
        check_fields(kind, body, self.studio_fields)
        self._merge(found, body)
        return Answer(200, self._told(found, {}))

    def _merge(self, found: Registrant, patch: Mapping[str, Any]) -> None:
        for name, value in patch.items():
            if value is None:
                found.fields.pop(name, None)
            elif name == "extension":
                for url, values in value.items():
                    merged = found.fields.setdefault("extension", {}).get(url, {}) | values
                    found.fields["extension"] = {**found.fields["extension"], url: merged}
            else:
                found.fields[name] = value
        self._touch(found)

    def _told(self, one: Registrant, query: Mapping[str, str]) -> dict[str, Any]:
        fields = {name: value for name, value in one.fields.items() if name != "extension" or "_extensions" in query}
        told = {
            "type": one.kind,
            "identifier": one.identifiers,
            "active": True,
            **fields,
            "meta": {
                "versionId": str(one.version),
                "lastUpdated": one.updated_at.replace(tzinfo=None).isoformat(),
                "source": "urn:openspp:api-client:dc",
            },
        }
        if one.kind == "Group" and one.members:
            told["member"] = [self._member(number, role) for number, role in one.members.items()]
        return told

    def _member(self, number: int, role: str | None) -> dict[str, Any]:
        person = self._registrants[number]
        coded = {"role": {"coding": [{"system": ROLES_SYSTEM, "code": role}]}} if role else {}
        return {"entity": {"reference": f"Individual/{self._primary(person)}"}, "inactive": False, **coded}

    # --- memberships

    def _change_members(self, identifier: str, action: str, request: Request) -> Answer:
        allowed = {"entity", "role", "startDate"} if action == "$add-member" else {"entity", "reason", "endedDate"}
        body = body_of(request, allowed, {"entity"})
        group = self._find("Group", identifier)
        person = self._find("Individual", reference_in(body["entity"]))
        if action == "$remove-member":
            if group.members.pop(person.number, "none") == "none":
                raise Problem(404, "Individual is not a member of this group")
        elif person.number in group.members:
            raise Problem(409, "Individual is already a member of this group")
        else:
            group.members[person.number] = role_in(body.get("role"))
        return Answer(200, {"type": "GroupMember", "status": "active"})

    def _change_role(self, identifier: str, member: str, request: Request) -> Answer:
        body = body_of(request, {"role", "startDate", "endedDate"}, {"role"})
        group, person = self._find("Group", identifier), self._find("Individual", member)
        if person.number not in group.members:
            raise Problem(404, "Individual is not a member of this group")
        group.members[person.number] = role_in(body["role"])
        return Answer(200, {"type": "GroupMember", "status": "active"})

    # --- Studio fields and programmes

    def _list_studio_fields(self, request: Request) -> Answer:
        query = query_of(request, {"api_exposed_only", "_count", "target_type", "_lastId"})
        count, last = number_in(query, "_count", 100, 1, 500), number_in(query, "_lastId", 0, 0, 10**9)
        found = [
            (number, one)
            for number, one in enumerate(self.studio_fields, start=1)
            if number > last and query.get("target_type") in (None, one["targetType"])
        ]
        page = found[:count]
        told = {"total": len(found), "items": [one for _, one in page], "nextPageId": page[-1][0] if page else None}
        return Answer(200, told)

    def _list_programs(self, request: Request) -> Answer:
        query = query_of(request, {"_count", "status", "targetType", "name", "_lastId"})
        count, last = number_in(query, "_count", 20, 1, 100), number_in(query, "_lastId", 0, 0, 10**9)
        if query.get("status", "active") not in ("active", "ended"):
            raise Problem(422, "Invalid status", "status")
        found = [
            one
            for one in self.programs
            if one["id"] > last
            and one["state"] == query.get("status", one["state"])
            and query.get("targetType") in (None, one["targetType"])
            and query.get("name", "").lower() in one["name"].lower()
        ]
        following = found[count - 1]["id"] if len(found) > count else None
        return Answer(200, page_of(request, found[:count], len(found), 0, following, "_lastId"))

    # --- change requests

    def _make_request(self, request: Request) -> Answer:
        allowed = {"type", "requestType", "registrant", "applicant", "applicantPhone", "detail", "description", "notes"}
        body = body_of(request, allowed, {"type", "requestType", "registrant", "detail"})
        code, registrant = body["requestType"].get("code"), body["registrant"]
        if set(registrant) - {"system", "value", "display"} or body["type"] != "ChangeRequest":
            raise Problem(422, "Unknown member", "registrant")
        self._check_detail(code, body["detail"])
        self._check_subject(code, registrant)
        reference = f"CR/2026/{len(self.requests) + 1:05}"
        made = ChangeRequest(reference, body, registrant=registrant)
        self.requests[reference] = made
        return Answer(201, self._told_request(made))

    def _check_detail(self, code: str, detail: Mapping[str, Any]) -> None:
        if code == _ASSIGN:
            number = detail.get("program_id")
            if set(detail) != {"program_id"} or not any(one["id"] == number for one in self.programs):
                raise Problem(422, "Unknown programme", "program_id")
            return
        if code not in _CODES:
            raise Problem(422, "Unknown request type", "requestType")
        unknown = set(detail) - CREATABLE[_CODES[code]]
        if unknown or detail.get("type") != _CODES[code]:
            raise Problem(422, "Unknown detail", *sorted(unknown or {"type"}))
        check_fields(_CODES[code], detail, self.studio_fields)

    def _check_subject(self, code: str, registrant: Mapping[str, str]) -> None:
        system, value = registrant["system"], registrant["value"]
        if code.startswith("add_"):
            is_right = system == _UNKNOWN_TO_REGISTRY
        elif code == _ASSIGN:
            is_right = system == NAMESPACE and any(self._find_any(f"{NAMESPACE}#{kind}", value) for kind in ID_TYPES)
        else:
            found = self._find_any(system, value)
            is_right = found is not None and found.kind == _CODES[code]
        if not is_right:
            raise Problem(422, "Registrant not found", "registrant")

    def _one_request(self, method: str, reference: str, action: Sequence[str], request: Request) -> Answer:
        if reference not in self.requests:
            raise Problem(404, "Change request not found")
        one = self.requests[reference]
        match method, *action:
            case ("GET",):
                query_of(request, set())
            case ("PUT",):
                body = body_of(request, {"detail"}, {"detail"})
                if one.status != "draft":
                    raise Problem(409, "Only draft change requests can be updated")
                self._check_detail(one.body["requestType"]["code"], body["detail"])
                one.body["detail"] = body["detail"]
            case "POST", "$submit":
                body_of(request, set())
                self._move(reference, "draft", "pending", submittedDate=self._time())
            case _:
                raise Problem(405, "Method not allowed")
        return Answer(200, self._told_request(one))

    def _search_requests(self, request: Request) -> Answer:
        query = query_of(request, {"registrant", "requestType", "status", "_count", "_offset"})
        count, offset = number_in(query, "_count", 20, 1, 100), number_in(query, "_offset", 0, 0, 100_000)
        found = [
            one
            for one in reversed(self.requests.values())
            if query.get("requestType") in (None, one.body["requestType"]["code"])
            and query.get("status") in (None, one.status)
        ]
        page = [self._told_request(one) for one in found[offset : offset + count]]
        following = offset + count if offset + count < len(found) else None
        return Answer(200, page_of(request, page, len(found), offset, following))

    def _told_request(self, one: ChangeRequest) -> dict[str, Any]:
        return {
            **one.body,
            "reference": one.reference,
            "status": one.status,
            "registrant": one.registrant,
            "isApplied": one.status == "applied",
            **one.told,
        }

    def _move(self, reference: str, before: str, after: str, **told: str) -> None:
        one = self.requests[reference]
        if one.status != before:
            raise Problem(409, f"Only {before} change requests can become {after}")
        one.status, one.told = after, one.told | told

    def _carry_out(self, one: ChangeRequest) -> None:
        code, detail = one.body["requestType"]["code"], one.body["detail"]
        if code == _ASSIGN:
            value = one.registrant["value"]
            subject = next(found for kind in ID_TYPES if (found := self._find_any(f"{NAMESPACE}#{kind}", value)))
            subject.programs.add(detail["program_id"])
        elif code.startswith("add_"):
            if not self.keeps_identifiers:
                detail = {**detail, "identifier": [identifier_of("system_id", f"REG-{len(self._registrants) + 1}")]}
            made = self._made(_CODES[code], detail)
            one.registrant = dict(made.identifiers[0])
        else:
            found = self._find_any(one.registrant["system"], one.registrant["value"])
            assert found
            self._merge(found, {name: value for name, value in detail.items() if name not in ("type", "identifier")})

    # --- small things

    def _add(self, kind: str, identifiers: Mapping[str, str] | None, fields: Mapping[str, Any]) -> Registrant:
        with self._lock:
            named = identifiers or {"system_id": f"REG-{len(self._registrants) + 1}"}
            return self._keep(kind, [identifier_of(code, value) for code, value in named.items()], dict(fields))

    def _touch(self, registrant: Registrant) -> None:
        registrant.version += 1
        registrant.updated_at = self.now()

    def _find(self, kind: str, identifier: str) -> Registrant:
        system, found, value = identifier.partition("|")
        if not found:
            raise Problem(400, "Invalid identifier format")
        registrant = self._find_any(system, value)
        if registrant is None or registrant.kind != kind:
            raise Problem(404, f"{kind} not found")
        return registrant

    def _find_any(self, system: str, value: str) -> Registrant | None:
        return next(iter(self._by_identifier.get((system, value), ())), None)

    def _primary(self, one: Registrant) -> str:
        return f"{one.identifiers[0]['system']}|{one.identifiers[0]['value']}"

    def _time(self) -> str:
        return self.now().replace(tzinfo=None).isoformat()
