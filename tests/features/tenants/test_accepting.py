"""From an uploaded document to the one that is stored."""

import json
from pathlib import Path

import pytest

from datacollect.adapters.builtin import BUILT_IN
from datacollect.adapters.kinds import AdapterKind
from datacollect.adapters.options import required_names
from datacollect.features.tenants.accepting import accept
from datacollect.features.tenants.errors import InvalidConfig, InvalidConfigId

EXAMPLES = Path(__file__).parents[3] / "examples"


def form(name="household", **changes):
    return {"id": f"{name}-id", "name": name, "title": name.title(), "formio": {"components": []}} | changes


def config(**changes):
    return {"id": "p1", "name": "Program"} | changes


def issues(document):
    with pytest.raises(InvalidConfig) as refused:
        accept(document)
    return refused.value.issues


def test_the_minimal_config_is_enough():
    accepted = accept({"id": "program-a", "name": "Program A"})
    assert accepted.document == {"id": "program-a", "name": "Program A"}
    assert accepted.warnings == []
    assert (accepted.external_sync, accepted.entity_data) == (None, [])


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.name)
def test_what_an_adapter_lacks_is_an_error_by_its_name_and_a_warning_by_an_older_one(kind: AdapterKind) -> None:
    """As docs/reference/adapters.md says."""
    needed = required_names(kind.options) - {"url"}
    found = issues(config(externalSync={"type": kind.name, "url": "https://registry.example"}))
    assert {issue["path"][-1] for issue in found} == needed != set()
    assert {issue["code"] for issue in found} == {"adapter_option_missing"}
    for alias in kind.aliases:
        accepted = accept(config(externalSync={"type": alias, "url": "https://registry.example"}))
        assert accepted.warnings, "and it is stored"


def test_the_full_config_is_kept_as_sent():
    full = config(
        description="Demo",
        version="1.0.0",
        url="https://idp.example",
        syncServerUrl="https://sync.example",
        entityForms=[form(), form("individual", dependsOn="household", nameField="fullName", entityType="individual")],
        entityData=[{"name": "household", "data": [{"id": "hh", "name": "H", "deep": {"any": [1, None, True]}}]}],
        externalSync={
            "type": "mock",
            "url": "http://mock:9999",
            "adapterConfig": {"clientId": "c", "clientSecret": "s", "nested": {"x": None}},
            "extraFields": [{"name": "a", "value": "b"}],
            "fieldMappings": [{"formField": "a", "opensppField": "b"}],
            "anything": {"else": 1},
        },
        authConfigs=[{"type": "keycloak", "fields": {"authority": "https://idp.example/realms/x", "client_id": "a"}}],
        selfService={
            "enabled": True,
            "authMethods": ["otp", "oidc"],
            "allowedForms": ["individual"],
            "languages": ["en"],
            "requireReview": True,
            "oidcConfig": {
                "authority": "https://idp.example",
                "redirectUri": "https://app.example/cb",
                "clientId": "c",
                "scope": "openid",
                "entityMapping": {"primaryClaim": "sub", "entityField": "nationalId"},
            },
        },
        syncScope={"areaIds": ["A1"], "entityTypes": ["individual"], "timeWindow": {"type": "rolling", "days": 90}},
        programs=[{"id": 12, "name": "Cash grant", "code": "CG"}],
        claim169={"enabled": True, "trustedIssuers": [{"issuerId": "did:x", "publicKey": {"ed25519": "z6Mk"}}]},
        inji={
            "enabled": True,
            "trustedIssuers": [{"issuerId": "did:x", "publicKey": {"es256": "k"}}],
            "credentialTemplates": [{"id": "t", "matchTypes": ["V"], "expectedFormat": "sd-jwt"}],
        },
        customEventTypes=["record-attendance"],
        auditReads=True,
    )
    accepted = accept(json.loads(json.dumps(full)))
    assert accepted.document == full
    assert accepted.warnings == []


def test_the_example_program_is_accepted_without_a_warning():
    example = json.loads((EXAMPLES / "household-registry.json").read_text())
    accepted = accept(example)
    assert accepted.warnings == []
    assert accepted.document == example


def test_unknown_keys_are_dropped_and_named():
    accepted = accept(config(roles=[1], entityForms=[form(roles=["x"])], syncScope={"areas": ["A"]}))
    assert "roles" not in accepted.document
    assert "roles" not in accepted.document["entityForms"][0]
    assert accepted.warnings == [
        f"{place}: there is no such key; it is ignored"
        for place in ("roles", "entityForms[0].roles", "syncScope.areas")
    ]


def test_a_custom_event_type_that_does_not_exist_is_named():
    accepted = accept(config(customEventTypes=["record-attendance", "attendance"]))
    assert accepted.document["customEventTypes"] == ["record-attendance", "attendance"]
    [warning] = accepted.warnings
    assert warning.startswith('customEventTypes[1]: there is no event type "attendance"; there are grant-entitlement,')


def test_a_thousand_unknown_keys_do_not_make_a_thousand_warnings():
    accepted = accept(config(**{f"k{i}": 1 for i in range(1000)}))
    assert len(accepted.warnings) == 51
    assert accepted.warnings[-1] == "config: 950 more of this kind (unknown_key)"


def test_a_downloaded_file_can_be_uploaded_again():
    of_the_hub = {"artifactId": "0" * 32, "archivedAt": None, "createdAt": "", "updatedAt": "", "revision": 3}
    accepted = accept(config(entityData=[], **of_the_hub))
    assert accepted.document == config(entityData=[])
    assert accepted.warnings == []


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (None, None),
        ({}, {}),
        ({"type": "", "url": ""}, {"type": "", "url": ""}),
        (
            {"type": "", "url": "", "auth": "", "extraFields": {}},
            {"type": "", "url": "", "auth": "", "extraFields": []},
        ),
        (
            {"type": "openspp-v1-adapter", "extraFields": {"database": "d", "password": "p"}},
            {
                "type": "openspp-v1-adapter",
                "extraFields": [{"name": "database", "value": "d"}, {"name": "password", "value": "p"}],
            },
        ),
    ],
)
def test_the_shapes_of_external_sync_that_clients_send_are_accepted(sent, stored):
    accepted = accept(config(externalSync=sent))
    assert accepted.external_sync == stored
    assert accepted.warnings == []


@pytest.mark.parametrize(
    "section",
    [
        "description",
        "version",
        "url",
        "syncServerUrl",
        "entityForms",
        "entityData",
        "externalSync",
        "authConfigs",
        "selfService",
        "syncScope",
        "programs",
        "claim169",
        "inji",
    ],
)
def test_a_section_may_be_null(section):
    assert accept(config(**{section: None})).document == config()


def test_a_form_without_id_gets_its_name():
    sent = form()
    del sent["id"]
    accepted = accept(config(entityForms=[sent]))
    assert accepted.document["entityForms"][0]["id"] == "household"
    assert accepted.warnings == ['entityForms[0].id: is missing; the form was given the id "household"']
    assert accept(config(entityForms=[form(id="")])).document["entityForms"][0]["id"] == "household"


def test_seeds_as_published_v1_samples_write_them_are_accepted():
    accepted = accept(
        config(
            entityForms=[form("apg", formio={}), form("crop", dependsOn="apg")],
            entityData=[
                {"name": "apg", "data": [{"Name": "Aquatic", "ID": "321", "Village/ID": "288"}]},
                {"name": "crop", "parentId": "321", "data": [{"name": "Tea", "id": "1234"}]},
            ],
        )
    )
    assert accepted.entity_data[0]["data"] == [
        {"Name": "Aquatic", "ID": "321", "Village/ID": "288", "id": "321", "name": "Aquatic"}
    ]
    assert accepted.entity_data[1]["data"] == [{"name": "Tea", "id": "1234", "parentId": "321"}]
    assert accepted.warnings == []


def test_seeds_without_a_form_are_accepted_and_announced():
    accepted = accept(config(entityData=[{"name": "area", "data": [{"id": "area-1", "name": "North"}]}]))
    assert accepted.entity_data == [{"name": "area", "data": [{"id": "area-1", "name": "North"}]}]
    assert accepted.warnings == ['entityData[0].name: there is no form "area"; its items are seeded as individuals']


def test_seeds_with_an_empty_id_get_the_same_one_every_time():
    document = config(entityData=[{"name": "a", "data": [{"id": "", "name": "x"}, {"id": "", "name": "x"}]}])
    first, again = (accept(json.loads(json.dumps(document))).entity_data for _ in range(2))
    ids = [item["id"] for item in first[0]["data"]]
    assert first == again
    assert all(ids) and len(set(ids)) == 2
    other = accept(json.loads(json.dumps(document | {"id": "p2"}))).entity_data
    assert other[0]["data"][0]["id"] not in ids


def test_claim169_defaults_to_off():
    assert accept(config(claim169={})).document["claim169"] == {"enabled": False, "trustedIssuers": []}


def test_empty_optional_keys_are_removed_from_small_sections():
    accepted = accept(
        config(
            programs=[{"id": 1, "name": "A", "code": ""}, {"id": 2, "name": "B", "code": None}],
            claim169={
                "enabled": True,
                "trustedIssuers": [{"issuerId": "i", "publicKey": {"ed25519": None, "es256": "k"}}],
            },
            syncScope={"areaIds": None, "entityTypes": ["group"]},
        )
    )
    assert accepted.document["programs"] == [{"id": 1, "name": "A"}, {"id": 2, "name": "B"}]
    assert accepted.document["claim169"]["trustedIssuers"][0]["publicKey"] == {"es256": "k"}
    assert accepted.document["syncScope"] == {"entityTypes": ["group"]}
    assert accepted.warnings == []


def test_forms_citizens_may_use_are_checked_by_name_and_id():
    service = {"enabled": True, "authMethods": [], "languages": [], "requireReview": False}
    accepted = accept(
        config(entityForms=[form()], selfService=service | {"allowedForms": ["household", "household-id", "x"]})
    )
    assert accepted.warnings == ['selfService.allowedForms[2]: there is no form "x"']


def test_auth_fields_that_devices_will_not_get_are_announced():
    fields = {"authority": "https://idp.example", "client_id": "a", "client_secret": "s", "default_role": "viewer"}
    provider = {"type": "keycloak", "fields": fields}
    accepted = accept(config(authConfigs=[provider]))
    assert accepted.document["authConfigs"] == [provider]
    assert accepted.warnings == ["authConfigs[0].fields.client_secret: is kept secret: devices do not get it"]


@pytest.mark.parametrize(
    ("type_", "fields", "warning"),
    [
        ("keycloak", {}, "without fields.authority no token of this provider is accepted"),
        ("Auth0", {"authority": ""}, "without fields.authority no token of this provider is accepted"),
        ("otp", {}, None),
        ("id", {"issuer": "x"}, None),
        (
            "keycloak",
            {"authority": "https://idp.example"},
            "without fields.audience or fields.client_id no token of this provider is accepted",
        ),
        (
            "our realm",
            {"authority": "https://idp.example", "client_id": "a"},
            '"our realm" cannot stand in front of a token; no token of this provider is accepted',
        ),
        (
            "Bearer",
            {"authority": "https://idp.example", "client_id": "a"},
            '"Bearer" cannot stand in front of a token; no token of this provider is accepted',
        ),
        ("ours", {"authority": "https://idp.example", "audience": "hub"}, None),
    ],
)
def test_a_provider_that_accepts_nothing_is_announced(type_, fields, warning):
    provider = {"type": type_, "fields": fields}
    accepted = accept(config(authConfigs=[provider]))
    assert accepted.document["authConfigs"] == [provider]
    assert accepted.warnings == ([] if warning is None else [f"authConfigs[0]: {warning}"])


def test_providers_at_http_addresses_are_for_hubs_that_allow_them():
    sent = config(authConfigs=[{"type": "x", "fields": {"authority": "http://idp.example", "client_id": "a"}}])
    assert accept(sent).warnings == []
    with pytest.raises(InvalidConfig) as refused:
        accept(sent, https_only=True)
    assert refused.value.issues == [
        {
            "code": "invalid_string",
            "path": ["authConfigs", 0, "fields", "authority"],
            "message": "authConfigs[0].fields.authority: must be an https URL",
        }
    ]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, ["name"]),
        ({"name": None}, ["name"]),
        ({"id": 7}, ["id"]),
        ({"version": 1}, ["version"]),
        ({"entityForms": {}}, ["entityForms"]),
        ({"entityForms": [form(title=None)]}, ["entityForms", 0, "title"]),
        ({"entityForms": [form(formio="x")]}, ["entityForms", 0, "formio"]),
        ({"entityForms": [form(entityType=None)]}, ["entityForms", 0, "entityType"]),
        ({"entityForms": [form(entityType="person")]}, ["entityForms", 0, "entityType"]),
        ({"entityForms": [form(), form()]}, ["entityForms", 1, "name"]),
        ({"entityForms": [form(dependsOn="x")]}, ["entityForms", 0, "dependsOn"]),
        ({"entityForms": [form("a", dependsOn="b"), form("b", dependsOn="a")]}, ["entityForms", 0, "dependsOn"]),
        ({"entityData": [{"name": "a", "data": [{"name": "x"}]}]}, ["entityData", 0, "data", 0, "id"]),
        ({"entityData": [{"name": "a", "data": [{"id": "1"}]}]}, ["entityData", 0, "data", 0, "name"]),
        ({"entityData": [{"name": "a", "data": ["x"]}]}, ["entityData", 0, "data", 0]),
        (
            {"entityData": [{"name": "a", "data": [{"id": "1", "name": "x", "parentId": 7}]}]},
            ["entityData", 0, "data", 0, "parentId"],
        ),
        (
            {"entityData": [{"name": f, "data": [{"id": "1", "name": "x"}]} for f in "ab"]},
            ["entityData", 1, "data", 0, "id"],
        ),
        ({"externalSync": []}, ["externalSync"]),
        ({"externalSync": {"adapterConfig": []}}, ["externalSync", "adapterConfig"]),
        ({"authConfigs": [{"type": "x", "fields": {"a": 1}}]}, ["authConfigs", 0, "fields", "a"]),
        (
            {"authConfigs": [{"type": "x", "fields": {"authority": "idp.example"}}]},
            ["authConfigs", 0, "fields", "authority"],
        ),
        (
            {"authConfigs": [{"type": "x", "fields": {"default_role": "program-admin"}}]},
            ["authConfigs", 0, "fields", "default_role"],
        ),
        ({"authConfigs": [{"type": "x", "fields": {"userinfo": "yes"}}]}, ["authConfigs", 0, "fields", "userinfo"]),
        ({"selfService": {}}, ["selfService", "enabled"]),
        ({"syncScope": {"areaIds": []}}, ["syncScope", "areaIds"]),
        ({"syncScope": {"areaIds": [""]}}, ["syncScope", "areaIds", 0]),
        ({"syncScope": {"entityTypes": ["record"]}}, ["syncScope", "entityTypes", 0]),
        ({"syncScope": {"timeWindow": {"type": "rolling", "days": 0}}}, ["syncScope", "timeWindow", "days"]),
        (
            {"syncScope": {"timeWindow": {"type": "fixed", "floor": "yesterday"}}},
            ["syncScope", "timeWindow", "floor"],
        ),
        ({"programs": [{"id": "1", "name": "A"}]}, ["programs", 0, "id"]),
        ({"claim169": {"enabled": "true"}}, ["claim169", "enabled"]),
        (
            {
                "inji": {
                    "enabled": True,
                    "trustedIssuers": [],
                    "credentialTemplates": [{"id": "t", "matchTypes": [], "expectedFormat": "json-ld"}],
                }
            },
            ["inji", "credentialTemplates", 0, "expectedFormat"],
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_place(change, path):
    issue = issues(config(**change))[0]
    assert issue["path"] == path
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    assert issue["message"].startswith(f"{text}: ")


@pytest.mark.parametrize("document", [None, [], "x", 7])
def test_a_document_that_is_no_object_is_refused(document):
    assert issues(document)[0]["path"] == []


def test_every_issue_is_reported_and_no_value_is_repeated():
    found = issues({"id": 1, "name": 2, "authConfigs": [{"type": "x", "fields": {"client_secret": ["hush-hush"]}}]})
    assert len(found) == 3
    assert "hush-hush" not in json.dumps(found)


@pytest.mark.parametrize("id_", ["", "bad id", "-x", "ü", "a/b", "a.b"])
def test_an_id_of_another_form_is_refused(id_):
    with pytest.raises(InvalidConfigId):
        accept(config(id=id_))
