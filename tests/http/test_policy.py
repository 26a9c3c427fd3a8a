"""A route is open to nobody until it says to whom, and says so once."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI
from httpx2 import AsyncClient

import datacollect.app as composition
from datacollect.app import create_app
from datacollect.http.feature import Feature
from datacollect.http.policy import PUBLIC, CurrentAdmin, CurrentUser, InSync, operations_of
from datacollect.kernel.errors import StartupError
from datacollect.kernel.identity import Action
from datacollect.kernel.permission import Callers
from tests.conftest import make_settings
from tests.factories import new_id

pytestmark = pytest.mark.anyio


def careless(**options: object) -> APIRouter:
    router = APIRouter(prefix="/api/careless")

    @router.get("", **options)  # type: ignore[arg-type]
    async def anything() -> str:
        return "everybody's data"

    return router


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "no policy"),
        ({"dependencies": [PUBLIC, Depends(InSync(Action.READ))]}, "more than one policy"),
        ({"include_in_schema": False}, "no policy"),
    ],
)
def test_a_route_without_one_policy_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, object], problem: str
) -> None:
    features = (*composition.FEATURES, Feature(name="careless", router=careless(**options)))
    monkeypatch.setattr(composition, "FEATURES", features)
    with pytest.raises(StartupError, match=f"GET /api/careless declares {problem}"):
        create_app(make_settings(tmp_path, None))


def test_what_is_mounted_beside_the_routes_stops_the_start() -> None:
    app = FastAPI(openapi_url=None)
    app.mount("/files", FastAPI(openapi_url=None))
    with pytest.raises(StartupError, match="/files declares no policy"):
        list(operations_of(app))


def test_a_policy_counts_once_however_often_a_route_depends_on_it() -> None:
    app = FastAPI(openapi_url=None)

    def who(actor: CurrentUser) -> CurrentUser:
        return actor

    @app.get("/twice")
    async def twice(actor: CurrentUser, again: Annotated[object, Depends(who)]) -> None: ...

    @app.get("/two")
    async def two(actor: CurrentUser, admin: CurrentAdmin) -> None: ...

    found = operations_of(app)
    assert next(found).permission.callers is Callers.STAFF
    with pytest.raises(StartupError, match="GET /two declares more than one policy"):
        next(found)


async def test_a_stranger_cannot_tell_a_foreign_an_archived_and_an_unknown_program_apart(
    client: AsyncClient, admin: AsyncClient
) -> None:
    from tests.accounts import bearer, login, make_person

    foreign, archived = new_id("p"), new_id("p")
    for program in (foreign, archived):
        assert (await admin.post("/api/apps", json={"id": program, "name": "P"})).status_code == 200
    await admin.delete(f"/api/apps/{archived}")
    headers = bearer((await login(client, await make_person(admin)))["token"])
    for path in ("/api/sync/pull", "/api/conflicts", "/api/sync/quarantine", "/api/entities", "/api/integrity"):
        answers = set()
        for program in (foreign, archived, new_id("nowhere")):
            answer = await client.get(path, params={"configId": program}, headers=headers)
            answers.add((answer.status_code, answer.json()["code"], answer.json()["error"]))
        assert answers == {(403, "TENANT_ACCESS_DENIED", "Forbidden: No access to this tenant")}, path
