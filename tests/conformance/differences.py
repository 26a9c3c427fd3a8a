"""Where our answers differ from the recorded ones on purpose, and why; and what no issue has built yet.

Every recorded exchange that is in neither table is answered as it was then: the same status and media type, every
recorded member with the same value. "Decision n" is a decision of the contract's README.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.exchanges import INSTANT, SCOPE_HASH, TEXT, UUID, Pattern, read_recording

_PERSON = "0000abc0-0000-0000-0000-00000000"
_ARTIFACT = "0e260411a27500573dc82792a1b70e16"
"""As recorded; the replay puts ours in its place."""

_FORMS = [
    {
        "id": "f1",
        "name": "individual",
        "title": "Individual",
        "formio": {
            "display": "form",
            "components": [{"key": "name", "type": "textfield", "input": True, "label": "Name"}],
        },
    }
]
_UNBOUNDED = {"areaIds": None, "entityTypes": None, "timeWindow": None, "hash": SCOPE_HASH}

_SENT: Mapping[str, Mapping[str, Any]] = {
    event["guid"]: event
    for exchange in read_recording()
    if exchange.path == "/api/sync/push" and isinstance(exchange.sent, dict)
    for event in exchange.sent.get("events", ())
}

_SEED = {
    "guid": UUID,
    "entityGuid": "area-1",
    "type": "create-individual",
    "data": {"id": "area-1", "name": "North", "entityName": "area"},
    "timestamp": INSTANT,
    "userId": "admin",
    "syncLevel": 1,
}

EARLY = ("0001", "0002", "0007", "0008", "0009", "000a", "000b", "000c", "000d")
"""What the log holds after the seed once exchange 37 is done, in the order it was committed."""

TWELVE = tuple(f"{number:04x}" for number in range(0x64, 0x70))
"""The twelve events of one timestamp."""

LATE = "0082"
TWINS = ("008c", "008d")


@dataclass(frozen=True, slots=True)
class Difference:
    """The exact answer we give instead of the recorded one."""

    reason: str
    status: int
    body: Any
    rest: Sequence[str] | None = None
    """For a pull: what follows when the client does what real clients do, and follows `nextCursor` to its end."""


def events(*short: str) -> list[Any]:
    """The events as delivered: as they were sent, with `syncLevel` 1."""
    return [_SEED if name == "seed" else {**_SENT[_PERSON + name], "syncLevel": 1} for name in short]


def page(*short: str, full: bool = True) -> dict[str, Any]:
    """A page of a pull; a full one ends with the cursor of its last event."""
    delivered = events(*short)
    cursor = f"{delivered[-1]['timestamp']}|{delivered[-1]['guid']}" if full else None
    return {"events": delivered, "nextCursor": cursor, "scope": _UNBOUNDED}


_ANYTHING = Pattern(r".+")


def refusal(code: str, message: str | Pattern, **members: Any) -> dict[str, Any]:
    common = {"error": message, "message": message, "code": code, "help": _ANYTHING, "requestId": UUID}
    return common | members


_JSON_ERRORS = "decision 3: errors are JSON with a stable code and a request id, never the framework's HTML page; "

DELIBERATE: Mapping[int, Difference] = {
    3: Difference(
        _JSON_ERRORS + "a missing password is a failed login, not a crash",
        401,
        refusal("WRONG_CREDENTIALS", "Invalid email or password"),
    ),
    9: Difference(
        _JSON_ERRORS + "decision 8: an e-mail that is taken is 409",
        409,
        refusal("USER_EXISTS", "User already exists"),
    ),
    12: Difference(
        "v2 shows every account to itself, with what it may do",
        200,
        {
            "id": Pattern(r"\d+"),
            "email": "u1@example.org",
            "role": "USER",
            "tenantIds": [],
            "roleAssignments": [],
            "permissions": {},
            "mustChangePassword": False,
            "programs": [],
            "hint": "This account belongs to no program yet. Ask an administrator to add it to one.",
        },
    ),
    18: Difference(
        _JSON_ERRORS + "the text says which ids are allowed",
        400,
        refusal(
            "INVALID_CONFIG_ID",
            "Invalid config id. Use alphanumeric characters, hyphen or underscore.",
            success=False,
        ),
    ),
    21: Difference(
        "v2 writes an empty list, not null, where there are no identity providers",
        200,
        {
            "id": "mini",
            "artifactId": _ARTIFACT,
            "name": "Mini",
            "description": "small",
            "version": "1",
            "url": None,
            "entityForms": _FORMS,
            "entityData": [{"name": "area", "data": [{"id": "area-1", "name": "North"}]}],
            "externalSync": None,
            "authConfigs": [],
            "archivedAt": None,
            "createdAt": INSTANT,
            "updatedAt": INSTANT,
            "revision": 1,
            "status": "running",
            "seeding": {
                "state": "done",
                "total": 1,
                "done": 1,
                "added": 1,
                "existing": 0,
                "changed": 0,
                "rejected": 0,
                "rejections": [],
                "error": None,
                "startedAt": INSTANT,
                "finishedAt": INSTANT,
            },
        },
    ),
    22: Difference(
        _JSON_ERRORS + "an unknown program is 404", 404, refusal("PROGRAM_NOT_FOUND", "Configuration not found")
    ),
    23: Difference(
        "v2 lets administrators alone change programs: what exchange 24 shows is therefore as uploaded",
        403,
        refusal("ADMIN_REQUIRED", "Forbidden: Admin access required"),
    ),
    24: Difference(
        "seed data is people's data and reaches devices by sync alone, not by a file anybody may read; no identity "
        "providers are an empty list; exchange 23 changed nothing",
        200,
        {
            "id": "mini",
            "artifactId": _ARTIFACT,
            "name": "Mini",
            "description": "small",
            "version": "1",
            "url": None,
            "entityForms": _FORMS,
            "entityData": [],
            "externalSync": None,
            "authConfigs": [],
            "syncServerUrl": "http://127.0.0.1:3900",
            "archivedAt": None,
        },
    ),
    28: Difference(
        "decision 6: a push is all or nothing; v1 dropped the event without a user, stored the one of an unknown type "
        "without applying it, and said success",
        422,
        refusal(
            "PUSH_REJECTED",
            TEXT,
            status="error",
            applied=0,
            failed=[
                {
                    "index": 0,
                    "eventGuid": _PERSON + "0003",
                    "error": "Form submission has no userId",
                    "reason": "submit_failed",
                    "code": "INVALID_FORM",
                    "path": ["userId"],
                    "message": "Form submission has no userId",
                    "help": TEXT,
                }
            ],
        ),
    ),
    29: Difference(
        "v2 validates the payload's shape; v1 took a push without events for an empty one",
        400,
        refusal(
            "INVALID_PAYLOAD",
            "Invalid payload",
            status="error",
            errors=[{"code": "invalid_type", "path": ["events"], "message": "Required"}],
            details=[{"code": "invalid_type", "path": ["events"], "message": "Required"}],
        ),
    ),
    32: Difference(
        "decision 1: a push may be 50 MB (photographs, biometrics), not 100 kB",
        200,
        {"status": "success", "applied": 60, "failed": [], "errors": []},
    ),
    33: Difference(_JSON_ERRORS + "malformed JSON is 400", 400, refusal("INVALID_JSON", TEXT, success=False)),
    38: Difference(
        "decision 5: log order is commit order, so the seed of the upload comes first, whatever the devices' clocks "
        "say; events 0003 to 0005 are not there because exchange 28 was refused as a whole; the cursor names its event",
        200,
        page("seed", *EARLY),
        rest=(),
    ),
    39: Difference(
        "decision 5: a plain timestamp resumes at the first event with exactly that time, that event included; the "
        "seed came on the first page",
        200,
        page("000c", "000d", full=False),
    ),
    40: Difference(
        _JSON_ERRORS + "a `since` that is no cursor is 400, and the database's own words are no cursors",
        400,
        refusal(
            "INVALID_CURSOR",
            "`since` must be empty, an ISO-8601 UTC timestamp, or `timestamp|eventGuid` as delivered.",
            status="error",
        ),
    ),
    43: Difference(
        "decision 5: no event has that time, so delivery resumes at the first event in log order that is later; that "
        "is the seed, whose time is the upload's",
        200,
        page("seed", *EARLY),
        rest=TWELVE,
    ),
    44: Difference(
        "decision 5: v1 lost two of twelve events of one timestamp at the page's end; here all of them come",
        200,
        page(*TWELVE[:10]),
        rest=TWELVE[10:],
    ),
    46: Difference(
        "decision 5: v1 never delivered an event pushed later than others had pulled; here it comes",
        200,
        page(*TWELVE[:10]),
        rest=(*TWELVE[10:], LATE),
    ),
    48: Difference("exchange 28 was refused as a whole, so its third event made no person here", 200, {"count": 20}),
    49: Difference(
        "exchange 28, as above; entities that name no form are counted too, so that the sum is the number of entities",
        200,
        {"individual": 14, "household": 1, "area": 1, "Unknown": 4},
    ),
    53: Difference(
        "sync 3.1: unresolved duplicates never block a pull, and a 200 never has an `error` member",
        200,
        page("seed", *EARLY),
        rest=(*TWELVE, LATE, *TWINS),
    ),
    57: Difference(
        "external-sync 2.3: v2 starts a job, whose end tells what became of it",
        202,
        {"jobId": UUID, "status": "pending"},
    ),
    58: Difference(
        _JSON_ERRORS + "an unknown path is no exception",
        404,
        refusal("NOT_FOUND", "Not Found - /api/none", success=False),
    ),
}

NOT_YET: Mapping[int, str] = {}
"""Exchange -> the issue that brings its route. Until then it is an unknown path like any other."""
