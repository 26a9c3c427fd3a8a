"""The secrets of programs in the database: nobody reads them there, and changing keys loses none."""

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from alembic import command
from alembic.script import ScriptDirectory
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from datacollect.db import EVERY_TENANT, Database, open_database
from datacollect.db.upgrading import migration_config
from datacollect.features.tenants.adoption import reseal
from datacollect.features.tenants.sealing import NO_SECRETS, open_sealed, seal
from datacollect.features.tenants.versions_queries import programs_sealed_otherwise, replace_sealed
from datacollect.http.hub import Hub
from datacollect.kernel.ids import TenantId
from datacollect.kernel.sealing import Key, Seals
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD
from tests.factories import make_config
from tests.features.conftest import Installation

pytestmark = pytest.mark.anyio

MASK = "********"
P = TenantId("p")
SEALS, OTHERS = Seals([Key("one-secret-of-some-32-characters")]), Seals([Key("another-secret-of-32-characters!")])
KEY = {"SECRETS_KEY": "the-key-of-these-tests-0123456789"}
NEW_KEY = {"SECRETS_KEY": "its-successor-0123456789-abcdefgh"}

CANARIES = [f"CANARY{number}" for number in range(9)]
SECRETIVE = {
    "externalSync": {
        "type": "another-adapter",
        "url": f"https://user:{CANARIES[0]}@registry.example",
        "auth": CANARIES[1],
        "adapterConfig": {"clientSecret": CANARIES[2], "deep": [{"key": CANARIES[3]}]},
        "extraFields": {"password": CANARIES[4]},
    },
    "authConfigs": [
        {
            "type": "keycloak",
            "fields": {"authority": "https://idp.test", "client_id": "a", "client_secret": CANARIES[5]},
        },
        {
            "type": "auth0",
            "fields": {"authority": "https://a0.test", "client_id": "b", "odd": CANARIES[6], "key": CANARIES[7]},
        },
    ],
    "selfService": {
        "enabled": True,
        "authMethods": ["oidc"],
        "allowedForms": ["individual"],
        "languages": ["en"],
        "requireReview": True,
        "oidcConfig": {
            "authority": "https://citizens.test",
            "clientId": "c",
            "redirectUri": "https://app.test",
            "scope": "openid",
            "entityMapping": {"primaryClaim": "sub", "entityField": "nid"},
        },
    },
    "reviewNotifications": {"url": "https://system.test/news", "secret": f"{CANARIES[8]}-of-16-letters"},
}


# --- Taking secrets out, and putting them back -----------------------------------------------------------------------

FIELDS = st.dictionaries(
    st.sampled_from(["authority", "client_id", "client_secret", "odd", "userinfo", "scope"]),
    st.sampled_from(["x", "https://u:p@x.test", "https://x.test", ""]),
)
OIDC = st.dictionaries(
    st.sampled_from(["authority", "clientId", "privateKey", "scope"]),
    st.sampled_from(["x", "https://u:p@x.test", "https://x.test", ""]),
)
CONFIGS = st.fixed_dictionaries(
    {"name": st.just("P")},
    optional={
        "url": st.sampled_from(["https://x.test", "https://u:p@x.test", "//[", ""]),
        "syncServerUrl": st.sampled_from(["https://x.test", "https://u:p@x.test"]),
        "authConfigs": st.lists(st.fixed_dictionaries({"type": st.just("t"), "fields": FIELDS}), max_size=3),
        "selfService": st.fixed_dictionaries({"enabled": st.booleans()}, optional={"oidcConfig": OIDC}),
        "reviewNotifications": st.fixed_dictionaries({"url": st.just("https://x.test"), "secret": st.text(min_size=1)}),
    },
)
SYNCS = st.none() | st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)


@given(CONFIGS, SYNCS)
def test_a_config_is_opened_as_it_was(config: dict[str, Any], sync: dict[str, Any] | None) -> None:
    sealed = seal(SEALS, P, config, sync)
    opened = open_sealed(SEALS, P, sealed.config, sealed.config_secrets, sealed.external_sync)
    assert (opened.config, opened.external_sync, opened.locked) == (config, sync, frozenset())
    assert list(opened.config) == list(config)
    assert ":p@" not in json.dumps(sealed.config)


def test_a_config_without_secrets_is_not_sealed() -> None:
    sealed = seal(SEALS, P, {"name": "P", "authConfigs": [{"type": "t", "fields": {"client_id": "c"}}]}, None)
    assert (sealed.config_secrets, sealed.external_sync) == (NO_SECRETS, None)


def test_what_another_program_or_key_sealed_is_locked() -> None:
    config = {"name": "P", "authConfigs": [{"type": "t", "fields": {"client_secret": "s"}}]}
    sealed = seal(SEALS, P, config, {"type": "mock"})
    for seals, tenant in ((OTHERS, P), (SEALS, TenantId("q"))):
        opened = open_sealed(seals, tenant, sealed.config, sealed.config_secrets, sealed.external_sync)
        assert opened.locked == {"authConfigs", "externalSync"}
        assert opened.external_sync is None and opened.config["authConfigs"][0]["fields"] == {"client_secret": None}


# --- In the database -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(installation: Installation, **settings: object) -> AsyncIterator[tuple[FastAPI, AsyncClient]]:
    """A hub with its administrator signed in."""
    async with installation.running(**settings) as (app, client):
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        yield app, client


def missing_in(answer: Response) -> list[str]:
    return [word for word in CANARIES if word not in answer.text]


def bytes_of_sqlite(folder: Path) -> bytes:
    """All there is on disk, the write-ahead log too."""
    return b"".join(path.read_bytes() for path in folder.rglob("hub.sqlite3*"))


async def found_in_database(installation: Installation, words: list[str]) -> set[str]:
    """Those of the words that stand in the database, read past the hub: in SQLite's files byte for byte."""
    if installation.url is None:
        content = bytes_of_sqlite(installation.folder)
        assert b"program_versions" in content
        return {word for word in words if word.encode() in content}
    connection = await asyncpg.connect(installation.url)
    try:
        await connection.execute("SET datacollect.every_tenant = 'on'")
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        text = ""
        for table in tables:
            for row in await connection.fetch(f'SELECT t::text FROM "{table[0]}" t'):
                text += row[0]
    finally:
        await connection.close()
    assert "section-changed" in text or "created" in text or "adopted" in text
    return {word for word in words if word in text}


async def test_no_secret_stands_in_the_database(installation: Installation) -> None:
    config = make_config(**SECRETIVE)
    path = f"/api/apps/{config['id']}"
    async with running(installation) as (_, admin):
        assert (await admin.post("/api/apps", json=config)).status_code == 200
        assert missing_in(await admin.get(path)) == []
        assert await found_in_database(installation, [*CANARIES, config["name"]]) == {config["name"]}
        await admin.put(path, json=config | {"description": "x"})
        await admin.patch(f"{path}/programs", json={"programs": [{"id": 1, "name": "Cash"}]})
        await admin.put(path, json={"id": config["id"], "name": config["name"]})
        await admin.delete(path)
        await admin.post(f"{path}/versions/2/restore")
        assert missing_in(await admin.get(path)) == []
        assert await found_in_database(installation, CANARIES) == set()
    assert await found_in_database(installation, [*CANARIES, config["name"]]) == {config["name"]}


async def test_a_secret_moved_into_another_program_in_the_database_does_not_open_there(
    installation: Installation,
) -> None:
    mine, theirs = make_config(**SECRETIVE), make_config(externalSync={"type": "mock", "adapterConfig": {"k": "v"}})
    async with running(installation) as (app, admin):
        for config in (mine, theirs):
            await admin.post("/api/apps", json=config)
        hub: Hub = app.state.hub
        async with hub.db.transaction() as tx:
            await tx.run(
                f"UPDATE programs SET external_sync = (SELECT external_sync FROM programs WHERE id = '{mine['id']}')"
                f" WHERE id = '{theirs['id']}'"
            )
        shown = (await admin.get(f"/api/apps/{theirs['id']}")).json()
        assert (shown["externalSync"], shown["lockedSecrets"]) == ({"type": MASK}, ["externalSync"])


# --- Keys ------------------------------------------------------------------------------------------------------------


async def started(installation: Installation, **settings: object) -> list[Any]:
    """What a hub logs when it starts."""
    with structlog.testing.capture_logs() as lines:
        async with installation.running(**settings):
            pass
    return [line for line in lines if line["event"].startswith(("secrets.", "programs."))]


async def test_without_the_key_everything_but_the_secrets_is_there_and_nothing_is_lost(
    installation: Installation,
) -> None:
    config = make_config(**SECRETIVE)
    path = f"/api/apps/{config['id']}"
    async with running(installation, **KEY) as (_, admin):
        artifact = (await admin.post("/api/apps", json=config)).json()["artifactId"]
        whole = (await admin.get(path)).json()
    [told] = await started(installation, **NEW_KEY)
    assert (told["event"], told["programs"]) == ("secrets.cannot_be_opened", 1) and "SECRETS_KEY" in told["help"]
    async with running(installation, **NEW_KEY) as (_, admin):
        shown = await admin.get(path)
        assert shown.json()["lockedSecrets"] == ["authConfigs", "externalSync"]
        assert shown.headers["cache-control"] == "no-store"
        assert shown.json()["externalSync"] == {"type": MASK}
        assert [provider["fields"].get("client_id") for provider in shown.json()["authConfigs"]] == ["a", "b"]
        assert shown.json()["entityForms"] == config["entityForms"]
        assert (await admin.get(path, headers={"If-None-Match": shown.headers["etag"]})).status_code == 200
        listed = (await admin.get("/api/apps")).json()["data"]
        assert [line["externalSync"] for line in listed] == [{}]
        assert (await admin.get(f"/artifacts/{artifact}.json")).json()["externalSync"] is None
        assert (await admin.get(f"{path}/public")).status_code == 200
        assert (await admin.get(f"{path}/versions/1/diff")).status_code == 200
        # What was read and is sent back must not put masks in the places of secrets.
        sent = shown.json() | {"selfService": None}
        refused = await admin.put(path, json=sent)
        assert refused.status_code == 400 and "SECRETS_KEY" in refused.text
        assert {".".join(map(str, issue["path"])) for issue in refused.json()["details"]} == {
            "externalSync.type",
            "authConfigs.0.fields.client_secret",
            "authConfigs.1.fields.key",
            "authConfigs.1.fields.odd",
            "reviewNotifications.secret",
        }
        # Small edits do not touch what is sealed.
        assert (await admin.patch(f"{path}/programs", json={"programs": [{"id": 1, "name": "C"}]})).status_code == 200
        assert (await admin.delete(path)).status_code == 200
        assert (await admin.post(f"{path}/restore")).status_code == 200
    assert await started(installation, **KEY) == []
    async with running(installation, **KEY) as (_, admin):
        again = (await admin.get(path)).json()
        assert {key: again[key] for key in SECRETIVE} == {key: whole[key] for key in SECRETIVE}
        assert "lockedSecrets" not in again


async def test_new_secrets_can_be_set_without_the_old_key(installation: Installation) -> None:
    config = make_config(**SECRETIVE)
    path = f"/api/apps/{config['id']}"
    async with running(installation, **KEY) as (_, admin):
        await admin.post("/api/apps", json=config)
    async with running(installation, **NEW_KEY) as (_, admin):
        fresh = config | {"externalSync": {"type": "mock", "adapterConfig": {"clientSecret": "NEW"}}}
        assert (await admin.put(path, json=fresh)).status_code == 200
        shown = (await admin.get(path)).json()
        assert shown["externalSync"] == fresh["externalSync"] and "lockedSecrets" not in shown
        # The old version comes back as it is stored: whoever has its key can read it again.
        assert (await admin.post(f"{path}/versions/1/restore")).status_code == 200
        assert (await admin.get(path)).json()["lockedSecrets"] == ["authConfigs", "externalSync"]
    async with running(installation, **KEY) as (_, admin):
        assert missing_in(await admin.get(path)) == []


async def test_sealing_anew_lets_the_old_key_go(installation: Installation) -> None:
    configs = [make_config(**SECRETIVE) for _ in range(3)] + [make_config()]
    async with running(installation, **KEY) as (_, admin):
        for config in configs:
            await admin.post("/api/apps", json=config)
            await admin.put(f"/api/apps/{config['id']}", json=config)
    both = NEW_KEY | {"SECRETS_KEY_PREVIOUS": KEY["SECRETS_KEY"]}
    async with running(installation, **both) as (app, _):
        hub: Hub = app.state.hub
        outcome = await reseal(hub.db, hub.seals)
        # Three programs, and two versions of each.
        assert (outcome.done, outcome.locked) == (9, 0)
        assert (await reseal(hub.db, hub.seals)).done == 0
    assert await started(installation, **NEW_KEY) == []
    async with running(installation, **NEW_KEY) as (app, admin):
        for config in configs:
            shown = await admin.get(f"/api/apps/{config['id']}")
            old = await admin.get(f"/api/apps/{config['id']}/versions/1")
            assert shown.json()["revision"] == 2
            for answer in (shown, old):
                assert missing_in(answer) == (CANARIES if config is configs[-1] else [])
                assert "lockedSecrets" not in answer.json()
    async with running(installation, **KEY) as (app, _):
        # With the old key alone nothing can be sealed anew, and nothing is lost by trying.
        outcome = await reseal(app.state.hub.db, app.state.hub.seals)
        assert (outcome.done, outcome.locked) == (0, 9)


async def test_more_rows_than_are_sealed_anew_at_once(installation: Installation) -> None:
    async with running(installation, **KEY) as (app, admin):
        config = make_config(**SECRETIVE)
        await admin.post("/api/apps", json=config)
        hub: Hub = app.state.hub
        async with hub.db.transaction(EVERY_TENANT) as tx:
            for number in range(2, 231):
                await tx.run(
                    "INSERT INTO program_versions SELECT tenant_id, " + str(number) + ", action, detail, recorded_ms,"
                    " actor_id, actor, artifact_id, archived_ms, config_digest, config_secrets, external_sync,"
                    " seed_digest FROM program_versions WHERE revision = 1"
                )
    both = NEW_KEY | {"SECRETS_KEY_PREVIOUS": KEY["SECRETS_KEY"]}
    async with running(installation, **both) as (app, _):
        hub = app.state.hub
        assert (await reseal(hub.db, hub.seals)).done == 231
        assert (await reseal(hub.db, hub.seals)).done == 0


async def test_sealing_anew_overwrites_nobodys_change(installation: Installation) -> None:
    config = make_config(**SECRETIVE)
    async with running(installation, **KEY) as (app, admin):
        await admin.post("/api/apps", json=config)
        hub: Hub = app.state.hub
        async with hub.db.reading(EVERY_TENANT) as view:
            [old] = await programs_sealed_otherwise(view, [], after="", limit=10)
        changed = config | {"externalSync": {"type": "mock", "adapterConfig": {"k": "NEW"}}}
        await admin.put(f"/api/apps/{config['id']}", json=changed)
        async with hub.db.transaction(EVERY_TENANT) as tx:
            await replace_sealed(tx, old, old.config_secrets, old.external_sync)
        shown = (await admin.get(f"/api/apps/{config['id']}")).json()
        assert shown["externalSync"] == changed["externalSync"]


# --- What older hubs stored --------------------------------------------------------------------------------------------


async def before_versions(installation: Installation) -> Database:
    """A database as the hub before kept it, with a program full of secrets."""
    before = ScriptDirectory.from_config(migration_config()).get_revision("0013").down_revision
    assert isinstance(before, str)

    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, before)

    database = open_database(installation.url, data_dir=installation.folder, pool_size=2)
    await database.run_migration(upgrade)
    config = {"id": "old", "name": "Old", "entityForms": [], "url": "https://u:CANARYURL@x.test"}
    config |= {key: SECRETIVE[key] for key in ("authConfigs", "selfService")}
    values = (
        "old",
        "abc",
        "Old",
        json.dumps(config),
        json.dumps(SECRETIVE["externalSync"]),
        json.dumps(SEEDS),
        7,
        1,
        2,
    )
    marks = ", ".join(f"${number}" if installation.url else "?" for number in range(1, len(values) + 1))
    async with database.transaction() as tx:
        await tx.run(
            "INSERT INTO programs (id, artifact_id, name, config, external_sync, entity_data, revision, created_ms,"
            f" updated_ms) VALUES ({marks})",
            *values,
        )
    return database


SEEDS = [{"name": "individual", "data": [{"id": "p-1", "name": "Ana"}]}]


async def test_what_an_older_hub_stored_is_sealed_at_the_start_and_has_a_history(installation: Installation) -> None:
    await (await before_versions(installation)).close()
    assert [line["event"] for line in await started(installation, **KEY)] == ["programs.adopted"]
    assert await started(installation, **KEY) == []
    words = [*CANARIES[:8], "CANARYURL"]
    assert await found_in_database(installation, [*words, "Ana"]) == {"Ana"}
    async with running(installation, **KEY) as (_, admin):
        shown = (await admin.get("/api/apps/old")).json()
        assert all(word in json.dumps(shown) for word in words)
        assert (shown["revision"], shown["entityData"], shown["externalSync"]) == (7, SEEDS, SECRETIVE["externalSync"])
        [line] = (await admin.get("/api/apps/old/versions")).json()["versions"]
        assert (line["revision"], line["action"], line["by"]) == (7, "adopted", {"id": None, "label": "system"})
        assert (await admin.get("/api/apps/old/versions/7")).json() == shown
        assert (await admin.get("/api/apps/old/versions/7/diff")).json()["against"] is None
        await admin.patch("/api/apps/old/programs", json={"programs": [{"id": 1, "name": "C"}]})
        diff = (await admin.get("/api/apps/old/versions/8/diff")).json()
        assert [change["text"] for change in diff["changes"]] == ["programs"] and diff["seedData"] == []
    assert await found_in_database(installation, words) == set()


async def test_programs_of_an_older_hub_are_not_written_before_they_are_adopted(installation: Installation) -> None:
    database = await before_versions(installation)
    await database.close()
    if installation.url is None:
        with contextlib.closing(sqlite3.connect(installation.folder / "hub.sqlite3")) as connection:
            assert CANARIES[2] in connection.execute("SELECT external_sync FROM programs").fetchone()[0]
    async with running(installation, **KEY) as (_, admin):
        assert (await admin.delete("/api/apps/old")).status_code == 200
