"""A program that lets citizens in, somebody of it, and a client of theirs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.citizens import make_citizen, self_service, token_of
from tests.conftest import asgi_client
from tests.factories import make_program

PHONE = "+1555"
PERSON: dict[str, Any] = {
    "id": "f1",
    "name": "individual",
    "title": "Person",
    "dependsOn": "household",
    "formio": {
        "components": [
            {"type": "textfield", "key": "name", "label": "Name", "validate": {"required": True}},
            {"type": "textfield", "key": "village", "label": "Village"},
            {"type": "phoneNumber", "key": "phone", "label": "Phone"},
            {"type": "number", "key": "age", "label": "Age", "validate": {"min": 0}},
        ],
        "i18n": {"fr": {"Person": "Personne", "Village": "Village ou quartier", "Update Profile": "Mes données"}},
    },
}
HOUSEHOLD: dict[str, Any] = {"id": "f0", "name": "household", "title": "Household", "formio": {"components": []}}
BIRTH: dict[str, Any] = {
    "id": "f2",
    "name": "birth",
    "title": "Birth",
    "entityType": "record",
    "formio": {"components": [{"type": "textfield", "key": "child", "validate": {"required": True}}]},
}
DATA = {"name": "Ana", "village": "Hoa Binh", "phone": PHONE, "score": 12, "area_id": "cedar-bay"}


@dataclass
class Citizen:
    """Somebody who is signed in."""

    program: str
    guid: str
    client: AsyncClient

    async def submit(self, form: str = "individual", /, guid: str | None = None, **data: Any) -> Any:
        body: dict[str, Any] = {"formType": form, "formData": data}
        return await self.client.post(
            "/api/auth/self-service/submit", json=body if guid is None else body | {"submissionGuid": guid}
        )

    async def get(self, path: str, **more: Any) -> Any:
        return await self.client.get(f"/api/auth/self-service/{path}", **more)

    async def entity(self, **more: Any) -> Any:
        answer = await self.get("entity", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submissions(self, **parameters: Any) -> list[dict[str, Any]]:
        answer = await self.get("submissions", params=parameters)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["submissions"]
        return found


MakeCitizen = Callable[..., Awaitable[Citizen]]


@pytest.fixture
async def citizen_of(app: FastAPI, hub: Hub) -> AsyncIterator[Callable[[str, str], Awaitable[Citizen]]]:
    async with AsyncExitStack() as stack:

        async def sign_in(program: str, guid: str, **factors: str) -> Citizen:
            token = await token_of(hub, program, guid, **({"phone": PHONE} | factors))
            return Citizen(program, guid, await stack.enter_async_context(asgi_client(app, token)))

        yield sign_in


@pytest.fixture
def citizen(admin: AsyncClient, citizen_of: Callable[[str, str], Awaitable[Citizen]]) -> MakeCitizen:
    """Make a program and somebody of it; the arguments are those of `selfService`, `config` is of the program."""

    async def make(
        *, config: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **section: Any
    ) -> Citizen:
        forms = {"entityForms": [HOUSEHOLD, PERSON, BIRTH]}
        settings = self_service(**({"allowedForms": ["individual", "birth"], "languages": ["en", "fr"]} | section))
        program = await make_program(admin, **({**forms, "selfService": settings} | (config or {})))
        return await citizen_of(program, await make_citizen(admin, program, **(DATA | (data or {}))))

    return make
