"""The only reader of the environment.

`load_settings()` is called by the command line and nobody else; importing the package reads nothing, and tests build
`Settings(...)` with the values they are about.
"""

import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from datacollect.kernel.errors import StartupError
from datacollect.kernel.oidc import Provider, address_problem
from datacollect.kernel.sealing import Key, Seals

MINIMUM_SECRET_LENGTH = 32

LogLevel = Literal["debug", "info", "warning", "error", "critical", "silent"]
_LOG_LEVEL_NAMES = {"trace": "debug", "warn": "warning", "fatal": "critical"}


class StaffProvider(BaseModel):
    """An identity provider by which staff sign in, whatever their programs. Only the operator can name one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    type: str = Field(min_length=1)
    authority: str
    client_id: str = Field(min_length=1)
    audience: str | None = None
    organization: str | None = None

    @field_validator("authority")
    @classmethod
    def _is_an_address(cls, authority: str) -> str:
        problem = address_problem(authority, https_only=False)
        if problem:
            raise ValueError(problem)
        return authority

    def to_provider(self) -> Provider:
        authority = self.authority.rstrip("/")
        return Provider(
            self.type,
            authority=authority,
            issuer=authority,
            client_id=self.client_id,
            audience=self.audience,
            organization=self.organization,
        )


class Settings(BaseSettings):
    """Everything that can be configured, under its environment name. An empty variable counts as unset."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, env_file_encoding="utf-8", validate_by_name=True
    )

    admin_email: str | None = Field(None, alias="ADMIN_EMAIL", description="E-mail of the first administrator.")
    admin_password: SecretStr | None = Field(
        None,
        alias="ADMIN_PASSWORD",
        description="Password of the first administrator. Ignored as soon as any administrator exists.",
    )
    jwt_secret: SecretStr | None = Field(
        None, alias="JWT_SECRET", description="Secret that signs all tokens; at least 32 characters."
    )
    jwt_secret_previous: SecretStr | None = Field(
        None,
        alias="JWT_SECRET_PREVIOUS",
        description="The secret before JWT_SECRET: its tokens are still accepted, so a change signs nobody out.",
    )
    secrets_key: SecretStr | None = Field(
        None,
        alias="SECRETS_KEY",
        description="Seals the secrets of programs in the database; at least 32 characters. If unset, a key made "
        "from JWT_SECRET is used ([how to change it](../how-to/rotate-the-secrets-key.md)).",
    )
    secrets_key_previous: SecretStr | None = Field(
        None,
        alias="SECRETS_KEY_PREVIOUS",
        description="The key before SECRETS_KEY, or the JWT_SECRET before it: the hub can still open what it has sealed.",
    )
    otp_pepper: SecretStr | None = Field(
        None,
        alias="OTP_PEPPER",
        description="Key of the hashes in which citizens' codes and sign-ins are stored; at least 32 characters. If "
        "unset, a key made from JWT_SECRET is used.",
    )
    otp_expose_dev_code: bool = Field(
        False,
        alias="OTP_EXPOSE_DEV_CODE",
        description="Whether the answer to a citizen who asks for a code holds the code. For development; refused with "
        "NODE_ENV `production`; elsewhere the hub warns of it at its start.",
    )
    otp_resend_seconds: int = Field(
        60,
        alias="OTP_RESEND_SECONDS",
        ge=0,
        le=300,
        description="Seconds in which a citizen is sent one code: whoever asks again keeps that code.",
    )
    otp_request_rate_limit: int = Field(
        5,
        alias="OTP_REQUEST_RATE_LIMIT",
        ge=1,
        description="Codes that each client address may ask for in 15 minutes, sign-ins by identity providers counted.",
    )
    otp_verify_rate_limit: int = Field(
        10,
        alias="OTP_VERIFY_RATE_LIMIT",
        ge=1,
        description="Failed sign-ins of citizens, by code or national id, that each client address may have in 15 "
        "minutes.",
    )
    otp_program_request_limit: int = Field(
        1000,
        alias="OTP_PROGRAM_REQUEST_LIMIT",
        ge=1,
        description="Codes that each program sends in 15 minutes to people who have not signed in from where they are: more "
        "for one with very many people, less where messages are dear.",
    )
    otp_program_verify_limit: int = Field(
        300,
        alias="OTP_PROGRAM_VERIFY_LIMIT",
        ge=1,
        description="Wrong codes that each program takes in 15 minutes from people who have not signed in from where they "
        "are.",
    )
    postgres: SecretStr | None = Field(
        None, alias="POSTGRES", description="PostgreSQL URL; takes precedence over DATABASE_URL."
    )
    database_url_fallback: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="PostgreSQL URL. Without one the hub runs on SQLite in DATA_DIR."
    )
    data_dir: Path = Field(
        Path("data"), alias="DATA_DIR", description="Folder of the SQLite database and of other local files."
    )
    db_pool_size: int = Field(
        10, alias="DB_POOL_SIZE", ge=1, le=200, description="PostgreSQL connections each server process may hold."
    )
    row_level_security: bool = Field(
        True,
        alias="ROW_LEVEL_SECURITY",
        description="Whether PostgreSQL keeps programs apart a second time, whatever the hub's statements say. If off, "
        "small pulls are faster ([figures](../decisions/0027-the-second-wall.md)).",
    )
    search_index: bool = Field(
        True,
        alias="SEARCH_INDEX",
        description="Whether an index of words and searchable fields is kept. If off, less is written and searches "
        "look through the whole program ([figures](../decisions/0061-the-index-behind-the-pushes.md)). It must be the "
        "same in all processes.",
    )
    seal_segments: bool = Field(
        True,
        alias="SEAL_SEGMENTS",
        description="Whether each 500 events of a program are stored a second time, compressed, for pulls "
        "([figures](../decisions/0052-sealed-segments.md)).",
    )
    cache_pages: Literal["none", "private", "shared"] = Field(
        "none",
        alias="CACHE_PAGES",
        description="Who may keep full pages of a pull: nobody, the client's own cache, or also proxies on the way. They "
        "ask the hub before they serve one ([how](../how-to/cache-pulls.md)).",
    )
    pull_page_events: int = Field(
        10,
        alias="PULL_PAGE_EVENTS",
        ge=10,
        le=1000,
        description="Events in a page of a pull whose client names no `limit`. Existing clients name none, and accept any "
        "number: with 1000 a new phone pulls 10,000 events in 10 requests instead of 1,000.",
    )
    duplicate_detection: bool = Field(
        True,
        alias="DUPLICATE_DETECTION",
        description="Whether records are compared as they arrive, in the background, to find people who are registered "
        "twice. A program turns it off for itself by `duplicates.detect`.",
    )
    port: int = Field(3000, alias="SYNC_SERVER_PORT", ge=0, le=65535, description="Port to listen on; 0 picks one.")
    workers: int = Field(
        1, alias="WEB_CONCURRENCY", ge=1, le=128, description="Server processes. SQLite allows one only."
    )
    node_env: str | None = Field(
        None,
        alias="NODE_ENV",
        description="`production` refuses unsafe settings; `development` adds `stack` and `status` to the errors that have "
        "`success`, unexpected ones among them. Anything but these and `test` counts as unset, and the hub warns of it at its "
        "start.",
    )
    cors_origins: str | None = Field(
        None,
        alias="CORS_ORIGINS",
        description="Origins whose pages may call the hub, separated by commas; `*` allows all (never in production).",
    )
    trust_proxy: str | None = Field(
        None,
        alias="TRUST_PROXY",
        description="Which proxies' X-Forwarded-For to believe: true, false, a number of hops, or addresses.",
    )
    log_level: LogLevel = Field("info", alias="LOG_LEVEL", description="Lowest level of log lines to write.")
    public_base_url: str | None = Field(
        None, alias="PUBLIC_BASE_URL", description="The hub's address as devices reach it; written into QR codes."
    )
    railway_public_domain: str | None = Field(
        None, alias="RAILWAY_PUBLIC_DOMAIN", description="Domain used as https address when PUBLIC_BASE_URL is unset."
    )
    login_rate_limit: int = Field(
        15, alias="LOGIN_RATE_LIMIT", ge=1, description="Failed logins each client address may have in 15 minutes."
    )
    login_account_limit: int = Field(
        15, alias="LOGIN_ACCOUNT_LIMIT", ge=1, description="Wrong passwords each account may get in 15 minutes."
    )
    security_log_days: int = Field(
        365, alias="SECURITY_LOG_DAYS", ge=1, le=36_500, description="How long the security log is kept."
    )
    allow_private_adapter_hosts: bool = Field(
        False,
        alias="ALLOW_PRIVATE_ADAPTER_HOSTS",
        description="Let the hub call other systems on private networks and on its own machine. For development.",
    )
    allowed_private_hosts: str | None = Field(
        None,
        alias="ALLOWED_PRIVATE_HOSTS",
        description="Host names, addresses and networks (`10.1.0.0/16`) the hub may call although they are private, "
        "separated by commas.",
    )
    exports_at_once: int = Field(
        2,
        alias="EXPORTS_AT_ONCE",
        ge=1,
        le=16,
        description="Exports each server process makes at once; each holds a database connection. An account has one.",
    )
    request_rate_limit: int = Field(
        6000,
        alias="REQUEST_RATE_LIMIT",
        ge=0,
        description="Requests each account may make in a minute, syncing not counted; other limits per minute are "
        "parts of it ([limits](limits.md)). 0: no such limits.",
    )
    account_requests_at_once: int = Field(
        32,
        alias="ACCOUNT_REQUESTS_AT_ONCE",
        ge=1,
        description="Requests of one account that a server process works on at once; more of them wait.",
    )
    requests_at_once: int = Field(
        500, alias="REQUESTS_AT_ONCE", ge=1, description="Requests that a server process works on at once."
    )
    search_seconds: float = Field(
        10,
        alias="SEARCH_SECONDS",
        gt=0,
        le=50,
        description="How long a list or a search may take before it is stopped, and its caller told to ask for less.",
    )
    body_memory: int = Field(
        256,
        alias="BODY_MEMORY",
        ge=64,
        description="MiB of request bodies, and of long answers until they are read, that a server process holds at once;"
        " beyond it new requests are told to wait.",
    )
    purge: bool | None = Field(
        None,
        alias="PURGE",
        description="Whether archived programs can be deleted for good ([how](../how-to/archive-and-purge.md)). Unset: "
        "unless NODE_ENV is `production`.",
    )
    strict_passwords: bool | None = Field(
        None,
        alias="STRICT_PASSWORDS",
        description="Whether new passwords are refused that keep the five rules and are guessed first all the same "
        "(`Welcome-2026!`), or contain the name in the e-mail. Unset: if NODE_ENV is `production`.",
    )
    jobs_at_once: int = Field(
        2,
        alias="JOBS_AT_ONCE",
        ge=0,
        le=64,
        description="Background jobs that a server process works on at once; 0 leaves them to other processes.",
    )
    calls_at_once: int = Field(
        16,
        alias="CALLS_AT_ONCE",
        ge=1,
        le=256,
        description="Further background jobs of a server process that may wait for other systems at once.",
    )
    external_sync_limit: int = Field(
        6 * 3600,
        alias="EXTERNAL_SYNC_LIMIT",
        ge=60,
        le=7 * 24 * 3600,
        description="Seconds that one run of an external synchronisation may take, pauses included.",
    )
    job_lease: int = Field(
        30,
        alias="JOB_LEASE",
        ge=1,
        le=3600,
        description="Seconds without a sign of life after which another process continues a background job.",
    )
    rounds: bool = Field(
        True,
        alias="ROUNDS",
        description=(
            "Whether a server process checks periodically for what is due: files that nothing refers to any more,"
            " notices about reviews. Switch it off only if another process does this."
        ),
    )
    attachments_store: Literal["local", "s3", "memory"] = Field(
        "local",
        alias="ATTACHMENTS_STORE",
        description="Where attachments are stored: in a folder (`local`), in a bucket (`s3`), or, for tests, in `memory` "
        "([how](../how-to/store-attachments-in-s3.md)).",
    )
    attachments_dir: Path | None = Field(
        None, alias="ATTACHMENTS_DIR", description="Folder of attachments. Unset: `attachments` in DATA_DIR."
    )
    attachment_quota: int = Field(
        0,
        alias="ATTACHMENT_QUOTA",
        ge=0,
        le=2**40,
        description="MiB that the attachments of one program may take. 0: no such limit.",
    )
    s3_bucket: str | None = Field(None, alias="S3_BUCKET", description="Bucket of attachments.")
    s3_prefix: str = Field("", alias="S3_PREFIX", description="Prefix of the names of attachments in the bucket.")
    s3_endpoint: str | None = Field(None, alias="S3_ENDPOINT", description="URL of a store that is not Amazon's.")
    s3_allow_http: bool = Field(
        False,
        alias="S3_ALLOW_HTTP",
        description="Whether S3_ENDPOINT may be `http` on another machine: everybody on the network path can read the files.",
    )
    s3_region: str = Field("us-east-1", alias="S3_REGION", description="Region of the bucket.")
    s3_access_key_id: str | None = Field(
        None,
        alias="S3_ACCESS_KEY_ID",
        description="Key of the bucket. Unset, the hub uses those of its environment: `AWS_*` variables, or a role.",
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, alias="S3_SECRET_ACCESS_KEY", description="Secret of that key."
    )
    s3_virtual_hosted: bool = Field(
        False, alias="S3_VIRTUAL_HOSTED", description="Whether S3_ENDPOINT begins with the name of the bucket."
    )
    s3_ca_file: Path | None = Field(
        None,
        alias="S3_CA_FILE",
        description="File of certificates (PEM) to trust at S3_ENDPOINT beside those of the system.",
    )
    messages_per_day: int = Field(
        1000,
        alias="MESSAGES_PER_DAY",
        ge=0,
        description="Text messages and mails that the hub sends for one program in a day (UTC), unless the program's "
        "`selfService.messagesPerDay` says otherwise. Beyond it they are dropped.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        alias="SMTP_URL",
        description="Mail server for codes and notices: `smtp://user:password@host:587` (TLS by STARTTLS) or `smtps://…` "
        "([how](../how-to/send-codes-by-mail-and-sms.md)).",
    )
    smtp_from: str | None = Field(
        None,
        alias="SMTP_FROM",
        description="Sender of mails: `noreply@example.org`, or `The hub <noreply@example.org>`.",
    )
    smtp_ca_file: Path | None = Field(
        None,
        alias="SMTP_CA_FILE",
        description="File of certificates (PEM) to trust at SMTP_URL beside those of the system.",
    )
    smtp_allow_plain: bool = Field(
        False,
        alias="SMTP_ALLOW_PLAIN",
        description="Whether mails may go to another machine without TLS if it offers none: everybody on the network "
        "path can read codes and the password.",
    )
    sms_gateway_url: SecretStr | None = Field(
        None,
        alias="SMS_GATEWAY_URL",
        description="Where text messages are posted, by HTTP; on a private network also in ALLOWED_PRIVATE_HOSTS.",
    )
    sms_gateway_body: str = Field(
        '{"to":"{to}","text":"{text}","id":"{id}"}',
        alias="SMS_GATEWAY_BODY",
        description="What is posted: JSON whose texts have the placeholders `{to}`, `{text}`, `{id}` and `{expires}`.",
    )
    sms_gateway_format: Literal["json", "form"] = Field(
        "json", alias="SMS_GATEWAY_FORMAT", description="Whether it is posted as JSON or as fields of a form."
    )
    sms_gateway_headers: SecretStr | None = Field(
        None,
        alias="SMS_GATEWAY_HEADERS",
        description="Further headers, as a JSON object; for example for keys of the gateway.",
    )
    sms_gateway_token: SecretStr | None = Field(
        None, alias="SMS_GATEWAY_TOKEN", description="Sent to the gateway as `Authorization: Bearer …`."
    )
    sms_gateway_user: str | None = Field(
        None, alias="SMS_GATEWAY_USER", description="User name at the gateway, for `Authorization: Basic …`."
    )
    sms_gateway_password: SecretStr | None = Field(
        None, alias="SMS_GATEWAY_PASSWORD", description="Password of that user."
    )
    sms_gateway_secret: SecretStr | None = Field(
        None,
        alias="SMS_GATEWAY_SECRET",
        description="Requests to the gateway are signed with it ([how](../how-to/send-codes-by-mail-and-sms.md)).",
    )
    message_console: bool | None = Field(
        None,
        alias="MESSAGE_CONSOLE",
        description="Whether the hub prints messages for which no mail server or gateway is set, codes included. Unset: if "
        "NODE_ENV is `development`.",
    )
    staff_providers: Annotated[tuple[StaffProvider, ...], NoDecode] = Field(
        (),
        alias="STAFF_PROVIDERS",
        description="Identity providers by which staff may sign in: a JSON list of objects with `name`, `type`, "
        "`authority`, `client_id`, and optionally `audience` and `organization`.",
    )

    @field_validator("otp_expose_dev_code", mode="before")
    @classmethod
    def _exactly_true(cls, given: object) -> object:
        # As the reference reads it: whatever else somebody has put there does not tell codes to everybody.
        return given == "true" if isinstance(given, str) else given

    @field_validator("staff_providers", mode="before")
    @classmethod
    def _read_staff_providers(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except ValueError:
            raise ValueError("must be a JSON list of objects") from None

    @field_validator("staff_providers")
    @classmethod
    def _are_told_apart(cls, given: tuple[StaffProvider, ...]) -> tuple[StaffProvider, ...]:
        if len({provider.name for provider in given}) < len(given):
            raise ValueError("two providers have the same name")
        return given

    @field_validator("log_level", mode="before")
    @classmethod
    def _known_log_level(cls, level: object) -> object:
        # Deployments of the reference carry its logger's names for the same levels.
        return _LOG_LEVEL_NAMES.get(level.lower(), level.lower()) if isinstance(level, str) else level

    @property
    def database_url(self) -> str | None:
        """The PostgreSQL URL, or None for SQLite. Holds a password: never log it."""
        url = self.postgres or self.database_url_fallback
        return url.get_secret_value() if url else None

    @property
    def token_secrets(self) -> tuple[bytes, ...]:
        """The secret that signs, and then the one before it if that is still accepted."""
        given = (self.jwt_secret, self.jwt_secret_previous)
        return tuple(secret.get_secret_value().encode() for secret in given if secret is not None)

    @property
    def otp_peppers(self) -> tuple[bytes, ...]:
        """What hashes of citizens' codes and sign-ins are keyed with, and then what else they may have been."""
        derived = tuple(
            hmac.new(secret, b"datacollect-hub:otp-pepper", hashlib.sha256).digest() for secret in self.token_secrets
        )
        own = () if self.otp_pepper is None else (self.otp_pepper.get_secret_value().encode(),)
        # Without any secret (to print the OpenAPI document, say) nobody signs in.
        return (*own, *derived) or (secrets.token_bytes(32),)

    @property
    def seals(self) -> Seals:
        """What seals secrets: SECRETS_KEY, or else JWT_SECRET. Whatever these and the ones before them sealed opens."""
        own, derived = (self.secrets_key, self.secrets_key_previous), (self.jwt_secret, self.jwt_secret_previous)
        given = (*own, *derived) if self.secrets_key else (*derived, *own)
        return Seals(Key(secret.get_secret_value()) for secret in given if secret is not None)

    @property
    def purge_offered(self) -> bool:
        return not self.production if self.purge is None else self.purge

    @property
    def guessable_passwords_refused(self) -> bool:
        return self.production if self.strict_passwords is None else self.strict_passwords

    @property
    def messages_on_console(self) -> bool:
        return self.development if self.message_console is None else self.message_console

    @property
    def sends_codes(self) -> bool:
        """Whether there is a way for codes to reach anybody."""
        return self.smtp_url is not None or self.sms_gateway_url is not None or self.messages_on_console

    @property
    def attachments_folder(self) -> Path:
        return self.attachments_dir or self.data_dir / "attachments"

    @property
    def s3_http_allowed(self) -> bool:
        """On this machine nobody reads along."""
        host = urlsplit(self.s3_endpoint or "").hostname
        return self.s3_allow_http or host in ("localhost", "127.0.0.1", "::1")

    @property
    def production(self) -> bool:
        return self.node_env == "production"

    @property
    def development(self) -> bool:
        return self.node_env == "development"

    @property
    def providers_need_https(self) -> bool:
        """Whether identity providers must be at https addresses: in production, unless all private hosts are open."""
        return self.production and not self.allow_private_adapter_hosts


def load_settings(env_file: Path | None = Path(".env")) -> Settings:
    """Read the process environment, then `.env` for what it leaves unset. Raises `StartupError` for a bad value."""
    try:
        return Settings(_env_file=env_file)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise StartupError(f"{place}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError):
        raise StartupError(f"{env_file} cannot be read as UTF-8 text. Correct it, or remove it.") from None


def check_startup(settings: Settings) -> None:
    """Refuse to serve with settings that are missing or unsafe, in the order the contract gives."""
    if not settings.admin_email or not settings.admin_password:
        raise StartupError("Initial admin credentials must be set: ADMIN_EMAIL and ADMIN_PASSWORD")
    if not settings.jwt_secret:
        raise StartupError("JWT_SECRET must be set")
    check_keys(settings)
    if settings.production and (settings.cors_origins or "").strip() == "*":
        raise StartupError("CORS_ORIGINS=* is not allowed in production. Specify explicit origins instead.")
    if settings.production and settings.otp_expose_dev_code:
        raise StartupError("OTP_EXPOSE_DEV_CODE is not allowed in production: anybody could sign in as anybody.")
    check_addresses(settings)
    check_storage(settings)
    for provider in settings.staff_providers:
        if problem := address_problem(provider.authority, https_only=settings.providers_need_https):
            raise StartupError(f"STAFF_PROVIDERS: the authority of {provider.name} {problem}")


def check_addresses(settings: Settings) -> None:
    """Raises `StartupError` for what cannot be the hub's address: it would stand in every QR code."""
    if settings.public_base_url and (problem := address_problem(settings.public_base_url, https_only=False)):
        raise StartupError(f"PUBLIC_BASE_URL {problem}, such as https://hub.example.org")
    domain = (settings.railway_public_domain or "").rstrip("/")
    if domain and (address_problem(f"https://{domain}", https_only=True) or "/" in domain):
        raise StartupError("RAILWAY_PUBLIC_DOMAIN must be a domain alone, such as hub.example.org")


def check_storage(settings: Settings) -> None:
    """Raises `StartupError` for storage of attachments that is not named whole, or is open to others."""
    if settings.attachments_store == "memory" and settings.production:
        raise StartupError("ATTACHMENTS_STORE=memory is for tests: attachments would be gone with the process.")
    if settings.attachments_store != "s3":
        return
    if not settings.s3_bucket:
        raise StartupError("S3_BUCKET must be set for ATTACHMENTS_STORE=s3")
    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        raise StartupError("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY go together")
    if settings.s3_endpoint is None:
        return
    if problem := address_problem(settings.s3_endpoint, https_only=False):
        raise StartupError(f"S3_ENDPOINT {problem}")
    if urlsplit(settings.s3_endpoint).scheme == "http" and not settings.s3_http_allowed:
        raise StartupError("S3_ENDPOINT must be an https URL, or S3_ALLOW_HTTP be true")


def check_keys(settings: Settings) -> None:
    """Raises `StartupError` for one that could be guessed."""
    for name, key in (
        ("JWT_SECRET", settings.jwt_secret),
        ("JWT_SECRET_PREVIOUS", settings.jwt_secret_previous),
        ("SECRETS_KEY", settings.secrets_key),
        ("SECRETS_KEY_PREVIOUS", settings.secrets_key_previous),
        ("OTP_PEPPER", settings.otp_pepper),
    ):
        if key and len(key.get_secret_value()) < MINIMUM_SECRET_LENGTH:
            raise StartupError(f"{name} must be at least {MINIMUM_SECRET_LENGTH} characters long")
