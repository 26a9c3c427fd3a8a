"""Callers on sync routes whom a program's own provider vouches for, and those for whom it does not."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from httpx2 import Response

from datacollect.testing.oidc import OidcProvider
from tests.accounts import Person, assert_refused, login, make_person
from tests.factories import make_event, new_id
from tests.features.providers.conftest import Office, entry

pytestmark = pytest.mark.anyio


def assert_invalid(answer: Response) -> None:
    assert_refused(answer, 401, "Invalid token", "UNAUTHENTICATED")


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
async def test_a_device_pushes_and_pulls_with_its_providers_token(office: Office, idp: OidcProvider, alg: str) -> None:
    program = await office.program(entry(idp))
    # As Keycloak makes them: the audience is another, the authorized party is the app.
    token = f"keycloak {idp.access_token(alg=alg, aud='account', azp='app')}"
    pushed = await office.push(program, token)
    assert (pushed.status_code, pushed.json()["applied"]) == (200, 1)
    pulled = await office.pull(program, token)
    assert len(pulled.json()["events"]) == 1


@pytest.mark.parametrize("text", ["a\\ud83d", "\0", "\\u0000", "\udcff"], ids=repr)
async def test_a_device_is_told_what_cannot_be_decoded_also_where_the_body_names_its_program(
    office: Office, idp: OidcProvider, text: str
) -> None:
    program = await office.program(entry(idp))
    token = f"keycloak {idp.access_token(aud='app')}"
    document = {"events": [make_event(), make_event(data={"name": "HERE"})], "atomic": False, "configId": program}
    body = json.dumps(document).replace("HERE", text).encode(errors="surrogateescape")
    answer = await office.call("POST", "/api/sync/push", token, content=body)
    assert (answer.status_code, answer.json()["applied"]) == (207, 1), answer.text
    assert [one["index"] for one in answer.json()["failed"]] == [1]
    strange = await office.call("POST", "/api/sync/push", "keycloak x", content=body)
    assert_invalid(strange)


async def test_conflicts_and_form_findings_know_the_caller_too(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, default_role="supervisor"))
    token = f"keycloak {idp.access_token(aud='app')}"
    for path in ("/api/conflicts", "/api/sync/form-findings", "/api/sync/pull/callback"):
        assert (await office.call("GET", path, token, params={"configId": program})).status_code == 200, path


async def test_staff_routes_know_no_provider(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, default_role="supervisor"))
    token = idp.access_token(aud="app")
    for scheme in ("keycloak", "Bearer"):
        for path in ("/api/entities", "/api/users/me", "/api/users", f"/api/apps/{program}"):
            answer = await office.call("GET", path, f"{scheme} {token}", params={"configId": program})
            assert answer.status_code == 401, path


async def test_auth0s_issuer_ends_with_a_slash_and_the_config_need_not_say_so(office: Office) -> None:
    async with office.provider(path="", slash=True) as auth0:
        for authority in (auth0.authority, auth0.authority + "/"):
            fields = {"authority": authority, "client_id": "app", "audience": "https://hub.example/api"}
            program = await office.program({"type": "auth0", "fields": fields})
            token = auth0.access_token("auth0|7", typ=None, aud=["https://hub.example/api", f"{authority}/userinfo"])
            assert (await office.pull(program, f"auth0 {token}")).status_code == 200
            without = auth0.access_token(typ=None, iss=auth0.issuer.rstrip("/"), aud="https://hub.example/api")
            assert_invalid(await office.pull(program, f"auth0 {without}"))


async def test_an_organization_has_to_be_the_tokens(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", organization="org_1"))
    assert (await office.pull(program, f"auth0 {idp.access_token(aud='app', org_id='org_1')}")).status_code == 200
    for claims in ({"org_id": "org_2"}, {}, {"org_id": ["org_1"]}):
        assert_invalid(await office.pull(program, f"auth0 {idp.access_token(aud='app', **claims)}"))


async def test_known_schemes_are_compared_as_http_does_and_others_exactly(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "Keycloak"), entry(idp, "MyRealm"))
    token = idp.access_token(aud="app")
    for scheme in ("keycloak", "Keycloak", "KEYCLOAK", "MyRealm"):
        assert (await office.pull(program, f"{scheme} {token}")).status_code == 200, scheme
    for scheme in ("myrealm", "auth0", "Bearer", "bearer", "Basic", "keycloak2"):
        assert (await office.pull(program, f"{scheme} {token}")).status_code == 401, scheme
    for header in (token, "keycloak", "keycloak ", f"keycloak {token} x", "keycloak é"):
        assert_invalid(await office.pull(program, header))


async def test_of_several_providers_of_a_type_each_is_tried(office: Office, idp: OidcProvider) -> None:
    async with office.provider() as second, office.provider() as stranger:
        program = await office.program(entry(idp), entry(second))
        for one in (idp, second):
            assert (await office.pull(program, f"keycloak {one.access_token(aud='app')}")).status_code == 200
        assert_invalid(await office.pull(program, f"keycloak {stranger.access_token(aud='app')}"))
        assert stranger.asked == 0


async def test_a_provider_vouches_for_its_own_program_only(office: Office, idp: OidcProvider) -> None:
    async with office.provider() as other:
        mine, theirs = await office.program(entry(idp)), await office.program(entry(other))
        token = f"keycloak {idp.access_token(aud='app')}"
        assert (await office.pull(mine, token)).status_code == 200
        assert_invalid(await office.pull(theirs, token))
        assert_invalid(await office.push(theirs, token))
        assert_invalid(await office.push(theirs, token, query=theirs))
        # The token is good for the program in the query, but the events would go to another.
        for query, named in ((mine, theirs), (theirs, mine)):
            answer = await office.push(named, token, query=query)
            assert (answer.status_code, answer.json()["code"]) in [(400, "TENANT_MISMATCH"), (401, "UNAUTHENTICATED")]
        assert (await office.pull(theirs, f"keycloak {other.access_token(aud='app')}")).json()["events"] == []


async def test_two_programs_that_trust_one_provider_for_different_apps_do_not_mix(
    office: Office, idp: OidcProvider
) -> None:
    mine, theirs = await office.program(entry(idp)), await office.program(entry(idp, client_id="other"))
    token = f"keycloak {idp.access_token(aud='account', azp='app')}"
    assert (await office.pull(mine, token)).status_code == 200
    assert_invalid(await office.pull(theirs, token))


async def test_nothing_tells_which_programs_there_are(office: Office, idp: OidcProvider) -> None:
    token = f"keycloak {idp.access_token(aud='app')}"
    without = await office.program()
    archived = await office.program(entry(idp))
    assert (await office.pull(archived, token)).status_code == 200
    assert (await office.admin.delete(f"/api/apps/{archived}")).status_code == 200
    broken = f"keycloak {idp.forged({'sub': 'ada', 'typ': 'Bearer', 'aud': 'app'})}"
    running = await office.program(entry(idp))
    answers = [
        *[await office.pull(name, token) for name in (new_id(), without, archived, "", "../x", "x" * 5000)],
        *[await office.push(name, token) for name in (new_id(), without, archived)],
        await office.pull(running, broken),
    ]
    bodies = [{key: value for key, value in one.json().items() if key != "requestId"} for one in answers]
    assert [one.status_code for one in answers] == [401] * len(answers)
    assert all(body == bodies[0] for body in bodies)


async def test_a_provider_without_audience_and_client_accepts_nothing(office: Office, idp: OidcProvider) -> None:
    program = await office.program({"type": "keycloak", "fields": {"authority": idp.authority}})
    assert_invalid(await office.pull(program, f"keycloak {idp.access_token(aud='account', azp='app')}"))
    assert idp.asked == 0


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["other"], "azp": "other"},
        {"aud": None},
        {"aud": {"app": 1}},
        {"iss": "https://elsewhere.example/realms/test"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\x00b"},
        {"sub": "x" * 256},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": None, "nonce": "n"},
        {"typ": None, "at_hash": "h"},
    ],
    ids=str,
)
async def test_tokens_with_wrong_claims_are_refused_without_asking(
    office: Office, idp: OidcProvider, claims: dict[str, Any]
) -> None:
    program = await office.program(entry(idp))
    assert_invalid(await office.pull(program, f"keycloak {idp.access_token(**{'aud': 'app', **claims})}"))
    assert idp.asked == 0


async def test_a_configured_audience_is_the_only_one(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, audience="hub"))
    assert (await office.pull(program, f"keycloak {idp.access_token(aud=['x', 'hub'])}")).status_code == 200
    assert_invalid(await office.pull(program, f"keycloak {idp.access_token(aud='app', azp='app')}"))


async def test_clocks_may_differ_by_a_minute(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    now = idp.time
    for claims in ({"exp": now - 50}, {"nbf": now + 50}, {"iat": now + 50}):
        assert (await office.pull(program, f"keycloak {idp.access_token(aud='app', **claims)}")).status_code == 200
    for claims in ({"exp": now - 300}, {"nbf": now + 300}, {"iat": now + 300, "exp": now + 600}):
        assert_invalid(await office.pull(program, f"keycloak {idp.access_token(aud='app', **claims)}"))


async def test_a_token_is_not_remembered_beyond_its_end(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    token = f"keycloak {idp.access_token(aud='app', exp=idp.time - 55)}"
    assert (await office.pull(program, token)).status_code == 200
    office.clock.turn(seconds=6)
    assert_invalid(await office.pull(program, token))


async def test_forgeries_are_refused(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    claims = {"typ": "Bearer", "sub": "ada", "aud": "app"}
    good = idp.access_token(aud="app")
    assert (await office.pull(program, f"keycloak {good}")).status_code == 200
    head, payload, signature = good.split(".")
    other = idp.access_token("eve", aud="app").split(".")
    forgeries = {
        "no signature asked for": idp.unsigned(claims),
        "the public key as a secret": idp.confused(claims),
        "another key under a known id": idp.forged(claims),
        "another key": idp.forged(claims, key_id="unknown"),
        "no signature": f"{head}.{payload}.",
        "signature of another token": f"{head}.{other[1]}.{signature}",
        "a signature of another kind": ".".join([_renamed(head, "PS256"), payload, signature]),
        "a key of another kind": ".".join([_renamed(head, "ES256"), payload, signature]),
        "a secret that is none": ".".join([_renamed(head, "HS256"), payload, signature]),
        "a shorter one": good[:-8],
        "an extension to be understood": idp.sign(claims, header={"crit": ["b64"], "b64": True}),
        "no token of a person": idp.sign(claims, header={"typ": "logout+jwt"}),
        "too long": idp.access_token(aud="app", padding="x" * 16_000),
        "a header too long": idp.sign(claims, header={"padding": "x" * 4000}),
        "nested too deeply": ".".join([head, _base64('{"a":' * 2500), signature]),
    }
    for name, token in forgeries.items():
        assert (await office.pull(program, f"keycloak {token}")).status_code == 401, name


async def test_what_else_a_realm_of_keycloak_signs_is_no_access_token_for_us(office: Office, idp: OidcProvider) -> None:
    """Claims as Keycloak writes them, whole: each of these is genuine, and for something or somebody else."""
    program = await office.program(entry(idp))
    ours = {"typ": "Bearer", "sub": "ada", "azp": "app", "aud": "account", "sid": "s-1", "acr": "1", "scope": "openid"}
    assert (await office.pull(program, f"keycloak {idp.sign(ours)}")).status_code == 200
    async with office.provider(path="/realms/test2") as realm:
        others = {
            "an ID token of our client": idp.sign(ours | {"typ": "ID", "aud": "app", "nonce": "n"}),
            "one that does not say so": idp.sign(ours | {"typ": None, "aud": "app", "at_hash": "h"}),
            "a refresh token": idp.sign(ours | {"typ": "Refresh", "aud": idp.issuer}),
            "an offline token": idp.sign(ours | {"typ": "Offline", "aud": idp.issuer}),
            "a logout token": idp.sign(ours | {"typ": "Logout", "aud": "app"}, header={"typ": "logout+jwt"}),
            "a link to a new password": idp.sign(ours | {"typ": "reset-credentials", "aud": idp.issuer}),
            "one that needs a proof of its holder": idp.sign(ours | {"typ": "DPoP", "cnf": {"jkt": "k"}}),
            "one of another client": idp.sign(ours | {"azp": "other"}),
            "one of another service": idp.sign(ours | {"azp": "other", "client_id": "other", "scope": "profile"}),
            "one that names us only as client_id": idp.sign(ours | {"azp": None, "client_id": "app"}),
            "a lightweight one": idp.sign(ours | {"sub": None}),
            "one of another realm": realm.sign(ours),
            "another realm's key under our issuer": realm.sign(ours | {"iss": idp.issuer}),
            "another realm's issuer under our key": idp.sign(ours | {"iss": realm.issuer}),
            "an issuer that begins as ours": idp.sign(ours | {"iss": f"{idp.issuer}2"}),
            "an issuer in other letters": idp.sign(ours | {"iss": idp.issuer.replace("realms", "Realms")}),
            "one that has ended": idp.sign(ours | {"iat": idp.time - 600, "exp": idp.time - 300}),
            "one that has not begun": idp.sign(ours | {"nbf": idp.time + 300, "exp": idp.time + 600}),
        }
        for name, token in others.items():
            assert (await office.pull(program, f"keycloak {token}")).status_code == 401, name
        assert realm.asked == 0


def _renamed(head: str, alg: str) -> str:
    return _base64(json.dumps(json.loads(urlsafe_b64decode(head + "==")) | {"alg": alg}))


def _base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


async def test_our_own_tokens_are_nothing_behind_a_providers_word(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    ours = office.admin.headers["authorization"].removeprefix("Bearer ")
    citizens = office.hub.tokens._sign({"scope": "self-service", "tenantId": program}, office.clock.now(), 3600)
    for token in (ours, citizens):
        assert_invalid(await office.pull(program, f"keycloak {token}"))
    assert_invalid(await office.pull(program, f"Bearer {idp.access_token(aud='app')}"))


async def test_the_body_is_read_for_the_program_only_without_one_in_the_query(
    office: Office, idp: OidcProvider
) -> None:
    program = await office.program(entry(idp))
    token = f"keycloak {idp.access_token(aud='app')}"
    large = [make_event(data={"name": "x" * 1_000_000, "entityName": "individual"}) for _ in range(11)]
    assert (await office.push(program, token, events=large)).status_code == 413
    stranger = await office.push(program, "keycloak x.y.z", query=program, events=large)
    assert_invalid(stranger)
    known = await office.push(program, token, query=program, events=large)
    assert known.status_code == 200, known.text
    assert (await office.call("POST", "/api/sync/push", token, content=b"{")).status_code == 400


async def test_a_thousand_syncs_cost_two_requests_to_the_provider(
    office: Office, idp: OidcProvider, measured: Any
) -> None:
    program = await office.program(entry(idp))
    token = f"keycloak {idp.access_token(aud='app')}"
    for _ in range(1000):
        assert (await office.pull(program, token)).status_code == 200
    measured("requests to the provider for 1,000 syncs", idp.asked)
    assert idp.asked == 2


# -- who the caller is


async def role_of(office: Office, program: str, token: str) -> str:
    scope = await office.hub.providers.caller(program, "keycloak", token)  # type: ignore[arg-type]
    return str(scope.role_in(program))  # type: ignore[arg-type]


async def test_a_caller_without_an_account_is_what_the_provider_makes_them(office: Office, idp: OidcProvider) -> None:
    token = idp.access_token(aud="app", email="nobody@hub.test", email_verified=True)
    plain = await office.program(entry(idp))
    viewers = await office.program(entry(idp, default_role="viewer"))
    supervisors = await office.program(entry(idp, default_role="supervisor", default_area="A1"))
    assert [await role_of(office, one, token) for one in (plain, viewers, supervisors)] == [
        "enumerator",
        "viewer",
        "supervisor",
    ]
    assert (await office.push(viewers, f"keycloak {token}")).status_code == 403
    pulled = await office.call(
        "GET",
        "/api/sync/pull",
        f"keycloak {token}",
        params={"configId": supervisors},
    )
    # Who is limited to an area has to say which device it is.
    assert pulled.status_code == 400


async def test_without_a_default_only_accounts_with_a_role_come_in(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, default_role="none"))
    person = await member(office, program, "viewer")
    stranger = await make_person(office.admin, tenantIds=[program])
    good = idp.access_token(aud="app", email=person.email, email_verified=True)
    assert await role_of(office, program, good) == "viewer"
    for claims in (
        {"email": person.email, "email_verified": False},
        {"email": stranger.email, "email_verified": True},
        {},
    ):
        assert_invalid(await office.pull(program, f"keycloak {idp.access_token(aud='app', **claims)}"))


async def test_history_names_the_provider_and_its_subject(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    event = make_event()
    await office.push(program, f"keycloak {idp.access_token('sub-7', aud='app')}", events=[event])
    history = await office.admin.get(f"/api/entities/{event['entityGuid']}/history", params={"configId": program})
    assert "keycloak:sub-7" in history.text


async def member(office: Office, program: str, role: str, **assignment: str) -> Person:
    return await make_person(
        office.admin, roleAssignments=[{"tenantId": program, "role": role, **assignment}], tenantIds=[program]
    )


async def test_a_verified_address_of_a_member_brings_the_members_role_and_name(
    office: Office, idp: OidcProvider
) -> None:
    program = await office.program(entry(idp))
    person = await member(office, program, "viewer")
    token = idp.access_token(aud="app", email=person.email.upper(), email_verified=True)
    actor = await office.hub.providers.caller(program, "keycloak", token)  # type: ignore[arg-type]
    assert (actor.user_id, actor.label, actor.role_in(program)) == (person.id, "keycloak:ada", "viewer")  # type: ignore[arg-type]
    assert (await office.push(program, f"keycloak {token}")).status_code == 403
    for unverified in (False, None, "true", 1):
        token = idp.access_token(aud="app", email=person.email, email_verified=unverified)
        assert (await office.hub.providers.caller(program, "keycloak", token)).user_id is None  # type: ignore[arg-type]


async def test_a_change_of_the_account_counts_at_once(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    person = await member(office, program, "supervisor")
    token = idp.access_token(aud="app", email=person.email, email_verified=True)
    assert await role_of(office, program, token) == "supervisor"
    account = {"email": person.email, "role": "USER", "roleAssignments": [{"tenantId": program, "role": "viewer"}]}
    assert (await office.admin.put(f"/api/users/{person.id}", json=account)).status_code == 200
    assert await role_of(office, program, token) == "viewer"


async def test_a_provider_is_no_way_to_more_than_its_program_gives(office: Office, idp: OidcProvider) -> None:
    other = await office.program()
    program = await office.program(entry(idp))
    supervisor = [{"tenantId": program, "role": "supervisor"}]
    admin = await make_person(office.admin, role="ADMIN", roleAssignments=supervisor)
    elsewhere = await member(office, other, "supervisor")
    unassigned = await make_person(office.admin, tenantIds=[program])
    manager = await make_person(
        office.admin,
        roleAssignments=[{"tenantId": program, "role": "system-admin"}, {"tenantId": other, "role": "supervisor"}],
    )
    expected = {admin: "enumerator", elsewhere: "enumerator", unassigned: "enumerator", manager: "supervisor"}
    for person, role in expected.items():
        token = idp.access_token(aud="app", email=person.email, email_verified=True)
        actor = await office.hub.providers.caller(program, "keycloak", token)  # type: ignore[arg-type]
        assert (actor.role_in(program), actor.tenant_ids, actor.is_admin) == (role, {program}, False)  # type: ignore[arg-type]
        assert (actor.user_id is not None) == (person is manager)
        assert_invalid(await office.pull(other, f"keycloak {token}"))


async def test_letters_that_only_look_alike_are_another_address(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    name = new_id("strasse")
    person = await make_person(
        office.admin, email=f"{name}k@hub.test", roleAssignments=[{"tenantId": program, "role": "supervisor"}]
    )
    assert (await login(office.admin, person))["userId"] == person.id
    for email in (f"{name.replace('ss', 'ß')}k@hub.test", f"{name}\N{KELVIN SIGN}@hub.test"):
        token = idp.access_token(aud="app", email=email, email_verified=True)
        assert await role_of(office, program, token) == "enumerator"
    token = idp.access_token(aud="app", email=person.email, email_verified=True)
    assert await role_of(office, program, token) == "supervisor"


async def test_a_provider_that_is_taken_out_of_the_config_counts_no_more(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    token = f"keycloak {idp.access_token(aud='app')}"
    assert (await office.pull(program, token)).status_code == 200
    await office.program(id=program)
    assert_invalid(await office.pull(program, token))
