"""Which kinds of adapters there are: those of the hub, and those that installed packages bring.

A package names an `AdapterKind` under the entry-point group `datacollect.adapters`. One that cannot be loaded is logged
and left out: a hub does not stay down because of an extension that most of its programs do not use. Two of one name stop
the start, because which of them a program gets must not depend on the order of an installation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog

from datacollect.adapters.builtin import BUILT_IN
from datacollect.adapters.errors import UnknownAdapter
from datacollect.adapters.kinds import AdapterKind, Context
from datacollect.adapters.options import AdapterOptions, form_fields, json_schema
from datacollect.adapters.port import Adapter
from datacollect.kernel.errors import StartupError

GROUP = "datacollect.adapters"

_log = structlog.get_logger(component="adapters")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A kind of adapter as clients are told of it."""

    kind: AdapterKind
    schema: Mapping[str, Any]
    fields: tuple[Mapping[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        kind = self.kind
        return {
            "type": kind.name,
            "label": kind.label,
            "version": kind.version,
            "aliases": list(kind.aliases),
            "capabilities": sorted(kind.capabilities),
            "fields": list(self.fields),
            "configSchema": self.schema,
        }


class AdapterRegistry:
    """Kinds by name. An alias finds its kind, unless there is one of that very name."""

    def __init__(self, kinds: Iterable[AdapterKind] = ()) -> None:
        self._kinds: dict[str, AdapterKind] = {}
        self._described: dict[str, Descriptor] = {}
        for kind in kinds:
            self.register(kind)

    def register(self, kind: AdapterKind) -> None:
        """Add a kind, in place of one of the same name. Raises `ValueError` for one that cannot be used."""
        _require_usable(kind)
        self._kinds[kind.name] = kind
        self._described.pop(kind.name, None)

    def find(self, name: str) -> AdapterKind | None:
        return self._kinds.get(name) or next((kind for kind in self._kinds.values() if name in kind.aliases), None)

    def get(self, name: str) -> AdapterKind:
        """Raises `UnknownAdapter`, which lists the known ones."""
        kind = self.find(name)
        if kind is None:
            raise UnknownAdapter(name, self.types())
        return kind

    def has(self, name: str) -> bool:
        return self.find(name) is not None

    def types(self) -> list[str]:
        """In the order of registration."""
        return list(self._kinds)

    def create(self, name: str, options: AdapterOptions, context: Context) -> Adapter:
        """A new one each time."""
        return self.get(name).create(options, context)

    def describe(self, name: str) -> Descriptor:
        """Made from the kind alone: no adapter is created for it."""
        kind = self.get(name)
        if kind.name not in self._described:
            fields = tuple(field.as_json() for field in form_fields(kind.options))
            self._described[kind.name] = Descriptor(kind, json_schema(kind.options), fields)
        return self._described[kind.name]


@cache
def installed() -> AdapterRegistry:
    """All kinds of this installation. Looked for once per process."""
    return load(entry_points(group=GROUP))


def load(found: Iterable[EntryPoint]) -> AdapterRegistry:
    registry = AdapterRegistry(BUILT_IN)
    for entry in sorted(found, key=lambda entry: entry.name):
        kind = _loaded(entry)
        if kind is None:
            continue
        for name in (kind.name, *kind.aliases):
            if taken := registry.find(name):
                raise StartupError(f"Two adapters are called {name}: {taken.label}, and {kind.label} of {entry.value}.")
        registry.register(kind)
    return registry


def _loaded(entry: EntryPoint) -> AdapterKind | None:
    try:
        kind = entry.load()
        if not isinstance(kind, AdapterKind):
            raise TypeError("is no AdapterKind")
        _require_usable(kind)
    except Exception as error:  # whatever a package does when it is imported
        _log.error("adapter.left_out", entry=entry.name, value=entry.value, error=type(error).__name__)
        return None
    return kind


def _require_usable(kind: AdapterKind) -> None:
    if not (kind.name and kind.version and kind.capabilities):
        raise ValueError("an adapter needs a name, a version and at least one capability")
    if not callable(kind.create):
        raise ValueError(f"the adapter {kind.name} cannot be created: `create` is not callable")
    if not issubclass(kind.options, AdapterOptions):
        raise ValueError(f"the options of the adapter {kind.name} are no AdapterOptions")
