"""What of a config leaves the hub, and for whom."""

import json

import pytest

from datacollect.features.tenants.artifacts import artifact_json, public_base_url
from datacollect.features.tenants.errors import BaseUrlUnknown
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import MASK, artifact, full, login_screen, masked, unmasked
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId

AUTH = {
    "type": "keycloak",
    "fields": {
        "authority": "https://idp.example",
        "client_id": "app",
        "client_secret": "CANARY-1",
        "x-pass": "CANARY-2",
    },
}
SYNC = {
    "type": "openspp-v2-adapter",
    "url": "https://registry.example",
    "auth": "basic",
    "adapterConfig": {"clientId": "CANARY-3", "nested": {"list": [{"token": "CANARY-4"}]}, "limit": 7, "none": None},
    "extraFields": [{"name": "password", "value": "CANARY-5"}],
    "fieldMappings": [{"source": "a", "target": "b"}],
    "unheardOf": "CANARY-6",
}


def program(*, external_sync=SYNC, **config):
    config = {"id": "p", "name": "P", "authConfigs": [AUTH]} | config
    seeds = [{"name": "person", "data": [{"id": "1", "name": "CANARY-PERSON"}]}]
    return Program(TenantId("p"), "a" * 32, config, external_sync, seeds, None, 3, Millis(0), Millis(1))


def test_the_artifact_holds_no_secret_and_no_person():
    text = artifact_json(program(), "https://hub.example").body.decode()
    assert "CANARY" not in text
    document = json.loads(text)
    assert document["entityData"] == []
    assert document["externalSync"] == {
        "type": "openspp-v2-adapter",
        "auth": "basic",
        "fieldMappings": [{"source": "a", "target": "b"}],
    }
    assert document["authConfigs"] == [
        {"type": "keycloak", "fields": {"authority": "https://idp.example", "client_id": "app"}}
    ]


def test_credentials_in_place_of_the_name_of_a_method_stay_inside():
    held = program(external_sync={"type": "x", "auth": {"user": "u", "password": "CANARY"}})
    assert "CANARY" not in json.dumps(artifact(held, "https://hub.example"))
    assert "CANARY" not in json.dumps(masked(held)["externalSync"])


def test_the_artifact_says_where_to_sync():
    assert artifact(program(), "https://hub.example")["syncServerUrl"] == "https://hub.example"
    own = program(syncServerUrl="https://other.example")
    assert artifact(own, None)["syncServerUrl"] == "https://other.example"


def test_the_artifact_is_indented_by_two():
    assert artifact_json(program(), "https://hub.example").body.startswith(b'{\n  "id": "p",\n  "artifactId": ')


def test_members_see_masks_for_secrets_and_the_rest_as_it_is():
    shown = masked(program())
    assert "CANARY" not in json.dumps(shown).replace("CANARY-PERSON", "")
    assert shown["externalSync"]["url"] == "https://registry.example"
    assert shown["externalSync"]["adapterConfig"] == {
        "clientId": MASK,
        "nested": {"list": [{"token": MASK}]},
        "limit": MASK,
        "none": None,
    }
    assert shown["externalSync"]["extraFields"] == [{"name": "password", "value": MASK}]
    assert shown["authConfigs"][0]["fields"] == {
        "authority": "https://idp.example",
        "client_id": "app",
        "client_secret": MASK,
        "x-pass": MASK,
    }


def test_fields_for_the_hub_alone_are_shown_to_members_and_not_given_to_devices():
    fields = {"authority": "https://idp.example", "default_role": "viewer", "default_area": "A1", "userinfo": "true"}
    held = program(authConfigs=[{"type": "keycloak", "fields": fields}])
    assert masked(held)["authConfigs"][0]["fields"] == fields
    assert artifact(held, "https://hub.example")["authConfigs"][0]["fields"] == {"authority": "https://idp.example"}


def test_an_address_with_a_password_in_it_is_masked():
    shown = masked(program(external_sync={"type": "x", "url": "https://user:CANARY@registry.example"}))
    assert shown["externalSync"]["url"] == MASK


def test_a_key_in_the_query_of_an_address_is_masked_too():
    for url in ("https://registry.example/?key=CANARY", "https://registry.example/#CANARY", "https://[CANARY@"):
        assert masked(program(external_sync={"type": "x", "url": url}))["externalSync"]["url"] == MASK


def test_a_password_in_an_address_that_was_stored_long_ago_is_published_to_nobody():
    stored = program(
        url="https://user:CANARY@sync.example",
        syncServerUrl="https://user:CANARY@sync.example",
        authConfigs=[{"type": "auth0", "fields": {"authority": "https://user:CANARY@idp.example"}}],
    )
    for shown in (artifact(stored, "https://hub.example"), masked(stored), login_screen(stored)):
        assert "CANARY" not in json.dumps(shown).replace("CANARY-PERSON", "")
    assert artifact(stored, "https://hub.example")["syncServerUrl"] == "https://hub.example"


def test_a_masked_config_sent_back_is_the_stored_one():
    stored = program()
    document, lost = unmasked(masked(stored), stored)
    assert lost == []
    assert document["externalSync"] == SYNC
    assert document["authConfigs"] == [AUTH]


def test_settings_whose_names_are_masked_are_those_at_their_places():
    stored = program(
        external_sync=SYNC | {"adapterConfig": {"logins": [{"name": "a", "key": "1"}, {"name": "b", "key": "2"}]}}
    )
    document, lost = unmasked(masked(stored), stored)
    assert (document["externalSync"], lost) == (stored.external_sync, [])


def test_a_mask_beside_changed_values_keeps_only_its_own():
    changed = masked(program())
    changed["externalSync"]["extraFields"].insert(0, {"name": "database", "value": "d"})
    changed["authConfigs"][0]["fields"]["client_secret"] = "new"
    document, lost = unmasked(changed, program())
    assert lost == []
    assert document["externalSync"]["extraFields"] == [
        {"name": "database", "value": "d"},
        {"name": "password", "value": "CANARY-5"},
    ]
    assert document["authConfigs"][0]["fields"]["client_secret"] == "new"
    assert document["authConfigs"][0]["fields"]["x-pass"] == "CANARY-2"


def test_a_secret_does_not_follow_to_another_address():
    elsewhere = masked(program())
    elsewhere["externalSync"]["url"] = "https://attacker.example"
    elsewhere["authConfigs"][0]["fields"]["authority"] = "https://attacker.example"
    document, lost = unmasked(elsewhere, program())
    assert "CANARY" not in json.dumps([document["externalSync"], document["authConfigs"]])
    assert ["externalSync", "adapterConfig", "clientId"] in lost
    assert ["authConfigs", 0, "fields", "client_secret"] in lost


def test_settings_of_any_shape_are_masked():
    odd = [7, ["CANARY"], {"name": "CANARY"}, {"name": "a", "value": "CANARY", "more": "CANARY"}, None]
    held = program(external_sync={"type": "x", "adapterConfig": {"extraFields": odd}})
    shown = masked(held)["externalSync"]["adapterConfig"]["extraFields"]
    assert shown == [MASK, [MASK], {"name": MASK}, {"name": MASK, "value": MASK, "more": MASK}, None]


def test_a_mask_that_stands_for_nothing_is_reported():
    document = {"externalSync": {"type": "x", "adapterConfig": {"a": MASK, "b": [MASK]}}}
    _, lost = unmasked(document, None)
    assert lost == [["externalSync", "adapterConfig", "a"], ["externalSync", "adapterConfig", "b", 0]]


def test_the_whole_config_has_its_empty_forms():
    bare = Program(TenantId("p"), "a" * 32, {"id": "p", "name": "P"}, None, (), Millis(0), 1, Millis(0), Millis(0))
    assert full(bare) == {
        "id": "p",
        "artifactId": "a" * 32,
        "name": "P",
        "description": None,
        "version": None,
        "url": None,
        "entityForms": [],
        "entityData": (),
        "externalSync": None,
        "authConfigs": [],
        "archivedAt": "1970-01-01T00:00:00.000Z",
        "createdAt": "1970-01-01T00:00:00.000Z",
        "updatedAt": "1970-01-01T00:00:00.000Z",
        "revision": 1,
    }


def test_a_login_screen_gets_what_it_needs_and_no_more():
    oidc = {
        "authority": "https://idp.example",
        "clientId": "c",
        "redirectUri": "https://app.example",
        "scope": "openid",
        "entityMapping": {"primaryClaim": "CANARY", "entityField": "CANARY"},
    }
    service = {"enabled": True, "authMethods": ["otp"], "allowedForms": ["CANARY"], "requireReview": True}
    shown = login_screen(program(selfService=service | {"oidcConfig": oidc}))
    assert shown == {
        "name": "P",
        "selfService": {
            "enabled": True,
            "authMethods": ["otp"],
            "languages": ["en"],
            "oidcConfig": {key: value for key, value in oidc.items() if key != "entityMapping"},
        },
        "authConfigs": [{"type": "keycloak"}],
    }


def test_a_login_screen_without_self_service_has_no_such_member():
    bare = program(authConfigs=[], description="D")
    assert login_screen(bare) == {"name": "P", "description": "D"}
    spoken = program(selfService={"enabled": True, "authMethods": [], "languages": ["en", "km"]})
    assert login_screen(spoken)["selfService"]["languages"] == ["en", "km"]


@pytest.mark.parametrize(
    ("configured", "railway", "scheme", "host", "port", "expected"),
    [
        ("https://hub.example/", "r.example", "http", "evil.example", 3000, "https://hub.example"),
        ("https://hub.example/base//", None, "http", "localhost", 3000, "https://hub.example/base"),
        (None, "r.example", "http", "evil.example", 3000, "https://r.example"),
        (None, None, "http", "localhost:9999", 3000, "http://localhost:3000"),
        (None, None, "http", "127.0.0.1", 80, "http://127.0.0.1"),
        (None, None, "https", "LOCALHOST", 443, "https://localhost"),
        (None, None, "https", "localhost", 80, "https://localhost:80"),
        (None, None, "http", "[::1]:3000", 3000, "http://[::1]:3000"),
        (None, None, "http", "localhost", None, "http://localhost"),
        ("https://[2001:db8::1]:8443/hub/", None, "http", "x", 80, "https://[2001:db8::1]:8443/hub"),
        (None, None, "http", "[::1]", 80, "http://[::1]"),
        (None, None, "https", "LOCALHOST:1", 443, "https://localhost"),
        # Only the name is believed: neither port nor path of the header get into the address.
        (None, None, "http", "localhost:99/evil", 3000, "http://localhost:3000"),
        (None, None, "http", "localhost#@evil.example", 3000, "http://localhost:3000"),
    ],
)
def test_the_base_url_comes_from_settings_or_from_this_machine(configured, railway, scheme, host, port, expected):
    assert public_base_url(configured, railway, scheme=scheme, host=host, port=port) == expected


@pytest.mark.parametrize(
    "host",
    [
        *("hub.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "[::2]", "[", "a@b"),
        *("localhost@evil.example", "evil.example#localhost", "localhost.", "localhost\\.evil.example", "0", "0.0.0.0"),
        *("[::1%25eth0]", "[::ffff:127.0.0.1]", "::1", "2130706433", "127.1", "localhost,evil.example", "ⓛocalhost"),
    ],
)
def test_the_host_header_of_a_stranger_is_never_believed(host):
    with pytest.raises(BaseUrlUnknown):
        public_base_url(None, None, scheme="https", host=host, port=443)


_PLACES = {
    "externalSync": {
        "type": "openspp-v2-adapter",
        "url": "https://CANARY-url@spp.example",
        "auth": {"CANARY-auth": "CANARY-auth"},
        "adapterConfig": {"any": ["CANARY-adapter"]},
        "extraFields": [{"name": "password", "value": "CANARY-extra"}],
        "fieldMappings": {"a": [{"clientSecret": "CANARY-mapping", "API key": "CANARY-mapping", "to": "b"}]},
        "unknown": {"deep": "CANARY-unknown"},
    },
    "authConfigs": [
        {
            "type": "keycloak",
            "fields": {
                "authority": "https://idp.example",
                "issuer": "https://user:CANARY-issuer@idp.example",
                **{
                    key: f"CANARY-{key}"
                    for key in ("client_secret", "Password", "passwd", "token", "apikey", "anything")
                },
            },
        }
    ],
    "url": "https://u:CANARY-address@sync.example",
    "syncServerUrl": "u:CANARY-address@sync.example",
    "selfService": {
        "enabled": True,
        "authMethods": ["oidc"],
        "allowedForms": [],
        "requireReview": False,
        "oidcConfig": {
            "authority": "https://u:CANARY-oidc@idp.example",
            "redirectUri": "https://CANARY-oidc@app.example",
            "clientId": "c",
            "scope": "openid",
            "entityMapping": {"primaryClaim": "sub", "entityField": "id"},
        },
    },
}


def test_no_place_of_a_config_gets_a_secret_into_what_everybody_can_read():
    """Also of programs from before uploads were looked through: these would not be taken any more."""
    config = {key: value for key, value in _PLACES.items() if key != "externalSync"}
    held = program(external_sync=_PLACES["externalSync"], **config)
    for shown in (artifact_json(held, "https://hub.example").body.decode(), json.dumps(login_screen(held))):
        assert "CANARY" not in shown
    assert json.loads(artifact_json(held, "https://hub.example").body)["syncServerUrl"] == "https://hub.example"
