"""Fields of a registry, in our words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FieldType(StrEnum):
    """What clients know how to map."""

    TEXT = "text"
    DATE = "date"
    RELATION = "relation"
    SELECTION = "selection"


class ValueType(StrEnum):
    """What the values are, more finely: clients that do not know a kind go by `FieldType`."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    ONE = "one"
    MANY = "many"
    SELECTION = "selection"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Option:
    id: int | float | str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteField:
    name: str
    label: str
    type: FieldType
    value_type: ValueType
    required: bool = False
    options: Sequence[Option] | None = None


def is_skipped(name: str) -> bool:
    """Fields that nobody maps: those that say which record it is."""
    return name.startswith("__") or name in ("id", "externalId")


def label_of(name: str) -> str:
    """`gender_id` is shown as `Gender Id`."""
    return _WORD_START.sub(lambda found: found[0].upper(), name.replace("_", " "))


_WORD_START = re.compile(r"\b[a-z]")


# -- from a sample

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}")
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)


def fields_of_sample(sample: Mapping[str, Any]) -> Sequence[RemoteField]:
    """One field for each key, in the sample's order; what a value looks like is what its field is taken for."""
    return [_sampled(name, value) for name, value in sample.items() if not is_skipped(name)]


def _sampled(name: str, value: Any) -> RemoteField:
    options, value_type = _relation(value)
    if options is None:
        value_type = _value_type(value)
    field_type = FieldType.DATE if value_type in (ValueType.DATE, ValueType.DATETIME) else FieldType.TEXT
    return RemoteField(
        name=name,
        label=label_of(name),
        type=field_type if options is None else FieldType.RELATION,
        value_type=value_type,
        options=options or None,
    )


def _value_type(value: Any) -> ValueType:
    match value:
        case bool():
            return ValueType.BOOLEAN
        case int() | float():
            return ValueType.NUMBER
        case str() if _DATE.fullmatch(value):
            return ValueType.DATE
        case str() if _DATETIME.fullmatch(value):
            return ValueType.DATETIME
        case dict() | list():
            return ValueType.OTHER
    return ValueType.TEXT


def _relation(value: Any) -> tuple[Sequence[Option] | None, ValueType]:
    """The options that a value names, an empty sequence if it has no usable id; None if it is no relation at all."""
    match value:
        case {"id": _, "display_name": _}:
            return _options([value]), ValueType.ONE
        # Odoo's own way to write one.
        case [int() | float() | str() as key, str() as label] if not isinstance(key, bool):
            return [Option(key, label)], ValueType.ONE
        case [_, *_] if all(_is_option(one) for one in value):
            return _options(value), ValueType.MANY
    return None, ValueType.OTHER


def _is_option(value: Any) -> bool:
    return isinstance(value, dict) and "id" in value and ("label" in value or "display_name" in value)


def _options(values: Sequence[Mapping[str, Any]]) -> Sequence[Option]:
    """Each id once, with its first label."""
    found: dict[int | float | str, Option] = {}
    for value in values:
        key = value["id"]
        if isinstance(key, int | float | str) and not isinstance(key, bool):
            label = value.get("label", value.get("display_name"))
            found.setdefault(key, Option(key, label if isinstance(label, str) else ""))
    return list(found.values())


# -- from Odoo's description of a model

_ODOO_TYPES = {
    "date": (FieldType.DATE, ValueType.DATE),
    "datetime": (FieldType.DATE, ValueType.DATETIME),
    "many2one": (FieldType.RELATION, ValueType.ONE),
    "many2many": (FieldType.RELATION, ValueType.MANY),
    "one2many": (FieldType.RELATION, ValueType.MANY),
    "selection": (FieldType.SELECTION, ValueType.SELECTION),
    "boolean": (FieldType.TEXT, ValueType.BOOLEAN),
    "integer": (FieldType.TEXT, ValueType.NUMBER),
    "float": (FieldType.TEXT, ValueType.NUMBER),
    "monetary": (FieldType.TEXT, ValueType.NUMBER),
}


def fields_of_odoo(
    described: Mapping[str, Any], options: Mapping[str, Sequence[Option]] | None = None
) -> Sequence[RemoteField]:
    """The fields that `fields_get` describes; `options` are those of related models, by the model's name."""
    found = []
    for name, told in described.items():
        if not is_skipped(name) and isinstance(told, dict):
            found.append(_described(name, told, options or {}))
    return found


def _described(name: str, told: Mapping[str, Any], options: Mapping[str, Sequence[Option]]) -> RemoteField:
    odoo_type, label = told.get("type"), told.get("string")
    field_type, value_type = _ODOO_TYPES.get(odoo_type if isinstance(odoo_type, str) else "", _PLAIN)
    if field_type is FieldType.SELECTION:
        known: Sequence[Option] | None = _selection(told.get("selection"))
    else:
        known = options.get(relation_of(told) or "")
    return RemoteField(
        name=name,
        label=label if isinstance(label, str) and label else label_of(name),
        type=field_type,
        value_type=value_type,
        required=told.get("required") is True,
        options=known,
    )


_PLAIN = (FieldType.TEXT, ValueType.TEXT)


def relation_of(told: Any) -> str | None:
    """The model whose records a field of Odoo's names."""
    relation = told.get("relation") if isinstance(told, dict) else None
    return relation if isinstance(relation, str) and relation else None


def _selection(pairs: Any) -> Sequence[Option]:
    found = []
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, list) and pair and isinstance(pair[0], str | int) and not isinstance(pair[0], bool):
            label = pair[1] if len(pair) > 1 and isinstance(pair[1], str) and pair[1] else str(pair[0])
            found.append(Option(pair[0], label))
    return found
