"""Messages of a program, for tests: putting some in its outbox, and looking into it."""

from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from httpx2 import AsyncClient

from datacollect.features.messages import queries
from datacollect.features.messages.model import MessageId, NewMessage, Purpose, Stored
from datacollect.http.hub import Hub
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope, system_scope
from datacollect.kernel.ids import TenantId
from datacollect.messaging import Channel
from datacollect.testing.clock import TurnableClock
from datacollect.testing.remote import Answer, RemoteSystem, Request
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_program
from tests.messaging.servers import MailServer

PHONE = "+4915112345612"
MAIL = "ana.silva@people.test"
CODE = "738 204"
"""Written as nobody else writes digits, so that it is found wherever it is."""
MINUTES_5 = 300_000


def self_service(**changes: Any) -> dict[str, Any]:
    return {"enabled": True, "authMethods": ["otp"], "allowedForms": [], "requireReview": True} | changes


def make_message(now: Millis, **changes: Any) -> NewMessage:
    values: dict[str, Any] = {
        "channel": Channel.SMS,
        "address": PHONE,
        "purpose": Purpose.OTP,
        "text": f"{CODE} is your code.",
        "expires_at": Millis(now + MINUTES_5),
    }
    return NewMessage(**(values | changes))


@dataclass
class Box:
    """A program's outbox."""

    hub: Hub
    program: str

    @property
    def scope(self) -> TenantScope:
        return system_scope(TenantId(self.program))

    async def put(self, **changes: Any) -> MessageId:
        now = self.hub.clock.now()
        tenant = await self.hub.tenants.find(TenantId(self.program))
        assert tenant is not None
        async with self.hub.db.transaction(self.scope) as tx:
            message = make_message(now, **changes)
            return MessageId(await self.hub.messages.enqueue(tx, self.scope, tenant, message, now=now))

    async def look(self, message_id: MessageId) -> tuple[Stored, str | None]:
        async with self.hub.db.reading(self.scope) as view:
            found = await queries.find(view, self.scope, message_id)
        assert found is not None
        return found


async def make_box(admin: AsyncClient, hub: Hub, **section: Any) -> Box:
    return Box(hub, await make_program(admin, selfService=self_service(**section)))


@dataclass
class Gateway:
    """Takes everything, and notes it."""

    taken: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        self.taken.append(request)
        return Answer(202)

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.taken]


@dataclass
class Post:
    """A hub and the ways out of it."""

    app: FastAPI
    admin: AsyncClient
    system: RemoteSystem
    gateway: Gateway
    mail: MailServer
    clock: TurnableClock

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub

    async def box(self, **section: Any) -> Box:
        # Anew each time: the clock is turned by days.
        credentials = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        signed_in = await self.admin.post("/api/users/login", json=credentials)
        self.admin.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
        return await make_box(self.admin, self.hub, **section)

    async def deliver(self) -> None:
        """Do what is due."""
        await self.hub.jobs.drain()

    async def reset(self) -> None:
        """All is well, and what others have left has expired."""
        self.mail.replies.clear()
        self.system.faults.clear()
        self.clock.turn(seconds=2 * MINUTES_5 / 1000)
        await self.deliver()
        self.gateway.taken.clear()
        self.mail.mails.clear()
