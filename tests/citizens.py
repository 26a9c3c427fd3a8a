"""Citizens for tests: programs that let them in, and people who are signed in."""

from typing import Any

from httpx2 import AsyncClient

from datacollect.features.citizens.model import Holder
from datacollect.features.citizens.service import begin_session
from datacollect.http.hub import Hub
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.tenancy import SignIn
from tests.factories import make_event, make_program, push

ALL_METHODS = ("otp", "id", "oidc")


def self_service(*methods: str, **changes: Any) -> dict[str, Any]:
    """The section of a program's config, switched on."""
    return {
        "enabled": True,
        "authMethods": list(methods or ALL_METHODS),
        "allowedForms": [],
        "requireReview": False,
    } | changes


async def make_open_program(admin: AsyncClient, *methods: str, **changes: Any) -> str:
    """A program that lets citizens in; `changes` are those of its `selfService`."""
    return await make_program(admin, selfService=self_service(*methods, **changes))


async def make_citizen(admin: AsyncClient, program: str, **data: Any) -> str:
    """A person's record with that data; its guid."""
    event = make_event(data={"name": "Ana", "entityName": "individual"} | data)
    assert (await push(admin, program, event)).status_code == 200
    return str(event["entityGuid"])


async def change_citizen(admin: AsyncClient, program: str, guid: str, **data: Any) -> None:
    event = make_event("update-individual", entity=guid, data=data)
    assert (await push(admin, program, event)).status_code == 200


async def token_of(
    hub: Hub,
    program: str,
    guid: str,
    *,
    method: SignIn = SignIn.OTP,
    identifier: str | None = None,
    **factors: str,
) -> str:
    """A citizen's token, of somebody who has shown these factors."""
    tenant_id = TenantId(program)
    scope = system_scope(tenant_id)
    async with hub.db.transaction(scope) as tx:
        return await begin_session(
            tx,
            scope,
            hub.tokens,
            hub.peppers,
            Holder(guid, factors),
            method=method,
            identifier=identifier or next(iter(factors.values()), guid),
            now=hub.clock.now(),
        )
