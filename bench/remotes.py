"""Other systems for the hub to exchange records with: the fakes that the adapters are tested against."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from datacollect.kernel.clock import Millis, SystemClock, format_timestamp
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.openfn import OpenFnWorkflow
from datacollect.testing.openspp_v2 import OpenSppV2Registry
from datacollect.testing.remote import Late, RemoteSystem

# What a hub needs to call a fake on this machine.
SETTINGS = {"ALLOWED_PRIVATE_HOSTS": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Remote:
    """A running fake."""

    system: RemoteSystem
    section: Mapping[str, Any]
    """What a program's `externalSync` says of it."""
    held: Callable[[], Counter[str]]
    """How many records it has for each of ours."""
    make: Callable[[int], None]
    """Make so many people there, of whom the hub knows nothing."""
    slow_seconds: float = 0.005
    """Of each answer, where a push of thousands is to last for some seconds: more for those who are sent many at once."""

    def slow_down(self) -> None:
        self.system.faults.add(Late(self.slow_seconds), times=None)

    def twins(self) -> dict[str, int]:
        """Of which of our records there is more than one."""
        return {record: count for record, count in self.held().items() if count != 1}


@contextlib.contextmanager
def openfn() -> Iterator[Remote]:
    with OpenFnWorkflow(paging="cursor", page_size=500) as workflow:
        workflow.keeps_log = False

        def held() -> Counter[str]:
            # A record that was done twice, by the workflow's own account, is two.
            return Counter([*workflow.records, *workflow.doubled])

        def make(count: int) -> None:
            begin = SystemClock().now() - count
            workflow.give(
                *(
                    {
                        "type": "create-individual",
                        "entityGuid": f"there-{number}",
                        "timestamp": format_timestamp(Millis(begin + number)),
                        "data": {"entityName": "individual", "name": f"Person {number}"},
                    }
                    for number in range(count)
                )
            )

        section = {
            "type": "openfn-adapter",
            "url": workflow.url,
            "adapterConfig": {"apiKey": workflow.api_key, "batchSize": 100},
        }
        yield Remote(workflow, section, held, make, slow_seconds=0.1)


@contextlib.contextmanager
def mock() -> Iterator[Remote]:
    registry = MockRegistry(client_id="hub", client_secret="secret-of-the-hub")

    def held() -> Counter[str]:
        # By card number, which no two of our records share: a twin would have another identifier.
        attributes = (person.get("attributes") or {} for person in registry.persons())
        return Counter(one["cardNumber"] for one in attributes if "cardNumber" in one)

    def make(count: int) -> None:
        for number in range(count):
            registry.add_person(given_name=f"Person {number}", family_name="Of There")

    with RemoteSystem(registry.handle) as system, contextlib.closing(registry):
        system.keeps_log = False
        config = {"clientId": "hub", "clientSecret": "secret-of-the-hub"}
        yield Remote(system, {"type": "mock", "url": system.url, "adapterConfig": config}, held, make)


@contextlib.contextmanager
def openspp_v1() -> Iterator[Remote]:
    with FakeOdoo() as odoo:
        odoo.keeps_log = False
        odoo.add_user("hub", "secret-of-the-hub")

        def held() -> Counter[str]:
            return Counter(row["name"] for row in odoo.partners() if not row["name"].startswith(_THERE))

        def make(count: int) -> None:
            for number in range(count):
                odoo.add_partner(name=f"{_THERE} {number}")

        login = {"database": odoo.database, "username": "hub", "password": "secret-of-the-hub"}
        config = {**login, "batchDelayMs": 0, "writeSeconds": 5}
        section = {
            "type": "openspp-v1-adapter",
            "url": odoo.url,
            "adapterConfig": config,
            "fieldMappings": [_mapped("name", "name")],
        }
        yield Remote(odoo, section, held, make, slow_seconds=0.1)


@contextlib.contextmanager
def openspp_v2() -> Iterator[Remote]:
    with OpenSppV2Registry() as registry:
        registry.system.keeps_log = False

        def held() -> Counter[str]:
            given = (person.fields["name"]["given"] for person in registry.people)
            return Counter(name for name in given if not name.startswith(_THERE))

        def make(count: int) -> None:
            for number in range(count):
                registry.add_person(
                    identifiers={"urn:openspp:vocab:id-type#system_id": f"there-{number}"},
                    given=f"{_THERE} {number}",
                    family="Of There",
                )

        section = {
            "type": "openspp-v2-adapter",
            "url": registry.url,
            "adapterConfig": {"clientId": "dc", "clientSecret": "s3cret", "batchDelayMs": 0, "writeSeconds": 5},
            "fieldMappings": [_mapped("name", "name.given"), _mapped("familyName", "name.family")],
        }
        yield Remote(registry.system, section, held, make)


_THERE = "Person"
"""How people who were made there are called, and none of ours is."""


def _mapped(ours: str, theirs: str) -> dict[str, str]:
    return {"formField": ours, "opensppField": theirs}


REMOTES: Mapping[str, Callable[[], AbstractContextManager[Remote]]] = {
    "mock": mock,
    "openspp-v1": openspp_v1,
    "openspp-v2": openspp_v2,
    "openfn": openfn,
}


@contextlib.contextmanager
def dead_end() -> Iterator[Remote]:
    """Accepts connections and never answers."""
    with openfn() as remote:
        remote.system.faults.add(Late(24 * 3600), times=None)
        yield remote
