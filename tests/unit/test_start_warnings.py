"""What is warned of from the settings alone when the hub starts."""

import pytest
import structlog

from datacollect.cli.start_warnings import warn_of_settings
from datacollect.settings import Settings


def warned_of(**settings: str) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        warn_of_settings(Settings(_env_file=None, **settings))
    assert all(line["log_level"] == "warning" for line in logs)
    return [line["event"] for line in logs]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


@pytest.mark.parametrize("name", ["Production", "PRODUCTION", "prod", "production ", "banana", "dev", "Test"])
def test_an_environment_that_nobody_knows_is_told_with_what_it_is_taken_for(name: str) -> None:
    """Production's guards would be off without a word."""
    with structlog.testing.capture_logs() as logs:
        warn_of_settings(Settings(_env_file=None, NODE_ENV=name))
    (line,) = logs
    assert (line["event"], line["node_env"], line["taken_for"]) == ("environment.unknown", name, "unset")
    assert "production" in line["help"]


@pytest.mark.parametrize("name", ["", "production", "development", "test"])
def test_an_environment_that_is_known_is_not_worth_a_word(name: str) -> None:
    assert warned_of(**{"NODE_ENV": name} if name else {}) == []


@pytest.mark.parametrize("name", ["development", "test"])
def test_it_is_said_that_codes_are_told_to_who_asks(name: str) -> None:
    assert warned_of(NODE_ENV=name, OTP_EXPOSE_DEV_CODE="true") == ["otp.told_to_who_asks"]
    assert warned_of(NODE_ENV=name, OTP_EXPOSE_DEV_CODE="1") == []


@pytest.mark.parametrize(
    "origin",
    [
        "hub.example.org",
        "https://hub.example.org/",
        "https://Hub.example.org",
        "https://hub.example.org:443",
        "http://hub.example.org:80",
        "https://*.example.org",
        "HTTPS://hub.example.org",
        "https://",
    ],
)
def test_an_origin_that_no_browser_sends_is_named(origin: str) -> None:
    with structlog.testing.capture_logs() as logs:
        warn_of_settings(Settings(_env_file=None, CORS_ORIGINS=f"https://fine.example, {origin}"))
    assert [(line["event"], line["origins"]) for line in logs] == [("cors.origins_never_sent", [origin])]


def test_origins_that_are_sent_are_not_worth_a_word() -> None:
    sent = "https://hub.example.org, http://localhost:8100,http://[::1]:3000, capacitor://localhost, null,"
    assert warned_of(CORS_ORIGINS=sent) == []
    assert warned_of(CORS_ORIGINS="*") == ["cors.open_to_all_origins"]
