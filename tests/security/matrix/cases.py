"""One request of the matrix, and what the contract wants of its answer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from httpx2 import Response

from tests.security.matrix.callers import Caller
from tests.security.matrix.contract import RULES, Rule, is_limited, refusal, visible
from tests.security.matrix.recipes import RECIPES, Recipe, place
from tests.security.matrix.world import FOREIGN, OWN, TARGETS, Objects, Sent, World, marks_in


@dataclass(frozen=True)
class Case:
    operation: str
    recipe: Recipe
    caller: Caller
    program: str

    @property
    def rule(self) -> Rule:
        return RULES[self.operation]

    @property
    def is_permitted(self) -> bool:
        return refusal(self.rule, self.caller, self.program) is None

    @property
    def may_write(self) -> bool:
        return self.recipe.writes and self.is_permitted

    @property
    def status(self) -> int:
        refused = refusal(self.rule, self.caller, self.program)
        if refused is not None:
            return refused
        recipe = self.recipe
        if is_limited(self.rule, self.caller) and recipe.limited is not None:
            return recipe.limited
        return recipe.ok if isinstance(recipe.ok, int) else recipe.ok(self.caller)

    async def sent(self, world: World) -> Sent:
        """About what is there; if it will be used up, about something made for it."""
        where = place(world, self.program)
        if self.is_permitted and self.recipe.prepare:
            where = await self.recipe.prepare(world, where)
        return self.recipe.build(where)

    def sent_as_is(self, world: World, objects: Objects | None = None) -> Sent:
        """About what is there, or these objects."""
        where = place(world, self.program)
        return self.recipe.build(where if objects is None else replace(where, objects=objects))

    def names_something(self, world: World) -> bool:
        """Whether the request names an object of the program."""
        sent = str(self.sent_as_is(world))
        return any(name in sent for name in vars(world.objects[self.program]).values() if len(name) > 5)

    def leaked(self, answer: Response) -> list[tuple[str, str]]:
        return sorted(marks_in(answer) - visible(self.rule, self.caller, self.program, permitted=self.is_permitted))

    def wrong(self, answer: Response) -> Iterable[str]:
        """What is not as the contract wants it, as lines to read."""
        if answer.status_code != self.status:
            yield self.line(answer, f"not {self.status}")
        if leaked := self.leaked(answer):
            yield self.line(answer, f"leaked {leaked}")

    def line(self, answer: Response, told: str) -> str:
        about = f"{self.operation} {self.recipe.name} | {self.caller.name} | {self.program}"
        return f"{about}: {answer.status_code}, {told}: {answer.text[:200]}"


def all_cases(callers: Iterable[Caller]) -> list[Case]:
    """A token that is no good is so everywhere: whoever sends one tries their own program and a foreign one."""
    return [
        Case(operation, recipe, caller, program)
        for caller in callers
        for operation, recipes in RECIPES.items()
        for recipe in recipes
        if not recipe.once
        for program in (TARGETS if _could_be_somebody(caller) else (OWN, FOREIGN))
    ]


def _could_be_somebody(caller: Caller) -> bool:
    return caller.standing != "nobody" or caller.authorization is None


async def run(world: World, cases: Iterable[Case]) -> list[str]:
    wrong: list[str] = []
    for case in cases:
        answer = await world.send(await case.sent(world), case.caller.authorization)
        wrong += case.wrong(answer)
    return wrong


_UUIDS = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_FOR_EACH = frozenset({"x-request-id", "content-length", "date"})
"""Headers that may differ between two answers that tell the same."""


def told_by(answer: Response, *names: str) -> tuple[int, str, Any]:
    """What an answer says, apart from ids, times, and these names (of programs, or what else was asked for)."""
    text = _TIMES.sub("<time>", _UUIDS.sub("<guid>", answer.text))
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "<name>") if len(name) > 5 else text
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _FOR_EACH}
    return answer.status_code, text, sorted(headers.items())
