"""Small makers of what tests are about; each test states only what matters to it."""

import itertools
import uuid
from typing import Any

from httpx2 import AsyncClient

from datacollect.kernel.clock import Millis, format_timestamp, parse_timestamp

_BEGIN = parse_timestamp("2025-01-01T00:00:00.000Z")
_ticks = itertools.count(1)


def make_event(type: str = "create-individual", *, entity: str | None = None, **changes: Any) -> dict[str, Any]:
    """An event in wire form, one second later than the one made before it."""
    return {
        "guid": str(uuid.uuid4()),
        "entityGuid": entity or str(uuid.uuid4()),
        "type": type,
        "data": {"name": "Ana", "entityName": "individual"},
        "timestamp": format_timestamp(Millis(_BEGIN + 1000 * next(_ticks))),
        "userId": "agent-7",
        "syncLevel": 0,
    } | changes


def new_id(prefix: str = "p") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def make_config(config_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """The smallest program with one form."""
    config_id = config_id or new_id()
    return {
        "id": config_id,
        "name": f"Program {config_id}",
        "entityForms": [{"id": "f1", "name": "individual", "title": "Person", "formio": {"components": []}}],
    } | changes


async def make_program(admin: AsyncClient, **changes: Any) -> str:
    """Upload a program and give its id."""
    config = make_config(**changes)
    answer = await admin.post("/api/apps", json=config)
    assert answer.status_code == 200, answer.text
    return str(config["id"])


async def push(client: AsyncClient, program: str, *events: dict[str, Any], **members: Any) -> Any:
    return await client.post("/api/sync/push", json={"events": list(events), "configId": program} | members)


async def pull(client: AsyncClient, program: str, since: str = "", **parameters: Any) -> Any:
    return await client.get("/api/sync/pull", params={"configId": program, "since": since} | parameters)


async def pull_all(client: AsyncClient, program: str, since: str = "", **parameters: Any) -> list[dict[str, Any]]:
    """Every event a reader gets that follows the cursor to its end."""
    events: list[dict[str, Any]] = []
    cursor: str | None = since
    while cursor is not None:
        page = (await pull(client, program, cursor, **parameters)).json()
        events += page["events"]
        cursor = page["nextCursor"]
    return events


def make_audit_log(**changes: Any) -> dict[str, Any]:
    """An audit log as a device sends it, one second later than the one made before it."""
    return {
        "guid": str(uuid.uuid4()),
        "timestamp": format_timestamp(Millis(_BEGIN + 1000 * next(_ticks))),
        "userId": "agent-7",
        "action": "create-individual",
        "eventGuid": str(uuid.uuid4()),
        "entityGuid": str(uuid.uuid4()),
        "changes": {"age": 1},
        "signature": "",
    } | changes


async def push_audit(client: AsyncClient, program: str, *logs: dict[str, Any], **more: Any) -> Any:
    body = {"auditLogs": list(logs), "configId": program}
    return await client.post("/api/sync/push/audit-logs", json=body, **more)


async def pull_audit(client: AsyncClient, program: str, **parameters: Any) -> Any:
    return await client.get("/api/sync/pull/audit-logs", params={"configId": program} | parameters)
