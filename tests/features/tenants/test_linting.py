"""What is found in a config: every rule once, and that nothing a config holds breaks the looking."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacollect.features.entities.model import reserved_keys
from datacollect.features.tenants import rules
from datacollect.features.tenants.findings import MOST_OF_A_KIND
from datacollect.features.tenants.form_checks import COUNTED_KEYS, MANAGED_KEYS
from datacollect.features.tenants.linting import inspect, lint
from datacollect.features.tenants.rules import RULES, Severity
from datacollect.kernel.tenancy import CUSTOM_EVENT_TYPES

CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.json"))
TOLD_BY_UPLOADS = {"kept_from_stored", "secrets_removed", "seeds_removed", "seeds_not_seeded", "other_sync_server"}
OF_A_HUB = {"no_way_to_send_codes"}


def form(name: str = "household", *components: Any, **changes: Any) -> dict[str, Any]:
    formio = {"components": list(components)}
    return {"id": f"{name}-id", "name": name, "title": name, "formio": formio} | changes


def field(key: str = "name", type: str = "textfield", **changes: Any) -> dict[str, Any]:
    return {"type": type, "key": key, "input": True} | changes


def config(*forms: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "p1", "name": "Program"} | ({"entityForms": list(forms)} if forms else {}) | changes


def seeds(**groups: Any) -> list[dict[str, Any]]:
    return [{"name": name, "data": items} for name, items in groups.items()]


def item(id: str, parent: str | None = None) -> dict[str, Any]:
    return {"id": id, "name": id.upper()} | ({"parentId": parent} if parent else {})


def provider(type: str = "keycloak", **fields: str) -> dict[str, Any]:
    return {"type": type, "fields": {"authority": "https://idp.example", "client_id": "app"} | fields}


def external(type: str = "mock", **changes: Any) -> dict[str, Any]:
    login = {"clientId": "hub", "clientSecret": "s3cret"}
    return {"type": type, "url": "https://spp.example", "adapterConfig": login} | changes


def service(**changes: Any) -> dict[str, Any]:
    base = {"enabled": True, "authMethods": [], "allowedForms": [], "languages": ["en"], "requireReview": False}
    return base | changes


def issuer(id: str = "did:x", **changes: Any) -> dict[str, Any]:
    return {"issuerId": id, "publicKey": {"es256": "k"}} | changes


def template(id: str = "t", **changes: Any) -> dict[str, Any]:
    return {"id": id, "matchTypes": ["V"], "expectedFormat": "jwt-vc"} | changes


def inji(*templates: Any, issuers: Any = ()) -> dict[str, Any]:
    return {"enabled": True, "trustedIssuers": list(issuers), "credentialTemplates": list(templates)}


TWO = (form(), form("person", dependsOn="household"))
HEADERS = {"headers": [{"key": "Accept", "value": "x"}, {"key": "X-API-Key", "value": "s"}]}

EXAMPLES: list[tuple[str, str, dict[str, Any]]] = [
    ("invalid_config_id", "id", config(id="a b")),
    ("duplicate_form", "entityForms[1].name", config(form(), form(id="other"))),
    ("duplicate_form_id", "entityForms[1].id", config(form(), form("person", id="household-id"))),
    ("unknown_form", "entityForms[0].dependsOn", config(form(dependsOn="x"))),
    ("circular_form", "entityForms[0].dependsOn", config(form("a", dependsOn="b"), form("b", dependsOn="a"))),
    ("circular_form", "entityForms[0].dependsOn", config(form("a", dependsOn="a"))),
    ("duplicate_seed", "entityData[1].data[0].id", config(entityData=seeds(a=[item("1")], b=[item("1")]))),
    ("unknown_parent", "entityData[0].data[0].parentId", config(*TWO, entityData=seeds(person=[item("p", "h")]))),
    (
        "parent_no_group",
        "entityData[0].data[1].parentId",
        config(*TWO, entityData=seeds(person=[item("p"), item("q", "p")])),
    ),
    ("invalid_address", "url", config(url="ftp://x")),
    ("invalid_address", "syncServerUrl", config(syncServerUrl="https://x/?key=1")),
    ("invalid_address", "syncServerUrl", config(syncServerUrl="javascript:alert(1)")),
    ("invalid_address", "externalSync.url", config(externalSync=external(url="spp"))),
    (
        "invalid_address",
        "authConfigs[0].fields.redirect_uri",
        config(authConfigs=[provider(redirect_uri="javascript:alert(1)")]),
    ),
    ("form_id_given", "entityForms[0].id", config({"name": "a", "title": "A", "formio": {}})),
    ("seed_id_given", "entityData[0].data[0].id", config(form(), entityData=seeds(household=[item("")]))),
    ("unknown_key", "roles", config(roles=[])),
    ("unknown_key", "entityForms[0].rolls", config(form(rolls=1))),
    ("ambiguous_form_id", "entityForms[1].id", config(form(), form("person", id="household"))),
    ("untidy_name", "entityForms[0].name", config(form(" a"))),
    ("untidy_name", "entityForms[0].name", config(form("a\u202eb"))),
    ("unknown_name_field", "entityForms[0].nameField", config(form("a", field(), nameField="title"))),
    ("component_without_key", "entityForms[0].formio.components[0]", config(form("a", {"type": "textfield"}))),
    ("duplicate_component", "entityForms[0].formio.components[1].key", config(form("a", field(), field()))),
    (
        "duplicate_component",
        "entityForms[0].formio.components[1].columns[0].components[0].key",
        config(form("a", field(), {"type": "columns", "columns": [{"components": [field()]}]})),
    ),
    ("managed_component", "entityForms[0].formio.components[0].key", config(form("a", field("externalId")))),
    (
        "managed_component",
        "entityForms[0].formio.components[0].rows[0][0].components[0].key",
        config(
            form("a", {"type": "table", "rows": [[{"components": [field("attendance")]}]]}),
            customEventTypes=["record-attendance"],
        ),
    ),
    ("seed_without_form", "entityData[0].name", config(entityData=seeds(area=[item("a")]))),
    (
        "parent_not_seeded",
        "entityData[0].data[0].parentId",
        config(form(), entityData=seeds(household=[item("h", "x")])),
    ),
    (
        "parent_of_other_form",
        "entityData[1].data[0].parentId",
        config(*TWO, form("club"), entityData=seeds(club=[item("c")], person=[item("p", "c")])),
    ),
    ("unknown_allowed_form", "selfService.allowedForms[0]", config(form(), selfService=service(allowedForms=["x"]))),
    ("internal_field", "selfService.fields[1]", config(selfService=service(fields=["name", "address.externalId"]))),
    ("duplicate_area", "syncScope.areaIds[1]", config(syncScope={"areaIds": ["a", "a"]})),
    ("untidy_area", "syncScope.areaIds[0]", config(syncScope={"areaIds": ["a "]})),
    ("unknown_event_type", "customEventTypes[0]", config(customEventTypes=["x"])),
    ("provider_accepts_nothing", "authConfigs[0]", config(authConfigs=[provider(client_id="")])),
    ("duplicate_provider", "authConfigs[1]", config(authConfigs=[provider(), provider()])),
    ("hidden_auth_field", "authConfigs[0].fields.pin", config(authConfigs=[provider(pin="1")])),
    (
        "hidden_mapping_field",
        "externalSync.fieldMappings[0].apiKey",
        config(externalSync=external(fieldMappings=[{"formField": "a", "opensppField": "b", "apiKey": "s"}])),
    ),
    (
        "published_secret",
        "entityForms[0].formio.components[0].data.headers[1]",
        config(form("a", field(data=HEADERS))),
    ),
    ("odd_redirect", "authConfigs[0].fields.redirect_uri", config(authConfigs=[provider(redirect_uri="app/callback")])),
    ("address_without_scheme", "syncServerUrl", config(syncServerUrl="hub.example:8080/base")),
    ("odd_address", "externalSync.url", config(externalSync=external("mock-sync-server", url="queue/7"))),
    ("unknown_adapter", "externalSync.type", config(externalSync=external("ours"))),
    (
        "adapter_option_missing",
        "externalSync.adapterConfig.clientSecret",
        config(externalSync=external(adapterConfig={"clientId": "hub"})),
    ),
    (
        "adapter_cannot_start",
        "externalSync.adapterConfig.clientSecret",
        config(externalSync=external("mock-sync-server", adapterConfig={"clientId": "hub"})),
    ),
    (
        "adapter_cannot_start",
        "externalSync.adapterConfig.timeout",
        config(externalSync=external(extraFields=[{"name": "timeout", "value": "soon"}])),
    ),
    ("adapter_cannot_start", "externalSync.fieldMappings", config(externalSync=external(fieldMappings="[{"))),
    (
        "incomplete_mapping",
        "externalSync.fieldMappings[0].opensppField",
        config(externalSync=external(fieldMappings=[{"formField": "a", "opensppField": ""}])),
    ),
    (
        "unknown_transformer",
        "externalSync.fieldMappings",
        config(
            externalSync=external(
                fieldMappings=[{"formField": "a", "opensppField": "b", "transformer": {"type": "magic"}}]
            )
        ),
    ),
    (
        "duplicate_issuer",
        "claim169.trustedIssuers[1].issuerId",
        config(claim169={"enabled": True, "trustedIssuers": [issuer(), issuer()]}),
    ),
    (
        "issuer_without_key",
        "claim169.trustedIssuers[0].publicKey",
        config(claim169={"enabled": True, "trustedIssuers": [issuer(publicKey={"es256": ""})]}),
    ),
    ("duplicate_template", "inji.credentialTemplates[1].id", config(inji=inji(template(), template()))),
    (
        "unknown_issuer",
        "inji.credentialTemplates[0].allowedIssuers[0]",
        config(inji=inji(template(allowedIssuers=["did:y"]), issuers=[issuer()])),
    ),
    (
        "duplicate_enrolment_program",
        "programs[1].id",
        config(programs=[{"id": 1, "name": "A"}, {"id": 1, "name": "B"}]),
    ),
]


@pytest.mark.parametrize(
    ("code", "place", "document"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_rule_finds_its_example_and_nothing_else(code: str, place: str, document: dict[str, Any]) -> None:
    sent = copy.deepcopy(document)
    [finding] = lint(document)
    assert (finding.code, finding.text.partition(": ")[0]) == (code, place)
    assert (finding.severity, finding.help) == (RULES[code].severity, RULES[code].help)
    assert (inspect(document).document is None) == finding.is_error
    assert document == sent, "what was sent is left as it is"


def test_every_rule_has_an_example() -> None:
    assert {code for code, _, _ in EXAMPLES} == RULES.keys() - TOLD_BY_UPLOADS - OF_A_HUB


def test_what_a_hub_has_no_means_for_is_found_where_it_is_asked_for() -> None:
    section = {"enabled": True, "authMethods": ["otp"], "allowedForms": [], "requireReview": True}
    document = config(selfService=section)
    assert lint(document) == []
    [finding] = lint(document, sends_codes=False)
    assert (finding.code, finding.text.partition(": ")[0]) == ("no_way_to_send_codes", "selfService.authMethods")
    assert lint(config(selfService=section | {"authMethods": ["id"]}), sends_codes=False) == []


def test_codes_of_rules_are_in_one_form_and_say_what_to_do() -> None:
    for code, rule in RULES.items():
        assert code == rule.code == code.lower()
        assert rule.about and rule.help.endswith(".")
    assert {rule.severity for rule in RULES.values()} == set(Severity)
    assert len([name for name in vars(rules) if name.isupper() and name != "RULES"]) == len(RULES)


def test_what_a_form_may_not_write_is_what_the_hub_manages() -> None:
    assert reserved_keys([]) <= MANAGED_KEYS
    assert COUNTED_KEYS.keys() == CUSTOM_EVENT_TYPES
    for name, keys in COUNTED_KEYS.items():
        assert reserved_keys([name]) - reserved_keys([]) == keys


def test_a_circle_is_named_once_and_whole() -> None:
    forms = [form("x", dependsOn="c"), *(form(name, dependsOn=above) for name, above in ("ab", "bc", "ca"))]
    [finding] = lint(config(*forms))
    assert finding.message == "forms depend on each other in a circle: c → a → b → c"
    assert finding.path == ("entityForms", 3, "dependsOn")


def test_two_circles_are_two_findings() -> None:
    found = lint(config(*(form(name, dependsOn=above) for name, above in ("ab", "ba", "cd", "dc"))))
    assert [finding.message.rpartition(": ")[2] for finding in found] == ["a → b → a", "c → d → c"]


def test_ids_that_are_given_do_not_meet_those_that_are_there() -> None:
    nameless = {"title": "T", "formio": {}}
    forms = [
        nameless | {"name": "a"},
        form("b", id="a"),
        form("c", id="a-2"),
        nameless | {"name": "d", "id": None},
        nameless | {"name": "a-3"},
    ]
    document = inspect(config(*forms)).document
    assert document is not None
    assert [each["id"] for each in document["entityForms"]] == ["a-3", "a", "a-2", "d", "a-3-2"]


@pytest.mark.parametrize("wrong", [0, False, [], {}, 7])
def test_an_id_of_another_type_is_not_taken_for_a_missing_one(wrong: Any) -> None:
    assert [finding.code for finding in lint(config(form(id=wrong)))] == ["string_type"]


def test_keys_inside_rows_and_containers_are_on_a_level_of_their_own() -> None:
    rows = field("rows", "datagrid", components=[field(), field("externalId")])
    assert lint(config(form("a", field(), rows, field("box", "container", components=[field()])))) == []


@pytest.mark.parametrize(
    "formio",
    [
        {"components": None},
        {"components": [None, 1, "x", [], {"type": ["x"]}, {"type": "columns", "columns": [None, 1, {}]}]},
        {
            "components": [
                {"type": "table", "rows": [None, [None], {}]},
                {"type": "x", "key": {}, "data": {"headers": 3}},
            ]
        },
        {"components": {"a": 1}, "columns": 7, "rows": "x"},
    ],
)
def test_forms_may_hold_anything(formio: Any) -> None:
    assert {finding.severity for finding in lint(config(form(formio=formio)))} <= {Severity.WARNING}


def test_of_each_kind_the_first_are_told_and_the_others_counted() -> None:
    found = lint(config(**{f"k{i}": 1 for i in range(MOST_OF_A_KIND + 7)}))
    assert len(found) == MOST_OF_A_KIND + 1
    assert (found[-1].code, found[-1].message) == ("unknown_key", "7 more of this kind (unknown_key)")


def test_addresses_that_are_shown_to_everybody_hold_no_credentials() -> None:
    oidc = {
        "authority": "https://u:p@idp.example",
        "redirectUri": "https://u:p@app.example",
        "clientId": "https://u:p@client.example",
        "scope": "https://u:p@scope.example",
        "entityMapping": {"primaryClaim": "a", "entityField": "b"},
    }
    document = config(url="u:p@hub", syncServerUrl="https://u@hub", selfService=service(oidcConfig=oidc))
    places = [finding.text.partition(": ")[0] for finding in lint(document) if finding.is_error]
    oidc_places = [f"selfService.oidcConfig.{name}" for name in ("authority", "clientId", "redirectUri", "scope")]
    assert sorted(places) == [*oidc_places, "syncServerUrl", "url"]


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "https:///x",
        "http://[::1",
        "http://a:99999",
        "http://a b",
        "http://a\\b",
        "//x",
        "/x",
        "\u200bhttps://x",
    ],
)
def test_addresses_that_nothing_is_reached_at_are_refused(address: str) -> None:
    assert [finding.code for finding in lint(config(syncServerUrl=address))] == ["invalid_address"]


@pytest.mark.parametrize(
    "address", ["https://[2001:db8::1]:8443/hub", "http://localhost:3000", "https://ü.example", ""]
)
def test_addresses_of_all_kinds_are_taken(address: str) -> None:
    assert lint(config(url=address, syncServerUrl=address)) == []


@pytest.mark.parametrize("name", ["🏠 Haushalt", "أسرة", "a" * 5000, "7", "__proto__", "null"])
def test_names_in_any_script_are_names(name: str) -> None:
    document = config(form(name), form("child", dependsOn=name), entityData=seeds(**{name: [item("h")]}))
    assert lint(document | {"name": name}) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_published_configs_have_no_errors(path: Path) -> None:
    assert [finding for finding in lint(json.loads(path.read_text())) if finding.is_error] == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_KEYS = (
    "id", "name", "url", "syncServerUrl", "entityForms", "entityData", "externalSync", "authConfigs", "selfService",
    "syncScope", "programs", "claim169", "inji", "customEventTypes", "formValidation", "artifactId",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(_KEYS), _json, max_size=8))
def test_whatever_a_document_holds_is_told(document: dict[str, Any]) -> None:
    inspected = inspect(document)
    assert (inspected.document is None) == bool(inspected.errors)
    for finding in inspected.findings:
        assert finding.help
        assert finding.code in RULES or finding.is_error


@st.composite
def _mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A published config with one of its values replaced by anything."""
    document: Any = json.loads(draw(st.sampled_from(CONFIGS)).read_text())
    node, steps = document, draw(st.integers(1, 7))
    for _ in range(steps):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.booleans()):
            node[key] = draw(_json)
            break
        node = node[key]
    result: dict[str, Any] = document
    return result


@settings(max_examples=300, deadline=None)
@given(_mutants())
def test_published_configs_with_something_else_in_one_place_are_told(document: dict[str, Any]) -> None:
    inspected = inspect(document)
    if inspected.document is not None:
        again = inspect(inspected.document)
        assert again.document == inspected.document, "what is stored is taken again as it is"
