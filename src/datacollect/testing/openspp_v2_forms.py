"""The forms of OpenSPP V2's requests and resources, which the fake registry holds its callers to."""

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date
from typing import Any
from urllib.parse import urlencode

from datacollect.testing.remote import Answer, Request

NAMESPACE = "urn:openspp:vocab:id-type"
ID_TYPES = frozenset({"system_id", "national_id", "household_no"})
GENDERS = {"0", "1", "2", "9"}
ROLES_SYSTEM, ROLES = "urn:openspp:vocab:group-membership-type", {"head", "spouse", "child", "member"}

_INVALID = "invalid"
_NAME = {"given", "family", "middle", "prefix", "suffix", "text"}
_ADDRESS = {"type", "text", "line", "city", "district", "state", "postalCode", "country"}
_SHARED = {"active", "address", "extension"}

PATCHABLE = {
    "Individual": _SHARED | {"name", "birthDate", "birthDateEstimated", "gender", "telecom", "photo"},
    "Group": _SHARED | {"name", "groupType", "quantity"},
}
CREATABLE = {kind: fields | {"type", "identifier"} for kind, fields in PATCHABLE.items()}


class Problem(Exception):
    """A problem document; `fields` are those it complains of."""

    def __init__(self, status: int, detail: str, *fields: str) -> None:
        self.status, self.detail, self.fields = status, detail, fields
        super().__init__(detail)

    def answer(self) -> Answer:
        document = {
            "type": f"urn:openspp:error:{self.status}",
            "title": "Error",
            "status": self.status,
            "detail": self.detail,
        }
        if self.fields:
            document |= {
                "errors": [{"field": name, "code": _INVALID, "message": "secret text"} for name in self.fields]
            }
        return Answer(self.status, document, {"Content-Type": "application/problem+json"})


def check_headers(request: Request) -> None:
    if "application/json" not in request.headers.get("accept", ""):
        raise Problem(406, "Not acceptable")
    if request.method in ("POST", "PUT", "PATCH"):
        if request.headers.get("content-type") != "application/json":
            raise Problem(415, "Unsupported media type")
    elif request.body:
        raise Problem(400, "Unexpected body")


def body_of(request: Request, allowed: set[str], required: Set[str] = frozenset()) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        raise Problem(400, "Invalid JSON") from None
    if not isinstance(body, dict):
        raise Problem(422, "An object is expected")
    wrong = sorted(set(body) - allowed) or sorted(required - set(body))
    if wrong:
        raise Problem(422, "Unknown or missing members", *wrong)
    if request.query:
        raise Problem(400, "Unexpected query")
    return body


def query_of(request: Request, allowed: set[str]) -> Mapping[str, str]:
    if unknown := set(request.query) - allowed:
        raise Problem(400, f"Unknown parameters {sorted(unknown)}")
    if request.query.get("_extensions", "*") != "*":
        raise Problem(400, "Unknown extension")
    return request.query


def number_in(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise Problem(422, "Invalid parameter", name)
    return int(text)


def page_of(
    request: Request, data: Sequence[Any], total: int, offset: int, following: int | None, by: str = "_offset"
) -> dict[str, Any]:
    def link(at: int | None) -> str | None:
        return None if at is None else f"{request.path}?{urlencode({**request.query, by: at})}"

    return {
        "data": data,
        "meta": {"total": total, "count": len(data), "offset": offset},
        "links": {"self": link(offset), "next": link(following), "prev": None},
    }


def check_identifiers(identifiers: Any) -> None:
    if not isinstance(identifiers, list) or not identifiers:
        raise Problem(422, "At least one identifier is needed", "identifier")
    for one in identifiers:
        namespace, _, code = str(one.get("system")).partition("#")
        is_right = set(one) == {"system", "value"} and isinstance(one["value"], str) and one["value"]
        if not is_right or namespace != NAMESPACE or code not in ID_TYPES:
            raise Problem(422, "Invalid identifier type", "identifier")


def identifier_of(code: str, value: str) -> dict[str, str]:
    """`code` may be a whole system of another namespace."""
    return {"system": code if ":" in code else f"{NAMESPACE}#{code}", "value": value}


def reference_in(entity: Any) -> str:
    reference = (
        entity.get("reference") if isinstance(entity, dict) and set(entity) <= {"reference", "display"} else None
    )
    if not isinstance(reference, str) or not reference.startswith("Individual/"):
        raise Problem(422, "Invalid reference", "entity")
    return reference.removeprefix("Individual/")


def role_in(role: Any) -> str | None:
    if role is None:
        return None
    coding = role["coding"][0] if isinstance(role, dict) and role.get("coding") else {}
    if (
        coding.get("system") != ROLES_SYSTEM
        or coding.get("code") not in ROLES
        or set(coding) - {"system", "code", "display"}
    ):
        raise Problem(422, "Invalid role", "role")
    return str(coding["code"])


def check_fields(kind: str, body: Mapping[str, Any], studio_fields: Sequence[Mapping[str, Any]]) -> None:
    """`studio_fields` are those that the registry has beside the standard's."""
    for name, value in body.items():
        if value is not None and (check := _CHECKS.get(name)) and not check(value):
            raise Problem(422, "Invalid value", name)
    if kind == "Individual" and "name" in body and not isinstance(body["name"], dict):
        raise Problem(422, "Invalid value", "name")
    if kind == "Group" and not isinstance(body.get("name", ""), str):
        raise Problem(422, "Invalid value", "name")
    for url, values in (body.get("extension") or {}).items():
        target = url.removeprefix("urn:openspp:extension:studio-")
        known = {_api_name(one["technicalName"]) for one in studio_fields if one["targetType"] in (target, "both")}
        if target != kind.lower() or values.get("url") != url or set(values) - {"url"} - known:
            raise Problem(422, "Unknown extension", "extension")


def _api_name(technical_name: str) -> str:
    first, *rest = technical_name.removeprefix("x_").removesuffix("_id").split("_")
    return first + "".join(part.capitalize() for part in rest)


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(value) == 10 and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_name(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, dict) and not set(value) - _NAME and all(isinstance(one, str) for one in value.values())


def _is_gender(value: Any) -> bool:
    coding = value.get("coding", [{}])[0] if isinstance(value, dict) and set(value) <= {"coding", "text"} else {}
    return coding.get("system") == "urn:iso:std:iso:5218" and coding.get("code") in GENDERS


def _are_contacts(value: Any) -> bool:
    return isinstance(value, list) and all(
        set(one) <= {"system", "value", "use", "rank"}
        and one.get("system") in ("phone", "email", "fax", "url", "sms")
        and isinstance(one.get("value"), str)
        and one.get("use") in (None, "home", "work", "mobile")
        for one in value
    )


def _are_addresses(value: Any) -> bool:
    return isinstance(value, list) and all(
        not set(one) - _ADDRESS
        and all(isinstance(text, list if name == "line" else str) for name, text in one.items())
        and one.get("type") in (None, "physical", "postal", "both")
        for one in value
    )


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "active": lambda value: isinstance(value, bool),
    "name": _is_name,
    "birthDate": _is_day,
    "birthDateEstimated": lambda value: isinstance(value, bool),
    "gender": _is_gender,
    "telecom": _are_contacts,
    "address": _are_addresses,
    "photo": lambda value: isinstance(value, str),
    "groupType": lambda value: value in ("household", "family", "organization", "other"),
    "quantity": lambda value: isinstance(value, int),
}
