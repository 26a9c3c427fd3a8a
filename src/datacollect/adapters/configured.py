"""Reads the section `externalSync` of a config, in each of the forms in which configs in use have it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec
from pydantic import ValidationError

from datacollect.adapters.errors import Misconfigured, Problem
from datacollect.adapters.kinds import AdapterKind, FieldMapping
from datacollect.adapters.options import AdapterOptions, problems_path, wire_name
from datacollect.adapters.registry import AdapterRegistry, installed

_MAPPINGS = "fieldMappings"


@dataclass(frozen=True, slots=True)
class Configured:
    """A program's way to another system: all that an adapter is made of."""

    kind: AdapterKind
    options: AdapterOptions
    mappings: tuple[FieldMapping, ...]
    left_out: tuple[Problem, ...] = ()
    """Mappings that name no field on one side, as forms send rows that nobody filled in: they map nothing."""


def read_external_sync(section: Mapping[str, Any] | None, registry: AdapterRegistry | None = None) -> Configured | None:
    """None if the program is not to exchange with anything: no section, or one without `type` or `url`.

    Raises `Misconfigured`, which names the adapter and every place that is wrong, and quotes no value.
    """
    if not is_configured(section):
        return None
    kind = (registry or installed()).get(section["type"])
    problems: list[Problem] = []
    left_out: list[Problem] = []
    mappings = _mappings(section, problems, left_out)
    options = _options(kind, section, problems)
    if options is None or problems:
        raise Misconfigured(kind.name, problems)
    return Configured(kind, options, mappings, tuple(left_out))


def is_configured(section: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return bool(section and _text(section.get("type")) and _text(section.get("url")))


def options_of(section: Mapping[str, Any]) -> dict[str, Any]:
    """The effective options: `url`, `adapterConfig`, and each of `extraFields` whose name is not set there.

    What is null or an empty text counts as not set: forms send those for what nobody filled in.
    """
    config = section.get("adapterConfig")
    given = dict(_extra_fields(section.get("extraFields")))
    # A key that is there counts, whatever it holds: an option that was emptied does not come back from the older form.
    given |= config if isinstance(config, Mapping) else {}
    given["url"] = section.get("url")
    given.pop(_MAPPINGS, None)
    return {name: value for name, value in given.items() if value is not None and value != ""}


def _extra_fields(fields: Any) -> Iterator[tuple[str, Any]]:
    """An array of names and values, or (v1) an object that has them as its members."""
    if isinstance(fields, Mapping):
        yield from fields.items()
    elif isinstance(fields, list):
        for field in fields:
            if isinstance(field, Mapping) and _text(field.get("name")):
                yield field["name"], field.get("value")


def _options(kind: AdapterKind, section: Mapping[str, Any], problems: list[Problem]) -> AdapterOptions | None:
    try:
        return kind.options.model_validate(options_of(section))
    except ValidationError as invalid:
        names = {name: wire_name(name, info) for name, info in kind.options.model_fields.items()}
        for error in invalid.errors(include_url=False, include_input=False, include_context=False):
            path = problems_path(error["loc"], names)
            said = "is required" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
            problems.append(Problem(path if path == ("url",) else ("adapterConfig", *path), said))
        return None


def _mappings(section: Mapping[str, Any], problems: list[Problem], left_out: list[Problem]) -> tuple[FieldMapping, ...]:
    """From the top level, else from an option or an extra field of that name, as an array or as its JSON."""
    listed = _listed(section, problems)
    read = (_mapping(one, (_MAPPINGS, place), problems, left_out) for place, one in enumerate(listed))
    return tuple(mapping for mapping in read if mapping)


def _listed(section: Mapping[str, Any], problems: list[Problem]) -> list[Any]:
    config = section.get("adapterConfig")
    older = dict(_extra_fields(section.get("extraFields"))) | (dict(config) if isinstance(config, Mapping) else {})
    listed = section.get(_MAPPINGS) or older.get(_MAPPINGS) or []
    if isinstance(listed, str):
        try:
            listed = msgspec.json.decode(listed)
        except msgspec.DecodeError:
            listed = None
    if not isinstance(listed, list):
        problems.append(Problem((_MAPPINGS,), "must be an array, or the JSON of one"))
        return []
    return listed


def _mapping(
    one: Any, path: tuple[str | int, ...], problems: list[Problem], left_out: list[Problem]
) -> FieldMapping | None:
    if not isinstance(one, Mapping):
        problems.append(Problem(path, "must be an object"))
        return None
    ours, theirs = one.get("formField"), one.get("opensppField") or one.get("remoteField")
    if not (_text(ours) and _text(theirs)):
        name = "opensppField" if _text(ours) else "formField"
        left_out.append(Problem((*path, name), "names no field: the mapping maps nothing"))
        return None
    transformer = one.get("transformer") or {}
    if not isinstance(transformer, Mapping):
        problems.append(Problem((*path, "transformer"), "must be an object"))
        return None
    options = transformer.get("options")
    return FieldMapping(
        form_field=ours,
        remote_field=theirs,
        transformer=transformer["type"] if _text(transformer.get("type")) else "text",
        options=options if isinstance(options, Mapping) else {},
    )


def _text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
