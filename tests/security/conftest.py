"""What the attacker has: accounts of every kind, programs that are not theirs, and hubs of their own to break."""

from dataclasses import dataclass
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.accounts import Person, bearer, login, make_person
from tests.e2e.conftest import environment, migrated, postgres_url, run, serve
from tests.factories import make_event, make_program, push
from tests.features.conftest import alone, installation
from tests.security.canaries import Canaries

# Fixtures of the neighbours, under their own names.
__all__ = ["alone", "environment", "installation", "migrated", "postgres_url", "run", "serve"]


@dataclass
class Attacker:
    """Somebody who belongs to one program, `mine`, and wants into another, `theirs`, which holds one person."""

    admin: AsyncClient
    client: AsyncClient
    mine: str
    theirs: str
    victim: str

    async def headers(self, role: str | None = "enumerator", **override: Any) -> dict[str, str]:
        """Of a new account with that role in `mine`; `override` narrows what it may sync."""
        return bearer((await login(self.client, await self.account(role, **override)))["token"])

    async def account(self, role: str | None = "enumerator", **override: Any) -> Person:
        assignment = {"tenantId": self.mine, "role": role}
        if override:
            assignment["syncScopeOverride"] = override
        return await make_person(
            self.admin, tenantIds=[self.mine], roleAssignments=[assignment] if role is not None else []
        )

    async def counts(self) -> tuple[int, int]:
        """Entities in both programs: unchanged by an attack that failed."""
        found = [
            (await self.admin.get("/api/entities/count", params={"configId": program})).json()["count"]
            for program in (self.mine, self.theirs)
        ]
        return found[0], found[1]


@pytest.fixture
async def attacker(admin: AsyncClient, client: AsyncClient) -> Attacker:
    mine, theirs = await make_program(admin), await make_program(admin)
    event = make_event(data={"name": "Victim", "entityName": "individual", "nationalId": "N-1"})
    assert (await push(admin, theirs, event)).status_code == 200
    return Attacker(admin, client, mine, theirs, event["entityGuid"])


@pytest.fixture
def canary() -> Canaries:
    return Canaries()
