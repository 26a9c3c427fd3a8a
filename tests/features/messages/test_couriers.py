"""What a hub says of itself where codes reach nobody, or too many."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from datacollect.app import create_app
from datacollect.assembly import create_hub
from datacollect.features.tenants.accepting import accept
from datacollect.features.tenants.errors import InvalidConfig
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import StartupError
from datacollect.messaging import Channel, Message
from datacollect.messaging.console import ConsoleCourier
from datacollect.messaging.masking import masked
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client, make_settings
from tests.factories import make_config, make_program
from tests.features.messages.outbox import self_service

pytestmark = pytest.mark.anyio

GATEWAY = {"SMS_GATEWAY_URL": "https://gateway.test"}
MAIL = {"SMTP_URL": "smtp://mail.test", "SMTP_FROM": "noreply@hub.test"}


async def warned_of(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """What a hub says when it starts, which has one program of each kind."""
    app = create_app(make_settings(folder, None))
    async with app.router.lifespan_context(app):
        async with asgi_client(app) as admin:
            signed_in = await admin.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
            admin.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
            await make_program(admin, selfService=self_service())
            await make_program(admin, selfService=self_service(enabled=False))
            await make_program(admin, selfService=self_service(authMethods=["id"]))
            archived = await make_program(admin, selfService=self_service())
            await admin.delete(f"/api/apps/{archived}")
    app = create_app(make_settings(folder, None, **settings))
    with structlog.testing.capture_logs() as lines:
        async with app.router.lifespan_context(app):
            pass
    return [dict(line) for line in lines if str(line["event"]).startswith("messages.")]


async def test_a_hub_that_cannot_send_codes_says_so_when_it_starts(tmp_path: Path) -> None:
    (line,) = await warned_of(tmp_path)
    assert (line["event"], line["programs"]) == ("messages.no_way_out", 1)
    assert "SMTP_URL" in line["help"]


@pytest.mark.parametrize("settings", [GATEWAY, MAIL, {"NODE_ENV": "development"}])
async def test_a_hub_that_can_says_nothing(tmp_path: Path, settings: dict[str, str]) -> None:
    assert await warned_of(tmp_path, **settings) == []


async def test_codes_on_the_console_of_production_are_a_warning(tmp_path: Path) -> None:
    (line,) = await warned_of(tmp_path, NODE_ENV="production", MESSAGE_CONSOLE=True, **GATEWAY)
    assert (line["event"], line["channels"]) == ("messages.on_console", ["mail"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"webhook": "http"}),
        (GATEWAY, {"webhook": "http", "sms": "gateway"}),
        (MAIL, {"webhook": "http", "mail": "smtp"}),
        ({"NODE_ENV": "development"}, {"webhook": "http", "sms": "console", "mail": "console"}),
        ({"NODE_ENV": "development", **MAIL}, {"webhook": "http", "sms": "console", "mail": "smtp"}),
        ({"NODE_ENV": "development", "MESSAGE_CONSOLE": False}, {"webhook": "http"}),
        ({"NODE_ENV": "production"}, {"webhook": "http"}),
    ],
)
async def test_what_the_settings_name_takes_messages(
    tmp_path: Path, settings: dict[str, Any], expected: dict[str, str]
) -> None:
    hub = create_hub(make_settings(tmp_path, None, **settings))
    assert {channel.value: kind for channel, kind in hub.messages.channels.items()} == expected
    await hub.db.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"SMTP_URL": "smtp://mail.test"},
        {"SMTP_URL": "mail.test", "SMTP_FROM": "noreply@hub.test"},
        {**GATEWAY, "SMS_GATEWAY_BODY": "to={to}"},
        {**GATEWAY, "SMS_GATEWAY_USER": "hub"},
        {**MAIL, "SMTP_CA_FILE": "/nowhere/ca.pem"},
    ],
)
def test_settings_that_cannot_work_stop_the_start(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(StartupError):
        create_hub(make_settings(tmp_path, None, **settings))


@pytest.mark.parametrize(
    ("section", "sends_codes", "expected"),
    [
        (self_service(), False, True),
        (self_service(), True, False),
        (self_service(enabled=False), False, False),
        (self_service(authMethods=["id", "oidc"]), False, False),
    ],
)
def test_who_uploads_a_program_is_told_that_its_codes_reach_nobody(
    section: dict[str, Any], sends_codes: bool, expected: bool
) -> None:
    warnings = accept(make_config(selfService=section), sends_codes=sends_codes).warnings
    assert any("no way to send" in warning for warning in warnings) == expected


@pytest.mark.parametrize(
    "texts",
    [
        {"otp": {"fr": "Votre code"}},
        {"otp": {"not a language": "{code}"}},
        {"reviewDue": {"en": ""}},
        {"reviewDue": {"en": "x" * 481}},
        {"otp": {f"a{n:02}": "{code}" for n in range(101)}},
    ],
)
def test_words_that_cannot_be_sent_are_refused(texts: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        accept(make_config(selfService=self_service(messageTexts=texts)))


async def test_the_console_prints_and_does_not_log(capsys: pytest.CaptureFixture[str]) -> None:
    message = Message("m-1", Channel.SMS, "+4915112345612", "738204 is your code", "", Millis(0))
    with structlog.testing.capture_logs() as lines:
        await ConsoleCourier().send(message, seconds=1)
    assert "15112345612" not in str(lines) and "738204" not in str(lines)
    assert capsys.readouterr().out == (
        "--- sms to +4915112345612, until 1970-01-01T00:00:00.000Z\n738204 is your code\n---\n"
    )


@pytest.mark.parametrize(
    ("address", "channel", "expected"),
    [
        ("+49 (151) 234 56 12", Channel.SMS, "+49…12"),
        ("0151 2345612", Channel.SMS, "…12"),
        ("12345", Channel.SMS, "…"),
        ("hello", Channel.SMS, "…"),
        ("ana@people.test", Channel.MAIL, "a…@…"),
        ("@", Channel.MAIL, "…@…"),
        ("\0@people.test", Channel.MAIL, "…@…"),
        ("\ud800@people.test", Channel.MAIL, "…@…"),
        ("é@people.test", Channel.MAIL, "é…@…"),
        ("https://user:pass@system.test/secret?key=1", Channel.WEBHOOK, "system.test"),
        ("https://[", Channel.WEBHOOK, "…"),
        ("no address", Channel.WEBHOOK, "…"),
    ],
)
def test_addresses_are_told_apart_and_not_told(address: str, channel: Channel, expected: str) -> None:
    assert masked(address, channel) == expected
