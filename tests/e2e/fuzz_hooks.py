"""Loaded by schemathesis: lets generated requests name what exists, so that they get past 404, and notes the answers.

What is put in depends on nothing but the request, so that one that fails can be made smaller.
"""

import json
import os
import random
import re
import threading
import time
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any

import schemathesis

_SEEDS: dict[str, Any] = json.loads(Path(os.environ["FUZZ_SEEDS"]).read_text())
_NOTES = Path(os.environ["FUZZ_NOTES"])
_RENEW_SECONDS = 20 * 60
"""A long run takes longer than an access token is good for."""
_lock = threading.Lock()
_token = {"text": "", "since": 0.0}

_TYPES = ("create-individual", "update-individual", "create-group", "add-member", "remove-member", "delete-entity")
_QUERY = {
    "limit": ("1", "10", "1000"),
    "status": ("all", "open", "resolved", "unresolved"),
    "since": ("", "2025-01-01T00:00:00.000Z"),
    "cursor": ("", "5"),
    "areaIds": ("north", "north,south"),
    "code": ("INVALID_GROUP",),
    "sortBy": ("name", "entitiesCount"),
}
_NUMBERS = {"limit": (1, 10, 100), "cursor": (2, 5), "against": (1, 2)}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    told = repr((case.method, case.path, case.path_parameters, case.query, case.body))
    dice = random.Random(zlib.crc32(told.encode("utf-8", "surrogatepass")))
    for name, generated in (case.path_parameters or {}).items():
        if name == "revision":
            # As a number: of a case that stays a wrong one, the token would be taken away again.
            case.path_parameters[name] = dice.choice((1, 2, 3))
        else:
            case.path_parameters[name] = _path_value(case, str(generated), dice)
    _change_query(case, dice)
    # The sign-in of a token that signs out ends with it.
    token = _sign_in() if case.path == "/api/users/logout" else _signed_in()
    case.headers["Authorization"] = f"Bearer {token}"
    if dice.random() < 0.8:
        case.headers["X-Device-Id"] = "fuzzing-device"
    if isinstance(case.body, dict):
        case.body = _body(case, dice)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if response.status_code == 401 and "Authorization" not in response.request.headers:
        return  # schemathesis has taken it away, to see whether it is needed
    leaked = _SEEDS["secret"].encode() in response.content
    leak = f" LEAK {case.path_parameters} {case.query} {case.body!r}" if leaked else ""
    with _lock, _NOTES.open("a") as notes:
        notes.write(f"{case.method} {case.path} {response.status_code}{leak}\n")


def _signed_in() -> str:
    """The caller's token."""
    with _lock:
        if not _token["text"] or time.monotonic() - _token["since"] > _RENEW_SECONDS:
            _token.update(text=_sign_in(), since=time.monotonic())
        return str(_token["text"])


def _sign_in() -> str:
    credentials = os.environ["FUZZ_LOGIN"].encode()
    with urllib.request.urlopen(f"{os.environ['FUZZ_URL']}/api/users/login", data=credentials) as answer:
        return str(json.load(answer)["token"])


def _path_value(case: Any, generated: str, dice: random.Random) -> str:
    kind = next(kind for begin, kind in _SEEDS["paths"] if case.path.startswith(begin))
    if kind == "programs" and case.method in ("DELETE", "PUT", "PATCH", "POST"):
        kind = "spare programs"
    if kind == "sessions":
        # What is generated may be the session at work: its id is among the answers.
        return str(dice.choice(_SEEDS[kind]))
    number = re.match(r"\d+", generated)
    is_a_caller = kind == "accounts" and number is not None and int(number[0]) in _SEEDS["callers"]
    return dice.choice(_SEEDS[kind]) if is_a_caller or dice.random() < 0.85 else generated


def _change_query(case: Any, dice: random.Random) -> None:
    names = {parameter.name for parameter in case.operation.query}
    case.query = dict(case.query or {})
    if case.path.startswith("/api/apps/{id}/versions"):
        # As numbers, for the same reason as revisions.
        case.query |= {name: dice.choice(_NUMBERS[name]) for name in names & case.query.keys()}
        return
    for name in names & _QUERY.keys():
        if name in case.query and dice.random() < 0.7:
            case.query[name] = dice.choice(_QUERY[name])
    if "configId" in names and dice.random() < 0.85:
        case.query["configId"] = _SEEDS["program"]
    if "entityGuid" in case.query and dice.random() < 0.7:
        case.query["entityGuid"] = dice.choice(_SEEDS["entities"])
    if "userId" in case.query and dice.random() < 0.7:
        case.query["userId"] = dice.choice(_SEEDS["accounts"])


def _body(case: Any, dice: random.Random) -> dict[str, Any]:
    body = dict(case.body)
    if case.path.startswith("/api/apps"):
        body |= {"id": case.path_parameters.get("id") or dice.choice(_SEEDS["spare programs"])}
    if case.path.startswith(("/api/sync/push", "/api/entities/search", "/api/sync/external")):
        body["configId"] = _SEEDS["program"] if dice.random() < 0.9 else body.get("configId", "other")
    if case.path == "/api/attachments/upload":
        body |= {
            "configId": case.query.get("configId", _SEEDS["program"]),
            "entityGuid": dice.choice(_SEEDS["entities"]),
        }
    for name in ("events", "auditLogs"):
        if isinstance(body.get(name), list):
            body[name] = [_event(one, dice) if isinstance(one, dict) else one for one in body[name]]
    if isinstance(body.get("event"), dict):
        body["event"] = _event(body["event"], dice)
    if isinstance(body.get("ids"), list) and dice.random() < 0.8:
        body["ids"] = dice.sample(_SEEDS["quarantined"], 3)
    if case.path.startswith("/api/openspp"):
        # Whatever is generated is nobody's registry: the hub is not to call it.
        body |= {name: "http://127.0.0.1/" for name in ("url", "baseUrl") if name in body}
    if "refreshToken" in body and dice.random() < 0.7:
        body["refreshToken"] = dice.choice(_SEEDS["refresh tokens"])
    if case.path.endswith("/login") and dice.random() < 0.8:
        body |= dice.choice(_SEEDS["logins"])
    elif "email" in body and dice.random() < 0.8:
        body |= {"email": f"fuzz-{dice.randrange(500)}@hub.test", "password": "Correct-Horse-9"}
    return body


def _event(event: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    likely = {
        "guid": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "entityGuid": dice.choice(_SEEDS["entities"]),
        "type": dice.choice(_TYPES),
        "timestamp": f"2025-0{dice.randrange(1, 10)}-01T00:00:00.{dice.randrange(1000):03}Z",
        "eventGuid": dice.choice(_SEEDS["entities"]),
    }
    return event | {name: value for name, value in likely.items() if name in event and dice.random() < 0.85}
