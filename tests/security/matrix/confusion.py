"""Requests that name more than one program, or name it in a way that two readers may read differently.

Each is made from a request about `OWN` that would succeed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.security.matrix.world import FOREIGN, OWN, Sent

Outcome = Literal["400", "refused", "harmless"]
"""`400` whoever asks; `refused` to who may not see all programs; `harmless`: about `OWN`, or refused."""


@dataclass(frozen=True)
class Confused:
    name: str
    sent: Sent
    outcome: Outcome


LOOK_ALIKES = {
    "upper case": "OWN",
    "capital": "Own",
    "space behind": "own ",
    "space before": " own",
    "tab behind": "own\t",
    "line break behind": "own\n",
    "cyrillic": "оwn",
    "full width": "ｏｗｎ",
    "zero width": "own\u200b",
    "combining": "own\u0301",
    "NUL behind": "own\x00",
    "escaped again": "%6fwn",
    "both": "own,foreign",
    "path": "own/../foreign",
    "wildcard": "*",
    "percent": "%",
    "quoted": "own' OR '1'='1",
    "empty": "",
}
"""Other texts than the id of a program the caller belongs to."""

_OTHER_NAMES = (
    "configid",
    "CONFIGID",
    "ConfigId",
    "config_id",
    "configId[]",
    "configId[0]",
    "configId.id",
    " configId",
)
_HEADERS = ("X-Config-Id", "X-Tenant-Id", "X-Original-URL", "X-Forwarded-Prefix", "X-HTTP-Method-Override")


def confused(sent: Sent) -> Iterator[Confused]:
    """`sent` names `OWN` in its query or its body."""
    rest = tuple(pair for pair in sent.query if pair[0] != "configId")
    body = sent.body if isinstance(sent.body, dict) else None
    bare = None if body is None else {key: value for key, value in body.items() if key != "configId"}

    def query(*pairs: tuple[str, str], **changes: Any) -> Sent:
        return replace(sent, query=(*pairs, *rest), **changes)

    for pair in ((OWN, FOREIGN), (FOREIGN, OWN), (OWN, OWN)):
        yield Confused(f"twice {pair}", query(*(("configId", one) for one in pair)), "400")
    for name, text in LOOK_ALIKES.items():
        yield Confused(name, query(("configId", text), **_with(body and bare)), "refused")
    for name in _OTHER_NAMES:
        yield Confused(f"{name} alone", query((name, OWN), **_with(body and bare)), "refused")
        yield Confused(f"{name} beside", query(("configId", OWN), (name, FOREIGN)), "harmless")
    yield Confused("tenantId beside", query(("configId", OWN), ("tenantId", FOREIGN)), "400")
    yield Confused("tenantId alone", query(("tenantId", FOREIGN), **_with(body and bare)), "400")
    for name in ("tenant_id", "id", "guid"):
        yield Confused(f"{name} beside", query(("configId", OWN), (name, FOREIGN)), "harmless")
    for name in _HEADERS:
        value = "DELETE" if "Method" in name else FOREIGN
        yield Confused(name, replace(sent, headers={**sent.headers, name: value}), "harmless")
    if body is None:
        yield Confused("in a body nobody reads", replace(sent, body={"configId": FOREIGN}), "harmless")
    else:
        assert bare is not None
        yield from _in_the_body(query, bare)


def _in_the_body(query: Any, bare: Mapping[str, Any]) -> Iterator[Confused]:
    for pair in ((OWN, FOREIGN), (FOREIGN, OWN)):
        sent = query(("configId", pair[0]), body={**bare, "configId": pair[1]})
        yield Confused(f"query and body {pair}", sent, "400")
    for value in ([OWN], [OWN, FOREIGN], [], {"id": OWN}, {}, 7, 0, True, False):
        yield Confused(f"body {value}", query(body={**bare, "configId": value}), "400")
        yield Confused(f"query, body {value}", query(("configId", OWN), body={**bare, "configId": value}), "400")
    for name, text in LOOK_ALIKES.items():
        if text != "own\x00":  # refused as a character that no body may hold
            yield Confused(f"body {name}", query(body={**bare, "configId": text}), "refused")
    for value in (FOREIGN, [OWN], 7):
        sent = query(body={**bare, "configId": OWN, "tenantId": value})
        yield Confused(f"body tenantId {value}", sent, "400")
    for name in ("configid", "config_id", "id"):
        yield Confused(
            f"body {name}", query(("configId", OWN), body={**bare, "configId": OWN, name: FOREIGN}), "harmless"
        )
    inside = json.dumps(bare)[1:-1]
    tail = f", {inside}" if inside else ""
    for name, text in {
        "key twice": f'{{"configId": "{OWN}", "configId": "{FOREIGN}"{tail}}}',
        "key twice, escaped": f'{{"configId": "{OWN}", "config\\u0049d": "{FOREIGN}"{tail}}}',
        "NUL": f'{{"configId": "{OWN}\\u0000"{tail}}}',
    }.items():
        yield Confused(name, query(body=None, raw=text.encode()), "400")
    form = f"configId={FOREIGN}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    yield Confused("a form", query(body=None, raw=form, headers=headers), "400")


def _with(body: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if body is None else {"body": body}


PATHS = (
    "own%2F..%2Fforeign",
    "own%2F%2E%2E%2Fforeign",
    "own%5C..%5Cforeign",
    "..%2Fapps%2Fforeign",
    "%66oreign",
    "foreign%20",
    "%20foreign",
    "foreign%00",
    "foreign%2500",
    "FOREIGN",
    "foreign;own",
    "own,foreign",
    "foreign%3Fid=own",
    "foreign%23own",
    "f%C3%B6reign",
    "*",
    "%25",
)
"""In place of a program's id in the path: nobody who belongs to `OWN` alone gets anywhere with them."""
