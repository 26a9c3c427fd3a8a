from pathlib import Path

import pytest

from datacollect.kernel.errors import StartupError
from datacollect.settings import Settings, check_startup, load_settings

COMPLETE = {"ADMIN_EMAIL": "a@hub.test", "ADMIN_PASSWORD": "pw", "JWT_SECRET": "s" * 32}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ADMIN_EMAIL": ""}, "Initial admin credentials must be set: ADMIN_EMAIL and ADMIN_PASSWORD"),
        (
            {"ADMIN_PASSWORD": "", "JWT_SECRET": ""},
            "Initial admin credentials must be set: ADMIN_EMAIL and ADMIN_PASSWORD",
        ),
        ({"JWT_SECRET": ""}, "JWT_SECRET must be set"),
        ({"JWT_SECRET": "s" * 31}, "JWT_SECRET must be at least 32 characters long"),
        ({"JWT_SECRET_PREVIOUS": "s" * 31}, "JWT_SECRET_PREVIOUS must be at least 32 characters long"),
        ({"OTP_PEPPER": "s" * 31}, "OTP_PEPPER must be at least 32 characters long"),
        (
            {"OTP_EXPOSE_DEV_CODE": "true", "NODE_ENV": "production", "CORS_ORIGINS": "https://a.example"},
            "OTP_EXPOSE_DEV_CODE is not allowed in production: anybody could sign in as anybody.",
        ),
        (
            {"CORS_ORIGINS": " * ", "NODE_ENV": "production"},
            "CORS_ORIGINS=* is not allowed in production. Specify explicit origins instead.",
        ),
        *[
            (
                {"PUBLIC_BASE_URL": address},
                "PUBLIC_BASE_URL must be an absolute http or https URL, such as https://hub.example.org",
            )
            for address in (
                "hub.example.org",
                "hub.example.org:3000",
                "//hub.example.org",
                "ftp://hub.example.org",
                "https://",
            )
        ],
        *[
            ({"RAILWAY_PUBLIC_DOMAIN": domain}, "RAILWAY_PUBLIC_DOMAIN must be a domain alone, such as hub.example.org")
            for domain in ("https://hub.example.org", "hub.example.org/hub", "a b")
        ],
    ],
)
def test_start_up_is_refused_with_the_contracts_text(
    changes: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (COMPLETE | changes).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartupError) as refused:
        check_startup(load_settings(None))
    assert refused.value.message == text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"PUBLIC_BASE_URL": "http://[::1]:3000/hub/"},
        {"RAILWAY_PUBLIC_DOMAIN": "hub.example.org"},
        {"CORS_ORIGINS": "*"},
        {"CORS_ORIGINS": "https://a.test", "NODE_ENV": "production"},
    ],
)
def test_complete_settings_pass_without_a_database_url(
    changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (COMPLETE | changes).items():
        monkeypatch.setenv(name, value)
    settings = load_settings(None)
    check_startup(settings)
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("value", "told"), [("true", True), ("True", False), ("1", False), ("yes", False), ("", False)]
)
def test_codes_are_told_for_the_exact_word_only(value: str, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTP_EXPOSE_DEV_CODE", value)
    assert load_settings(None).otp_expose_dev_code is told


def test_postgres_takes_precedence_over_database_url() -> None:
    settings = Settings(_env_file=None, POSTGRES="postgresql://one", DATABASE_URL="postgresql://two")
    assert settings.database_url == "postgresql://one"


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("ADMIN_EMAIL=file@hub.test\nLOG_LEVEL=debug\n")
    monkeypatch.setenv("ADMIN_EMAIL", "environment@hub.test")
    settings = load_settings(env_file)
    assert (settings.admin_email, settings.log_level) == ("environment@hub.test", "debug")


def test_a_value_of_the_wrong_form_is_named_but_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_SERVER_PORT", "not-a-port")
    with pytest.raises(StartupError, match="SYNC_SERVER_PORT") as refused:
        load_settings(None)
    assert "not-a-port" not in refused.value.message


def test_printed_settings_hold_no_secrets() -> None:
    secrets = {"ADMIN_PASSWORD": "Hidden-1", "JWT_SECRET": "Hidden-2", "POSTGRES": "postgresql://u:Hidden-3@h/d"}
    assert "Hidden" not in repr(Settings(_env_file=None, **secrets))  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "meant"), [("INFO", "info"), ("warn", "warning"), ("trace", "debug")])
def test_log_levels_of_other_loggers_are_understood(given: str, meant: str) -> None:
    assert Settings(_env_file=None, LOG_LEVEL=given).log_level == meant  # type: ignore[arg-type]


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


STAFF_PROVIDER = '{"name": "office", "type": "keycloak", "authority": "https://idp.test/realms/x", "client_id": "hub"}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("office", "STAFF_PROVIDERS: Value error, must be a JSON list of objects"),
        (STAFF_PROVIDER, "STAFF_PROVIDERS: Input should be a valid tuple"),
        ("[7]", "STAFF_PROVIDERS.0: Input should be a valid dictionary or instance of StaffProvider"),
        (f"[{STAFF_PROVIDER}, {STAFF_PROVIDER}]", "STAFF_PROVIDERS: Value error, two providers have the same name"),
        (f"[{STAFF_PROVIDER.replace('client_id', 'clientId')}]", "STAFF_PROVIDERS.0.client_id: Field required"),
        (
            f"[{STAFF_PROVIDER.replace('https://', '')}]",
            "STAFF_PROVIDERS.0.authority: Value error, must be an absolute http or https URL",
        ),
    ],
)
def test_a_staff_provider_that_cannot_be_meant_stops_the_start(
    value: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAFF_PROVIDERS", value)
    with pytest.raises(StartupError) as refused:
        load_settings(None)
    assert refused.value.message == text


def test_staff_providers_need_https_in_production_unless_all_private_hosts_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = f"[{STAFF_PROVIDER.replace('https', 'http')}]"
    for name, given in (COMPLETE | {"STAFF_PROVIDERS": value, "NODE_ENV": "production"}).items():
        monkeypatch.setenv(name, given)
    with pytest.raises(StartupError) as refused:
        check_startup(load_settings(None))
    assert refused.value.message == "STAFF_PROVIDERS: the authority of office must be an https URL"
    # One private host that is open opens no plain http to the others.
    monkeypatch.setenv("ALLOWED_PRIVATE_HOSTS", "idp.test")
    with pytest.raises(StartupError):
        check_startup(load_settings(None))
    monkeypatch.setenv("ALLOW_PRIVATE_ADAPTER_HOSTS", "true")
    check_startup(load_settings(None))
