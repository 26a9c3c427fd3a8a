"""Records of ours as persons and groups of the registry, and back. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from datacollect.adapters.mock.options import SYSTEM_ID, MockOptions
from datacollect.adapters.port import Incoming, Outgoing, RecordType
from datacollect.adapters.times import instant

Kind = Literal["persons", "groups"]
KINDS: Mapping[RecordType, Kind] = {RecordType.INDIVIDUAL: "persons", RecordType.GROUP: "groups"}
NAMES: Mapping[Kind, str] = {"persons": "person", "groups": "group"}

_SCHEME_NAME = "Mock ID Type"

_PERSON_NAMES = {
    "given_name": ("firstName", "first_name", "given_name"),
    "family_name": ("lastName", "last_name", "family_name"),
    "date_of_birth": ("dateOfBirth", "date_of_birth"),
    "gender": ("gender",),
}
_GROUP_NAMES = {"name": ("name", "groupName", "group_name"), "group_type": ("group_type", "groupType")}
_CORE: Mapping[Kind, frozenset[str]] = {
    "persons": frozenset(name for names in _PERSON_NAMES.values() for name in names),
    "groups": frozenset(name for names in _GROUP_NAMES.values() for name in names),
}
_INTERNAL = frozenset(
    {"entityName", "externalId", "identifierType", "identifiers", "memberships", "memberIds", "members", "attributes"}
)
_GENDERS = {"male": "1", "m": "1", "female": "2", "f": "2", "other": "9", "unknown": "0"}
_GENDER_WORDS = {"1": "male", "2": "female", "9": "other", "0": "unknown"}
_ORDINARY_GROUP = "household"


def new_resource(record: Outgoing, options: MockOptions) -> dict[str, Any]:
    """All of a record, for a resource that is to be made of it: what it does not have is null."""
    kind = KINDS[record.type]
    body: dict[str, Any] = dict.fromkeys(_PERSON_NAMES) if kind == "persons" else {}
    body |= resource(record)
    return body | {"identifiers": [our_identifier(record.guid, options), *_other_identifiers(record.data, options)]}


def resource(record: Outgoing) -> dict[str, Any]:
    """What a record says of its twin, without identifiers."""
    data = record.data
    body = _person(data) if record.type is RecordType.INDIVIDUAL else _group(data)
    if attributes := _attributes(data, KINDS[record.type]):
        body["attributes"] = attributes
    return body


def _person(data: Mapping[str, Any]) -> dict[str, Any]:
    body = {}
    for name, ours in _PERSON_NAMES.items():
        present = [data[one] for one in ours if one in data]
        if present:
            body[name] = next((value for value in present if value not in (None, "")), None)
    gender = body.get("gender")
    if isinstance(gender, str):
        body["gender"] = _GENDERS.get(gender.strip().lower(), gender)
    return body


def _group(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _first(data, (*_GROUP_NAMES["name"], "entityName")) or "",
        "group_type": _first(data, _GROUP_NAMES["group_type"]) or _ORDINARY_GROUP,
    }


def _first(data: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((data[name] for name in names if data.get(name) not in (None, "")), None)


def _attributes(data: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    nested = data.get("attributes")
    bundle = {name: value for name, value in data.items() if _is_ours(name, kind)}
    gender = data.get("gender")
    digit = _GENDERS.get(gender.strip().lower()) if isinstance(gender, str) else None
    if kind == "persons" and digit and gender != _GENDER_WORDS[digit]:
        # The registry has four digits for it. The word of the form goes along, so that it comes back as it was.
        bundle["gender"] = gender
    return (dict(nested) if isinstance(nested, Mapping) else {}) | bundle


def our_identifier(guid: str, options: MockOptions) -> dict[str, str]:
    return {
        "identifier_type": options.identifier_type,
        "identifier_value": guid,
        "identifier_scheme_id": options.identifier_scheme,
        "identifier_scheme_name": _SCHEME_NAME,
    }


def _other_identifiers(data: Mapping[str, Any], options: MockOptions) -> list[dict[str, str]]:
    """Those that people have entered: never of our own type, which says which of our records it is."""
    listed = data.get("identifiers")
    found = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, Mapping):
            continue
        type_, value = one.get("identifier_type") or one.get("type"), one.get("identifier_value") or one.get("value")
        if isinstance(type_, str) and isinstance(value, str) and type_ and value and type_ != options.identifier_type:
            scheme, name = one.get("identifier_scheme_id") or one.get("scheme"), one.get("identifier_scheme_name")
            identifier = {
                "identifier_type": type_,
                "identifier_value": value,
                "identifier_scheme_id": scheme if isinstance(scheme, str) and scheme else options.identifier_scheme,
            }
            found.append(identifier | ({"identifier_scheme_name": name} if isinstance(name, str) else {}))
    return found


def has_identifier(item: Mapping[str, Any], guid: str, options: MockOptions) -> bool:
    return any(
        one.get("identifier_value") == guid and one.get("identifier_scheme_id") == options.identifier_scheme
        for one in _objects(item.get("identifiers"))
    )


def fingerprints(body: Mapping[str, Any]) -> dict[str, str]:
    """What is compared of a body that is kept nowhere: which of its members, and of its attributes, have changed."""
    attributes = body.get("attributes")
    parts = {name: value for name, value in body.items() if name not in ("attributes", "identifiers")}
    parts |= {f"attributes.{name}": value for name, value in (attributes or {}).items()}
    return {name: _digest(value) for name, value in parts.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a body is to be sent. What was sent before is not: somebody may have changed it there meanwhile."""

    members: Mapping[str, Any]
    attributes: Mapping[str, Any]


def changes(body: Mapping[str, Any], known: Mapping[str, str]) -> Changes:
    """`known` are the fingerprints of what was sent last, or read."""
    attributes = body.get("attributes", {})
    changed = {name for name, digest in fingerprints(body).items() if known.get(name) != digest}
    return Changes(
        {name: body[name] for name in body if name in changed},
        {name: value for name, value in attributes.items() if f"attributes.{name}" in changed},
    )


def members_of(item: Mapping[str, Any]) -> list[str]:
    """Who belongs to a group now."""
    return sorted(
        {
            one["person_uuid"]
            for one in _objects(item.get("memberships"))
            if isinstance(one.get("person_uuid"), str) and not one.get("ended_at")
        }
    )


def incoming(
    item: Mapping[str, Any], kind: Kind, options: MockOptions, form_types: Mapping[str, str] | None = None
) -> Incoming:
    """A resource as a record of ours. `item` has a `uuid`; `form_types` are the program's forms."""
    is_person = kind == "persons"
    data, derived = _person_data(item) if is_person else _group_data(item)
    if others := _identifiers_of_others(item, options):
        data["identifiers"] = others
    attributes = _mapping(item.get("attributes"))
    ours = {name: value for name, value in attributes.items() if _is_ours(name, kind)}
    type_ = RecordType.INDIVIDUAL if is_person else RecordType.GROUP
    data = {**ours, **data, "entityName": _form_of(type_, form_types or {})}
    members = members_of(item)
    return Incoming(
        external_id=item["uuid"],
        type=type_,
        data=data,
        also_called=_ALSO_CALLED[kind],
        derived=derived,
        occurred_at=instant(item.get("updated_at")),
        version=item["updated_at"] if isinstance(item.get("updated_at"), str) else None,
        state={"sent": fingerprints(_own(item, kind)), "others": len(ours) < len(attributes), "members": members},
        guid=_guid(item, options),
        members=None if is_person else members,
        is_deleted=bool(item.get("deleted_at")),
    )


def _form_of(type_: RecordType, form_types: Mapping[str, str]) -> str:
    """The one form of this type, if there is one only; else what the type is called."""
    named = [name for name, of in form_types.items() if of == type_.value]
    return named[0] if len(named) == 1 else type_.value


def _is_ours(name: str, kind: Kind) -> bool:
    """Whether an attribute is a field of ours: any that we would send as one."""
    return name not in _CORE[kind] and name not in _INTERNAL and not name.startswith("_")


_ALSO_CALLED: Mapping[Kind, Mapping[str, Sequence[str]]] = {
    "persons": {
        "firstName": ("first_name", "given_name"),
        "lastName": ("last_name", "family_name"),
        "dateOfBirth": ("date_of_birth",),
    },
    "groups": {"name": ("groupName", "group_name"), "groupType": ("group_type",)},
}


def _person_data(item: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    attributes = _mapping(item.get("attributes"))
    given, family, gender = item.get("given_name"), item.get("family_name"), item.get("gender")
    word = _GENDER_WORDS.get(gender, gender) if isinstance(gender, str) else gender
    entered = attributes.get("gender")
    if isinstance(entered, str) and _GENDERS.get(entered.strip().lower(), entered) == gender:
        word = entered
    data = {"firstName": given, "lastName": family}
    data |= {"dateOfBirth": item.get("date_of_birth"), "gender": word}
    data = {name: value for name, value in data.items() if value is not None}
    if not attributes.get("name"):
        if full := " ".join(part for part in (given, family) if isinstance(part, str) and part):
            data["name"] = full
        return data, frozenset({"name"})
    return data, frozenset()


def _group_data(item: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    name, type_ = item.get("name"), item.get("group_type")
    data = {"name": name, "groupName": name, "groupType": type_}
    derived = {"groupName"} | ({"groupType"} if type_ == _ORDINARY_GROUP else set())
    return {name: value for name, value in data.items() if value is not None}, frozenset(derived)


def _own(item: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    names: Collection[str] = _PERSON_NAMES if kind == "persons" else _GROUP_NAMES
    own = {name: item[name] for name in names if name in item}
    return own | {"attributes": _mapping(item.get("attributes"))}


def _identifiers_of_others(item: Mapping[str, Any], options: MockOptions) -> list[Mapping[str, Any]]:
    technical = (SYSTEM_ID, options.identifier_type)
    return [one for one in _objects(item.get("identifiers")) if one.get("identifier_type") not in technical]


def _guid(item: Mapping[str, Any], options: MockOptions) -> str | None:
    """Which record of ours it is, if it was made of one. The registry has an identifier of its own of the same type."""
    ours = (options.identifier_type, options.identifier_scheme)
    found = [
        one
        for one in _objects(item.get("identifiers"))
        if (one.get("identifier_type"), one.get("identifier_scheme_id")) == ours
        and isinstance(one.get("identifier_value"), str)
        and one["identifier_value"] != item["uuid"]
    ]
    found.sort(key=lambda one: one.get("identifier_scheme_name") != _SCHEME_NAME)
    return found[0]["identifier_value"] if found else None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
