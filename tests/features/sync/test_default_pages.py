"""How many events come in a page whose reader names no number."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from datacollect.app import create_app
from tests.accounts import bearer
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_event, make_program, pull, pull_all, push

pytestmark = pytest.mark.anyio


async def test_an_operator_may_give_larger_pages_to_who_names_no_size(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path, None, PULL_PAGE_EVENTS=250))
    async with app.router.lifespan_context(app), asgi_client(app) as admin:
        answer = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        admin.headers.update(bearer(answer.json()["token"]))
        program = await make_program(admin)
        pushed = [make_event() for _ in range(601)]
        await push(admin, program, *pushed)
        sizes = []
        for asked in ({}, {"limit": 20}):
            sizes.append(len((await pull(admin, program, **asked)).json()["events"]))
        assert sizes == [250, 20]
        assert [event["guid"] for event in await pull_all(admin, program)] == [event["guid"] for event in pushed]


@pytest.mark.parametrize("size", [9, 1001])
def test_a_size_that_would_be_against_the_contract_or_too_much_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValidationError, match="PULL_PAGE_EVENTS"):
        make_settings(tmp_path, None, PULL_PAGE_EVENTS=size)
