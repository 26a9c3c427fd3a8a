"""From a Form.io definition to a JSON Schema of the data that the form gives.

What cannot be translated accepts anything: a definition is written for clients, and the hub must not refuse data because
it does not understand a form. The schema marks values that count as absent (`""`, `null`) as such, and says in
`description` what a value must be, in words, wherever the keyword alone does not.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.eventstore.event import SERVER_MANAGED_KEYS
from datacollect.features.forms.fields import Fields
from datacollect.kernel.forms import (
    DEEPEST,
    LAYOUT,
    MOST_COMPONENTS,
    WITHOUT_VALUE,
    arranged_by,
    components_in,
    is_conditional,
    items_of,
)

Schema = Any
"""A JSON Schema: an object, or `True` for anything."""

TECHNICAL_KEYS = SERVER_MANAGED_KEYS | {"entityName", "_displayName", "parentId", "members", "memberIds"}
"""Keys of an event's data that the hub reads itself; a form's component of that name is not looked at."""

_LONGEST_MATCHED = 500
"""Characters. The engine's time also grows with the pattern, so longer texts are not matched with a form's own."""
_LONGEST_PATTERN = 500
_MOST_PATTERNS = 100
"""Per form. Some take the engine 4 ms each to prepare, while nobody else is served; real forms have ten."""
_PATTERN_RULES = frozenset({"pattern", "minWords", "maxWords"})
_MOST_CHOICES = 5000
"""Per form."""
_LARGEST_LENGTH = 10_000_000
_MOST_WORDS = 50

LIMITS = {
    "characters of a pattern, and of a text that is held against one": _LONGEST_PATTERN,
    "patterns and counts of words": _MOST_PATTERNS,
    "components": MOST_COMPONENTS,
    "levels of nesting": DEEPEST,
    "choices of a field": _MOST_CHOICES,
}
"""What goes beyond them is not checked."""

_NUMERAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][^\r\n]{0,40})?$"
_DAY = r"^[0-9]{1,4}([/-][0-9]{1,4}){0,2}$"
_TIME = r"^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$"
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PHONE = r"^[0-9+()./ #*,;extEXT-]+$"
_URL = r"^([A-Za-z][A-Za-z0-9+.-]*:)?[^\s]+[.:/][^\s]*$"


@dataclass(frozen=True, slots=True)
class FormSchema:
    """What a form demands of data: the schema of the values that are there, and the keys that must be."""

    schema: dict[str, Any]
    required: tuple[str, ...]


def translate(definition: Any, asked: Fields | None = None) -> FormSchema:
    """Never raises, whatever the definition holds; nothing in it is fetched or followed. With `asked`, the form's fields,
    those that nobody fills in accept anything and are not required."""
    components = components_in(definition)
    properties, required = _Translation().properties(components, asked or Fields(), optional=False, depth=0)
    for key in TECHNICAL_KEYS:
        properties.pop(key, None)
    schema = {"type": "object", "properties": properties}
    return FormSchema(schema, tuple(key for key in required if key not in TECHNICAL_KEYS))


@dataclass(slots=True)
class _Translation:
    left: int = MOST_COMPONENTS
    patterns_left: int = _MOST_PATTERNS

    def properties(
        self, components: Any, asked: Fields, *, optional: bool, depth: int
    ) -> tuple[dict[str, Schema], list[str]]:
        """The schema of each value, by key, and the required ones; `optional` lets none be required."""
        properties: dict[str, Schema] = {}
        required: dict[str, None] = {}
        for component, hideable in self.fields(components, optional, depth):
            key = component.get("key")
            if not isinstance(key, str) or not key or "." in key:
                continue  # a dotted key names a place deeper down; clients differ in what they make of it
            must = not hideable and _rule(component, "required") is True
            schema: Schema = True
            if key not in properties and key not in asked.fixed:
                schema = self._value(component, asked.below.get(key) or Fields(), must, hideable, depth)
            properties[key] = schema
            if schema is True or not must:
                required.pop(key, None)
            else:
                required[key] = None
        return properties, list(required)

    def fields(self, components: Any, optional: bool, depth: int) -> Iterator[tuple[Mapping[str, Any], bool]]:
        """Components that give data, layout taken away, and whether something may hide them."""
        if not isinstance(components, Sequence) or isinstance(components, str) or depth > DEEPEST:
            return
        for component in components:
            self.left -= 1
            if self.left < 0:
                return
            if not isinstance(component, Mapping):
                continue
            kind = component.get("type")
            hideable = optional or _may_be_hidden(component)
            if isinstance(kind, str) and kind in LAYOUT:
                for inner in arranged_by(component, kind):
                    yield from self.fields(inner, hideable, depth + 1)
            elif not (isinstance(kind, str) and kind in WITHOUT_VALUE):
                yield component, hideable

    def _value(self, component: Mapping[str, Any], asked: Fields, must: bool, hideable: bool, depth: int) -> Schema:
        kind = component.get("type")
        if component.get("persistent") in (False, "client-only") or not isinstance(kind, str):
            return True
        if kind in ("container", "datagrid", "editgrid"):
            real = self._nested(component, kind, asked, hideable, depth)
        elif kind in _VALUES:
            real = _VALUES[kind](self._with_few_patterns(component))
            if must:
                real = _ticked(kind, real)
            if component.get("multiple") is True and kind in _MULTIPLE and real is not True:
                real = {"type": "array", "items": _unless_empty(real, must=False), "description": "a list of values"}
        else:
            return True
        return _unless_empty(real, must=must)

    def _with_few_patterns(self, component: Mapping[str, Any]) -> Mapping[str, Any]:
        rules = component.get("validate")
        if not isinstance(rules, Mapping) or _PATTERN_RULES.isdisjoint(rules):
            return component
        self.patterns_left -= len(_PATTERN_RULES.intersection(rules))
        if self.patterns_left >= 0:
            return component
        return {**component, "validate": {name: rule for name, rule in rules.items() if name not in _PATTERN_RULES}}

    def _nested(self, component: Mapping[str, Any], kind: str, asked: Fields, hideable: bool, depth: int) -> Schema:
        properties, required = self.properties(component.get("components"), asked, optional=hideable, depth=depth + 1)
        inner: dict[str, Any] = {"type": "object", "properties": properties, "description": "an object"}
        if required:
            inner["required"] = required
        if kind == "container":
            return inner
        return {"type": "array", "items": inner, "description": "a list of rows"} | _sizes(component, "Items")


def _may_be_hidden(component: Mapping[str, Any]) -> bool:
    return is_conditional(component) or any(component.get(key) for key in ("logic", "hidden"))


def _rule(component: Mapping[str, Any], name: str) -> Any:
    rules = component.get("validate")
    return rules.get(name) if isinstance(rules, Mapping) else None


def _unless_empty(real: Schema, *, must: bool) -> Schema:
    """`real`, or what clients send for a field that was left empty, which a required one may not be."""
    if must:
        return {"if": {"enum": ["", None, [], {}]}, "then": False, "else": real}
    if real is True:
        return True
    empty: list[Any] = ["", None]
    kind = real.get("type")
    if kind == "array":
        empty.append([])
    if kind == "object":
        empty.append({})
    return {"if": {"enum": empty}, "then": True, "else": real}


# --- values, by the type of their component -----------------------------------------------------------------------


def _text(component: Mapping[str, Any]) -> Schema:
    if component.get("as") in ("json", "object") or component.get("storeas") in ("json", "object"):
        return True
    parts = list(_form_patterns(component))
    return {"type": "string", **_sizes(component, "Length"), **({"allOf": parts} if parts else {})}


def _form_patterns(component: Mapping[str, Any]) -> Iterator[Schema]:
    """The rules of the form's own making that are patterns, as far as the engine takes them."""
    pattern = _rule(component, "pattern")
    if isinstance(pattern, str) and 0 < len(pattern) <= _LONGEST_PATTERN:
        told = _rule(component, "patternMessage") or _rule(component, "customMessage")
        told = told[:200] if isinstance(told, str) else f"a text of the form's pattern {pattern[:100]}"
        yield from _matching(f"^(?:{pattern})$", told)
    least, most = _count(_rule(component, "minWords")), _count(_rule(component, "maxWords"))
    if least is not None and 0 < least <= _MOST_WORDS:
        yield from _matching(rf"^\s*(?:\S+\s+){{{least - 1}}}\S+", f"at least {least} words")
    if most is not None and 0 < most <= _MOST_WORDS:
        yield from _matching(rf"^\s*(?:\S+\s+){{0,{most - 1}}}\S*\s*$", f"at most {most} words")


def _matching(pattern: str, description: str) -> Iterator[Schema]:
    from datacollect.features.forms.engine import validator  # noqa: PLC0415 - with the first form, see there

    try:
        validator({"pattern": pattern})
    except Exception:
        # Patterns are written for JavaScript; what this engine lacks (looking ahead, back-references) or finds too
        # large is left to the client.
        return
    then = {"pattern": pattern, "description": description}
    yield {"if": {"maxLength": _LONGEST_MATCHED}, "then": then}


def _shaped(pattern: str, description: str) -> Schema:
    return {"type": "string", "pattern": pattern, "description": description}


def _number(component: Mapping[str, Any]) -> Schema:
    whole = _rule(component, "integer") is True
    schema: dict[str, Any] = {"type": "integer" if whole else "number"}
    least, most = _numeral(_rule(component, "min")), _numeral(_rule(component, "max"))
    if least is not None:
        schema["minimum"] = least
    if most is not None:
        schema["maximum"] = most
    return schema


def _checkbox(component: Mapping[str, Any]) -> Schema:
    if component.get("inputType") == "radio" or component.get("name"):
        return True
    return {"type": "boolean"}


def _selectboxes(_: Mapping[str, Any]) -> Schema:
    choice = {"enum": [True, False, "", None], "description": "true or false"}
    return {"type": "object", "additionalProperties": choice, "description": "an object"}


def _ticked(kind: str, real: Schema) -> Schema:
    """Required boxes: of what is true or false, something must be true."""
    if real is not True and kind == "checkbox":
        return {"enum": [True], "description": "true: it must be ticked"}
    if kind == "selectboxes":
        return {**real, "not": {"additionalProperties": {"enum": [False, "", None]}}}
    return real


def _select(component: Mapping[str, Any]) -> Schema:
    source = component.get("data")
    if component.get("dataSrc", "values") not in ("values", "", None) or not isinstance(source, Mapping):
        return True
    return _choice(source.get("values"))


def _radio(component: Mapping[str, Any]) -> Schema:
    if component.get("dataSrc", "values") not in ("values", "", None):
        return True
    return _choice(component.get("values"))


def _choice(choices: Any) -> Schema:
    """One of the values, also as the number or boolean that clients make of a text, and the other way round."""
    values: list[Any] = [choice.get("value") for choice in items_of(choices) if isinstance(choice, Mapping)]
    values = [value for value in values if value is not None and value != ""]
    if not values or len(values) > _MOST_CHOICES or not all(map(_is_choice, values)):
        return True
    names = ", ".join(str(value)[:40] for value in values[:10]) + (", …" if len(values) > 10 else "")
    return {"enum": [alike for value in values for alike in _alike(value)], "description": f"one of: {names}"}


def _is_choice(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _alike(value: str | int | float) -> Iterator[Any]:
    yield value
    if isinstance(value, bool):
        yield str(value).lower()
    elif not isinstance(value, str):
        yield str(value)
    elif value in ("true", "false"):
        yield value == "true"
    elif (number := _numeral(value)) is not None:
        yield number


def _datetime(component: Mapping[str, Any]) -> Schema:
    if component.get("enableDate") is False or _of(component.get("widget"), "saveAs") == "text":
        return {"type": "string"}
    return _shaped(_DATE, "a date such as 2026-01-31 or 2026-01-31T08:30:00Z")


def _day(_: Mapping[str, Any]) -> Schema:
    return _shaped(_DAY, "a day such as 01/31/2026")


def _time(component: Mapping[str, Any]) -> Schema:
    if component.get("dataFormat", "HH:mm:ss") not in ("HH:mm:ss", "HH:mm"):
        return {"type": "string"}
    return _shaped(_TIME, "a time such as 08:30:00")


def _email(component: Mapping[str, Any]) -> Schema:
    return {**_shaped(_EMAIL, "an e-mail address"), **_lengths_apart(component)}


def _phone(component: Mapping[str, Any]) -> Schema:
    return {**_shaped(_PHONE, "a telephone number"), **_lengths_apart(component)}


def _url(component: Mapping[str, Any]) -> Schema:
    return {**_shaped(_URL, "a web address"), **_lengths_apart(component)}


def _lengths_apart(component: Mapping[str, Any]) -> dict[str, Any]:
    """The form's own rules on a text that has a shape already; apart, so that each is told in its own words."""
    parts = [*_form_patterns(component)]
    if sizes := _sizes(component, "Length"):
        parts.append(sizes)
    return {"allOf": parts} if parts else {}


def _tags(_: Mapping[str, Any]) -> Schema:
    return {"type": ["string", "array"], "items": {"type": "string"}, "description": "a list of texts, or one text"}


def _file(_: Mapping[str, Any]) -> Schema:
    return {"type": ["array", "object", "string"], "description": "a list of files"}


def _signature(_: Mapping[str, Any]) -> Schema:
    return {"type": "string"}


_VALUES = {
    "textfield": _text,
    "textarea": _text,
    "password": _text,
    "number": _number,
    "currency": _number,
    "checkbox": _checkbox,
    "selectboxes": _selectboxes,
    "select": _select,
    "radio": _radio,
    "datetime": _datetime,
    "day": _day,
    "time": _time,
    "email": _email,
    "phoneNumber": _phone,
    "url": _url,
    "tags": _tags,
    "file": _file,
    "signature": _signature,
}

_MULTIPLE = frozenset(_VALUES) - {"checkbox", "selectboxes", "radio", "day", "tags", "file", "signature"}


# --- reading rules that may hold anything -------------------------------------------------------------------------


def _sizes(component: Mapping[str, Any], what: str) -> dict[str, int]:
    """`minLength` and `maxLength`, which mean rows in a grid."""
    found = {f"min{what}": _count(_rule(component, "minLength")), f"max{what}": _count(_rule(component, "maxLength"))}
    # Form builders leave a 0 or nothing where no length is meant.
    return {name: size for name, size in found.items() if size}


def _count(value: Any) -> int | None:
    number = _numeral(value)
    return int(number) if number is not None and 0 <= number <= _LARGEST_LENGTH else None


def _numeral(value: Any) -> int | float | None:
    """A number, or a text that writes one, as form builders store them."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if abs(value) < 1e15 and math.isfinite(value) else None
    if isinstance(value, str) and _NUMERAL.fullmatch(value):
        return float(value) if "." in value else int(value)
    return None


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
