"""A hub with a mail server and a gateway of its own, whose messages are sent when a test says so."""

from collections.abc import AsyncIterator

import pytest

from datacollect.app import create_app
from datacollect.testing.clock import TurnableClock
from datacollect.testing.remote import RemoteSystem
from tests.conftest import ENGINES, Migrated, asgi_client, make_settings
from tests.features.messages.outbox import Gateway, Post
from tests.messaging.servers import mail_server


@pytest.fixture(scope="package", params=ENGINES)
async def post_office(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Post]:
    gateway, clock, folder = Gateway(), TurnableClock(), tmp_path_factory.mktemp("posting")
    async with migrated_once.database(request.param, request, folder) as url, mail_server() as mail:
        with RemoteSystem(gateway) as system:
            settings = make_settings(
                folder,
                url,
                # Nobody sends by themselves: `Post.deliver` does.
                JOBS_AT_ONCE=0,
                SMTP_URL=f"smtp://127.0.0.1:{mail.port}",
                SMTP_FROM="noreply@hub.test",
                SMS_GATEWAY_URL=system.url,
                ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            )
            app = create_app(settings, clock=clock)
            async with app.router.lifespan_context(app), asgi_client(app) as admin:
                yield Post(app, admin, system, gateway, mail, clock)


@pytest.fixture
async def post(post_office: Post) -> AsyncIterator[Post]:
    await post_office.reset()
    yield post_office
    post_office.system.faults.clear()
