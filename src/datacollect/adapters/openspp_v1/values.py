"""Values of a form as Odoo stores them, and back; and what of them has changed on which side."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datacollect.adapters.kinds import FieldMapping
from datacollect.adapters.port import RecordType
from datacollect.adapters.transformers import is_unreadable, reverse, transform
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.clock import Millis

Described = Mapping[str, str]
"""Odoo's types of the fields that are written and read."""

_DATETIME = re.compile(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mappings:
    """Which field of a form is which of Odoo's, for either type of record."""

    all: Sequence[FieldMapping]

    def of(self, type_: RecordType) -> Sequence[FieldMapping]:
        """Groups have a name, mapped or not."""
        if type_ is not RecordType.GROUP or any(mapping.remote_field == "name" for mapping in self.all):
            return self.all
        return [*self.all, FieldMapping(form_field="name", remote_field="name")]


class Unfit(Exception):
    """A value that the field it is mapped to cannot hold."""

    def __init__(self, mapping: FieldMapping, odoo_type: str) -> None:
        super().__init__(
            f"The value of the form's field {mapping.form_field} does not fit into {mapping.remote_field} ({odoo_type})"
        )


# -- from the form to Odoo


def to_odoo(mappings: Sequence[FieldMapping], data: Mapping[str, Any], described: Described) -> dict[str, Any]:
    """What Odoo is to hold: a value for each mapping whose field the entity has, Odoo's empty one if it is empty.

    Fields that the entity does not have are left alone, and those with a value that the mapping makes nothing of: nobody
    has emptied them. Raises `Unfit`.
    """
    written: dict[str, Any] = {}
    for mapping in mappings:
        if mapping.form_field not in data:
            continue
        entered = data[mapping.form_field]
        value = _written(mapping, entered, described)
        if value is not None:
            written[mapping.remote_field] = value
        elif mapping.remote_field not in written and not is_unreadable(entered, transform(mapping, entered)):
            written[mapping.remote_field] = _cleared(described[mapping.remote_field])
    return written


def filled(written: Mapping[str, Any], described: Described) -> dict[str, Any]:
    """Without what is empty."""
    return {name: value for name, value in written.items() if plain(described[name], value) is not None}


def _written(mapping: FieldMapping, value: Any, described: Described) -> Any:
    """None if there is nothing to write."""
    if value is None or value == "":
        return None
    if mapping.transformer == "text" and (value is False or value == "false"):
        # What older versions have made of Odoo's empty values; nobody has entered it.
        return None
    made = transform(mapping, value)
    if made is None or made == "":
        return None
    odoo_type = described[mapping.remote_field]
    fitted = _fitted(odoo_type, made)
    if fitted is None:
        raise Unfit(mapping, odoo_type)
    return fitted


def _cleared(odoo_type: str) -> Any:
    return [[6, 0, []]] if odoo_type == "many2many" else False


def _fitted(odoo_type: str, value: Any) -> Any:
    match odoo_type:
        case "many2one":
            return _id(value)
        case "many2many":
            ids = [_id(one) for one in (value.split(",") if isinstance(value, str) else _listed(value))]
            return None if None in ids else [[6, 0, ids]]
        case "integer":
            number = _number(value)
            return int(number) if number is not None and number == int(number) else None
        case "float" | "monetary":
            return _number(value)
        case "boolean":
            return _boolean(value)
        case "datetime":
            return _odoo_time(value)
        case "one2many":
            return None
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _id(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) and number > 0 else None


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value) if "." in value else int(value)
    return None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().casefold())
    return value if isinstance(value, bool) else None


def _odoo_time(value: Any) -> str | None:
    """Odoo's times are UTC and do not say so."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).strftime("%Y-%m-%d %H:%M:%S")


# -- from Odoo to the form


def to_form(mappings: Sequence[FieldMapping], row: Mapping[str, Any], described: Described) -> dict[str, Any]:
    """The form's fields as Odoo has them. What is empty there is empty here, not the text `false`; what is there and
    cannot be read (a date in words) is left out, so that it empties nothing."""
    read: dict[str, Any] = {}
    for mapping in mappings:
        if mapping.remote_field not in row:
            continue
        value = _readable(mapping, row[mapping.remote_field], described)
        made = reverse(mapping, value)
        if not is_unreadable(value, made):
            read[mapping.form_field] = made
    return read


def _readable(mapping: FieldMapping, value: Any, described: Described) -> Any:
    odoo_type = described[mapping.remote_field]
    if odoo_type == "boolean":
        return value is True
    if value is False or value is None:
        return None
    match value:
        case [int(), label] if odoo_type == "many2one":
            return value if mapping.transformer == "id" else label
        case str() if odoo_type == "datetime":
            return _with_zone(value)
        case [*ids] if odoo_type in ("many2many", "one2many") and mapping.transformer != "id":
            return [str(one) for one in ids]
    return value


def _with_zone(text: str) -> str:
    found = _DATETIME.fullmatch(text)
    return f"{found[1]}T{found[2]}Z" if found else text


def instant_of(text: Any) -> Millis | None:
    """`write_date` as an instant; None if it is not what Odoo writes."""
    found = _DATETIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        moment = datetime.strptime(found[0], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return Millis(round(moment.timestamp() * 1000))


def odoo_text(instant: Millis) -> str:
    return datetime.fromtimestamp(instant // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


# -- what has changed


def plain(odoo_type: str, value: Any) -> Any:
    """One form for a value, whether it was read or is to be written."""
    match value:
        case None | "":
            return None
        case False if odoo_type != "boolean":
            return None
        case [] if odoo_type == "many2many":
            return None
        case [[6, _, [*ids]]]:
            return sorted(ids) or None
        case [int() as key, *_] if odoo_type == "many2one":
            return key
        case [*ids] if odoo_type == "many2many":
            return sorted(ids)
        case float() if value.is_integer():
            return int(value)
    return value


def seen_in(row: Mapping[str, Any], fields: Iterable[str], described: Described) -> dict[str, str]:
    """What the fields held, as digests: enough to notice a change, and short."""
    return {name: digest(described[name], row[name]) for name in fields if name in row}


def version_of(row: Mapping[str, Any], described: Described) -> str:
    """When it was written and what it holds: `write_date` alone tells two changes within a second not apart."""
    held = [plain(described[name], row.get(name)) for name in sorted(described)]
    return f"{row.get('write_date')} {hashlib.sha256(canonical_json(held)).hexdigest()[:16]}"


def digest(odoo_type: str, value: Any) -> str:
    return hashlib.sha256(canonical_json(plain(odoo_type, value))).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to be written, what to take for seen once it is, and what both sides have changed."""

    changes: Mapping[str, Any]
    seen: Mapping[str, str]
    conflicts: Sequence[str]


def compare(
    wanted: Mapping[str, Any], row: Mapping[str, Any], seen: Mapping[str, str], described: Described
) -> Difference:
    """`wanted` is what we have, `row` what Odoo has, `seen` what Odoo had when we last looked.

    What Odoo alone has changed is left to the next pull. Where nothing was seen, ours counts; but only what both sides
    once held is emptied.
    """
    changes: dict[str, Any] = {}
    kept = dict(seen)
    conflicts = []
    for name, value in wanted.items():
        ours, theirs = digest(described[name], value), digest(described[name], row.get(name))
        if ours == theirs:
            kept[name] = ours
        elif plain(described[name], value) is None and name not in seen:
            continue
        elif seen.get(name, theirs) == theirs:
            changes[name] = value
            kept[name] = ours
        elif seen[name] != ours:
            conflicts.append(name)
    return Difference(changes, kept, conflicts)
