"""Whoever tries whatever with whichever review: nothing happens, and nothing is told, but what their role in the review's
own program allows. HUB_REVIEW_TRIES says how often."""

import os
import random
from dataclasses import dataclass
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.factories import make_event, make_program
from tests.features.reviews.world import REVIEWED, Staff, make_staff, set_policy

pytestmark = pytest.mark.anyio

TRIES = int(os.environ.get("HUB_REVIEW_TRIES", "75"))
LEVELS = {"viewer": 1, "enumerator": 2, "supervisor": 3, "program-admin": 4, "system-admin": 5}
ROLES = (*LEVELS, None)
DECISIONS = {
    "approve": {},
    "reject": {"reason": "x"},
    "request-changes": {"comment": "x"},
    "comments": {"comment": "x"},
}


@dataclass
class Somebody:
    staff: Staff
    roles: dict[str, str | None]

    def level(self, program: str) -> int:
        return LEVELS.get(self.roles[program] or "", 0)


async def make_people(
    admin: AsyncClient, client: AsyncClient, programs: list[str], dice: random.Random
) -> list[Somebody]:
    people = []
    for _ in range(8):
        roles = {program: dice.choice(ROLES) for program in programs}
        held = [(program, role) for program, role in roles.items() if role is not None]
        if held:
            people.append(Somebody(await make_staff(admin, client, *held), roles))
    everything = {programs[0]: "supervisor", programs[1]: "viewer"}
    people.append(Somebody(await make_staff(admin, client, *everything.items()), dict(everything)))
    return people


@pytest.mark.parametrize("seed", range(2))
async def test_no_role_elsewhere_opens_anything(admin: AsyncClient, client: AsyncClient, seed: int) -> None:
    dice = random.Random(seed)
    programs = [await make_program(admin) for _ in range(2)]
    required = {program: dice.choice(("supervisor", "program-admin")) for program in programs}
    for program in programs:
        for event_type in REVIEWED:
            await set_policy(admin, program, event_type, "internal-review", requiredRole=required[program])
    people = await make_people(admin, client, programs, dice)
    reviews: list[tuple[str, str, str, dict[str, Any]]] = []
    for program in programs:
        submitters = [one for one in people if one.level(program) >= LEVELS["enumerator"]]
        agent = Somebody(await make_staff(admin, client, (program, "enumerator")), {program: "enumerator"})
        for number in range(12):
            secret = f"secret-{program}-{number}"
            who = dice.choice([*submitters, agent]).staff
            answer = await who.submit(make_event(data={"name": secret}), tenantId=program)
            reviews.append((program, secret, who.email, answer.json()["review"]))
    decided: set[str] = set()
    for _ in range(TRIES):
        someone = dice.choice(people)
        program, secret, submitter, review = dice.choice(reviews)
        what, body = dice.choice(list(DECISIONS.items()))
        named = dice.choice(({}, {"tenantId": dice.choice(programs)}))
        answer = await someone.staff.do(review, what, **body, **named)
        is_own = submitter == someone.staff.email
        decides = someone.level(program) >= LEVELS[required[program]] and not is_own
        may = (someone.level(program) >= LEVELS["supervisor"] or is_own) if what == "comments" else decides
        if answer.status_code == 200:
            assert may and named.get("tenantId", program) == program
            if what in ("approve", "reject"):
                assert review["id"] not in decided
                decided.add(review["id"])
        elif not may and (named.get("tenantId", program) == program or someone.level(program) == 0):
            assert answer.status_code == 403, answer.text
        shown = await someone.staff.client.get(
            "/api/reviews", params={"tenantId": program}, headers=someone.staff.headers
        )
        assert (shown.status_code == 200) == (someone.level(program) > 0)
        sees_all = someone.level(program) >= LEVELS["supervisor"]
        for owner, other, author, _ in reviews:
            sees = owner == program and someone.level(program) > 0 and (sees_all or author == someone.staff.email)
            assert (f'"{other}"' in shown.text) == sees
