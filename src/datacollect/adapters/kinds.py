"""What the registry knows of each kind of adapter."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from datacollect.adapters.options import AdapterOptions
from datacollect.adapters.port import Adapter
from datacollect.kernel.clock import Clock
from datacollect.outgoing import GuardedClient


class Capability(StrEnum):
    PUSH = "push"
    PULL = "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMapping:
    """A field of a form and its twin, and how a value of the one becomes a value of the other."""

    form_field: str
    remote_field: str
    transformer: str = "text"
    options: Mapping[str, Any] = field(default_factory=dict)


Owners = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]


async def _nobodys(_: Collection[str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an adapter is made with, beside its options."""

    client: GuardedClient
    """The only way out of the hub."""
    clock: Clock
    mappings: Sequence[FieldMapping] = ()
    form_types: Mapping[str, str] = field(default_factory=dict)
    """The program's forms: name to entity type (`individual`, `group`, `record`)."""
    owners: Owners = _nobodys
    """Whose twins the records with these keys are: our guid by the key there, of those that are somebody's. To be asked
    before anything is written into a twin that no link has led to: it may be another's by a merge, here or there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterKind:
    """A kind of adapter: what the entry point `datacollect.adapters` gives."""

    name: str
    """What `externalSync.type` of a config says."""
    label: str
    version: str
    capabilities: frozenset[Capability]
    options: type[AdapterOptions]
    """The schema of its settings, `url` included. Titles, descriptions and secret types are what a form is drawn from."""
    create: Callable[[Any, Context], Adapter]
    """Makes one of valid options. No call to the other system yet."""
    aliases: tuple[str, ...] = ()
    batch_size: int = 50
    """Records a call of `push` is handed at most, where the options say nothing (`batch_size`)."""
    identity: tuple[str, ...] = ("url",)
    """Options that say which system it is, by the names of the model: links and marks belong to these."""
    selection: tuple[str, ...] = ()
    """Options that say what of a record is exchanged, or which records, by the names of the model: when one has changed,
    all of them are looked at anew."""
    uses_mappings: bool = True
    """Whether the program's mappings say so as well."""
    event_user: str = "external-system"
    """The `userId` of the events that a pull makes."""
