"""Small systems to try an exchange or a sign-in on, with something in them: what `datacollect stand-in` runs.

Each gives, once it listens, what a program's config says to find it.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from datacollect.testing.odoo import FakeOdoo
from datacollect.testing.oidc import OidcProvider
from datacollect.testing.openfn import OpenFnWorkflow
from datacollect.testing.openspp_v2 import OpenSppV2Registry

_SECRET = "try-it-out"
_CLIENT = "datacollect-app"
_TOKEN_SECONDS = 3600


class StandIn(StrEnum):
    OPENSPP_V1 = "openspp-v1"
    OPENSPP_V2 = "openspp-v2"
    OPENFN = "openfn"
    KEYCLOAK = "keycloak"


def running(system: StandIn, *, port: int) -> AbstractAsyncContextManager[Mapping[str, Any]]:
    """Serve it on 127.0.0.1 while the block lasts; 0 takes a free port. Raises `OSError` if it cannot listen."""
    return _SYSTEMS[system](port)


@contextlib.asynccontextmanager
async def _openspp_v1(port: int) -> AsyncIterator[Mapping[str, Any]]:
    with FakeOdoo(port=port) as odoo:
        odoo.add_user("datacollect", _SECRET)
        odoo.add_partner(name="Maria Santos", birthdate="1990-05-01", gender="female", phone="+15550111")
        odoo.add_partner(name="Santos household", is_group=True)
        login = {"database": odoo.database, "username": "datacollect", "password": _SECRET, "batchDelayMs": 0}
        yield _exchange("openspp-v1-adapter", odoo.url, login, name="name", birthDate="birthdate", sex="gender")


@contextlib.asynccontextmanager
async def _openspp_v2(port: int) -> AsyncIterator[Mapping[str, Any]]:
    with OpenSppV2Registry(client_id="datacollect", client_secret=_SECRET, port=port) as registry:
        maria = registry.add_person(given="Maria", family="Santos", birthDate="1990-05-01")
        registry.join(registry.add_group(name="Santos household"), maria, "head")
        login = {"clientId": "datacollect", "clientSecret": _SECRET, "batchDelayMs": 0}
        yield _exchange("openspp-v2-adapter", registry.url, login, birthDate="birthDate", sex="gender")


@contextlib.asynccontextmanager
async def _openfn(port: int) -> AsyncIterator[Mapping[str, Any]]:
    with OpenFnWorkflow(api_key=_SECRET, port=port) as workflow:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        workflow.give({"id": "intake-204", "entityName": "individual", "timestamp": now, "name": "Maria Santos"})
        yield _exchange("openfn-adapter", workflow.url, {"apiKey": _SECRET})


@contextlib.asynccontextmanager
async def _keycloak(port: int) -> AsyncIterator[Mapping[str, Any]]:
    async with OidcProvider.running(port=port, path="/realms/field") as provider:
        fields = {"authority": provider.authority, "client_id": _CLIENT, "default_role": "enumerator"}
        claims: dict[str, Any] = {
            "email": "ada@example.org",
            "email_verified": True,
            "exp": int(time.time()) + _TOKEN_SECONDS,
        }
        yield {
            "config": {"authConfigs": [{"type": "keycloak", "fields": fields}]},
            "accessToken": provider.access_token("ada", azp=_CLIENT, **claims),
            "idToken": provider.id_token("ada", aud=_CLIENT, **claims),
        }


def _exchange(kind: str, url: str, options: Mapping[str, Any], **fields: str) -> Mapping[str, Any]:
    """`fields` are those of the example's forms, each with its name there."""
    mappings = [{"formField": ours, "opensppField": theirs} for ours, theirs in fields.items()]
    return {"config": {"externalSync": {"type": kind, "url": url, "adapterConfig": options, "fieldMappings": mappings}}}


_SYSTEMS: Mapping[StandIn, Callable[[int], AbstractAsyncContextManager[Mapping[str, Any]]]] = {
    StandIn.OPENSPP_V1: _openspp_v1,
    StandIn.OPENSPP_V2: _openspp_v2,
    StandIn.OPENFN: _openfn,
    StandIn.KEYCLOAK: _keycloak,
}
