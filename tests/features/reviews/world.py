"""Programs with people in them, and what they do about reviews."""

from dataclasses import dataclass, field
from typing import Any

from httpx2 import AsyncClient, Response

from datacollect.features.reviews import queries
from datacollect.features.reviews.model import Policy, PolicyRow
from datacollect.http.hub import Hub
from datacollect.kernel.identity import Role, system_scope
from datacollect.kernel.ids import TenantId, new_guid
from tests.accounts import Person, bearer, login, make_person
from tests.factories import make_event, make_program

AREA_A, AREA_B = "area-a", "area-b"


@dataclass
class Staff:
    """Somebody of a program, signed in."""

    client: AsyncClient
    program: str
    person: Person
    headers: dict[str, str] = field(repr=False)

    @property
    def email(self) -> str:
        return self.person.email

    async def submit(self, event: dict[str, Any] | None = None, **body: Any) -> Response:
        sent = {"tenantId": self.program, "formData": event or make_event()} | body
        return await self.client.post("/api/reviews/submit", json=sent, headers=self.headers)

    async def submitted(self, event: dict[str, Any] | None = None, **body: Any) -> Any:
        answer = await self.submit(event, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()["review"]

    async def do(self, review: Any, what: str, **body: Any) -> Response:
        id = review if isinstance(review, str) else review["id"]
        return await self.client.post(f"/api/reviews/{id}/{what}", json=body, headers=self.headers)

    async def done(self, review: Any, what: str, **body: Any) -> Any:
        answer = await self.do(review, what, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def list(self, **query: Any) -> Any:
        asked = {"tenantId": self.program} | query
        answer = await self.client.get("/api/reviews", params=asked, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def reviews(self, **query: Any) -> Any:
        return (await self.list(**query))["reviews"]

    async def get(self, review: Any, what: str = "") -> Response:
        return await self.client.get(f"/api/reviews/{review['id']}{what}", headers=self.headers)

    async def bulk(self, *reviews: Any, **body: Any) -> Response:
        ids = [one if isinstance(one, str) else one["id"] for one in reviews]
        return await self.client.post("/api/reviews/bulk-approve", json={"reviewIds": ids} | body, headers=self.headers)

    async def entity(self, guid: str) -> Any:
        answer = await self.client.get(f"/api/entities/{guid}", params={"configId": self.program}, headers=self.headers)
        return answer.json() if answer.status_code == 200 else None


async def make_staff(admin: AsyncClient, client: AsyncClient, *roles: tuple[str, str], **override: Any) -> Staff:
    """An account with a role in each of these programs; it speaks about the first one."""
    assignments = [{"tenantId": program, "role": role} | override for program, role in roles]
    programs = [program for program, _ in roles]
    person = await make_person(admin, tenantIds=programs, roleAssignments=assignments)
    token = (await login(client, person))["token"]
    return Staff(client, programs[0], person, bearer(token))


async def set_policy(admin: AsyncClient, program: str, event_type: str, policy: str, **body: Any) -> Response:
    if policy == "internal-review":
        body = {"requiredRole": "supervisor"} | body
    return await admin.put(f"/api/reviews/config/{program}/{event_type}", json={"policy": policy} | body)


@dataclass
class World:
    """A program in which people are registered and changed after a review."""

    admin: AsyncClient
    client: AsyncClient
    program: str
    agent: Staff
    supervisor: Staff

    async def staff(self, role: str, **override: Any) -> Staff:
        return await make_staff(self.admin, self.client, (self.program, role), **override)


REVIEWED = ("create-individual", "update-individual", "delete-entity", "create-group", "update-group", "create-record")


async def make_world(hub: Hub, admin: AsyncClient, client: AsyncClient, **config: Any) -> World:
    program = await make_program(admin, **config)
    await _review_everything(hub, program)
    agent = await make_staff(admin, client, (program, "enumerator"))
    return World(admin, client, program, agent, await make_staff(admin, client, (program, "supervisor")))


async def _review_everything(hub: Hub, program: str) -> None:
    """As `set_policy` for each type, but in one unit of work: most tests begin with it."""
    scope = system_scope(TenantId(program))
    async with hub.db.transaction(scope) as tx:
        for event_type in REVIEWED:
            policy = PolicyRow(new_guid(), event_type, Policy.INTERNAL_REVIEW, Role.SUPERVISOR)
            await queries.store_policy(tx, scope, policy, now=hub.clock.now())
