"""Records of ours as resources of OpenSPP V2, and back. Pure.

In between stands a flat form of a resource: a value for each path by which mappings name its fields (`name.given`,
`address.city`), and one for each Studio field (`extension.farmSize`).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import msgspec

from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.openspp_v2.client import objects
from datacollect.adapters.port import RecordType
from datacollect.adapters.transformers import is_unreadable, reverse, transform

EXTENSION = "extension."
GENDERS = "urn:iso:std:iso:5218"

_CONTACTS = ("phone", "email")
_ADDRESS = ("line", "city", "district", "state", "postalCode", "country")
_ADDRESS_PATHS = tuple(f"address.{part}" for part in _ADDRESS)

# Where a field is looked for in a form that maps nothing to it: the first of these that is filled in.
_PERSON: Mapping[str, Sequence[str]] = {
    "name.given": ("firstName", "first_name"),
    "name.family": ("lastName", "last_name"),
    "name.middle": ("middleName", "middle_name"),
    "name.text": ("name", "fullName", "full_name"),
    "birthDate": ("birthDate", "dateOfBirth", "date_of_birth"),
    "birthDateEstimated": (),
    "gender": ("gender",),
    "active": (),
    "photo": (),
    "telecom.phone": ("phone", "phoneNumber", "phone_number"),
    "telecom.email": ("email", "emailAddress", "email_address"),
    **dict.fromkeys(_ADDRESS_PATHS, ()),
}
_GROUP: Mapping[str, Sequence[str]] = {
    "name": ("_displayName", "name", "groupName", "group_name"),
    "groupType": ("groupType", "group_type"),
    "active": (),
    "quantity": (),
    **dict.fromkeys(_ADDRESS_PATHS, ()),
}
_CORE = {RecordType.INDIVIDUAL: _PERSON, RecordType.GROUP: _GROUP}
_ANY_CORE = frozenset(_PERSON) | frozenset(_GROUP)

# What an unmapped field of the registry is called in our data.
_PERSON_KEYS: Mapping[str, Sequence[str]] = {
    "name.given": ("firstName",),
    "name.family": ("lastName",),
    "name.middle": ("middleName",),
    "birthDate": ("dateOfBirth",),
    "gender": ("gender",),
    "telecom.phone": ("phone",),
    "telecom.email": ("email",),
}
_GROUP_KEYS: Mapping[str, Sequence[str]] = {"name": ("name", "groupName"), "groupType": ("groupType",)}
_DEFAULT_KEYS = {RecordType.INDIVIDUAL: _PERSON_KEYS, RecordType.GROUP: _GROUP_KEYS}

# What a merge patch may clear; the registry does not take names away, nor Studio fields.
_CLEARABLE = frozenset({"birthDate", "gender", "telecom", "address", "photo"})

LISTS = frozenset({"telecom", "address"})
"""Fields that hold more than is ours, of which a patch can only replace all."""

_GROUP_TYPES = frozenset({"household", "family", "organization", "other"})
_GENDER_CODES = {"male": "1", "m": "1", "1": "1", "female": "2", "f": "2", "2": "2", "other": "9", "9": "9"}
_GENDER_DISPLAYS = {"0": "Unknown", "1": "Male", "2": "Female", "9": "Not applicable"}
_GENDER_WORDS = {"1": "male", "2": "female", "9": "other"}
_DAY = FieldMapping(form_field="", remote_field="birthDate", transformer="date")
_DATA_URL = re.compile(r"data:[\w/+.-]*;base64,", re.ASCII)

Codings = Mapping[str, str]
"""Of Studio fields whose values are codes: the system each one's codes are of."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Translates by a program's mappings."""

    mappings: Sequence[FieldMapping] = ()
    with_studio: bool = True
    form_types: Mapping[str, str] = field(default_factory=dict)

    def build(self, type: RecordType, data: Mapping[str, Any], codings: Codings | None = None) -> dict[str, Any]:
        """The fields of the resource, without its identifiers: what a patch of it may hold. Empty values are left out."""
        flat = dict(self._flat_of_data(type, data, codings or {}))
        built = _person(flat) if type is RecordType.INDIVIDUAL else _group(flat)
        studio = {path.removeprefix(EXTENSION): value for path, value in flat.items() if path.startswith(EXTENSION)}
        if studio and self.with_studio:
            url = extension_url(type)
            built["extension"] = {url: {"url": url, **studio}}
        return built

    def emptied(self, type: RecordType, data: Mapping[str, Any]) -> frozenset[str]:
        """Fields of the resource for which the form has a field that somebody left or made empty.

        Not those that no field of the data stands for: a mapping that is taken out of a config clears nothing.
        """
        empty = {path.partition(".")[0] for path in self.emptied_parts(type, data)}
        return frozenset(empty & _CLEARABLE - self.build(type, data).keys())

    def emptied_parts(self, type: RecordType, data: Mapping[str, Any]) -> frozenset[str]:
        """The same as paths, where another field of the form may be filled in for one."""
        sources = [(_path(mapping.remote_field), mapping.form_field) for mapping in self.mappings]
        sources += [(path, key) for path, keys in _CORE[type].items() for key in keys]
        return frozenset(path for path, key in sources if key in data and _is_empty(data[key]))

    def read(self, type: RecordType, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Our data for it. A field that a mapping names is found under the form's name only."""
        flat = dict(_flat_of_resource(type, resource))
        data: dict[str, Any] = {"entityName": self._form(type)}
        mapped = set()
        for mapping in self.mappings:
            path = _path(mapping.remote_field)
            if path in flat:
                mapped.add(path)
                made = reverse(mapping, flat[path])
                if not is_unreadable(flat[path], made):
                    data[mapping.form_field] = made
        for path, value in flat.items():
            if path in mapped:
                continue
            if path.startswith(EXTENSION) and self.with_studio:
                data.setdefault(_form_key(path), value)
            for key in _DEFAULT_KEYS[type].get(path, ()):
                data.setdefault(key, value)
        if type is RecordType.INDIVIDUAL and (full := _full_name(flat)) and "name.text" not in mapped:
            data.setdefault("name", full)
        return data

    def _form(self, type: RecordType) -> str:
        """The one form of this type, if the program has no form of the usual name."""
        named = [name for name, of in self.form_types.items() if of == type.value]
        return named[0] if len(named) == 1 else type.value

    def _flat_of_data(self, type: RecordType, data: Mapping[str, Any], codings: Codings) -> Iterator[tuple[str, Any]]:
        core = _CORE[type]
        found: set[str] = set()
        for mapping in self.mappings:
            path = _path(mapping.remote_field)
            if path in found or (path in _ANY_CORE and path not in core) or _is_empty(data.get(mapping.form_field)):
                continue
            value = transform(_as_registry_writes(mapping, path), data[mapping.form_field])
            if path.startswith(EXTENSION):
                value = _coded(value, mapping, codings.get(path.removeprefix(EXTENSION)))
            if not _is_empty(value):
                found.add(path)
                yield path, value
        for path, keys in core.items():
            if path == "name.text" and found & {"name.given", "name.family"}:
                continue  # a name that was put together once does not follow when a part of it changes
            value = next((data[key] for key in keys if not _is_empty(data.get(key))), None)
            if path not in found and value is not None:
                found.add(path)
                yield path, value


def extension_url(type: RecordType) -> str:
    return f"urn:openspp:extension:studio-{type.value}"


def codings_of(resource: Mapping[str, Any]) -> dict[str, str]:
    """Which Studio fields of a resource hold codes, and of which system: needed to write them back."""
    found: dict[str, str] = {}
    for key, value in _studio_fields(resource):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(system := _first_coding(one).get("system"), str):
                found[key] = system
    return found


def digests(built: Mapping[str, Any]) -> dict[str, str]:
    """A few characters for each field, by which we see later whether it is still the same."""
    return {name: digest(value) for name, value in built.items()}


def digest(value: Any) -> str:
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:12]


def with_others(patch: Mapping[str, Any], there: Mapping[str, Any], emptied: Collection[str]) -> dict[str, Any]:
    """The patch of a resource that is `there` now, with what others have put into its lists. Parts that are `emptied` are
    taken out, those that the form knows nothing of stay."""
    whole = dict(patch)
    if "telecom" in patch:
        whole["telecom"] = _contacts_with_others(patch["telecom"] or [], objects(there.get("telecom")), emptied) or None
    if "address" in patch:
        [ours] = patch["address"] or [{}]
        whole["address"] = _addresses_with_others(ours, objects(there.get("address")), emptied) or None
    return whole


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def also_called(type: RecordType) -> dict[str, Sequence[str]]:
    """Other names under which forms that map nothing keep what we call by its usual one."""
    return {
        key: [other for other in _CORE[type][path] if other not in keys and not other.startswith("_")]
        for path, keys in _DEFAULT_KEYS[type].items()
        for key in keys[:1]
    }


DERIVED = {RecordType.INDIVIDUAL: frozenset({"name"}), RecordType.GROUP: frozenset({"groupName"})}
"""What we tell beside the parts it is made of."""


# --- to the registry


def _person(flat: Mapping[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = {}
    if name := _name(flat):
        built["name"] = name
    if day := transform(_DAY, _scalar(flat.get("birthDate"))):
        built["birthDate"] = day
        if isinstance(flat.get("birthDateEstimated"), bool):
            built["birthDateEstimated"] = flat["birthDateEstimated"]
    if word := _scalar(flat.get("gender")):
        code = _GENDER_CODES.get(word.lower(), "0")
        built["gender"] = {"coding": [{"system": GENDERS, "code": code, "display": _GENDER_DISPLAYS[code]}]}
    if telecom := list(_telecom(flat)):
        built["telecom"] = telecom
    if photo := _scalar(flat.get("photo")):
        wrapping = _DATA_URL.match(photo)
        built["photo"] = photo[wrapping.end() :] if wrapping else photo
    return built | _common(flat)


def _group(flat: Mapping[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = {}
    if name := _scalar(flat.get("name")):
        built["name"] = name
    if (kind := _scalar(flat.get("groupType")).lower()) in _GROUP_TYPES:
        built["groupType"] = kind
    quantity = flat.get("quantity")
    if isinstance(quantity, str) and quantity.strip().isdecimal():
        quantity = int(quantity)
    if isinstance(quantity, int) and not isinstance(quantity, bool):
        built["quantity"] = quantity
    return built | _common(flat)


def _common(flat: Mapping[str, Any]) -> dict[str, Any]:
    built: dict[str, Any] = {}
    if isinstance(flat.get("active"), bool):
        built["active"] = flat["active"]
    address: dict[str, Any] = {}
    for part in _ADDRESS:
        value = flat.get(f"address.{part}")
        if part == "line" and isinstance(value, list):
            address[part] = [text for line in value if (text := _scalar(line))]
        elif text := _scalar(value):
            address[part] = [text] if part == "line" else text
    if address:
        built["address"] = [{"type": "physical", **address}]
    return built


def _name(flat: Mapping[str, Any]) -> dict[str, str]:
    parts = {part: text for part in ("given", "family", "middle") if (text := _scalar(flat.get(f"name.{part}")))}
    full = _scalar(flat.get("name.text"))
    if not full:
        full = ", ".join(parts[part] for part in ("family", "given") if part in parts)
    return parts | ({"text": full} if full else {})


def _telecom(flat: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    if phone := _scalar(flat.get("telecom.phone")):
        yield {"system": "phone", "value": phone, "use": "mobile"}
    if email := _scalar(flat.get("telecom.email")):
        yield {"system": "email", "value": email}


def _contacts_with_others(
    ours: Sequence[Mapping[str, str]], there: Sequence[Mapping[str, Any]], emptied: Collection[str]
) -> list[Mapping[str, Any]]:
    """Ours in the places of those that are read, which may be used elsewhere than we would say."""
    contacts, built = list(there), {one["system"]: one for one in ours}
    for system in _CONTACTS:
        place = next((number for number, one in enumerate(contacts) if _contact(one, system)), None)
        if system in built:
            if place is None:
                contacts.append(built[system])
            else:
                contacts[place] = {**contacts[place], "value": built[system]["value"]}
        elif place is not None and f"telecom.{system}" in emptied:
            del contacts[place]
    return contacts


def _addresses_with_others(
    ours: Mapping[str, Any], there: Sequence[Mapping[str, Any]], emptied: Collection[str]
) -> list[Mapping[str, Any]]:
    """Our parts in the first one, which is the one that is read."""
    first, others = there[0] if there else {}, there[1:]
    parts = {part: ours[part] for part in _ADDRESS if part in ours}
    kept = {name: value for name, value in first.items() if f"address.{name}" not in emptied}
    address = {"type": "physical", **kept, **parts}
    if any(part in first and first[part] != address.get(part) for part in _ADDRESS):
        address.pop("text", None)  # it tells the parts as they were
    return [address, *others] if any(name in address for name in ("text", *_ADDRESS)) else [*others]


def _coded(value: Any, mapping: FieldMapping, learned: str | None) -> Any:
    """A code with its system, if we know one: the registry does not take codes without."""
    system = mapping.options.get("system") or learned
    if not isinstance(system, str) or isinstance(value, bool) or _is_empty(value):
        return value
    if mapping.transformer == "multiselect" and isinstance(value, str):
        value = [part.strip() for part in value.split(mapping.options.get("delimiter") or ",") if part.strip()]
    if isinstance(value, list):
        return [concept(system, text) for one in value if (text := _scalar(one))]
    text = _scalar(value)
    return concept(system, text) if text else None


def _as_registry_writes(mapping: FieldMapping, path: str) -> FieldMapping:
    """Days are ISO there, whatever the mapping says of how a registry writes them."""
    if path != "birthDate" or mapping.transformer != "date":
        return mapping
    return replace(mapping, options={**mapping.options, "outputFormat": "YYYY-MM-DD"})


# --- from the registry


def _flat_of_resource(type: RecordType, resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    read = _flat_person(resource) if type is RecordType.INDIVIDUAL else _flat_group(resource)
    for path, value in read:
        if not _is_empty(value):
            yield path, value
    for address in objects(resource.get("address"))[:1]:
        for part in _ADDRESS:
            value = address.get(part)
            if isinstance(value, list):
                value = ", ".join(text for line in value if (text := _scalar(line)))
            if not _is_empty(value):
                yield f"address.{part}", value
    for key, value in _studio_fields(resource):
        if not _is_empty(plain := _without_codings(value)):
            yield EXTENSION + key, plain


def _flat_person(resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    name = resource.get("name")
    if isinstance(name, dict):
        for part in ("given", "family", "middle", "text"):
            yield f"name.{part}", _scalar(name.get(part))
    yield "birthDate", _scalar(resource.get("birthDate"))
    yield "birthDateEstimated", resource.get("birthDateEstimated")
    yield "active", resource.get("active")
    yield "photo", resource.get("photo")
    if code := _first_coding(resource.get("gender")).get("code"):
        yield "gender", _GENDER_WORDS.get(str(code), "unknown")
    for system in _CONTACTS:
        contacts = (_contact(one, system) for one in objects(resource.get("telecom")))
        yield f"telecom.{system}", next((text for text in contacts if text), None)


def _contact(contact: Mapping[str, Any], system: str) -> str:
    return _scalar(contact.get("value")) if contact.get("system") == system else ""


def _flat_group(resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "name", _scalar(resource.get("name"))
    yield "groupType", _scalar(resource.get("groupType"))
    yield "active", resource.get("active")
    yield "quantity", resource.get("quantity")


def _full_name(flat: Mapping[str, Any]) -> str:
    """Made of its parts, in the order in which people say it; the registry's own text where it keeps no parts."""
    parts = [flat[path] for path in ("name.given", "name.family") if path in flat]
    return " ".join(parts) or flat.get("name.text", "")


def _studio_fields(resource: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    extensions = resource.get("extension")
    for url, values in extensions.items() if isinstance(extensions, dict) else ():
        if isinstance(values, dict) and url.rpartition(":")[2].startswith("studio"):
            yield from ((key, value) for key, value in values.items() if key != "url")


def _without_codings(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_codings(one) for one in value]
    coding = _first_coding(value)
    return coding.get("code", value) if coding else value


def _first_coding(value: Any) -> Mapping[str, Any]:
    return next(iter(objects(value.get("coding"))), {}) if isinstance(value, dict) else {}


# --- names and values


def _path(remote_field: str) -> str:
    """A mapping's name of a field. What is no core field is a Studio field, with or without `extension.`."""
    return remote_field if remote_field in _ANY_CORE else EXTENSION + _studio_key(remote_field.removeprefix(EXTENSION))


def _studio_key(technical_name: str) -> str:
    """`x_farm_size` is `farmSize` in the API, and a relation `x_crop_id` is `crop`."""
    first, *rest = technical_name.removeprefix("x_").removesuffix("_id").split("_")
    return first + "".join(part.capitalize() for part in rest)


def _form_key(path: str) -> str:
    key = path.removeprefix(EXTENSION)
    return "x_" + key[:1].lower() + "".join(f"_{one.lower()}" if one.isupper() else one for one in key[1:])


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _scalar(value: Any) -> str:
    """A text or number as a text; empty for everything else, which would be useless as one."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
