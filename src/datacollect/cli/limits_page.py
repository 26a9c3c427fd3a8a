"""The page `docs/reference/limits.md`: every limit, from where the code has it."""

from collections.abc import Iterator
from dataclasses import dataclass

from datacollect.eventstore.store import MOST_PAGE_BYTES
from datacollect.features.attachments.links import MOST_SECONDS as MOST_LINK_SECONDS
from datacollect.features.attachments.links import SECONDS as LINK_SECONDS
from datacollect.features.attachments.routes import LARGEST_PAGE as ATTACHMENTS_PAGE
from datacollect.features.audit.queries import MOST_PAGE_BYTES as AUDIT_BYTES
from datacollect.features.audit.routes import LARGEST_PAGE as AUDIT_PAGE
from datacollect.features.auth.attempts import SITE_ATTEMPTS
from datacollect.features.auth.model import MOST_SIGN_INS, WINDOW_SECONDS
from datacollect.features.citizens import model as citizens
from datacollect.features.conflicts.queries import MOST_BYTES as CONFLICTS_BYTES
from datacollect.features.conflicts.routes import MOST_LISTED as CONFLICTS_PAGE
from datacollect.features.devices.routes import MOST_LISTED as DEVICES_PAGE
from datacollect.features.discovery.caching import LIFETIME_SECONDS, MOST_ANSWERS
from datacollect.features.discovery.service import CALLS_OUT, MOST_OPTIONS, MOST_RELATIONS, TOTAL_SECONDS
from datacollect.features.discovery.uploading import LARGEST_FILE_BYTES
from datacollect.features.entities.finding.pages import HIGHEST_LIMIT as ENTITIES_PAGE
from datacollect.features.entities.finding.pages import MOST_LIST_BYTES
from datacollect.features.entities.projection import MOST_ENTITY_BYTES
from datacollect.features.entities.queries import MOST_MEMBERS, MOST_MEMBERS_BYTES
from datacollect.features.exports.answering import MOST_SECONDS
from datacollect.features.forms.routes import MOST_LISTED as FINDINGS_PAGE
from datacollect.features.forms.translation import LIMITS as FORM_LIMITS
from datacollect.features.history.routes import LARGEST_PAGE as HISTORY_PAGE
from datacollect.features.history.service import MOST_EVENTS, MOST_EVENTS_BYTES, MOST_TOLD_BYTES
from datacollect.features.quarantine.queries import MOST_BYTES as QUARANTINE_BYTES
from datacollect.features.quarantine.routes import MOST_LISTED as QUARANTINE_PAGE
from datacollect.features.quarantine.schemas import MOST_AT_ONCE
from datacollect.features.quarantine.service import MOST_BYTES_AT_ONCE
from datacollect.features.selfservice import export as own_data
from datacollect.features.sync.payload import MOST_ISSUES
from datacollect.features.sync.routes import LARGEST_PAGE as PULL_PAGE
from datacollect.features.sync.routes import MOST_AREAS
from datacollect.features.tenants.config_schemas import MOST_ENTRIES, MOST_FORMS, MOST_SMALL
from datacollect.features.tenants.findings import MOST_OF_A_KIND
from datacollect.features.users.queries import MOST_BYTES as ACCOUNTS_BYTES
from datacollect.http import fairness, guard, inflating, limits, multipart, protocol, receiving, upload
from datacollect.http.limits import CLASSES
from datacollect.http.sending import STALL_SECONDS
from datacollect.kernel.canonical import LEAST_BYTES_OF_CONTAINER, MAXIMUM_DEPTH, MOST_CONTAINERS
from datacollect.kernel.filetypes import HIGHEST_PER_ENTITY, MOST_PER_ENTITY
from datacollect.objects import in_turns
from datacollect.settings import Settings

_KIB, _MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Limit:
    what: str
    value: str
    setting: str
    answer: str


def lines() -> Iterator[str]:
    yield "# Limits"
    yield ""
    yield "What the hub takes, and what it answers beyond it. Every answer with 429 or 503 has `Retry-After`; all have the shape of"
    yield "[errors](errors.md). Limits per process hold in each of several server processes. Made by `datacollect reference limits`;"
    yield "reasons are in [decision 26](../decisions/0026-limits.md)."
    for title, found in _SECTIONS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| what | at most | setting | answer beyond it |"
        yield "|---|---|---|---|"
        for limit in found:
            yield f"| {limit.what} | {limit.value} | {limit.setting or '–'} | {limit.answer} |"
    yield ""
    yield "## Classes of routes"
    yield ""
    yield "The first that holds a path is its class."
    yield ""
    yield "| class | paths | what limits it, beside the requests that the hub works on at once |"
    yield "|---|---|---|"
    for found_class in CLASSES:
        paths = ", ".join(f"`{pattern}`" for pattern in found_class.patterns)
        yield f"| {found_class.name} | {paths} | {found_class.limited.value} |"


def _default(name: str) -> int:
    value = Settings.model_fields[name].default
    assert isinstance(value, int)
    return value


def _rates() -> list[_Limit]:
    return [*_sign_ins(), *_calls()]


def _sign_ins() -> list[_Limit]:
    logins = _default("login_rate_limit")
    wrong = _default("login_account_limit")
    window = f"{WINDOW_SECONDS // 60} minutes"
    return [
        _Limit("failed sign-ins of an address", f"{logins} in {window}", "`LOGIN_RATE_LIMIT`", "429 `TOO_MANY_LOGINS`"),
        _Limit(
            "wrong passwords for an account", f"{wrong} in {window}", "`LOGIN_ACCOUNT_LIMIT`", "429 `TOO_MANY_LOGINS`"
        ),
        _Limit("sign-ins of an account that last", f"{MOST_SIGN_INS:,}", "", "the one that is unused for longest ends"),
        _Limit(
            "codes that citizens at an address ask for, and sign-ins there by providers (`citizen-request`)",
            f"{_default('otp_request_rate_limit')} in {window}",
            "`OTP_REQUEST_RATE_LIMIT`",
            "429 `TOO_MANY_OTP_REQUESTS`",
        ),
        _Limit(
            "failed sign-ins of citizens at an address, by code or national ID (`citizen-verify`)",
            f"{_default('otp_verify_rate_limit')} in {window}",
            "`OTP_VERIFY_RATE_LIMIT`",
            "429 `TOO_MANY_VERIFICATIONS`",
        ),
        _Limit(
            "codes of one phone number or e-mail in a program (`citizen-code`)",
            f"{citizens.REQUESTS} in {window}",
            "",
            "429 `TOO_MANY_OTP_REQUESTS_FOR_IDENTIFIER`",
        ),
        _Limit(
            "wrong tries of one code, from where it was asked for; and as many from elsewhere",
            f"{citizens.TRIES}",
            "",
            "401 `OTP_INVALID`",
        ),
        _Limit(
            "wrong tries in a row of the codes of one phone number or e-mail",
            _told(citizens.OTP_LOCK),
            "",
            "429 `SIGN_IN_LOCKED`",
        ),
        _Limit(
            "codes that a program sends to people who have not signed in from where they are (`citizen-program-code`)",
            f"{_default('otp_program_request_limit'):,} in {window}",
            "`OTP_PROGRAM_REQUEST_LIMIT`",
            "429 `TOO_MANY_OTP_REQUESTS`",
        ),
        _Limit(
            "wrong codes of such people in a program (`citizen-program-guess`)",
            f"{_default('otp_program_verify_limit')} in {window}",
            "`OTP_PROGRAM_VERIFY_LIMIT`",
            "429 `TOO_MANY_VERIFICATIONS`",
        ),
        _Limit(
            "any of those of an address, for a /48 of IPv6", f"{SITE_ATTEMPTS} times as many", "as theirs", "as theirs"
        ),
        _Limit("wrong tries of one national ID in a row", _told(citizens.ID_LOCK), "", "429 `SIGN_IN_LOCKED`"),
    ]


def _calls() -> list[_Limit]:
    rates = limits.rates(_default("request_rate_limit"))
    setting = "`REQUEST_RATE_LIMIT`"
    account, opened, failures = (f"{rates[name].quota:,} in a minute" for name in ("account", "open", "failures"))
    public = f"{limits.PUBLIC.quota} in {limits.PUBLIC.window_seconds // 60} minutes"
    return [
        _Limit("reads of login screens by an address (`public`)", public, "", "429 `TOO_MANY_REQUESTS`"),
        _Limit(
            "questions of an account to registries (`discovery`), those that were answered in the last "
            f"{LIFETIME_SECONDS} s not counted",
            f"{CALLS_OUT.quota} in a minute",
            "",
            "429 `TOO_MANY_REQUESTS`",
        ),
        _Limit("requests of an account (`account`)", account, setting, "429 `TOO_MANY_REQUESTS`"),
        _Limit("requests of an address to open routes (`open`)", opened, setting, "429 `TOO_MANY_REQUESTS`"),
        _Limit(
            "requests of an address without a valid token to routes that need one (`failures`)",
            f"{failures}; then only tokens that are known to be good",
            setting,
            "429 `TOO_MANY_FAILED_AUTHENTICATIONS`",
        ),
    ]


def _told(rule: citizens.LockRule) -> str:
    first, most = rule.first_millis // 60_000, rule.most_millis // 3_600_000
    return f"{rule.tries}; then locked for {first} minutes, each time twice as long, {most} hours at most"


def _at_once() -> list[_Limit]:
    line = f"{_default('account_requests_at_once')}; {limits.ACCOUNT_LINE} more wait up to "
    sign_ins = (
        f"{limits.SIGN_INS_AT_ONCE}; {limits.SIGN_IN_LINE} more wait up to {limits.SIGN_IN_PATIENCE_SECONDS:.0f} s"
    )
    hub = f"{_default('requests_at_once')}; {limits.LINE:,} more wait up to {limits.PATIENCE_SECONDS:.0f} s"
    return [
        _Limit(
            "requests of an account, per process",
            f"{line}{limits.ACCOUNT_PATIENCE_SECONDS:.0f} s",
            "`ACCOUNT_REQUESTS_AT_ONCE`",
            "429 `TOO_MANY_AT_ONCE`",
        ),
        _Limit(
            "requests of an address to open routes, and of those whom only a program's provider knows, per process",
            f"{line}{limits.ACCOUNT_PATIENCE_SECONDS:.0f} s",
            "`ACCOUNT_REQUESTS_AT_ONCE`",
            "429 `TOO_MANY_AT_ONCE_FROM_ADDRESS`",
        ),
        _Limit(
            "sign-ins and refreshes of an address, per process",
            f"{limits.ADDRESS_SIGN_INS_AT_ONCE}; {limits.SIGN_IN_LINE} more wait up to "
            f"{limits.SIGN_IN_PATIENCE_SECONDS:.0f} s",
            "",
            "429 `TOO_MANY_AT_ONCE_FROM_ADDRESS`",
        ),
        _Limit("sign-ins and refreshes, per process", sign_ins, "", "503 `HUB_BUSY`"),
        _Limit("requests, per process", hub, "`REQUESTS_AT_ONCE`", "503 `HUB_BUSY`"),
        _Limit(
            "of them those that are at the store of attachments to write, and as many to read, per process",
            f"1/{in_turns.SHARE}; twice as many of either wait up to {in_turns.PATIENCE_SECONDS:.0f} s",
            "`REQUESTS_AT_ONCE`",
            "503 `STORAGE_UNAVAILABLE`",
        ),
        _Limit(
            "requests of accounts that keep the hub busy ([which](../decisions/0066-fair-turns.md)), per process",
            f"{fairness.MOST_AT_ONCE}; {fairness.AT_ONCE}, while somebody else is there and the hub has no time for more;"
            " as many of each account wait as wait anyway",
            "",
            "429 `TOO_MANY_AT_ONCE`",
        ),
        _Limit(
            f"bodies in memory, and answers of more than {guard.COUNTED_BYTES // _MIB} MiB until they are read, per process",
            f"{_default('body_memory')} MiB",
            "`BODY_MEMORY`",
            "503 `HUB_BUSY`",
        ),
        _Limit(
            "of them those of one account, and all of those whom nobody knows yet",
            f"1/{receiving.ACCOUNT_SHARE}, 1/{receiving.STRANGERS_SHARE}",
            "",
            "503 `HUB_BUSY`",
        ),
        _Limit("exports of an account, per process", "1", "", "429 `EXPORT_UNDER_WAY`"),
        _Limit("exports, per process", str(_default("exports_at_once")), "`EXPORTS_AT_ONCE`", "503 `EXPORTS_BUSY`"),
        _Limit(
            "an export",
            f"{MOST_SECONDS / 3600:.0f} h; {STALL_SECONDS:.0f} s in which its reader takes nothing",
            "",
            "the connection is closed",
        ),
        _Limit(
            f"time in which the reader of a long answer takes {guard.PIECE_BYTES // _KIB} KiB of it",
            f"{guard.PIECE_SECONDS:.0f} s",
            "",
            "the connection is closed",
        ),
        _Limit("a question to a registry", f"{TOTAL_SECONDS:.0f} s", "", "502, `reason` `TOO_SLOW`"),
        _Limit("answers of registries that are kept, per process", str(MOST_ANSWERS), "", "the oldest is forgotten"),
        _Limit("work on a request, once its body is there", f"{guard.WORK_SECONDS:.0f} s", "", "503 `TOOK_TOO_LONG`"),
    ]


_TOO_LARGE = "413 `PAYLOAD_TOO_LARGE`"


def _requests() -> list[_Limit]:
    return [*_heads(), *_attachments(), *_configs(), *_bodies(), *_json()]


def _heads() -> list[_Limit]:
    return [
        _Limit("first line and headers", f"{protocol.MOST_HEAD_BYTES // _KIB} KiB", "", "431 `HEADERS_TOO_LARGE`"),
        _Limit("headers", str(protocol.MOST_FIELDS), "", "431 `HEADERS_TOO_LARGE`"),
        _Limit("time for them", f"{protocol.HEAD_SECONDS:.0f} s", "", "408 `HEADERS_TOO_SLOW`"),
        _Limit("query parameters", str(guard.MOST_PARAMETERS), "", "400 `TOO_MANY_PARAMETERS`"),
        _Limit("`areaIds`", f"{MOST_AREAS:,}", "", "400 `TOO_MANY_AREAS`"),
        _Limit("body on `/api/sync/*`, as sent and inflated", f"{guard.SYNC_BYTES // _MIB} MiB", "", _TOO_LARGE),
        _Limit("config file", f"{guard.CONFIG_UPLOAD_BYTES // _MIB} MiB", "", _TOO_LARGE),
    ]


def _attachments() -> list[_Limit]:
    return [
        _Limit(
            "file of an attachment",
            f"{guard.ATTACHMENT_BYTES // _MIB} MiB, or less by the program's config",
            "",
            "413 `ATTACHMENT_TOO_LARGE`",
        ),
        _Limit(
            "text parts beside it, and bytes of one",
            f"{multipart.MOST_TEXTS}, {multipart.MOST_TEXT_BYTES:,}",
            "",
            "400 `MALFORMED_UPLOAD`",
        ),
        _Limit(
            "attachments of an entity",
            f"{MOST_PER_ENTITY}, or as the program's config says, up to {HIGHEST_PER_ENTITY:,}",
            "",
            "409 `ATTACHMENTS_OF_ENTITY_FULL`",
        ),
        _Limit(
            "room for the attachments of a program",
            "no limit",
            "`ATTACHMENT_QUOTA`",
            "409 `ATTACHMENTS_OF_PROGRAM_FULL`",
        ),
        _Limit(
            "a link to an attachment",
            f"{LINK_SECONDS // 60} minutes to {MOST_LINK_SECONDS // 60}",
            "",
            "403 `ATTACHMENT_LINK_INVALID`",
        ),
    ]


def _configs() -> list[_Limit]:
    return [
        _Limit("file with a sample record", f"{LARGEST_FILE_BYTES // _MIB} MiB", "", _TOO_LARGE),
        _Limit("forms of a config", f"{MOST_FORMS:,}", "", "400 `INVALID_CONFIG`"),
        _Limit("entries of its other lists, items of seeds apart", f"{MOST_ENTRIES:,}", "", "400 `INVALID_CONFIG`"),
        _Limit("its providers, their fields, languages, templates", f"{MOST_SMALL:,}", "", "400 `INVALID_CONFIG`"),
        _Limit("findings of one kind in the answer to its upload", str(MOST_OF_A_KIND), "", "the first so many"),
    ]


def _bodies() -> list[_Limit]:
    pace = f"{receiving.IDLE_SECONDS:.0f} s of silence; then on the average {receiving.LEAST_BYTES_PER_SECOND} bytes/s"
    inflated = f"{inflating.MOST_TIMES} times its size (below {inflating.FREE_BYTES // _MIB} MiB any)"
    return [
        _Limit("body of a sign-in or to an open route", f"{guard.OPEN_BYTES // _KIB} KiB", "", _TOO_LARGE),
        _Limit("time for it", f"{guard.OPEN_SECONDS:.0f} s", "", "408 `BODY_TOO_SLOW`"),
        _Limit("any other body", f"{guard.OTHER_BYTES // _MIB} MiB", "", _TOO_LARGE),
        _Limit("time for any other body", pace, "", "408 `BODY_TOO_SLOW`"),
        _Limit("encodings of a body", "one: gzip or deflate", "", "415 `UNSUPPORTED_ENCODING`"),
        _Limit("what a compressed body inflates to", inflated, "", "413 `BODY_INFLATES_TOO_MUCH`"),
    ]


def _json() -> list[_Limit]:
    return [
        _Limit(
            "data of an entity, with what an event adds to it",
            f"{MOST_ENTITY_BYTES // _MIB} MiB",
            "",
            "422 `ENTITY_TOO_LARGE`",
        ),
        _Limit("nesting of JSON", f"{MAXIMUM_DEPTH} levels", "", "400 `JSON_TOO_DEEP`"),
        _Limit(
            "arrays and objects in JSON",
            f"{MOST_CONTAINERS:,}; more if there are {LEAST_BYTES_OF_CONTAINER} bytes for each",
            "",
            "400 `JSON_TOO_DENSE`",
        ),
        _Limit(
            "parts of a multipart form",
            f"{upload.MOST_FILES} files and {upload.MOST_FIELDS} fields are read; one file is used",
            "",
            "400 `MALFORMED_UPLOAD`, `UNEXPECTED_FIELD`",
        ),
    ]


_GOES_ON = "the page ends with the one that reaches it, and says where the next one begins"


def _pages() -> list[_Limit]:
    paged = {
        "events of a pull": (PULL_PAGE, "400"),
        "audit entries": (AUDIT_PAGE, "400"),
        "attachments by their changes": (ATTACHMENTS_PAGE, "400"),
        "entries of a history": (HISTORY_PAGE, "400"),
        "conflicts": (CONFLICTS_PAGE, "400"),
        "quarantined events": (QUARANTINE_PAGE, "400"),
        "form findings": (FINDINGS_PAGE, "400"),
        "devices": (DEVICES_PAGE, "400"),
        "entities": (ENTITIES_PAGE, "the first so many"),
        "programs": (100, "the first so many"),
        "events of an entity": (MOST_EVENTS, "the latest so many; its history has pages"),
        "events of a citizen's own download": (own_data.MOST_EVENTS, "the first so many; it says so"),
        "MiB that they tell": (own_data.MOST_BYTES // _MIB, "the first so many; it says so"),
        "members of a group": (MOST_MEMBERS, "the first so many"),
        "relations of a registry whose options are looked up": (MOST_RELATIONS, "the others come without"),
        "options of a relation": (MOST_OPTIONS, "with more it comes without"),
        "issues of a push": (MOST_ISSUES, "the first so many"),
        "events of one replay or discard": (MOST_AT_ONCE, "400"),
        "MiB of them": (MOST_BYTES_AT_ONCE // _MIB, "413 `QUARANTINED_TOO_LARGE`; one alone is taken"),
        "MiB of events of a pull": (MOST_PAGE_BYTES // _MIB, _GOES_ON),
        "MiB of audit entries": (AUDIT_BYTES // _MIB, _GOES_ON),
        "MiB of entities of a list or search": (MOST_LIST_BYTES // _MIB, _GOES_ON),
        "MiB of accounts of a list": (ACCOUNTS_BYTES // _MIB, _GOES_ON),
        "MiB of events of a history": (MOST_TOLD_BYTES // _MIB, _GOES_ON),
        "MiB of quarantined events": (QUARANTINE_BYTES // _MIB, _GOES_ON),
        "MiB of an entity's events": (MOST_EVENTS_BYTES // _MIB, "the latest so many; its history has pages"),
        "MiB of members of a group": (MOST_MEMBERS_BYTES // _MIB, "the first so many"),
        "MiB of conflicts": (CONFLICTS_BYTES // _MIB, "the latest so many; the others come up when these are decided"),
    }
    return [_Limit(f"{what} at once", f"{most:,}", "", answer) for what, (most, answer) in paged.items()]


def _forms() -> list[_Limit]:
    return [_Limit(what, f"{most:,}", "", "is not checked") for what, most in FORM_LIMITS.items()]


_SECTIONS = {
    "How often": _rates(),
    "At once": _at_once(),
    "In one request": _requests(),
    "In one answer": _pages(),
    "In a form that events are checked against": _forms(),
}
