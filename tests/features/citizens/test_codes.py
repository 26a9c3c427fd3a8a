"""Signing in with a code that was sent: what is answered, what a code is good for, and for whom."""

import asyncio
import hashlib
import re
from typing import Any

import pytest
from httpx2 import Response
from sqlalchemy import select

from datacollect.db import EVERY_TENANT
from datacollect.features.citizens.tables import codes, locks
from datacollect.features.messages.tables import messages
from tests.accounts import assert_refused, claims_of
from tests.citizens import change_citizen, self_service
from tests.factories import make_config, make_event, make_program, push
from tests.features.citizens.conftest import Street, anywhere, other_than
from tests.settling import catch_up

pytestmark = pytest.mark.anyio

WRONG = (401, "Invalid OTP", "OTP_INVALID")
DISABLED = (403, "Self-service is not enabled for this tenant", "SELF_SERVICE_DISABLED")


async def rows(street: Street, table: Any, program: str) -> list[Any]:
    async with street.hub.db.reading(EVERY_TENANT) as view:
        return list((await view.execute(select(table).where(table.c.tenant_id == program))).all())


def told(answer: Response) -> tuple[int, dict[str, Any]]:
    """All that an answer says, but what names the request."""
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "requestId"}


# -- the way in


async def test_a_citizen_signs_in_with_the_code_that_was_sent(street: Street) -> None:
    program = await street.program("otp")
    guid = await street.person(program, phone="+1555")
    answer = await street.ask(program, "+1555")
    code = answer.json()["devCode"]
    assert answer.json() == {"success": True, "expiresIn": 300, "resendIn": 60, "devCode": code}
    assert len(code) == 6 and code.isdigit()
    entered = await street.enter(program, "+1555", code)
    assert entered.status_code == 200
    assert entered.json()["username"] == "self-service:+1555"
    claims = claims_of(entered.json()["token"])
    assert {name: claims[name] for name in ("scope", "identifier", "entityGuid", "tenantId")} == {
        "scope": "self-service",
        "identifier": "+1555",
        "entityGuid": guid,
        "tenantId": program,
    }
    assert claims["exp"] - claims["iat"] == 3600
    assert await street.opens(entered.json()["token"])


@pytest.mark.parametrize("typed", ["ana@x.example", "ANA@X.example", "  Ana@x.EXAMPLE "])
async def test_letter_case_and_spaces_around_make_no_difference(street: Street, typed: str) -> None:
    program = await street.program("otp")
    await street.person(program, email="Ana@x.example")
    code = await street.code(program, typed)
    assert (await street.enter(program, "ana@x.example", code)).status_code == 200


_SAME = ("+33612345678", "0033612345678", "+33 6 12 34 56 78", "0033 (6) 12-34.56-78", "+33-612-345-678")


@pytest.mark.parametrize("held", _SAME)
async def test_a_number_is_the_same_however_its_digits_are_grouped(street: Street, held: str) -> None:
    program = await street.program("otp")
    guid = await street.person(program, phone=held)
    await street.person(program, phone="0612345678")
    await street.person(program, phone="+336123456789")
    await catch_up(street.hub)
    code = await street.code(program, _SAME[2])
    for other in _SAME:
        assert "devCode" not in (await street.ask(program, other)).json()
    entered = await street.enter(program, _SAME[0], code)
    assert claims_of(entered.json()["token"])["entityGuid"] == guid
    assert await street.opens(entered.json()["token"])


async def test_r7_one_number_written_in_two_ways_is_what_two_people_have(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone=_SAME[0])
    await street.person(program, email=_SAME[3])
    await catch_up(street.hub)
    code = await street.code(program, _SAME[0])
    for typed in (_SAME[0], _SAME[3]):
        assert_refused(await street.enter(program, typed, code), *WRONG)


async def test_a_number_in_many_texts_still_lets_its_owner_in(street: Street) -> None:
    """Whose number stands in the names of many, as that of who registered them, say."""
    program = await street.program("otp")
    many = [make_event(data={"name": f"By {_SAME[0]}", "entityName": "individual"}) for _ in range(30)]
    assert (await push(street.admin, program, *many)).status_code == 200
    await street.person(program, phone=_SAME[0])
    await catch_up(street.hub)
    assert (await street.enter(program, _SAME[0], await street.code(program, _SAME[1]))).status_code == 200


async def test_the_code_goes_to_the_address_on_the_record(street: Street) -> None:
    """What is typed may only look like it: here a long s, which is an s to those who do not look at case."""
    program = await street.program("otp")
    await street.person(program, email="Ines@x.example")
    await street.code(program, "ine\u017f@x.example")
    await street.code(program, "ines@x.example")
    found = await rows(street, messages, program)
    shown = []
    for row in found:
        content = street.hub.messages.opened(row.id, row.content)  # type: ignore[attr-defined]
        shown.append((content.address, content.deliverable))
    assert sorted(shown) == [("Ines@x.example", True), ("ine\u017f@x.example", False)]


async def test_a_phone_number_that_is_stored_as_a_number_is_one(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone=49151123456)
    assert (await street.enter(program, "49151123456", await street.code(program, "49151123456"))).status_code == 200


async def test_a_program_in_whose_index_the_field_is_not_yet_finds_people_too(street: Street) -> None:
    """Self-service is switched on for a program that has people, and asked before they are indexed."""
    program = await make_program(street.admin)
    guid = await street.person(program, phone='+1"555\\', email="ana@x.example")
    async with street.hub.db.transaction(EVERY_TENANT) as tx:
        held = "DELETE FROM search_indexes"
        await tx.run(held)
    config = make_config(program, selfService=self_service("otp"))
    assert (await street.admin.put(f"/api/apps/{program}", json=config)).status_code == 200
    for identifier in ('+1"555\\', "ANA@x.example"):
        entered = await street.enter(program, identifier, await street.code(program, identifier))
        assert claims_of(entered.json()["token"])["entityGuid"] == guid


async def test_r7_nobody_is_let_in_where_too_many_records_would_have_to_be_looked_at(street: Street) -> None:
    """Without an index, records are gone through for the text: what two people have must not seem to be one's."""
    program = await street.program("otp")
    many = [
        make_event(
            entity=f"e-{number:03}",
            data={"name": "Ana", "entityName": "individual", "note": "near 4711"}
            | ({"phone": "4711"} if number in (0, 299) else {}),
        )
        for number in range(300)
    ]
    assert (await push(street.admin, program, *many)).status_code == 200
    async with street.hub.db.transaction(EVERY_TENANT) as tx:
        await tx.run("DELETE FROM search_indexes")
    assert_refused(await street.enter(program, "4711", await street.code(program, "4711")), *WRONG)


# -- what is refused before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/otp/request", {"identifier": "", "tenantId": "x"}),
        ("/otp/request", {"identifier": "x"}),
        ("/otp/request", {"identifier": 5, "tenantId": "x"}),
        ("/otp/verify", {"identifier": "x", "tenantId": "x", "otp": "12345"}),
        ("/otp/verify", {"identifier": "x", "tenantId": "x", "otp": 123456}),
        ("/id/verify", {"nationalId": "x", "dateOfBirth": "", "tenantId": "x"}),
        ("/id/verify", {"dateOfBirth": "x", "tenantId": "x"}),
        ("/oidc/exchange", {"tenantId": "x"}),
        ("/oidc/exchange", {"idToken": "", "tenantId": "x"}),
        ("/oidc/nonce", {}),
    ],
)
async def test_a_body_of_another_form_is_told_before_anything_of_the_program(
    street: Street, path: str, body: dict[str, Any]
) -> None:
    answer = await street.post(path, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request")
    assert answer.json()["details"]


@pytest.mark.parametrize("method", ["otp", "id", "oidc"])
async def test_r1_a_way_to_sign_in_that_the_program_does_not_list_is_refused(street: Street, method: str) -> None:
    others = [one for one in ("otp", "id", "oidc", "qr") if one != method]
    listed = await street.program(*others)
    off = await street.program(method, enabled=False)
    without = await make_program(street.admin)
    archived = await street.program(method)
    assert (await street.admin.delete(f"/api/apps/{archived}")).status_code == 200
    bodies: dict[str, list[tuple[str, dict[str, str]]]] = {
        "otp": [
            ("/otp/request", {"identifier": "x"}),
            ("/otp/verify", {"identifier": "x", "otp": "000000"}),
        ],
        "id": [("/id/verify", {"nationalId": "x", "dateOfBirth": "1990-04-02"})],
        "oidc": [("/oidc/exchange", {"idToken": "x"}), ("/oidc/nonce", {})],
    }
    for program in (listed, off, without, archived, "no-such-program", "no program's id!"):
        for path, body in bodies[method]:
            assert_refused(await street.post(path, body | {"tenantId": program}), *DISABLED)


async def test_an_address_is_refused_before_its_body_is_read(street: Street) -> None:
    origin = anywhere()
    for _ in range(5):
        assert (await street.post("/otp/request", {}, origin=origin)).status_code == 400
    refused = await street.post("/otp/request", {}, origin=origin)
    assert_refused(refused, 429, "Too many OTP requests, please try again later", "TOO_MANY_OTP_REQUESTS")
    assert int(refused.headers["Retry-After"]) > 0
    shared = await street.post("/oidc/exchange", {}, origin=origin)
    assert_refused(shared, 429, "Too many OTP requests, please try again later")
    assert (await street.post("/otp/verify", {}, origin=origin)).status_code == 400, "another bucket"
    street.clock.turn(seconds=901)
    assert (await street.post("/otp/request", {}, origin=origin)).status_code == 400


async def test_tries_with_codes_and_with_national_ids_share_a_limit_of_ten(street: Street) -> None:
    origin = anywhere()
    for number in range(10):
        path = "/otp/verify" if number % 2 else "/id/verify"
        assert (await street.post(path, {}, origin=origin)).status_code == 400
    for path in ("/otp/verify", "/id/verify"):
        refused = await street.post(path, {}, origin=origin)
        assert_refused(refused, 429, "Too many verification attempts, please try again later", "TOO_MANY_VERIFICATIONS")


async def test_many_people_sign_in_from_one_address(street: Street) -> None:
    program, origin = await street.program("otp"), anywhere()
    for number in range(12):
        await street.person(program, phone=f"+1{number}")
        code = await street.code(program, f"+1{number}")
        assert (await street.enter(program, f"+1{number}", code, origin=origin)).status_code == 200


async def test_many_people_ask_for_their_codes_at_one_address(street: Street) -> None:
    program, kiosk = await street.program("otp"), anywhere()
    for number in range(12):
        await street.person(program, phone=f"+1{number}")
        code = await street.code(program, f"+1{number}", origin=kiosk)
        # Some read it at home.
        answer = await street.enter(program, f"+1{number}", code, origin=kiosk if number % 2 else anywhere())
        assert answer.status_code == 200


async def test_one_sign_in_gives_one_request_back(street: Street) -> None:
    program, kiosk = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    codes = []
    for _ in range(3):
        codes.append(await street.code(program, "+1555", origin=kiosk))
        street.clock.turn(seconds=61)
    assert (await street.enter(program, "+1555", codes[-1], origin=kiosk)).status_code == 200
    seen = [(await street.ask(program, f"+166{number}", origin=kiosk)).status_code for number in range(4)]
    assert seen == [200, 200, 200, 429]


async def test_whoever_was_refused_before_a_request_was_given_back_may_ask_at_once(street: Street) -> None:
    program, kiosk = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555", origin=kiosk)
    seen = [(await street.ask(program, f"+166{number}", origin=kiosk)).status_code for number in range(5)]
    assert seen == [200, 200, 200, 200, 429]
    assert (await street.enter(program, "+1555", code)).status_code == 200
    seen = [(await street.ask(program, f"+167{number}", origin=kiosk)).status_code for number in range(2)]
    assert seen == [200, 429]


# -- codes


async def test_r4_a_code_is_stored_as_a_keyed_hash_of_its_own_place(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    await street.person(program, phone="+1556")
    code = await street.code(program, "+1555")
    [stored] = await rows(street, codes, program)
    held = repr(tuple(stored))
    assert code not in held and "+1555" not in held
    assert all(bytes(hashlib.sha256(text.encode()).digest()) != stored.code_hash for text in (code, "+1555"))
    await street.code(program, "+1556")
    other = next(row for row in await rows(street, codes, program) if row.id != stored.id)
    # Whoever can write to the database still cannot make a code good for another identifier.
    async with street.hub.db.transaction(EVERY_TENANT) as tx:
        moved = codes.update().where(codes.c.id == other.id)
        await tx.execute(moved.values(code_hash=stored.code_hash))
    assert_refused(await street.enter(program, "+1556", code), *WRONG)
    assert (await street.enter(program, "+1555", code)).status_code == 200


async def test_a_code_is_good_for_five_minutes(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    early = await street.code(program, "+1555")
    street.clock.turn(seconds=280)
    assert (await street.enter(program, "+1555", early)).status_code == 200
    street.clock.turn(seconds=60)
    late = await street.code(program, "+1555")
    street.clock.turn(seconds=300)
    assert_refused(await street.enter(program, "+1555", late), *WRONG)


async def test_a_code_is_good_once_and_ends_the_ones_before_it(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    first = await street.code(program, "+1555")
    street.clock.turn(seconds=61)
    second = await street.code(program, "+1555")
    assert (await street.enter(program, "+1555", second)).status_code == 200
    assert_refused(await street.enter(program, "+1555", second), *WRONG)
    assert_refused(await street.enter(program, "+1555", first), *WRONG)


async def test_fifty_tries_of_one_right_code_at_once_give_one_token(street: Street) -> None:
    program, origin = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555", origin=origin)
    answers = await asyncio.gather(*(street.enter(program, "+1555", code) for _ in range(50)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) == 1, statuses
    assert set(statuses) <= {200, 401, 429}


async def test_a_code_stands_three_wrong_tries(street: Street) -> None:
    program, origin = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555", origin=origin)
    for _ in range(2):
        assert_refused(await street.enter(program, "+1555", other_than(code), origin=origin), *WRONG)
    street.clock.turn(seconds=61)
    another = await street.code(program, "+1555", origin=origin)
    assert_refused(
        await street.enter(program, "+1555", "000000" if code != "000000" else "1" * 6, origin=origin), *WRONG
    )
    assert_refused(await street.enter(program, "+1555", code, origin=origin), *WRONG)
    assert (await street.enter(program, "+1555", another, origin=origin)).status_code == 200


async def test_r3_strangers_do_not_use_the_tries_of_a_code_up(street: Street) -> None:
    program, home = await street.program("otp"), anywhere()
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555", origin=home)
    for _ in range(5):
        assert_refused(await street.enter(program, "+1555", other_than(code)), *WRONG)
    assert_refused(await street.enter(program, "+1555", code), *WRONG)
    assert (await street.enter(program, "+1555", code, origin=home)).status_code == 200


async def test_r3_asking_again_keeps_the_code_that_was_sent(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    code = await street.code(program, "+1555")
    street.clock.turn(seconds=20)
    again = await street.ask(program, "+1555")
    told_again = again.json()
    assert 240 < told_again.pop("expiresIn") <= 280
    assert 0 < told_again.pop("resendIn") <= 40
    assert told_again == {"success": True}
    assert len(await rows(street, codes, program)) == 1
    assert len(await rows(street, messages, program)) == 1
    street.clock.turn(seconds=41)
    assert "devCode" in (await street.ask(program, "+1555")).json()
    assert (await street.enter(program, "+1555", code)).status_code == 200


async def test_r2_an_identifier_gets_five_codes_in_fifteen_minutes_wherever_they_are_asked_for(
    street: Street,
) -> None:
    program = await street.program("otp")
    other = await street.program("otp")
    await street.person(program, phone="+1555")
    for identifier in ("+1555", "nobody@x.example"):
        for _ in range(5):
            assert "devCode" in (await street.ask(program, identifier)).json()
            street.clock.turn(seconds=61)
        refused = await street.ask(program, identifier)
        assert_refused(
            refused,
            429,
            "Too many OTP requests for this identifier, please try again later",
            "TOO_MANY_OTP_REQUESTS_FOR_IDENTIFIER",
        )
        assert int(refused.headers["Retry-After"]) > 0
        assert identifier not in str(refused.headers)
        assert (await street.ask(other, identifier)).status_code == 200, "another program"
    street.clock.turn(seconds=900)
    assert (await street.ask(program, "+1555")).status_code == 200


# -- whom


async def test_r6_an_identifier_that_nobody_has_gets_the_same_answers(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    seen = []
    for identifier in ("+1555", "+1999"):
        origin = anywhere()
        asked = await street.ask(program, identifier, origin=origin)
        code = asked.json()["devCode"]
        wrong = await street.enter(program, identifier, other_than(code), origin=origin)
        again = await street.ask(program, identifier, origin=origin)
        answers = [told(one) for one in (asked, wrong, again)]
        for _, body in answers:
            body.pop("devCode", None)
            # The hub's clock goes on meanwhile.
            assert body.pop("expiresIn", 300) > 250
            assert body.pop("resendIn", 60) > 10
        seen.append(answers)
    assert seen[0] == seen[1]
    code = (await street.ask(program, "+1998")).json()["devCode"]
    assert_refused(await street.enter(program, "+1998", code), *WRONG)


@pytest.mark.parametrize("shared", ["phone", "email", "across"])
async def test_r7_what_two_people_have_lets_neither_in(street: Street, shared: str) -> None:
    program = await street.program("otp")
    fields = ("phone", "email") if shared == "across" else (shared, shared)
    for field in fields:
        await street.person(program, **{field: "x-1"})
    assert_refused(await street.enter(program, "x-1", await street.code(program, "x-1")), *WRONG)


async def test_r7_a_former_phone_number_lets_nobody_in(street: Street) -> None:
    program = await street.program("otp")
    guid = await street.person(program, phone="+1555")
    before = await street.code(program, "+1555")
    await change_citizen(street.admin, program, guid, phone="+1556")
    assert_refused(await street.enter(program, "+1555", before), *WRONG)
    street.clock.turn(seconds=61)
    assert_refused(await street.enter(program, "+1555", await street.code(program, "+1555")), *WRONG)
    assert (await street.enter(program, "+1556", await street.code(program, "+1556"))).status_code == 200


async def test_a_code_is_for_whom_it_was_sent_to(street: Street) -> None:
    """The number goes to somebody else between request and sign-in: the code opens neither record."""
    program = await street.program("otp")
    guid = await street.person(program, phone="+1555")
    code = await street.code(program, "+1555")
    await change_citizen(street.admin, program, guid, phone="+1556")
    await street.person(program, phone="+1555")
    assert_refused(await street.enter(program, "+1555", code), *WRONG)


async def test_records_and_the_deleted_are_nobody(street: Street) -> None:
    program = await street.program("otp")
    gone = await street.person(program, phone="+1555")
    assert (
        await push(street.admin, program, make_event("delete-entity", entity=gone, data={"reason": "gone"}))
    ).status_code == 200
    record = make_event("create-record", data={"name": "Complaint", "entityName": "complaint", "phone": "+1556"})
    assert (await push(street.admin, program, record)).status_code == 200
    for phone in ("+1555", "+1556"):
        assert_refused(await street.enter(program, phone, await street.code(program, phone)), *WRONG)
    owner = await street.person(program, phone="+1556")
    street.clock.turn(seconds=61)
    entered = await street.enter(program, "+1556", await street.code(program, "+1556"))
    assert claims_of(entered.json()["token"])["entityGuid"] == owner, "what others write in forms shadows nobody"


async def test_people_of_another_program_are_nobody(street: Street) -> None:
    program, other = await street.program("otp"), await street.program("otp")
    await street.person(other, phone="+1555")
    code = await street.code(program, "+1555")
    assert_refused(await street.enter(program, "+1555", code), *WRONG)
    assert_refused(await street.enter(other, "+1555", code), *WRONG)


@pytest.mark.parametrize("typed", ["\U0001f600" * 200, "'; --", "%", "x" * 200, "\u202e+1555", "true"])
async def test_odd_identifiers_are_nobody(street: Street, typed: str) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555", email=True)
    code = await street.code(program, typed)
    assert_refused(await street.enter(program, typed, code), *WRONG)


# -- what is kept


async def test_nothing_that_was_typed_is_kept_or_logged(street: Street, capsys: pytest.CaptureFixture[str]) -> None:
    program = await street.program("otp", "id")
    await street.person(program, phone="+4915155501", nationalId="N-77001", dateOfBirth="1990-04-02")
    code = await street.code(program, "+4915155501")
    await street.enter(program, "+4915155501", other_than(code))
    await street.identify(program, "N-77002", "1991-04-02")
    assert (await street.enter(program, "+4915155501", code)).status_code == 200
    assert (await street.identify(program, "N-77001", "1990-04-02")).status_code == 200
    log = capsys.readouterr()
    held = ""
    for table in ("otp_codes", "citizen_sessions", "citizen_locks", "security_log", "attempts", "familiar_origins"):
        async with street.hub.db.reading(EVERY_TENANT) as view:
            held += "".join(str(tuple(row)) for row in await view.fetch(f"SELECT * FROM {table}"))
    for secret in ("4915155501", "N-77001", "N-77002", "1990-04-02", "1991-04-02"):
        assert secret not in log.out + log.err
        assert secret not in held
    # Six digits come up in digests and times; a code stands by itself.
    assert not re.search(rf"(?<![0-9A-Za-z]){code}(?![0-9A-Za-z])", log.out + log.err + held)


async def test_the_security_log_tells_of_citizens_sign_ins(street: Street) -> None:
    program = await street.program("otp")
    guid = await street.person(program, phone="+1555")
    code = await street.code(program, "+1555")
    await street.enter(program, "+1555", other_than(code))
    token = (await street.enter(program, "+1555", code)).json()["token"]
    assert await street.opens(token)
    found = (await street.admin.get("/api/security-log", params={"tenantId": program})).json()["entries"]
    entries = [one for one in found if one["action"].startswith("citizen.")]
    assert [one["action"] for one in entries] == ["citizen.signed_out", "citizen.signed_in", "citizen.refused"]
    assert entries[1]["details"] == {"by": "otp", "entity": guid}


async def test_what_is_over_is_forgotten(street: Street) -> None:
    program = await street.program("otp")
    await street.person(program, phone="+1555")
    for number in range(3):
        await street.code(program, f"+2{number}")
    await street.enter(program, "+1555", await street.code(program, "+1555"))
    street.clock.turn(seconds=3 * 86_400)
    await street.code(program, "+1555")
    assert len(await rows(street, codes, program)) == 1
    assert len(await rows(street, locks, program)) == 1
