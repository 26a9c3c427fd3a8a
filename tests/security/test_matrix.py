"""Every operation x every caller x every program: nobody gets in where they don't belong, nothing leaks or changes.

The oracle is `matrix/contract.py`, written by hand; the requests come from `matrix/recipes.py`. A new route needs a rule
there and a recipe here; a new kind of caller goes into `matrix/callers.py`.
"""

import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest

from datacollect.http.policy import operations_of
from datacollect.kernel.permission import Callers, Permission, Where
from tests.conftest import ENGINES, Migrated
from tests.security.matrix.callers import HOME, Caller, make_callers
from tests.security.matrix.cases import Case, all_cases, run, told_by
from tests.security.matrix.confusion import PATHS, confused
from tests.security.matrix.contract import RULES, Rule, refusal
from tests.security.matrix.recipes import RECIPES, place
from tests.security.matrix.world import (
    ADMINS,
    FOREIGN,
    OWN,
    PROGRAMS,
    SEALED,
    TARGETS,
    UNKNOWN,
    Rows,
    Sent,
    World,
    archive_what_is_archived,
    changes,
    marks_in,
    nothing,
    open_world,
)

pytestmark = [pytest.mark.anyio, pytest.mark.long]

COUNTERS = frozenset({"attempts", "security_log"})
"""Tables in which a refused request may leave something."""

PAGES = {"/", "/api-docs", "/api-docs/"} | {
    f"/api-docs/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png")
}
"""Routes outside the OpenAPI document."""

Matrix = tuple[World, list[Caller]]
T = TypeVar("T")


@pytest.fixture(scope="module", params=ENGINES)
async def matrix(
    request: pytest.FixtureRequest,
    anyio_backend: str,
    migrated_once: Migrated,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Matrix]:
    folder = tmp_path_factory.mktemp("matrix")
    async with migrated_once.database(request.param, request, folder) as url:
        async with open_world(folder, url, superuser_url(request, url)) as world:
            callers = await make_callers(world)
            await archive_what_is_archived(world)
            yield world, callers


def superuser_url(request: pytest.FixtureRequest, url: str | None) -> str | None:
    """The user who makes the tests' databases on this one."""
    if url is None:
        return None
    server: str = request.getfixturevalue("postgres_server")
    return urlunsplit(urlsplit(server)._replace(path=urlsplit(url).path))


def caller_of(matrix: Matrix, name: str) -> Caller:
    return next(caller for caller in matrix[1] if caller.name == name)


def assert_nothing(wrong: list[str]) -> None:
    assert not wrong, f"{len(wrong)} are wrong:\n" + "\n".join(wrong[:40])


def beyond(before: Rows, after: Rows, *programs: str) -> list[str]:
    """Changes of rows that belong to any other program than these."""
    return changes(before, after, programs=set(PROGRAMS) - set(programs))


async def test_every_operation_has_a_rule_and_a_recipe(matrix: Matrix) -> None:
    world, _ = matrix
    document = (await world.admin.get("/openapi.json")).json()
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert RULES.keys() == operations
    assert RECIPES.keys() == operations


def test_the_rules_are_the_declared_policies(matrix: Matrix) -> None:
    """Two people's readings of the contract: this table's, and the policies that the routes declare."""
    operations = list(operations_of(matrix[0].app))
    declared = {one.name: row_of(one.permission) for one in operations if one.is_documented}
    assert declared == {name: row_of_rule(rule) for name, rule in RULES.items()}
    others = [one for one in operations if not one.is_documented]
    assert {one.path for one in others} == PAGES
    assert {one.permission.callers for one in others} == {Callers.ANYBODY}


def row_of(permission: Permission) -> tuple[str, str | None, str, bool, bool]:
    """Who, the lowest role, where the program is named, whether it must not be limited, and whether it has to be assigned;
    where it matters."""
    role = None if permission.callers is Callers.ADMIN else permission.minimum_role
    return permission.callers.value, role and role.value, permission.where.value, permission.whole, permission.assigned


def row_of_rule(rule: Rule) -> tuple[str, str | None, str, bool, bool]:
    who = {"anybody": Callers.ANYBODY, "admin": Callers.ADMIN, "citizen": Callers.CITIZEN}.get(rule.who, Callers.STAFF)
    if who is Callers.STAFF and rule.guard == "sync":
        who = Callers.SYNC
    if rule.who == "manager":
        return who.value, "program-admin", Where.ANY_PROGRAM.value, rule.whole, rule.assigned
    if rule.who == "reviewer":
        return who.value, "supervisor", Where.ANY_PROGRAM.value, rule.whole, rule.assigned
    where = {
        "query": Where.CONFIG_ID,
        "body": Where.CONFIG_ID,
        "tenant": Where.TENANT_ID,
        "path": Where.PATH,
        "job": Where.OBJECT,
    }.get(rule.at, Where.NO_PROGRAM)
    if who is Callers.ANYBODY:
        where = Where.NO_PROGRAM
    return who.value, rule.least or None, where.value, rule.whole, rule.assigned


async def test_nobody_gets_in_where_they_do_not_belong(matrix: Matrix, measured: Callable[[str, object], None]) -> None:
    """What is to be refused comes first and must leave everything as it was; then come reads, then what may write."""
    world, callers = matrix
    cases = all_cases(callers)
    refused = refused_on(world, [case for case in cases if not case.may_write and case.status >= 400])
    reading = [case for case in cases if not case.may_write and case.status < 400]
    writing = [case for case in cases if case.may_write]

    before = await world.rows()
    assert all(before["events"][program] and before["quarantine"][program] for program in PROGRAMS)
    wrong = await run(world, refused)
    wrong += changes(before, await world.rows(), apart_from=COUNTERS)
    wrong += await run(world, reading)
    before = await world.rows()
    wrong += await run(world, (case for case in writing if is_at_home(case)))
    wrong += beyond(before, await world.rows(), *HOME)
    wrong += await run(world, (case for case in writing if not is_at_home(case)))
    measured(
        "requests",
        f"{len(RECIPES)} operations x {len(callers)} callers x {len(TARGETS)} programs, "
        f"some in several forms: {len(cases):,}, of which {len(refused):,} must be refused",
    )
    assert_nothing(wrong)


def refused_on(world: World, cases: list[Case]) -> list[Case]:
    """All on SQLite. On PostgreSQL each operation refuses each caller in one program, and one of those who are nobody
    whatever the database says: whom a request is refused is decided without the database but for who asks."""
    if world.hub.db.dialect == "sqlite":
        return cases
    alike = defaultdict(list)
    for case in cases:
        alike[case.operation, case.caller.name if case.caller.is_looked_up else ""].append(case)
    dice = random.Random(len(cases))
    return [dice.choice(some) for some in alike.values()]


def share_of(cases: list[T], world: World) -> list[T]:
    """All on SQLite, and a quarter on PostgreSQL, for the same reason."""
    return cases if world.hub.db.dialect == "sqlite" else random.Random(len(cases)).sample(cases, len(cases) // 4)


def is_at_home(case: Case) -> bool:
    return not case.caller.is_admin and case.program in HOME


async def test_every_recipe_works_for_who_may_use_it(matrix: Matrix) -> None:
    """Otherwise its refusals would prove nothing: an administrator, or a citizen, gets a 2xx from each operation."""
    world, _ = matrix
    wrong = []
    for operation, recipes in RECIPES.items():
        caller = caller_of(matrix, "citizen" if RULES[operation].who == "citizen" else "admin")
        answers = []
        for recipe in recipes:
            where = place(world, OWN)
            if recipe.prepare:
                where = await recipe.prepare(world, where)
            answers.append(await world.send(recipe.build(where), caller.authorization))
            wrong += Case(operation, recipe, caller, OWN).wrong(answers[-1])
        if not any(answer.is_success for answer in answers):
            wrong.append(f"{operation}: no recipe succeeds")
    assert_nothing(wrong)


async def test_what_is_foreign_looks_like_what_is_not_there(matrix: Matrix) -> None:
    """The same request about a foreign, an archived foreign and an unknown program gets the same answer. On public
    routes that goes for archived ones."""
    world, callers = matrix
    wrong = []
    cases = [
        case
        for case in all_cases(callers)
        if case.caller.level_in(FOREIGN) is None and case.program == FOREIGN and case.rule.at
    ]
    for case in share_of(cases, world):
        hidden = [SEALED, UNKNOWN] if case.rule.who == "anybody" else [FOREIGN, SEALED, UNKNOWN]
        objects = nothing() if case.rule.at == "object" else world.objects[FOREIGN]
        answers = [
            await world.send(
                case.recipe.build(replace(place(world, program), id=program, objects=objects)),
                case.caller.authorization,
            )
            for program in hidden
        ]
        if len({str(told_by(answer, *hidden)) for answer in answers}) > 1:
            wrong += [case.line(answer, f"for {name}") for name, answer in zip(hidden, answers, strict=True)]
    assert_nothing(wrong)


async def test_ids_of_another_program_are_as_good_as_made_up(matrix: Matrix) -> None:
    world, _ = matrix
    foreign, made_up = world.objects[FOREIGN], nothing()
    callers = [caller_of(matrix, name) for name in ("viewer", "limited enumerator", "supervisor", "admin")]
    cases = [case for case in all_cases(callers) if case.program == OWN and case.rule.at in ("query", "body")]
    cases = [case for case in cases if case.names_something(world)]
    assert {case.operation for case in cases} >= {name for name in RULES if "{" in name and "/api/entities" in name}
    before, wrong = await world.rows(), []
    for case in sorted(cases, key=lambda case: case.recipe.writes):
        told = []
        for objects in (foreign, made_up):
            sent = case.sent_as_is(world, objects)
            answer = await world.send(sent, case.caller.authorization)
            told.append(told_by(answer, *vars(objects).values()))
            echoed = {(FOREIGN, "device")} if foreign.device in sent.path else set()
            if leaked := [mark for mark in marks_in(answer) - echoed if mark[0] != OWN]:
                wrong.append(case.line(answer, f"leaked {leaked}"))
        if told[0] != told[1]:
            wrong.append(f"{case.operation} | {case.caller.name}: foreign {told[0][:2]}, made up {told[1][:2]}")
    wrong += beyond(before, await world.rows(), OWN)
    assert_nothing(wrong)


async def test_numbers_tell_of_no_more_than_what_the_caller_may_list(matrix: Matrix) -> None:
    """Numbers bear no marks."""
    world, callers = matrix
    seen = {}
    for caller in callers:
        if refusal(RULES["GET /api/entities"], caller, OWN) is None:
            answers = [
                (
                    await world.send(Sent("GET", path, (("configId", OWN), ("limit", "1000"))), caller.authorization)
                ).json()
                for path in ("/api/entities", "/api/entities/count", "/api/entities/count-by-form")
            ]
            seen[caller.name] = len(answers[0])
            assert answers[1] == {"count": len(answers[0])}
            assert sum(answers[2].values()) == len(answers[0])
    assert 0 < seen["limited supervisor"] == seen["limited enumerator"] < seen["viewer"] == seen["admin"]


async def test_of_accounts_everybody_sees_the_part_they_manage(matrix: Matrix) -> None:
    world, callers = matrix
    wrong = []
    for caller in callers:
        is_let_in = refusal(RULES["GET /api/users"], caller, "") is None
        mine = {program for program in PROGRAMS if is_let_in and caller.manages(program)}
        answer = await world.send(Sent("GET", f"/api/users/{world.shared}"), caller.authorization)
        if answer.is_success != is_let_in or marks_in(answer) != {(program, "part") for program in mine}:
            wrong.append(f"{caller.name}: {answer.status_code} {answer.text[:400]}")
        answer = await world.send(Sent("GET", f"/api/users/{world.boss}"), caller.authorization)
        if answer.is_success != (is_let_in and caller.is_admin) or (marks_in(answer) and not answer.is_success):
            wrong.append(f"{caller.name} of an ADMIN: {answer.status_code} {answer.text[:400]}")
        for program in (*PROGRAMS, UNKNOWN):
            sent = Sent("GET", "/api/users", (("tenantId", program), ("limit", "1000")))
            answer = await world.send(sent, caller.authorization)
            seen = len(answer.json()) if answer.is_success else 0
            told, there = marks_in(answer), {(program, "email"), (program, "part")}
            others = {name for name, _ in told} - mine - ({ADMINS, UNKNOWN} if caller.is_admin else set())
            if others or (there <= told) != (program in mine) or seen != int(answer.headers.get("X-Total-Count", 0)):
                wrong.append(f"{caller.name} of {program}: {answer.status_code} {answer.text[:400]}")
            if seen and program not in mine and not caller.is_admin:
                wrong.append(f"{caller.name} of {program}: {seen} accounts")
    assert_nothing(wrong)


async def test_confused_parameters_reach_no_other_program(
    matrix: Matrix, measured: Callable[[str, object], None]
) -> None:
    """First what must be refused, and change nothing; then what may be about `OWN`, and change nothing else."""
    world, _ = matrix
    manager, admin = caller_of(matrix, "system-admin"), caller_of(matrix, "admin")
    callers = [manager, admin, caller_of(matrix, "provider's supervisor")]
    cases = [case for case in all_cases(callers) if case.program == OWN and case.rule.at in ("query", "body")]
    tried = [
        (case, attempt)
        for case in cases
        if case.is_permitted
        for attempt in confused(case.sent_as_is(world))
        if not (case.caller is admin and attempt.outcome == "refused")
    ]
    tried = share_of(tried, world)
    before, wrong = await world.rows(), []
    for case, attempt in tried:
        if attempt.outcome != "harmless":
            answer = await world.send(attempt.sent, case.caller.authorization)
            allowed = {400} if attempt.outcome == "400" else {400, 403, 404}
            if case.caller.standing == "vouched for":
                allowed |= {401}
            if answer.status_code not in allowed or marks_in(answer):
                wrong.append(case.line(answer, f"with {attempt.name}"))
    wrong += changes(before, await world.rows(), apart_from=COUNTERS)
    before = await world.rows()
    for case, attempt in tried:
        # Each write uses something up, so only the one of the two who may do less tries it.
        by_the_lesser = case.caller is manager or case.rule.who == "admin"
        if attempt.outcome == "harmless" and (by_the_lesser or not case.recipe.writes):
            sent = next(one.sent for one in confused(await case.sent(world)) if one.name == attempt.name)
            answer = await world.send(sent, case.caller.authorization)
            if answer.status_code not in (200, 201, 202, 400, 401, 403, 404) or case.leaked(answer):
                wrong.append(case.line(answer, f"leaked {case.leaked(answer)} with {attempt.name}"))
    wrong += beyond(before, await world.rows(), OWN)
    measured("requests", f"{len(tried):,}")
    assert_nothing(wrong)


async def test_odd_paths_and_contradicting_ids_reach_no_other_program(matrix: Matrix) -> None:
    world, _ = matrix
    manager = caller_of(matrix, "system-admin")
    operations = [name for name, rule in RULES.items() if rule.at == "path" and rule.who != "anybody"]
    before, wrong = await world.rows(), []
    for case in (case for case in all_cases([manager]) if case.operation in operations and case.program == OWN):
        sent = case.recipe.build(place(world, OWN))
        for path in PATHS:
            odd = replace(sent, path=sent.path.replace(f"/{OWN}", f"/{path}"))
            answer = await world.send(odd, manager.authorization)
            if not 400 <= answer.status_code < 500 or marks_in(answer):
                wrong.append(case.line(answer, f"at {odd.path}"))
    for caller in (manager, caller_of(matrix, "admin")):
        for path, body in ((OWN, FOREIGN), (FOREIGN, OWN), (OWN, "new")):
            config = RECIPES["PUT /api/apps/{id}"][0].build(place(world, OWN)).body | {"id": body}
            answer = await world.send(Sent("PUT", f"/api/apps/{path}", body=config), caller.authorization)
            if answer.status_code != (403 if path == FOREIGN and caller is manager else 400):
                wrong.append(f"PUT {path} with {body} by {caller.name}: {answer.status_code} {answer.text}")
    wrong += changes(before, await world.rows(), apart_from=COUNTERS)
    assert_nothing(wrong)


async def test_methods_that_no_operation_has_do_nothing(matrix: Matrix) -> None:
    world, _ = matrix
    admin = caller_of(matrix, "admin")
    before, wrong = await world.rows(), []
    paths = {recipes[0].build(place(world, OWN)).path for recipes in RECIPES.values()}
    names = [one.name for one in operations_of(world.app)]
    operations = [re.compile(re.sub(r"\{\w+\}", "[^/]+", name)) for name in names]
    for path in sorted(paths):
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"):
            asked = ("GET", "HEAD") if method == "HEAD" else (method,)
            if not any(operation.fullmatch(f"{one} {path}") for operation in operations for one in asked):
                answer = await world.send(Sent(method, path), admin.authorization)
                if answer.status_code not in (404, 405) or marks_in(answer):
                    wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
    wrong += changes(before, await world.rows(), apart_from=COUNTERS)
    assert_nothing(wrong)
