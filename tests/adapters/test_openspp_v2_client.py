"""Signing in to OpenSPP V2, what it is asked for, and how its troubles are told."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from datacollect.adapters.calling import CallFailed
from datacollect.adapters.configured import read_external_sync
from datacollect.adapters.openspp_v2 import KIND
from datacollect.adapters.openspp_v2.client import RegistryClient
from datacollect.adapters.openspp_v2.options import OpenSppV2Options
from datacollect.adapters.options import form_fields
from datacollect.adapters.registry import installed
from datacollect.testing.openspp_v2 import SIGN_INS_A_MINUTE
from datacollect.testing.remote import Instead, Request
from tests.adapters.openspp_v2 import OTHER, World, person


def client(world: World, **changes: Any) -> RegistryClient:
    known = {"url": world.registry.url, "client_id": "dc", "client_secret": "s3cret", "sleep": world.sleep}
    return RegistryClient(world.context.client, world, **(known | changes))


def sign_ins(world: World) -> int:
    return world.registry.asked("POST", "oauth", "token")


def is_sign_in(request: Request) -> bool:
    return request.path.endswith("/oauth/token")


async def test_nobody_signs_in_before_there_is_something_to_ask(openspp: World) -> None:
    await openspp.adapter().close()
    assert openspp.registry.system.asked == 0


async def test_one_sign_in_serves_all_that_come_together_and_the_next_runs_too(openspp: World) -> None:
    await openspp.adapter().push([person(), person(OTHER)])
    await openspp.adapter().pull(None)
    assert sign_ins(openspp) == 1


async def test_a_token_is_renewed_a_minute_before_it_ends(openspp: World) -> None:
    await client(openspp).sign_in()
    openspp.time += timedelta(seconds=3600 - 61)
    await client(openspp).programs()
    assert sign_ins(openspp) == 1
    openspp.time += timedelta(seconds=2)
    await client(openspp).programs()
    assert sign_ins(openspp) == 2


async def test_a_token_that_lives_shorter_than_that_is_used_nevertheless(openspp: World) -> None:
    openspp.registry.token_seconds = 40
    await client(openspp).sign_in()
    openspp.time += timedelta(seconds=15)
    await client(openspp).programs()
    assert sign_ins(openspp) == 1


async def test_a_token_that_the_registry_has_forgotten_is_replaced_at_once(openspp: World) -> None:
    await client(openspp).sign_in()
    openspp.registry.forget_tokens()
    await asyncio.gather(*[client(openspp).programs() for _ in range(4)])
    assert sign_ins(openspp) == 2
    assert openspp.slept == []


@pytest.mark.parametrize("later", [timedelta(seconds=60), timedelta(days=-7)], ids=str)
async def test_we_count_our_sign_ins_before_the_registry_does(openspp: World, later: timedelta) -> None:
    registry = client(openspp)
    for _ in range(SIGN_INS_A_MINUTE + 1):
        assert await registry.sign_in(fresh=True)
    assert sign_ins(openspp) == SIGN_INS_A_MINUTE
    openspp.registry.forget_tokens()
    with pytest.raises(CallFailed, match="fewer requests") as raised:
        await client(openspp, max_retries=0).programs()
    assert raised.value.retry_after_seconds == 60
    assert sign_ins(openspp) == SIGN_INS_A_MINUTE
    registrys_own = openspp.time + timedelta(seconds=60)
    openspp.registry.now = lambda: registrys_own
    openspp.time += later
    await registry.programs()


async def test_the_limit_of_one_registry_counts_for_all_its_clients(openspp: World) -> None:
    for number in range(SIGN_INS_A_MINUTE):
        with pytest.raises(CallFailed):
            await client(openspp, client_id=f"other-{number}").sign_in()
    with pytest.raises(CallFailed, match="fewer requests"):
        await client(openspp).sign_in()
    assert sign_ins(openspp) == SIGN_INS_A_MINUTE


async def test_a_fresh_sign_in_asks_the_registry_and_tells_the_scopes(openspp: World) -> None:
    registry = client(openspp)
    assert "individual:read" in await registry.sign_in(fresh=True)
    await registry.sign_in(fresh=True)
    assert sign_ins(openspp) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_sign_ins_that_fail_are_told_apart_and_quote_nothing(openspp: World, status: int) -> None:
    openspp.registry.faults.add(Instead(status, {"detail": "s3cret of dc at 10.0.0.7"}), matches=is_sign_in, times=None)
    with pytest.raises(CallFailed) as raised:
        await client(openspp).sign_in()
    assert str(status) in raised.value.message
    assert "10.0.0.7" not in raised.value.message


async def test_health_says_what_is_so(openspp: World) -> None:
    health = await openspp.adapter().check()
    assert health.is_healthy
    assert health.latency_ms is not None
    assert "individual:read" in (health.message or "")
    wrong = await openspp.adapter(clientSecret="wrong").check()
    assert not wrong.is_healthy
    assert "wrong" not in (wrong.message or "")
    openspp.registry.faults.add(Instead(403), matches=lambda request: request.path.endswith("/Individual"))
    assert not (await openspp.adapter().check()).is_healthy
    openspp.registry.system.stop()
    assert not (await openspp.adapter().check()).is_healthy


async def test_studio_fields_are_read_to_their_end(openspp: World) -> None:
    for number in range(250):
        openspp.registry.add_studio_field(f"x_field_{number}", "group" if number % 2 else "individual")
    openspp.registry.add_studio_field(
        "x_crop", fieldType="selection", isRequired=True, selectionOptions=[{"value": "rice", "label": "Rice"}]
    )
    fields = (await client(openspp).studio_fields()).fields
    assert [field.technical_name for field in fields] == [*(f"x_field_{number}" for number in range(250)), "x_crop"]
    assert fields[-1].options == [{"value": "rice", "label": "Rice"}]
    assert (fields[-1].field_type, fields[-1].is_required, fields[-1].target_type) == ("selection", True, "individual")
    assert len((await client(openspp).studio_fields("group")).fields) == 125


async def test_a_registry_whose_fields_never_end_is_given_up(openspp: World) -> None:
    def endless(request: Request) -> bool:
        return request.path.endswith("/Studio/fields")

    for page in range(25):
        items = [{"technicalName": f"x_{page}_{number}"} for number in range(100)]
        openspp.registry.faults.add(Instead(200, {"items": items, "nextPageId": page + 1}), matches=endless)
    assert len((await client(openspp).studio_fields()).fields) == 2000


async def test_programs_are_told_whichever_release_tells_them(openspp: World) -> None:
    openspp.registry.add_program(7, "Widows", code="widows")
    openspp.registry.add_program(8, "Old", state="ended")
    page = await client(openspp).programs()
    assert [(one.id, one.name, one.code, one.state) for one in page.programs] == [(7, "Widows", "widows", "active")]
    assert not page.is_truncated
    assert [one.id for one in (await client(openspp).programs(status="ended")).programs] == [8]
    newer = {"identifier": [{"system": "urn:p", "value": "w"}], "name": "W", "active": False, "targetType": "group"}
    openspp.registry.faults.add(
        Instead(200, {"data": [newer, {"name": "no id"}]}), matches=lambda r: "Program" in r.path
    )
    [program] = (await client(openspp).programs()).programs
    assert (program.identifier, program.id, program.state, program.target_type) == ("urn:p|w", None, "ended", "group")


async def test_more_programs_than_a_page_are_said_to_be_more(openspp: World) -> None:
    for number in range(1, 102):
        openspp.registry.add_program(number, f"P{number}")
    page = await client(openspp).programs()
    assert (len(page.programs), page.is_truncated) == (100, True)


def options(**given: Any) -> OpenSppV2Options:
    return OpenSppV2Options.model_validate({"url": "https://x.example", "clientId": "dc", "clientSecret": "s", **given})


def test_options_have_the_defaults_and_the_names_of_older_configs() -> None:
    plain = options()
    assert (plain.identifier_type, plain.batch_size, plain.batch_delay_ms, plain.max_retries) == (
        "system_id",
        50,
        1000,
        2,
    )
    assert plain.include_studio_extensions
    assert not plain.uses_change_requests
    old = options(
        identifierSystem="national_id", groupIdentifierSystem="household_no", batchSize="5", submitVia="change-request"
    )
    assert (old.identifier_type, old.group_identifier_type, old.batch_size) == ("national_id", "household_no", 5)
    assert old.uses_change_requests
    assert options(identifierType="a", identifierSystem="b").identifier_type == "a"
    assert not options(submitVia="anything").uses_change_requests


@pytest.mark.parametrize(
    ("given", "is_on"), [("false", False), (False, False), ("true", True), ("no", True), ("", True)]
)
def test_studio_is_off_for_false_only(given: Any, is_on: bool) -> None:
    assert options(includeStudioExtensions=given).include_studio_extensions is is_on


@pytest.mark.parametrize("given", ['{"enrol-in-program": "enrol"}', {"enrol-in-program": "enrol", "x": 1}])
def test_codes_of_requests_are_an_object_or_its_json(given: Any) -> None:
    assert options(changeRequestTypeMap=given).change_request_type_map == {"enrol-in-program": "enrol"}
    assert options(changeRequestTypeMap="{broken").change_request_type_map == {}


def test_what_is_required_is_required_and_secrets_are_not_shown() -> None:
    with pytest.raises(ValidationError):
        OpenSppV2Options.model_validate({"url": "https://x.example", "clientId": "dc"})
    assert "hush" not in repr(options(clientSecret="hush"))


def test_the_form_asks_for_what_the_contract_lists() -> None:
    names = [(one.name, one.type, one.required) for one in form_fields(KIND.options)]
    assert names == [
        ("clientId", "text", True),
        ("clientSecret", "password", True),
        ("batchSize", "number", False),
        ("includeStudioExtensions", "select", False),
        ("batchDelayMs", "number", False),
        ("maxRetries", "number", False),
    ]


@pytest.mark.parametrize("type", ["openspp-v2-adapter", "openspp-v2"])
def test_it_is_found_under_the_name_of_configs_and_of_the_reference(type: str) -> None:
    section = {"type": type, "url": "https://x.example", "adapterConfig": {"clientId": "dc", "clientSecret": "s"}}
    configured = read_external_sync(section)
    assert configured is not None
    assert configured.kind is KIND
    assert installed().describe(type).as_json()["type"] == "openspp-v2-adapter"


async def test_sign_ins_that_do_not_arrive_are_not_counted(openspp: World) -> None:
    openspp.registry.system.stop()
    for _ in range(SIGN_INS_A_MINUTE + 1):
        with pytest.raises(CallFailed, match="could not be reached"):
            await client(openspp, max_retries=0).sign_in()
    openspp.registry.system.start()
    await client(openspp).sign_in()
