"""Scenarios of an attacker: what do the times of answers tell, and what do others feel of a flood of logins?"""

import asyncio
import itertools
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.client import Answer, BenchError
from bench.payload import EventMaker, push_body
from bench.runner import Bench, program, say
from bench.stats import Samples, percentile, separation

_PASSWORD = "Correct-Horse-7"
_WARM_UP = 10
_FLOOD_SECONDS = 30.0
_PUSH_PAUSE_SECONDS = 0.02
_PUSHED = 10
_KNOWN_ACCOUNTS = 20
_TRIES_PER_ACCOUNT = 12
_TRIES_UNTIL_THROTTLED = 18

_PUSHED_CITIZENS = 500
_SELF_SERVICE = {"enabled": True, "authMethods": ["otp", "id"], "allowedForms": [], "requireReview": False}

Ask = Callable[[], Awaitable[Answer]]

SETTINGS = {"TRUST_PROXY": "1"}
"""With `--serve`: a proxy in front is believed, so that one machine can be many."""


@dataclass
class Pair:
    """Two requests that nobody should be able to tell apart, or that are shown for comparison."""

    name: str
    one: Ask
    other: Ask
    seconds: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    outcomes: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))

    async def sample(self, side: int) -> None:
        answer = await (self.one, self.other)[side]()
        self.outcomes[side][answer.outcome] += 1
        self.seconds[side].append(answer.seconds)

    def facts(self) -> dict[str, Any]:
        """`separation`: 0.5 when times tell nothing; 1 or 0 when each one tells the two apart."""
        one, other = (sorted(times) for times in self.seconds)
        return {
            "separation": separation(one, other),
            "median_ms": [round(1000 * percentile(times, 0.5), 3) for times in (one, other)],
            "p95_ms": [round(1000 * percentile(times, 0.95), 3) for times in (one, other)],
            "samples": len(one),
            "outcome_pair": [dict(outcomes) for outcomes in self.outcomes],
        }


async def timing(bench: Bench) -> None:
    """Times of answers that an attacker would compare: is there such an account, program, entity, session?"""
    order = random.Random(7)
    async with (
        program(bench, "timing") as mine,
        program(bench, "timing") as theirs,
        program(bench, "timing") as gone,
        program(bench, "timing", selfService=_SELF_SERVICE) as village,
    ):
        pairs = await _pairs(bench, mine, theirs, gone) + await _citizens(bench, village)
        meter = bench.meter()
        for number in range(-_warm_up(bench), bench.options.samples):
            for pair in pairs:
                # In an order that changes, so that nothing that comes in turn falls on one side only.
                for side in order.sample((0, 1), 2):
                    await pair.sample(side)
            if number < 0:
                for pair in pairs:
                    for side in (0, 1):
                        pair.seconds[side].clear()
        for pair in pairs:
            bench.record(f"timing/{pair.name}", meter, **pair.facts())
            say(f"  separation {pair.facts()['separation']}  median {pair.facts()['median_ms']} ms")


def _warm_up(bench: Bench) -> int:
    return min(_WARM_UP, bench.options.samples)


async def _pairs(bench: Bench, mine: str, theirs: str, gone: str) -> list[Pair]:
    maker = EventMaker(start=datetime.now(UTC))
    foreign, own = str(uuid.uuid4()), str(uuid.uuid4())
    for guid, config_id in ((foreign, theirs), (own, mine)):
        await bench.client.push(push_body([maker.create(guid)], config_id))
    email = await make_account(bench, mine, role="program-admin")
    stranger = await _id_of(bench, await make_account(bench, theirs))
    wanted = max(_KNOWN_ACCOUNTS, (bench.options.samples + _warm_up(bench)) // _TRIES_PER_ACCOUNT + 1)
    accounts = [await make_account(bench, mine) for _ in range(wanted)]
    locked = await make_account(bench, mine)
    member = await _signed_in(bench, email)
    sessions = await _refresh_tokens(bench, accounts[0])
    await bench.client.archive_program(gone)
    number = iter(range(10**9))

    def get(path: Callable[[], str], headers: dict[str, str] | None = None) -> Ask:
        return lambda: bench.client.send(
            "GET", path(), signed=False, headers={**_from_anywhere(next(number)), **(headers or {})}
        )

    def post(path: str, body: Callable[[], Any]) -> Ask:
        return lambda: bench.client.send(
            "POST", path, msgspec.json.encode(body()), signed=False, headers=_from_anywhere(next(number))
        )

    def login(address: Callable[[], str]) -> Ask:
        return post("/api/users/login", lambda: {"email": address(), "password": "Wrong-Horse-7"})

    def entity(config_id: str, guid: Callable[[], str]) -> Ask:
        return get(lambda: f"/api/entities/{guid()}?configId={config_id}", member)

    def nobody() -> str:
        return f"bench-{uuid.uuid4().hex}@hub.example"

    unknown, nobodys = f"bench-timing-{uuid.uuid4().hex[:8]}", nobody()
    for _ in range(_TRIES_UNTIL_THROTTLED):
        await login(lambda: nobodys)()
        await login(lambda: locked)()
    return [
        # Many accounts in turn, so that the limit on one account's failures is not what is measured.
        Pair("login/unknown-known", login(nobody), login(lambda: random.choice(accounts))),
        # The same e-mail over and over: both are refused after some failures, without a look at the password.
        Pair("login/throttled-unknown-known", login(lambda: nobodys), login(lambda: locked)),
        Pair(
            "refresh/forged-ended",
            post("/api/users/refresh", lambda: {"refreshToken": sessions["forged"]}),
            post("/api/users/refresh", lambda: {"refreshToken": sessions["ended"]}),
        ),
        Pair(
            "public/absent-archived",
            get(lambda: f"/api/apps/{unknown}/public"),
            get(lambda: f"/api/apps/{gone}/public"),
        ),
        Pair(
            "public/absent-existing",
            get(lambda: f"/api/apps/{unknown}/public"),
            get(lambda: f"/api/apps/{mine}/public"),
        ),
        Pair("entity/absent-foreign", entity(mine, lambda: str(uuid.uuid4())), entity(mine, lambda: foreign)),
        Pair("program/absent-foreign", entity(unknown, lambda: foreign), entity(theirs, lambda: foreign)),
        Pair(
            "config/absent-foreign",
            get(lambda: f"/api/apps/{unknown}", member),
            get(lambda: f"/api/apps/{theirs}", member),
        ),
        # Asked by somebody who manages the accounts of their own program.
        Pair(
            "account/absent-foreign",
            get(lambda: "/api/users/999999999", member),
            get(lambda: f"/api/users/{stranger}", member),
        ),
    ]


async def _citizens(bench: Bench, village: str) -> list[Pair]:
    """Is there a record with this phone number, this national id? Each question is about another one, from another
    address: limits of identifiers and addresses are not what is measured."""
    wanted = bench.options.samples + _warm_up(bench)
    maker = EventMaker(start=datetime.now(UTC))
    people = [f"{uuid.uuid4().int % 10**15:015}" for _ in range(wanted)]
    for begin in range(0, wanted, _PUSHED_CITIZENS):
        events = []
        for phone in people[begin : begin + _PUSHED_CITIZENS]:
            event = maker.create(str(uuid.uuid4()))
            event["data"] |= {"phone": phone, "nationalId": phone, "dateOfBirth": "1990-04-02"}
            events.append(event)
        await bench.client.push(push_body(events, village))
    number = itertools.count(1)

    def nobody() -> str:
        return f"{uuid.uuid4().int % 10**15:015}"

    def post(path: str, body: Callable[[], Any]) -> Ask:
        return lambda: bench.client.send(
            "POST", path, msgspec.json.encode(body()), signed=False, headers=_from_anywhere(2**22 + next(number))
        )

    def request(who: Callable[[], str]) -> Ask:
        return post("/api/auth/otp/request", lambda: {"identifier": who(), "tenantId": village})

    def verify(who: Callable[[], str]) -> Ask:
        return post("/api/auth/otp/verify", lambda: {"identifier": who(), "otp": "00000x", "tenantId": village})

    def identify(who: Callable[[], str]) -> Ask:
        born = "1991-04-02"
        return post("/api/auth/id/verify", lambda: {"nationalId": who(), "dateOfBirth": born, "tenantId": village})

    def each() -> Callable[[], str]:
        return iter(people).__next__

    strangers = [nobody() for _ in range(wanted)]
    return [
        Pair("otp-request/unknown-known", request(iter(strangers).__next__), request(each())),
        # After the requests, so that both have a code.
        Pair("otp-verify/unknown-known", verify(iter(strangers).__next__), verify(each())),
        Pair("id-verify/unknown-known", identify(nobody), identify(each())),
    ]


def _from_anywhere(number: int) -> dict[str, str]:
    """An address of its own for each request: limits per address are not what is measured."""
    return {"X-Forwarded-For": f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"}


async def make_account(bench: Bench, config_id: str, *, role: str = "enumerator") -> str:
    """The e-mail of a new member of the program."""
    email = f"bench-{uuid.uuid4().hex}@hub.example"
    assignment = {"tenantId": config_id, "role": role}
    account = {"email": email, "password": _PASSWORD, "role": "USER", "roleAssignments": [assignment]}
    answer = await bench.client.send("POST", "/api/users", msgspec.json.encode(account))
    if answer.outcome != "201":
        raise BenchError(f"no account was made: {answer.outcome}")
    return email


async def _id_of(bench: Bench, email: str) -> int:
    body = await _tokens(bench, email)
    return int(body["userId"])


async def _tokens(bench: Bench, email: str) -> Any:
    body = msgspec.json.encode({"email": email, "password": _PASSWORD})
    answer = await bench.client.send("POST", "/api/users/login", body, signed=False)
    if answer.outcome != "200":
        raise BenchError(f"no login: {answer.outcome}")
    return msgspec.json.decode(answer.body)


async def _signed_in(bench: Bench, email: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {(await _tokens(bench, email))['token']}"}


async def _refresh_tokens(bench: Bench, email: str) -> dict[str, str]:
    """One of a session that has been ended, and one that the hub never signed."""
    ended = (await _tokens(bench, email))["refreshToken"]
    await bench.client.send("POST", "/api/users/logout", msgspec.json.encode({"refreshToken": ended}), signed=False)
    body, _, signature = ended.rpartition(".")
    return {"ended": ended, "forged": f"{body}.{signature[::-1]}"}


async def flood(bench: Bench) -> None:
    """Latency of pushes of ten events, quiet and under a flood of `--rate` logins a second; the ratios."""
    seconds = min(bench.options.seconds, _FLOOD_SECONDS)
    async with program(bench, "flood") as config_id:
        emails = [await make_account(bench, config_id) for _ in range(_KNOWN_ACCOUNTS)]
        quiet = await _quiet(bench, config_id, seconds)
        for name, many in (("many-addresses", True), ("one-address", False)):
            flooded = await _flooded(bench, config_id, seconds, name, emails, many_addresses=many)
            say(f"  {name}: " + "  ".join(f"{key} x{flooded[key] / quiet[key]:.2f}" for key in ("p50", "p95")))
            bench.report.add(
                {
                    "key": f"flood/{name}/ratio",
                    **{key: round(flooded[key] / quiet[key], 2) for key in ("p50", "p95")},
                }
            )


async def _quiet(bench: Bench, config_id: str, seconds: float) -> dict[str, float]:
    await _pushes(bench, config_id, min(3.0, seconds))
    meter = bench.meter()
    samples = await _pushes(bench, config_id, seconds)
    bench.record("flood/quiet", meter, **samples.summary())
    latency: dict[str, float] = samples.summary()["latency_ms"]
    return latency


async def _flooded(
    bench: Bench, config_id: str, seconds: float, name: str, emails: list[str], *, many_addresses: bool
) -> dict[str, float]:
    lead = min(2.0, seconds / 2)
    task = {
        "url": bench.options.url,
        "per_second": bench.options.rate,
        "seconds": seconds + lead,
        "emails": emails,
        "many_addresses": many_addresses,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.flooding", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    ended = asyncio.create_task(process.communicate(msgspec.json.encode(task)))
    try:
        await asyncio.sleep(lead)  # until the flood has begun
        meter = bench.meter()
        samples = await _pushes(bench, config_id, seconds - lead)
        said, _ = await ended
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    bench.record(f"flood/{name}", meter, **samples.summary(), logins=msgspec.json.decode(said))
    latency: dict[str, float] = samples.summary()["latency_ms"]
    return latency


async def _pushes(bench: Bench, config_id: str, seconds: float) -> Samples:
    """One device that pushes again and again, with a pause."""
    samples, maker = Samples(), EventMaker(start=datetime.now(UTC))
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        body = push_body([maker.create() for _ in range(_PUSHED)], config_id)
        answer = await bench.client.push(body)
        samples.add(answer.outcome, answer.seconds)
        await asyncio.sleep(_PUSH_PAUSE_SECONDS)
    return samples
