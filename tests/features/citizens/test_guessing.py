"""Guesses of codes, from as many addresses as there are: what they get, and what they leave to the owner."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select

from datacollect.features.auth.attempts import SITE_ATTEMPTS
from datacollect.features.citizens import codes, holders
from datacollect.features.citizens.codes import Asked, Limits
from datacollect.features.citizens.errors import SignInLocked, WrongCode
from datacollect.features.citizens.journal import Journal
from datacollect.features.citizens.model import KEPT_CODES, OTP_LOCK, REQUESTS, TRIES
from datacollect.features.citizens.tables import codes as stored
from datacollect.features.entities.finding.holding import Registers
from datacollect.kernel.identity import system_scope
from datacollect.kernel.ids import TenantId
from datacollect.kernel.source import Source
from tests.accounts import assert_refused
from tests.features.citizens.conftest import SETTINGS, Street, anywhere, other_than, street_of
from tests.features.conftest import Installation

pytestmark = pytest.mark.anyio

GUESSES = 300
AT_ONCE = 25
LOCKED = (429, "Too many wrong attempts, please try again later", "SIGN_IN_LOCKED")
WRONG = (401, "Invalid OTP", "OTP_INVALID")


async def guess(street: Street, program: str, text: str) -> type[Exception] | None:
    """What a guess from an address of its own gets, without the limit of addresses in front; None for a token."""
    hub, scope = street.hub, system_scope(TenantId(program))
    source = Source(anywhere())
    asked = Asked("+1555", source)
    try:
        async with hub.db.reading(scope) as view:
            await codes.require_unlocked(view, scope, hub.peppers, asked, guesses=True, now=hub.clock.now())
    except SignInLocked:
        return SignInLocked
    holder = await holders.by_identifier(Registers(hub.db, 10, hub.turns), scope, "+1555")
    async with hub.db.transaction(scope) as tx:
        now = hub.clock.now()
        outcome = await codes.sign_in(
            tx,
            scope,
            hub.peppers,
            hub.tokens,
            asked,
            text,
            holder,
            limits=Limits(requests=5, program_requests=1000, program_guesses=300),
            throttle=hub.throttle,
            journal=Journal(tx, scope, source, "otp", now),
            now=now,
        )
    return None if isinstance(outcome, str) else type(outcome)


async def lock_out(street: Street, program: str, phone: str, *, but: int = 0) -> None:
    """What it takes to lock somebody out: codes to guess at, of each of which they are told. `but` so many guesses."""
    left = OTP_LOCK.tries - but
    while left:
        code = await street.code(program, phone)
        for _ in range(min(TRIES, left)):
            assert_refused(await street.enter(program, phone, other_than(code)), *WRONG)
            left -= 1
        street.clock.turn(seconds=61)


async def test_hundreds_of_guesses_of_one_code_get_three_tries_and_lock_nobody_out(
    street: Street, measured: Callable[[str, object], None]
) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555", origin=home)
    texts = [text for number in range(GUESSES) if (text := f"{number:06}") != code]
    seen: Counter[type[Exception] | None] = Counter()
    for begin in range(0, len(texts), AT_ONCE):
        seen.update(await asyncio.gather(*(guess(street, program, text) for text in texts[begin : begin + AT_ONCE])))
    assert seen == {WrongCode: len(texts)}
    async with street.hub.db.reading(system_scope(TenantId(program))) as view:
        own = stored.c.tenant_id == program
        tried = (await view.execute(select(stored.c.own_tries, stored.c.other_tries).where(own))).all()
    assert [tuple(one) for one in tried if any(one)] == [(0, TRIES)]
    measured(f"guesses of {seen.total():,} that a code was held against", TRIES)
    # To strangers the code is closed, also if it is the right one. Its owner is told of another one, wherever they are.
    assert_refused(await street.enter(program, "+1555", code), *WRONG)
    street.clock.turn(seconds=61)
    assert (await street.enter(program, "+1555", await street.code(program, "+1555"))).status_code == 200


async def test_who_guesses_without_a_code_to_guess_at_locks_nobody_out(street: Street) -> None:
    """All it takes is a phone number, which neighbours know."""
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    for _ in range(2 * OTP_LOCK.tries):
        assert_refused(await street.enter(program, "+1555", "000000"), *WRONG)
    assert (await street.enter(program, "+1555", await street.code(program, "+1555"))).status_code == 200


async def test_after_ten_wrong_tries_strangers_are_shut_out_for_a_while(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    await lock_out(street, program, "+1555", but=1)
    code = await street.code(program, "+1555")
    assert_refused(await street.enter(program, "+1555", other_than(code)), *WRONG)
    # With the right code too, and so is one who asks for another.
    refused = await street.enter(program, "+1555", code)
    assert_refused(refused, *LOCKED)
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert_refused(await street.ask(program, "+1555"), *LOCKED)
    street.clock.turn(seconds=901)
    assert (await street.enter(program, "+1555", await street.code(program, "+1555"))).status_code == 200


async def test_what_was_guessed_before_the_clock_was_set_back_does_not_count(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    await lock_out(street, program, "+1555", but=1)
    street.clock.turn(seconds=-7 * 86_400)
    code = await street.code(program, "+1555")
    assert_refused(await street.enter(program, "+1555", other_than(code)), *WRONG)
    assert (await street.enter(program, "+1555", code)).status_code == 200


async def test_whoever_was_sent_a_code_where_they_are_gets_in_while_strangers_are_locked_out(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    await lock_out(street, program, "+1555", but=1)
    code = await street.code(program, "+1555", origin=home)
    assert_refused(await street.enter(program, "+1555", other_than(code)), *WRONG)
    assert_refused(await street.enter(program, "+1555", code), *LOCKED)
    assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200


async def test_whoever_has_signed_in_from_there_before_is_not_locked_out(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    await street.enter(program, "+1555", await street.code(program, "+1555"), origin=home)
    street.clock.turn(seconds=61)
    await lock_out(street, program, "+1555")
    assert_refused(await street.ask(program, "+1555"), *LOCKED)
    code = await street.code(program, "+1555", origin=home)
    assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200


async def held_against(street: Street, program: str) -> int:
    """How often a wrong guess was held against a code, of those that have not been forgotten."""
    async with street.hub.db.reading(system_scope(TenantId(program))) as view:
        rows = await view.execute(select(stored.c.own_tries, stored.c.other_tries).where(stored.c.tenant_id == program))
        return sum(own + other for own, other in rows.all())


async def codes_at_once(street: Street, program: str, count: int, *, origin: str) -> list[str]:
    """Live at the same time."""
    codes = []
    for _ in range(count):
        street.clock.turn(seconds=61)
        codes.append(await street.code(program, "+1555", origin=origin))
    return codes


def none_of(codes: list[str]) -> str:
    return next(text for number in range(len(codes) + 1) if (text := f"{number:06}") not in codes)


async def test_a_guess_counts_once_for_each_code_that_it_is_held_against(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    wrong = none_of(await codes_at_once(street, program, KEPT_CODES, origin=home))
    for _ in range(TRIES):
        assert_refused(await street.enter(program, "+1555", wrong), *WRONG)
    assert await held_against(street, program) == 9
    assert_refused(await street.enter(program, "+1555", wrong, origin=home), *WRONG)
    assert_refused(await street.ask(program, "+1555"), *LOCKED)


async def test_whoever_mistypes_with_five_codes_at_hand_is_not_locked_out(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    codes = await codes_at_once(street, program, 5, origin=home)
    for _ in range(TRIES - 1):
        assert_refused(await street.enter(program, "+1555", none_of(codes), origin=home), *WRONG)
    assert (await street.enter(program, "+1555", codes[-KEPT_CODES], origin=home)).status_code == 200


async def test_nor_is_whoever_mistypes_every_try_that_their_codes_have(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    wrong = none_of(await codes_at_once(street, program, KEPT_CODES, origin=home))
    for _ in range(2 * TRIES):
        assert_refused(await street.enter(program, "+1555", wrong, origin=home), *WRONG)
    street.clock.turn(seconds=61)
    code = await street.code(program, "+1555", origin=home)
    assert (await street.enter(program, "+1555", code)).status_code == 200


async def test_guesses_while_it_is_locked_count_towards_the_next_lock(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    wrong = none_of(await codes_at_once(street, program, KEPT_CODES, origin=home))
    for origin in (*(anywhere() for _ in range(TRIES)), home):
        assert_refused(await street.enter(program, "+1555", wrong, origin=origin), *WRONG)
    left = int((await street.ask(program, "+1555")).headers["Retry-After"])
    for _ in range(TRIES - 1):
        assert_refused(await street.enter(program, "+1555", wrong, origin=home), *WRONG)
    assert int((await street.ask(program, "+1555")).headers["Retry-After"]) == left
    street.clock.turn(seconds=left)
    # Six have been counted: of four more the last locks.
    await lock_out(street, program, "+1555", but=6)
    assert_refused(await street.ask(program, "+1555"), *LOCKED)


async def test_an_attacker_gets_twelve_chances_for_each_lock(
    street: Street, measured: Callable[[str, object], None]
) -> None:
    """The worst way that is known of: three codes at a time, and those that were asked for from the attacker's own place
    are tried while it is locked."""
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    chances = []
    for _ in range(8):
        own = anywhere()
        wrong = none_of(await codes_at_once(street, program, KEPT_CODES, origin=own))
        before = await held_against(street, program)
        for origin in (*(anywhere() for _ in range(TRIES)), *[own] * TRIES):
            await street.enter(program, "+1555", wrong, origin=origin)
        chances.append(await held_against(street, program) - before)
        refused = await street.ask(program, "+1555")
        assert_refused(refused, *LOCKED)
        street.clock.turn(seconds=int(refused.headers["Retry-After"]))
    assert chances == [18, 15, 12, 12, 12, 12, 12, 12]
    measured("chances in eight locks", sum(chances))


async def test_an_attacker_who_never_stops_gets_few_guesses_a_day_and_the_owner_gets_in(
    street: Street, measured: Callable[[str, object], None]
) -> None:
    """Every lock is waited for, a new code asked for whenever one may be, and each is tried from two places: two days of
    it."""
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    assert (await street.enter(program, "+1555", await street.code(program, "+1555"), origin=home)).status_code == 200
    began, judged, most = street.clock.now(), 0, 0
    while street.clock.now() - began < 2 * 86_400_000:
        street.clock.turn(seconds=61)
        here, there = anywhere(), anywhere()
        answer = await street.ask(program, "+1555", origin=here)
        for origin in (here,) * TRIES + (there,) * TRIES if answer.status_code == 200 else ():
            answer = await street.enter(program, "+1555", "000000", origin=origin)
            if answer.status_code == 429:
                break
            judged += 1
        if answer.status_code == 429:
            wait = int(answer.headers["Retry-After"])
            most = max(most, wait)
            street.clock.turn(seconds=wait + 1)
    assert most <= OTP_LOCK.most_millis / 1000
    assert 2 * 50 < judged <= 2 * 150
    measured("guesses judged in two days", judged)
    code = await street.code(program, "+1555", origin=home)
    assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200
    street.clock.turn(seconds=OTP_LOCK.most_millis / 1000 + 1)
    assert (await street.enter(program, "+1555", await street.code(program, "+1555"))).status_code == 200, (
        "from anywhere"
    )


def a_network(number: int) -> str:
    """One of those that a subscriber to IPv6 has."""
    return f"2001:db8:abcd:{number:x}::1"


async def test_a_subscriber_with_many_networks_has_few_tries_and_codes(street: Street) -> None:
    program = await street.program("otp")
    for path, body, limit in (("/otp/request", {}, 5), ("/otp/verify", {}, 10)):
        most = SITE_ATTEMPTS * limit
        seen = [
            (await street.post(path, body | {"tenantId": program}, origin=a_network(number))).status_code
            for number in range(most + 2)
        ]
        assert seen == [400] * most + [429] * 2
        assert (await street.post(path, body, origin="2001:db8:abce::1")).status_code == 400
    street.clock.turn(seconds=901)


async def test_one_of_them_that_goes_on_asking_leaves_what_the_others_have(street: Street) -> None:
    for path, limit in (("/otp/request", 5), ("/otp/verify", 10)):
        assert [(await street.post(path, {}, origin=a_network(0))).status_code for _ in range(limit)] == [400] * limit
        for _ in range(3):
            assert (await street.post(path, {}, origin=a_network(0))).status_code == 429
            street.clock.turn(seconds=31)  # it is not remembered any more, so it is counted
        networks = [a_network(number) for number in range(1, SITE_ATTEMPTS) for _ in range(limit)]
        seen = [(await street.post(path, {}, origin=origin)).status_code for origin in networks]
        assert seen == [400] * len(networks)
    street.clock.turn(seconds=901)


async def test_a_program_sends_strangers_so_many_codes_together(installation: Installation) -> None:
    settings = SETTINGS | {"OTP_PROGRAM_REQUEST_LIMIT": 3}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program, other, home = await street.program("otp"), await street.program("otp"), anywhere()
        await street.person(program, phone="+1555")
        code = await street.code(program, "+1555", origin=home)
        assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200
        street.clock.turn(seconds=61)
        # The first is given back, as it signed somebody in.
        seen = [(await street.ask(program, f"+166{number}")).status_code for number in range(5)]
        assert seen == [200, 200, 200, 429, 429]
        refused = await street.ask(program, "+1555")
        assert_refused(refused, 429, "Too many OTP requests, please try again later", "TOO_MANY_OTP_REQUESTS")
        assert (await street.ask(program, "+1555", origin=home)).status_code == 200, "familiar"
        assert (await street.ask(other, "+1555")).status_code == 200
        street.clock.turn(seconds=901)
        assert (await street.ask(program, "+1555")).status_code == 200


async def test_a_code_that_was_asked_for_elsewhere_gives_the_program_none_back(installation: Installation) -> None:
    """It may have been asked for where its owner was familiar, and not have been counted."""
    settings = SETTINGS | {"OTP_PROGRAM_REQUEST_LIMIT": 2}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program = await street.program("otp")
        await street.person(program, phone="+1555")
        assert (await street.enter(program, "+1555", await street.code(program, "+1555"))).status_code == 200
        assert [(await street.ask(program, f"+166{number}")).status_code for number in range(2)] == [200, 429]


async def test_codes_that_a_program_does_not_send_use_nothing_of_an_identifiers_up(installation: Installation) -> None:
    settings = SETTINGS | {"OTP_PROGRAM_REQUEST_LIMIT": 1}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program = await street.program("otp")
        await street.code(program, "+1666")
        street.clock.turn(seconds=600)
        assert [(await street.ask(program, "+1555")).status_code for _ in range(REQUESTS)] == [429] * REQUESTS
        street.clock.turn(seconds=301)  # the program's window is over, and one of the identifier's is not
        assert (await street.ask(program, "+1555")).status_code == 200


async def test_codes_that_an_identifier_does_not_get_use_nothing_of_the_programs_up(installation: Installation) -> None:
    settings = SETTINGS | {"OTP_PROGRAM_REQUEST_LIMIT": 6, "OTP_RESEND_SECONDS": 0}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program = await street.program("otp")
        seen = [(await street.ask(program, "+1555")).status_code for _ in range(9)]
        assert seen == [200] * 5 + [429] * 4
        assert [(await street.ask(program, phone)).status_code for phone in ("+1556", "+1557")] == [200, 429]


async def test_a_program_takes_so_many_wrong_codes_of_strangers_together(installation: Installation) -> None:
    settings = SETTINGS | {"OTP_PROGRAM_VERIFY_LIMIT": 3}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program, home = await street.program("otp"), anywhere()
        for phone in ("+1555", "+1556"):
            await street.person(program, phone=phone)
        for _ in range(4):
            code = await street.code(program, "+1555", origin=home)
            assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200
            street.clock.turn(seconds=61)
        code = await street.code(program, "+1556")
        for _ in range(3):
            assert_refused(await street.enter(program, "+1556", other_than(code)), *WRONG)
        code = await street.code(program, "+1555", origin=home)
        refused = await street.enter(program, "+1555", code)
        assert_refused(refused, 429, "Too many verification attempts, please try again later", "TOO_MANY_VERIFICATIONS")
        assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200, "familiar"


async def test_whoever_asked_for_a_code_where_they_are_has_one_try_while_strangers_use_the_programs_up(
    installation: Installation,
) -> None:
    settings = SETTINGS | {"OTP_PROGRAM_VERIFY_LIMIT": 2}
    async with installation.running(**settings) as (app, _), street_of(app, installation.clock) as street:
        program, home, clumsy = await street.program("otp"), anywhere(), anywhere()
        for phone in ("+1555", "+1556"):
            await street.person(program, phone=phone)
        code = await street.code(program, "+1777")
        for _ in range(2):
            assert_refused(await street.enter(program, "+1777", other_than(code)), *WRONG)
        code = await street.code(program, "+1555", origin=home)
        assert (await street.enter(program, "+1555", code)).status_code == 429, "asked for elsewhere"
        assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200
        code = await street.code(program, "+1556", origin=clumsy)
        assert_refused(await street.enter(program, "+1556", other_than(code), origin=clumsy), *WRONG)
        assert (await street.enter(program, "+1556", code, origin=clumsy)).status_code == 429
        street.clock.turn(seconds=61)
        code = await street.code(program, "+1556", origin=clumsy)
        assert (await street.enter(program, "+1556", code, origin=clumsy)).status_code == 200


async def test_a_program_that_nobody_attacks_feels_nothing_of_it(street: Street) -> None:
    attacked, other = await street.program("otp"), await street.program("otp")
    for program in (attacked, other):
        await street.person(program, phone="+1555")
        await street.person(program, phone="+1556")
    await lock_out(street, attacked, "+1555")
    assert_refused(await street.enter(attacked, "+1555", "000000"), *LOCKED)
    for program, phone in ((other, "+1555"), (attacked, "+1556")):
        assert (await street.enter(program, phone, await street.code(program, phone))).status_code == 200
