"""Who is who: the identifier by which a record of ours and a registrant of OpenSPP are known to be the same.

A registrant we create carries our record's guid under the configured type. One that the registry made is known by its
identifier of that type, or else by the first one of the registry's own namespace. Foreign namespaces never count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacollect.adapters.openspp_v2.client import objects
from datacollect.adapters.openspp_v2.options import OpenSppV2Options
from datacollect.adapters.port import Link, RecordType
from datacollect.kernel.ids import is_uuid_text

RESOURCES = {RecordType.INDIVIDUAL: "Individual", RecordType.GROUP: "Group"}
TYPE_KEY = "identifierType"
"""In a link's state: the code of the identifier's type."""
_SYSTEM_ID = "system_id"


@dataclass(frozen=True, slots=True)
class Key:
    """An identifier: the code of its type, without the namespace, and its value."""

    code: str
    value: str


class Identifiers:
    def __init__(self, options: OpenSppV2Options) -> None:
        self._namespace = options.identifier_namespace
        person = self._code(options.identifier_type)
        self._codes = {
            RecordType.INDIVIDUAL: person,
            RecordType.GROUP: self._code(options.group_identifier_type or options.identifier_type),
        }
        self._bare = person

    def system(self, key: Key) -> str:
        return self._namespace + key.code

    @property
    def vocabulary(self) -> str:
        """The system without a type, as requests for programmes want it."""
        return self._namespace.partition("#")[0]

    def text(self, key: Key) -> str:
        """As paths and references hold it, not yet escaped."""
        return f"{self.system(key)}|{key.value}"

    def own(self, type: RecordType, guid: str) -> Key:
        return Key(self._codes[type], guid)

    def rebound(self, type: RecordType, key: Key) -> Key | None:
        """The same value under the type configured now, if that is another one."""
        return None if key.code == self._codes[type] else Key(self._codes[type], key.value)

    def of_resource(self, type: RecordType, resource: Mapping[str, Any]) -> Key | None:
        """The one that counts; the same one whatever the order in which the registry tells them."""
        keys = self._keys(resource)
        configured = [key for key in keys if key.code == self._codes[type]]
        if configured:
            return min(configured, key=lambda key: (not is_uuid_text(key.value), key.value))
        return min(keys, key=lambda key: (key.code != _SYSTEM_ID, key.code, key.value), default=None)

    def guid(self, type: RecordType, resource: Mapping[str, Any]) -> str | None:
        """Our record's guid, if the registrant carries one. What identifies people elsewhere is never taken for one: values
        of registries' own numbering (national ids, household numbers) do not look like it."""
        codes = (self._codes[type], _SYSTEM_ID)
        values = [key.value for code in codes for key in self._keys(resource) if key.code == code]
        return next((value for value in values if is_uuid_text(value)), None)

    def external_id(self, key: Key) -> str:
        """Unique in a program: with its type in front, unless that is the usual one."""
        return key.value if key.code == self._bare else f"{key.code}|{key.value}"

    def of_link(self, type: RecordType, link: Link) -> Key:
        code = link.state.get(TYPE_KEY)
        if not isinstance(code, str) or not code:
            code, found, value = link.external_id.partition("|")
            return Key(code, value) if found else Key(self._codes[type], link.external_id)
        code = self._code(code)
        return Key(code, link.external_id.removeprefix(f"{code}|"))

    def reference(self, key: Key) -> str:
        """To an individual, as groups hold it."""
        return f"Individual/{self.text(key)}"

    def of_reference(self, reference: Any) -> Key | None:
        """From `Individual/<system>|<value>`; None for what is no individual of this namespace and the usual type."""
        if not isinstance(reference, str):
            return None
        system, found, value = reference.removeprefix("Individual/").partition("|")
        code = self._code(system)
        is_ours = reference.startswith("Individual/") and system.startswith(self._namespace) and code == self._bare
        return Key(code, value) if found and value and is_ours else None

    def wire(self, key: Key) -> dict[str, str]:
        return {"system": self.system(key), "value": key.value}

    def _code(self, text: str) -> str:
        return text.removeprefix(self._namespace)

    def _keys(self, resource: Mapping[str, Any]) -> Sequence[Key]:
        found = []
        for one in objects(resource.get("identifier")):
            system, value = one.get("system"), one.get("value")
            if isinstance(system, str) and system.startswith(self._namespace) and isinstance(value, str) and value:
                found.append(Key(self._code(system), value))
        return found
