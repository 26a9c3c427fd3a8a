"""The attacker at sign-in, tokens and accounts: weak points W1-W22 of the reference, each tried against the hub."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from structlog.testing import capture_logs

from datacollect.http.hub import Hub
from datacollect.kernel import tokens as kernel_tokens
from datacollect.kernel.tokens import SelfServiceClaims
from tests.accounts import PASSWORD, Person, bearer, claims_of, login, make_person, refresh
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, asgi_client
from tests.factories import make_event, make_program, pull
from tests.features.auth.test_login import lose_database
from tests.features.conftest import Alone, Installation
from tests.security.conftest import Attacker

pytestmark = pytest.mark.anyio

SECRET = "0123456789abcdef0123456789abcdef"
_OPERATIONS: list[tuple[str, str]] = []


async def guarded_operations(client: AsyncClient) -> list[tuple[str, str]]:
    """Every operation of the hub's own description that asks for a token, with something in place of its parameters.

    They are the same on all hubs here, and to describe them takes one half a second.
    """
    if _OPERATIONS:
        return _OPERATIONS
    document = (await client.get("/api-docs/openapi.json")).json()
    found = _OPERATIONS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in {"get", "put", "post", "patch", "delete"} and operation.get("security"):
                address = path
                for parameter in operation.get("parameters", ()):
                    address = address.replace(f"{{{parameter['name']}}}", "1")
                found.append((method.upper(), address))
    return found


async def admins_tokens(client: AsyncClient) -> Any:
    return await login(client, Person(1, ADMIN_EMAIL, ADMIN_PASSWORD))


async def test_w1_a_refresh_token_opens_no_operation(client: AsyncClient) -> None:
    token = (await admins_tokens(client))["refreshToken"]
    operations = await guarded_operations(client)
    assert len(operations) > 40
    for method, path in operations:
        answer = await client.request(method, path, headers=bearer(token))
        assert answer.status_code == 401, (method, path, answer.text)


async def test_w2_an_access_token_does_not_become_a_refresh_token(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    first = await login(client, person)
    renewed = await client.post("/api/users/refresh", headers=bearer(first["token"]))
    assert renewed.status_code == 200
    assert "refreshToken" not in renewed.json()
    # In the body, where a refresh token belongs, it is none.
    assert (await refresh(client, first["token"])).status_code == 401
    # What was renewed from a stolen token ends with the sign-in it came from.
    await client.post("/api/users/logout", json={"refreshToken": first["refreshToken"]})
    again = await client.post("/api/users/refresh", headers=bearer(renewed.json()["token"]))
    assert again.status_code == 401


async def test_w2_renewing_does_not_outlast_the_sign_in(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    # With tokens for an hour the chain to the end of the sign-in would have 720 links.
    monkeypatch.setattr(kernel_tokens, "ACCESS_SECONDS", 86_400)
    admin = await alone.admin()
    token, renewed = str(admin.headers["Authorization"]), 0
    for _ in range(31 * 4):
        alone.clock.turn(seconds=6 * 3600)
        answer = await alone.client.post("/api/users/refresh", headers={"Authorization": token})
        if answer.status_code == 401:
            break
        assert answer.status_code == 200
        token, renewed = f"Bearer {answer.json()['token']}", renewed + 1
    assert answer.status_code == 401
    assert renewed == 30 * 4 - 1, "until the sign-in ended, and not because a token did"


async def test_w3_a_stolen_refresh_token_ends_the_sign_in_for_the_thief(
    client: AsyncClient, admin: AsyncClient
) -> None:
    first = await login(client, await make_person(admin))
    stolen = first["refreshToken"]
    second = (await refresh(client, stolen)).json()
    third = (await refresh(client, second["refreshToken"])).json()
    assert (await refresh(client, stolen)).status_code == 401
    for token in (second, third):
        assert (await refresh(client, token["refreshToken"])).status_code == 401


@pytest.mark.parametrize("way", ["own", "by admin", "deletion", "logout"])
async def test_w3_a_thief_is_out_after_a_new_password_a_deletion_or_a_logout(
    client: AsyncClient, admin: AsyncClient, way: str
) -> None:
    person = await make_person(admin)
    stolen = await login(client, person)
    if way == "own":
        mine = bearer((await login(client, person))["token"])
        change = {"currentPassword": PASSWORD, "newPassword": "Another-Horse-9"}
        assert (await client.post("/api/users/me/password", json=change, headers=mine)).status_code == 200
    elif way == "by admin":
        account = {"email": person.email, "role": "USER", "password": "Another-Horse-9"}
        assert (await admin.put(f"/api/users/{person.id}", json=account)).status_code == 200
    elif way == "deletion":
        assert (await admin.delete(f"/api/users/{person.id}")).status_code == 200
    else:
        await client.post("/api/users/logout", json={"refreshToken": stolen["refreshToken"]})
    assert (await refresh(client, stolen["refreshToken"])).status_code == 401
    renewed = await client.post("/api/users/refresh", headers=bearer(stolen["token"]))
    assert renewed.status_code == 401


async def test_w4_refreshing_without_end_is_stopped(installation: Installation) -> None:
    async with installation.running(LOGIN_RATE_LIMIT=5) as (app, client):
        tokens = await admins_tokens(client)
        for _ in range(200):
            answer = await refresh(client, tokens["refreshToken"])
            if answer.status_code == 429:
                break
            tokens = answer.json()
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        # Guessing tokens is limited too, by address.
        async with asgi_client(app) as stranger:
            statuses = [(await refresh(stranger, f"guess-{n}")).status_code for n in range(250)]
        assert statuses[-1] == 429


def disagreements(mine: str, theirs: str) -> list[tuple[list[tuple[str, str]], dict[str, Any]]]:
    """Queries and bodies that name more than one program, or none that is a name."""
    return [
        ([("configId", mine)], {"configId": theirs}),
        ([("configId", theirs)], {"configId": mine}),
        ([("configId", mine), ("configId", theirs)], {}),
        ([("configId", theirs), ("configId", mine)], {}),
        ([("configId", mine), ("configId", mine)], {}),
        ([("configId", mine)], {"configId": [mine, theirs]}),
        ([("configId", mine)], {"configId": {"$ne": mine}}),
        ([("configId", mine)], {"configId": 1}),
        ([], {"configId": [theirs]}),
        ([], {"configId": True}),
    ]


async def test_w5_query_and_body_may_not_disagree(attacker: Attacker) -> None:
    headers, before = await attacker.headers("supervisor"), await attacker.counts()
    for query, named in disagreements(attacker.mine, attacker.theirs):
        event = make_event()
        for path, body in (
            ("/api/sync/push", {"events": [event]}),
            ("/api/sync/push", {"events": [event], "atomic": False}),
            ("/api/sync/push/audit-logs", {"auditLogs": []}),
            ("/api/conflicts/x/resolve", {"resolution": "local"}),
            ("/api/sync/quarantine/discard", {"ids": ["x"], "reason": "no"}),
        ):
            answer = await attacker.client.post(path, params=query, json=body | named, headers=headers)
            assert answer.status_code == 400, (path, query, named, answer.text)
    assert await attacker.counts() == before


async def test_w5_other_spellings_of_the_program_do_not_lead_elsewhere(attacker: Attacker) -> None:
    """The reference looks at `tenantId` too, and frameworks read `configId[]` as a list."""
    headers, mine, theirs = await attacker.headers("supervisor"), attacker.mine, attacker.theirs
    event, before = make_event(), await attacker.counts()
    for query, body in (
        (f"configId={mine}", {"tenantId": theirs}),
        (f"configId={mine}&tenantId={theirs}", {"tenantId": theirs}),
        (f"configId={mine}&configId[]={theirs}", {"configid": theirs}),
        (f"configId={mine}&ConfigId={theirs}", {"ConfigId": theirs, "config_id": theirs}),
        (f"configId={mine}%26configId={theirs}", {}),
        (f"configId={mine};configId={theirs}", {}),
    ):
        answer = await attacker.client.post(
            f"/api/sync/push?{query}", json={"events": [event], **body}, headers=headers
        )
        assert answer.status_code in {200, 400, 403}, (query, body, answer.text)
    assert (await attacker.counts())[1] == before[1]
    assert all(e["guid"] != event["guid"] for e in (await pull(attacker.admin, theirs)).json()["events"])


async def test_w5_a_key_twice_in_one_body_is_refused(attacker: Attacker) -> None:
    headers = await attacker.headers()
    for one, other in ((attacker.mine, attacker.theirs), (attacker.theirs, attacker.mine)):
        body = f'{{"events":[],"configId":"{one}","configId":"{other}"}}'
        answer = await attacker.client.post("/api/sync/push", content=body.encode(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "DUPLICATE_KEY")


@pytest.mark.parametrize("scheme", ["foo", "keycloak", "auth0", "Basic", "JWT", "Token", "bearer2", "Bearer,"])
async def test_w6_our_token_under_another_scheme_opens_nothing(
    client: AsyncClient, admin_token: str, scheme: str
) -> None:
    for method, path in await guarded_operations(client):
        answer = await client.request(method, path, headers={"Authorization": f"{scheme} {admin_token}"})
        assert answer.status_code in {400, 401}, (method, path, answer.text)
        assert answer.status_code == 401 or "configId" in answer.text or "App instance" in answer.text


async def test_w9_a_changed_email_is_the_one_that_signs_in(client: AsyncClient, admin: AsyncClient) -> None:
    person = await make_person(admin)
    new = f"new-{person.email}"
    assert (await admin.put(f"/api/users/{person.id}", json={"email": new, "role": "USER"})).status_code == 200
    assert (await login(client, Person(person.id, new)))["userId"] == person.id
    old = await client.post("/api/users/login", json={"email": person.email, "password": PASSWORD})
    assert old.status_code == 401


@pytest.mark.parametrize("spelling", ["{}", "  {}", "{}\t", "UPPER"])
async def test_w10_a_second_account_of_one_address_is_a_conflict_without_sql(admin: AsyncClient, spelling: str) -> None:
    person = await make_person(admin)
    email = person.email.upper() if spelling == "UPPER" else spelling.format(person.email)
    answer = await admin.post("/api/users", json={"email": email, "password": PASSWORD, "role": "USER"})
    assert (answer.status_code, answer.json()["error"]) == (409, "User already exists")
    assert not any(word in answer.text.lower() for word in ("unique", "constraint", "insert", "sql"))


@pytest.mark.parametrize("way", ["delete by id", "delete by email", "demote"])
async def test_w11_the_last_administrator_cannot_be_removed(alone: Alone, way: str) -> None:
    admin = await alone.admin()
    mine = (await admin.get("/api/users/me")).json()
    if way == "demote":
        answer = await admin.put(f"/api/users/{mine['id']}", json={"email": mine["email"], "role": "USER"})
    else:
        answer = await admin.delete(f"/api/users/{mine['id'] if 'id' in way else mine['email']}")
    assert answer.status_code == 409
    assert (await admin.get("/api/users/me")).json()["role"] == "ADMIN"


async def test_w11_deleting_nobody_is_no_success(admin: AsyncClient) -> None:
    for key in ("999999999", "nobody@hub.test", "0", "-1", "' OR 1=1 --"):
        assert (await admin.delete(f"/api/users/{key}")).status_code == 404, key


async def test_w12_what_follows_the_72nd_byte_of_a_password_counts(client: AsyncClient, admin: AsyncClient) -> None:
    long = "Aa1-" + "x" * 100
    person = await make_person(admin, password=long + "y")
    for wrong in (long, long + "z", long[:72]):
        answer = await client.post("/api/users/login", json={"email": person.email, "password": wrong})
        assert answer.status_code == 401
    assert (await login(client, person))["userId"] == person.id


async def test_w12_a_password_without_end_is_refused_and_costs_nothing(client: AsyncClient, admin: AsyncClient) -> None:
    endless = "Aa1-" + "x" * 900_000
    account = {"email": "endless@hub.test", "password": endless, "role": "USER"}
    assert (await admin.post("/api/users", json=account)).status_code == 400
    began = time.perf_counter()
    for password, status in ((endless[:60_000], 401), (endless, 413)):
        answer = await client.post("/api/users/login", json={"email": ADMIN_EMAIL, "password": password})
        assert answer.status_code == status
    assert time.perf_counter() - began < 5


async def test_w13_power_in_one_program_is_none_in_another(attacker: Attacker) -> None:
    """A supervisor of one program who is a viewer of the other."""
    roles = [{"tenantId": attacker.mine, "role": "program-admin"}, {"tenantId": attacker.theirs, "role": "viewer"}]
    person = await make_person(attacker.admin, tenantIds=[attacker.mine, attacker.theirs], roleAssignments=roles)
    headers, theirs = bearer((await login(attacker.client, person))["token"]), {"configId": attacker.theirs}
    for method, path, body in (
        ("POST", "/api/sync/push", {"events": [make_event()]}),
        ("POST", "/api/sync/push/audit-logs", {"auditLogs": []}),
        ("GET", "/api/sync/pull/audit-logs", None),
        ("GET", "/api/sync/quarantine", None),
        ("POST", "/api/sync/quarantine/discard", {"ids": ["x"], "reason": "no"}),
        ("POST", "/api/conflicts/x/resolve", {"resolution": "local"}),
        ("PATCH", f"/api/apps/{attacker.theirs}/syncScope", {"syncScope": None}),
    ):
        answer = await attacker.client.request(method, path, params=theirs, json=body, headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)


@pytest.mark.parametrize("role", ["ENUMERATOR", "admin", "root", "", None, 100, ["supervisor"], "supervisor "])
async def test_w14_a_role_that_there_is_not_cannot_be_given(admin: AsyncClient, role: Any) -> None:
    program = await make_program(admin)
    account = {"email": f"{program}@hub.test", "password": PASSWORD, "role": "USER"}
    answer = await admin.post("/api/users", json=account | {"roleAssignments": [{"tenantId": program, "role": role}]})
    assert answer.status_code == 400


async def test_w15_a_demoted_user_loses_their_rights_with_the_token_still_valid(attacker: Attacker) -> None:
    person = await attacker.account("supervisor")
    headers, mine = bearer((await login(attacker.client, person))["token"]), {"configId": attacker.mine}
    trail = "/api/sync/pull/audit-logs"
    assert (await attacker.client.get(trail, params=mine, headers=headers)).status_code == 200
    account = {"email": person.email, "role": "USER", "tenantIds": [attacker.mine]}
    demoted = account | {"roleAssignments": [{"tenantId": attacker.mine, "role": "viewer"}]}
    await attacker.admin.put(f"/api/users/{person.id}", json=demoted)
    assert (await attacker.client.get(trail, params=mine, headers=headers)).status_code == 403
    body = {"configId": attacker.mine, "events": [make_event()]}
    assert (await attacker.client.post("/api/sync/push", json=body, headers=headers)).status_code == 403
    await attacker.admin.put(f"/api/users/{person.id}", json=account | {"tenantIds": [], "roleAssignments": []})
    assert (await attacker.client.get("/api/sync/pull", params=mine, headers=headers)).status_code == 403


@pytest.mark.parametrize("meanwhile", ["deleted", "demoted", "signed out"])
async def test_whoever_is_shut_out_while_they_send_is_not_let_in_by_the_rest_of_it(
    attacker: Attacker, meanwhile: str
) -> None:
    person = await attacker.account("enumerator")
    pair = await login(attacker.client, person)
    account = {
        "email": person.email,
        "role": "USER",
        "roleAssignments": [{"tenantId": attacker.mine, "role": "viewer"}],
    }
    calls: dict[str, tuple[str, str, Any]] = {
        "deleted": ("DELETE", f"/api/users/{person.id}", None),
        "demoted": ("PUT", f"/api/users/{person.id}", account),
        "signed out": ("POST", "/api/users/logout", {"refreshToken": pair["refreshToken"]}),
    }
    begin, rest = json.dumps({"configId": attacker.mine, "events": [make_event()]}).encode().split(b",", 1)

    async def body() -> AsyncIterator[bytes]:
        yield begin
        method, path, sent = calls[meanwhile]
        assert (await attacker.admin.request(method, path, json=sent)).status_code == 200
        yield b"," + rest

    answer = await attacker.client.post("/api/sync/push", content=body(), headers=bearer(pair["token"]))
    assert answer.status_code == 401, answer.text
    assert await attacker.counts() == (0, 1)


async def test_who_only_sends_slowly_is_let_in(attacker: Attacker) -> None:
    text = json.dumps({"configId": attacker.mine, "events": [make_event()]}).encode()

    async def body() -> AsyncIterator[bytes]:
        for begin in range(0, len(text), 50):
            yield text[begin : begin + 50]

    answer = await attacker.client.post("/api/sync/push", content=body(), headers=await attacker.headers())
    assert answer.status_code == 200, answer.text


async def test_w16_no_assignment_widens_what_the_program_allows(client: AsyncClient, admin: AsyncClient) -> None:
    policy = {"areaIds": ["A", "B"], "timeWindow": {"type": "rolling", "days": 7}}
    program = await make_program(admin, syncScope=policy)
    roles = [
        {"tenantId": program, "role": "enumerator", "areaId": "A"},
        {
            "tenantId": program,
            "role": "enumerator",
            "syncScopeOverride": {"areaIds": ["Z"], "timeWindow": {"type": "rolling", "days": 3650}},
        },
    ]
    person = await make_person(admin, tenantIds=[program], roleAssignments=roles)
    headers = bearer((await login(client, person))["token"]) | {"X-Device-Id": "d1"}
    answer = await client.get("/api/sync/pull", params={"configId": program, "areaIds": "A,B,Z"}, headers=headers)
    scope = answer.json()["scope"]
    assert scope["areaIds"] == ["A"]
    assert scope["timeWindow"] == {"type": "rolling", "days": 7}


@pytest.mark.parametrize("email", [{"$ne": None}, ["a"], 7, True, None, {"a": {"b": {}}}, 1e308])
async def test_w17_credentials_that_are_no_text_reach_no_database(client: AsyncClient, email: Any) -> None:
    for body in ({"email": email, "password": "x"}, {"email": ADMIN_EMAIL, "password": email}, {}, [], "x", None):
        answer = await client.post("/api/users/login", json=body)
        assert answer.status_code in {400, 401}, answer.text


async def test_w19_who_can_do_nothing_learns_it(client: AsyncClient, admin: AsyncClient) -> None:
    headers = bearer((await login(client, await make_person(admin)))["token"])
    assert (await client.get("/api/users/me", headers=headers)).json()["permissions"] == {}


def forged(claims: dict[str, Any], *, algorithm: str = "HS256", key: Any = None, **header: Any) -> str:
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    made: str = jwt.encode(
        {"alg": algorithm, "typ": "JWT", **header}, claims, key or OctKey.import_key(SECRET), registry=registry
    )
    return made


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


async def test_w20_no_other_algorithm_key_or_kind_of_token_is_accepted(client: AsyncClient, hub: Hub) -> None:
    true = claims_of((await admins_tokens(client))["token"])
    rsa = RSAKey.generate_key(2048)
    forgeries = {
        **{f"alg {name}": unsigned(true, name) for name in ("none", "None", "NONE", "nOnE", "", "HS256")},
        "HS384 with the right secret": forged(true, algorithm="HS384"),
        "HS512 with the right secret": forged(true, algorithm="HS512"),
        "RS256": forged(true, algorithm="RS256", key=rsa),
        "another secret": forged(true, key=OctKey.import_key(SECRET[:-1] + "x")),
        "no kind": forged({k: v for k, v in true.items() if k != "typ"}),
        "another kind": forged(true | {"typ": "refresh"}),
        "a citizen's": forged(true | {"scope": "self-service"}),
        "no issuer": forged({k: v for k, v in true.items() if k != "iss"}),
        "another issuer": forged(true | {"iss": "https://evil.test"}),
        "no end": forged({k: v for k, v in true.items() if k != "exp"}),
        "an end that is no number": forged(true | {"exp": "9999999999"}),
        "ended": forged(true | {"exp": hub.clock.now() // 1000 - 1}),
        "an older version": forged(true | {"ver": true["ver"] - 1}),
        "nobody": forged(true | {"id": 999_999}),
        "an id that is no number": forged(true | {"id": "1 OR 1=1"}),
        "no family": forged({k: v for k, v in true.items() if k != "fam"}),
    }
    for name, token in forgeries.items():
        answer = await client.get("/api/users", headers=bearer(token))
        assert answer.status_code == (403 if name == "a citizen's" else 401), (name, answer.text)
    assert (await client.get("/api/users", headers=bearer(forged(true)))).status_code == 200


async def test_w20_a_header_cannot_bring_its_own_key(client: AsyncClient) -> None:
    true = claims_of((await admins_tokens(client))["token"])
    own = RSAKey.generate_key(2048)
    for header in (
        {"jwk": own.as_dict(private=False)},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"kid": "../../../dev/null"},
        {"kid": "' UNION SELECT 'x"},
    ):
        token = forged(true, algorithm="RS256", key=own, **header)
        assert (await client.get("/api/users", headers=bearer(token))).status_code == 401, header


async def test_w22_a_lost_database_is_no_wrong_token(installation: Installation) -> None:
    async with installation.running() as (app, client):
        admins = bearer((await admins_tokens(client))["token"])
        citizens = bearer(app.state.hub.tokens.self_service(SelfServiceClaims("p", "e", "+1", "s")))
        await lose_database(app)
        with capture_logs():  # printing the tracebacks takes seconds
            for method, path in await guarded_operations(client):
                headers = citizens if path.startswith("/api/auth/self-service/") else admins
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 503, (method, path, answer.text)
