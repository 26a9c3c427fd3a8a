"""Signing in with a national id and a date of birth."""

import pytest

from tests.accounts import assert_refused, claims_of
from tests.citizens import change_citizen
from tests.factories import make_event, push
from tests.features.citizens.conftest import Street, anywhere

pytestmark = pytest.mark.anyio

FAILED = (401, "Verification failed", "VERIFICATION_FAILED")
LOCKED = (429, "Too many wrong attempts, please try again later", "SIGN_IN_LOCKED")
BORN = "1990-04-02"


@pytest.mark.parametrize(
    "data",
    [
        {"nationalId": "N-1", "dateOfBirth": BORN},
        {"nationalId": "N-1", "date_of_birth": BORN},
        {"nationalId": "N-1", "dateOfBirth": "", "date_of_birth": BORN},
        {"identifiers": [{"type": "national-id", "value": "N-1"}], "dateOfBirth": BORN},
        {"identifiers": [{"type": "tax"}, "N-1", None, {"type": "national-id", "value": "N-1"}], "date_of_birth": BORN},
        {"nationalId": "N-2", "identifiers": [{"type": "national-id", "value": "N-1"}], "dateOfBirth": BORN},
    ],
)
async def test_a_citizen_signs_in_with_what_the_record_has(street: Street, data: dict[str, object]) -> None:
    program = await street.program("id")
    guid = await street.person(program, **data)
    answer = await street.identify(program, "N-1", BORN)
    assert answer.status_code == 200, answer.text
    assert answer.json()["username"] == f"self-service:{guid}"
    claims = claims_of(answer.json()["token"])
    assert (claims["identifier"], claims["entityGuid"], claims["tenantId"]) == (guid, guid, program)
    assert await street.opens(answer.json()["token"])


@pytest.mark.parametrize(
    "data",
    [
        {"nationalId": "N-1", "dateOfBirth": "1990-04-03"},
        {"nationalId": "N-1"},
        {"nationalId": "n-1", "dateOfBirth": BORN},
        {"nationalId": "N-10", "dateOfBirth": BORN},
        {"national_id": "N-1", "dateOfBirth": BORN},
        {"nationalId": ["N-1"], "dateOfBirth": BORN},
        {"nationalId": "N-1", "dateOfBirth": "1990-04-02T00:00:00.000Z"},
        {"identifiers": [{"type": "tax", "value": "N-1"}], "dateOfBirth": BORN},
        {"identifiers": {"type": "national-id", "value": "N-1"}, "dateOfBirth": BORN},
    ],
)
async def test_whoever_has_not_both_is_nobody(street: Street, data: dict[str, object]) -> None:
    program = await street.program("id")
    await street.person(program, **data)
    assert_refused(await street.identify(program, "N-1", BORN), *FAILED)


async def test_r7_two_people_with_both_are_nobody(street: Street) -> None:
    program = await street.program("id")
    for data in ({"nationalId": "N-1"}, {"identifiers": [{"type": "national-id", "value": "N-1"}]}):
        await street.person(program, dateOfBirth=BORN, **data)
    assert_refused(await street.identify(program, "N-1", BORN), *FAILED)


async def test_a_national_id_that_two_have_is_told_apart_by_the_date_of_birth(street: Street) -> None:
    program = await street.program("id")
    await street.person(program, nationalId="N-1", dateOfBirth="1991-04-02")
    guid = await street.person(program, nationalId="N-1", dateOfBirth=BORN)
    assert claims_of((await street.identify(program, "N-1", BORN)).json()["token"])["entityGuid"] == guid


@pytest.mark.parametrize("others", [19, 39])
async def test_r7_of_two_with_both_among_many_with_the_same_id_neither_is_let_in(street: Street, others: int) -> None:
    """A database that is asked for the first few who have the id must not make the one it gives the only one."""
    program = await street.program("id")
    people = [{"dateOfBirth": "1991-04-02"}] * others + [{"dateOfBirth": BORN}] * 2
    events = [
        make_event(
            entity=f"e-{number:02}", data={"name": "Ana", "entityName": "individual", "nationalId": "N-1", **born}
        )
        for number, born in enumerate(people)
    ]
    assert (await push(street.admin, program, *events)).status_code == 200
    assert_refused(await street.identify(program, "N-1", BORN), *FAILED)


async def test_what_the_record_said_before_lets_nobody_in(street: Street) -> None:
    program = await street.program("id")
    guid = await street.person(program, nationalId="N-1", dateOfBirth=BORN)
    await change_citizen(street.admin, program, guid, nationalId="N-2")
    assert_refused(await street.identify(program, "N-1", BORN), *FAILED)
    token = (await street.identify(program, "N-2", BORN)).json()["token"]
    await change_citizen(street.admin, program, guid, dateOfBirth="1990-04-03")
    assert not await street.opens(token), "a sign-in ends with either of both"


async def test_r8_a_national_id_is_locked_after_five_wrong_tries_whether_or_not_anybody_has_it(
    street: Street,
) -> None:
    program = await street.program("id")
    await street.person(program, nationalId="N-1", dateOfBirth=BORN)
    for national_id in ("N-1", "N-nobody"):
        for _ in range(5):
            assert_refused(await street.identify(program, national_id, "1990-01-01"), *FAILED)
        locked = await street.identify(program, national_id, "1990-01-01")
        assert_refused(locked, *LOCKED)
        assert 800 < int(locked.headers["Retry-After"]) <= 900
    assert_refused(await street.identify(program, "N-1", BORN), *LOCKED)
    street.clock.turn(seconds=901)
    assert (await street.identify(program, "N-1", BORN)).status_code == 200


async def test_r8_each_lock_is_twice_as_long_as_the_one_before_and_a_day_at_most(street: Street) -> None:
    program = await street.program("id")
    waits = []
    for _ in range(9):
        while (answer := await street.identify(program, "N-1", "1990-01-01")).status_code != 429:
            assert_refused(answer, *FAILED)
        waits.append(int(answer.headers["Retry-After"]))
        street.clock.turn(seconds=waits[-1] + 1)
    minutes = [round(wait / 60) for wait in waits]
    assert minutes == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
    street.clock.turn(seconds=86_401)
    for _ in range(5):
        assert_refused(await street.identify(program, "N-1", "1990-01-01"), *FAILED)
    wait = int((await street.identify(program, "N-1", "1990-01-01")).headers["Retry-After"])
    assert round(wait / 60) == 15, "after a quiet day it begins anew"


async def test_r8_tries_while_it_is_locked_make_no_lock_longer(street: Street) -> None:
    program = await street.program("id")
    await street.person(program, nationalId="N-1", dateOfBirth=BORN)
    for _ in range(5):
        await street.identify(program, "N-1", "1990-01-01")
    for _ in range(20):
        assert_refused(await street.identify(program, "N-1", "1990-01-01"), *LOCKED)
    street.clock.turn(seconds=901)
    assert (await street.identify(program, "N-1", BORN)).status_code == 200


async def test_r8_strangers_do_not_lock_out_who_has_signed_in_from_there_before(street: Street) -> None:
    program, home = await street.program("id"), anywhere()
    await street.person(program, nationalId="N-1", dateOfBirth=BORN)
    assert (await street.identify(program, "N-1", BORN, origin=home)).status_code == 200
    for _ in range(6):
        await street.identify(program, "N-1", "1990-01-01")
    assert_refused(await street.identify(program, "N-1", BORN), *LOCKED)
    assert (await street.identify(program, "N-1", BORN, origin=home)).status_code == 200
    for _ in range(5):
        assert_refused(await street.identify(program, "N-1", "1990-01-01", origin=home), *FAILED)
    assert_refused(await street.identify(program, "N-1", BORN, origin=home), *LOCKED)


async def test_an_item_that_is_taken_from_the_identifiers_lets_nobody_in(street: Street) -> None:
    program = await street.program("id")
    items = [{"type": "national-id", "value": "N-1"}]
    guid = await street.person(program, identifiers=items, dateOfBirth=BORN)
    token = (await street.identify(program, "N-1", BORN)).json()["token"]
    await change_citizen(street.admin, program, guid, identifiers=[{"type": "national-id", "value": "N-2"}])
    assert_refused(await street.identify(program, "N-1", BORN), *FAILED)
    assert not await street.opens(token)
    assert (await street.identify(program, "N-2", BORN)).status_code == 200
