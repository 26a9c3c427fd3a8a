"""What a sign-in asks the database: the same for people who are there and for nobody, and no more for many people."""

from collections.abc import Awaitable, Callable

import pytest
from httpx2 import Response

from tests.accounts import bearer
from tests.citizens import token_of
from tests.features.citizens.conftest import Street, anywhere
from tests.features.citizens.test_providers import program_of, token
from tests.settling import catch_up

pytestmark = pytest.mark.anyio

Attempt = Callable[[str], Awaitable[Response]]


async def statements_of(street: Street, attempt: Attempt, who: str, status: int) -> list[str]:
    await catch_up(street.hub)  # what is new is looked through, by a statement more
    with street.hub.db.statements.record() as statements:
        answer = await attempt(who)
    assert answer.status_code == status, answer.text
    # The program is looked up once a second.
    return [sql for sql in statements if "FROM programs" not in sql]


async def assert_alike(street: Street, attempt: Attempt, *people: str, status: int) -> None:
    await attempt("warm-up")
    seen = [await statements_of(street, attempt, who, status) for who in people]
    for other in seen[1:]:
        assert other == seen[0]
    assert len(seen[0]) <= 30


async def test_asking_for_a_code_takes_the_same_statements_for_anybody(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555", email="ana@x.example")
    for _ in range(2):
        await street.person(program, phone="+1777")

    async def ask(who: str) -> Response:
        return await street.ask(program, who)

    await assert_alike(street, ask, "+1555", "+1999", "+1777", "nobody@x.example", status=200)
    await assert_alike(street, ask, "+1555", "+1999", "+1777", "nobody@x.example", status=200)


async def test_a_wrong_code_takes_the_same_statements_for_anybody(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    origin = anywhere()
    for who in ("warm-up", "+1555", "+1999"):
        await street.ask(program, who, origin=origin)

    async def enter(who: str) -> Response:
        return await street.enter(program, who, "00000x", origin=origin)

    await assert_alike(street, enter, "+1555", "+1999", status=401)


async def test_a_wrong_date_of_birth_takes_the_same_statements_for_anybody(street: Street) -> None:
    program = await street.program("id")
    await street.person(program, nationalId="N-1", dateOfBirth="1990-04-02")

    async def identify(who: str) -> Response:
        return await street.identify(program, who, "1991-04-02")

    await assert_alike(street, identify, "N-1", "N-nobody", status=401)


async def test_a_lock_takes_the_same_statements_for_anybody(street: Street) -> None:
    program = await street.program("id")
    await street.person(program, nationalId="N-1", dateOfBirth="1990-04-02")
    for who in ("N-1", "N-nobody"):
        for _ in range(5):
            await street.identify(program, who, "1991-04-02")

    async def identify(who: str) -> Response:
        return await street.identify(program, who, "1991-04-02")

    await assert_alike(street, identify, "N-1", "N-nobody", status=429)


async def test_a_subject_of_nobody_and_of_two_takes_the_same_statements(street: Street) -> None:
    async with street.provider() as idp:
        program = await program_of(street, idp)
        for _ in range(2):
            await street.person(program, oidcSubject="twin")

        async def exchange(who: str) -> Response:
            return await street.exchange(program, token(idp, sub=who))

        await assert_alike(street, exchange, "twin", "nobody", status=401)


async def test_a_request_of_a_citizen_is_judged_in_one_statement(street: Street) -> None:
    program = await street.program("otp")
    guid = await street.person(program, phone="+1555")
    citizen = await token_of(street.hub, program, guid, phone="+1555")
    await street.hub.tenants.find(program)  # type: ignore[arg-type]
    with street.hub.db.statements.record() as statements:
        await street.hub.citizens.citizen(bearer(citizen)["Authorization"])
    asked = [sql for sql in statements if "citizen_sessions" in sql]
    assert len(asked) == 1
    assert len([sql for sql in statements if "programs" not in sql]) == 1


async def test_people_are_found_by_the_index_and_in_as_many_statements_when_there_are_many(street: Street) -> None:
    program = await street.program("otp")

    async def ask(who: str) -> Response:
        return await street.ask(program, who)

    await street.person(program, phone="+1555")
    await ask("warm-up")
    few = await statements_of(street, ask, "+1555", 200)
    for number in range(50):
        await street.person(program, phone=f"+2{number}")
    many = await statements_of(street, ask, "+20", 200)
    assert few == many
    assert any("search_terms" in sql for sql in many)
