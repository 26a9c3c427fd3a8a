"""What a provider's callers leave in the log: why they were refused, never the token or who they say they are."""

import json

import structlog

from datacollect.testing.oidc import OidcProvider
from tests.features.providers.conftest import Office, entry


async def test_the_log_says_why_and_neither_what_nor_who(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp, "auth0", userinfo="true", client_secret="canary-secret"))
    tokens = {
        "audience": idp.access_token("canary-sub", aud="other"),
        "expired": idp.access_token("canary-sub", aud="app", exp=1),
        "kind of token": idp.id_token("canary-sub", aud="app", email="canary@hub.test", email_verified=True),
        "issuer": idp.access_token("canary-sub", aud="app", iss="https://canary.example"),
        "algorithm": idp.unsigned({"sub": "canary-sub"}) + "x",
        "signature": idp.forged({"sub": "canary-sub", "typ": "Bearer", "aud": "app"}),
        "userinfo": "canary-opaque",
    }
    with structlog.testing.capture_logs() as lines:
        for token in tokens.values():
            assert (await office.pull(program, f"auth0 {token}")).status_code == 401
        good = idp.access_token("canary-sub", aud="app", email="canary@hub.test", email_verified=True)
        assert (await office.pull(program, f"auth0 {good}")).status_code == 200
    refused = [line for line in lines if line["event"] == "provider.token_refused"]
    assert [line["reason"] for line in refused] == list(tokens)
    assert {(line["tenant_id"], line["type"]) for line in refused} == {(program, "auth0")}
    told = json.dumps(lines, default=str)
    assert "canary" not in told
    assert not any(token in told for token in [*tokens.values(), good])


async def test_the_log_says_why_a_provider_is_away(office: Office, idp: OidcProvider) -> None:
    program = await office.program(entry(idp))
    idp.broken = True
    with structlog.testing.capture_logs() as lines:
        assert (await office.pull(program, f"keycloak {idp.access_token(aud='app')}")).status_code == 503
    away = [line for line in lines if line["event"] == "provider.unavailable"]
    assert [(line["authority"], line["reason"]) for line in away] == [(idp.authority, "status 500")]
