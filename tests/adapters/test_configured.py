"""`externalSync` is read in every form that configs in use have, and what is wrong is named without being quoted."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import AliasChoices, Field, SecretStr

from datacollect.adapters.configured import Configured, options_of, read_external_sync
from datacollect.adapters.errors import Misconfigured, UnknownAdapter
from datacollect.adapters.kinds import AdapterKind, Capability
from datacollect.adapters.options import HIDDEN, AdapterOptions, FromJson, filled_in, form_fields
from datacollect.adapters.registry import AdapterRegistry


class Options(AdapterOptions):
    user_name: str = Field(title="User", min_length=1, examples=["ada"], json_schema_extra=filled_in("guest"))
    password: SecretStr
    batch_size: int = Field(50, gt=0, description="Records in a call.")
    is_strict: bool = True
    submit_via: Literal["direct", "change-request"] = "direct"
    namespace: str = Field("urn:x", validation_alias=AliasChoices("namespace", "identifierSystem"))
    types: Annotated[dict[str, str], FromJson] = Field(default_factory=dict, json_schema_extra=HIDDEN)


KIND = AdapterKind(
    name="some-adapter",
    label="Some system",
    version="1.0.0",
    capabilities=frozenset({Capability.PUSH}),
    options=Options,
    create=lambda options, context: None,  # type: ignore[arg-type, return-value]
    aliases=("some",),
)
REGISTRY = AdapterRegistry([KIND])
URL = "https://registry.example.org/api/"
GOOD = {"userName": "ada", "password": "hunter2hunter2"}


def read(**section: Any) -> Configured:
    configured = read_external_sync({"type": "some-adapter", "url": URL, **section}, REGISTRY)
    assert configured
    return configured


def options(**section: Any) -> Options:
    found = read(**section).options
    assert isinstance(found, Options)
    return found


def problems(**section: Any) -> list[str]:
    with pytest.raises(Misconfigured) as raised:
        read(**section)
    return [problem.text for problem in raised.value.problems]


@pytest.mark.parametrize(
    "section",
    [None, {}, {"type": "", "url": ""}, {"type": "some-adapter", "url": ""}, {"type": " ", "url": URL}, {"url": URL}],
)
def test_without_a_type_or_an_address_nothing_is_configured(section: dict[str, Any] | None) -> None:
    assert read_external_sync(section, REGISTRY) is None


def test_options_come_from_the_config_and_then_from_extra_fields() -> None:
    fields = [
        {"name": "userName", "value": "old"},
        {"name": "batchSize", "value": "20"},
        {"name": "isStrict", "value": "false"},
    ]
    found = options(adapterConfig=GOOD, extraFields=fields)
    assert (found.user_name, found.batch_size, found.is_strict) == ("ada", 20, False)
    assert found.base_url == "https://registry.example.org/api"


def test_extra_fields_may_be_an_object() -> None:
    assert options(extraFields={**GOOD, "batchSize": 7}).batch_size == 7
    assert problems(extraFields={}) == ["adapterConfig.userName: is required", "adapterConfig.password: is required"]


def test_an_option_that_was_emptied_does_not_come_back_from_the_older_form() -> None:
    fields = [{"name": "batchSize", "value": "20"}]
    assert options(adapterConfig={**GOOD, "batchSize": ""}, extraFields=fields).batch_size == 50
    assert options(adapterConfig={**GOOD, "batchSize": None}, extraFields=fields).batch_size == 50


@pytest.mark.parametrize(
    ("type_", "given", "taken"),
    [
        ("openspp-v1-adapter", {"batchSize": 5000, "batchDelayMs": "120000", "maxRetries": 30}, (500, 60_000, 10)),
        ("openspp-v2-adapter", {"batchSize": "5000", "batchDelayMs": 120_000, "maxRetries": "30"}, (1000, 60_000, 10)),
        ("openfn-adapter", {"batchSize": 5000}, (1000,)),
        ("mock", {"timeout": 600_000}, (300_000,)),
    ],
)
def test_numbers_beyond_what_the_hub_does_count_as_the_most_it_does(
    type_: str, given: dict[str, Any], taken: tuple[int, ...]
) -> None:
    account = {"database": "d", "username": "u", "password": "p", "clientId": "c", "clientSecret": "s", "apiKey": "k"}
    found = read_external_sync({"type": type_, "url": URL, "adapterConfig": account | given})
    assert found
    told = found.options.model_dump(by_alias=True)
    assert tuple(told[name] for name in given) == taken


def test_an_address_is_taken_as_people_paste_it() -> None:
    section = {"type": "some-adapter", "url": " HTTPS://registry.example.org/ ", "adapterConfig": GOOD}
    found = read_external_sync(section, REGISTRY)
    assert found
    assert found.options.base_url == "HTTPS://registry.example.org"


def test_the_address_is_that_of_the_section() -> None:
    assert options_of({"url": URL, "adapterConfig": {"url": "http://169.254.169.254/"}}) == {"url": URL}


def test_old_names_and_aliases_are_understood() -> None:
    assert options(adapterConfig={**GOOD, "identifierSystem": "urn:old"}).namespace == "urn:old"
    assert read(type="some", adapterConfig=GOOD).kind is KIND
    assert options(adapterConfig={**GOOD, "types": '{"a": "b"}'}).types == {"a": "b"}


def test_what_is_wrong_is_named_and_never_quoted() -> None:
    config = {
        "userName": "ada",
        "password": ["s3cret-s3cret"],
        "batchSize": "many",
        "submitVia": "pigeon",
        "types": "{x",
    }
    found = problems(adapterConfig=config)
    assert [text.partition(":")[0] for text in found] == [
        "adapterConfig.password",
        "adapterConfig.batchSize",
        "adapterConfig.submitVia",
        "adapterConfig.types",
    ]
    for value in ("s3cret", "many", "pigeon", "{x"):
        assert value not in " ".join(found)
    assert problems(url="ftp://files", adapterConfig=GOOD)[0].startswith("url: ")


def test_an_error_names_the_adapter() -> None:
    with pytest.raises(Misconfigured) as raised:
        read()
    assert str(raised.value).startswith(
        "NOT_INITIALIZED: The adapter some-adapter cannot start. adapterConfig.userName"
    )


def test_an_unknown_type_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownAdapter, match=r"type: there is no such adapter; known ones are some-adapter"):
        read(type="other")
    with pytest.raises(UnknownAdapter, match=r"known ones are \(none\)"):
        read_external_sync({"type": "other", "url": URL}, AdapterRegistry())


MAPPING = {
    "formField": "born",
    "opensppField": "birthdate",
    "transformer": {"type": "date", "options": {"inputFormat": "auto"}},
}


@pytest.mark.parametrize(
    "section",
    [
        {"fieldMappings": [MAPPING]},
        {"extraFields": [{"name": "fieldMappings", "value": "[MAPPING]"}]},
        {"extraFields": {"fieldMappings": "[MAPPING]"}},
        {"adapterConfig": {**GOOD, "fieldMappings": "[MAPPING]"}},
        {"fieldMappings": [], "extraFields": {"fieldMappings": [MAPPING]}},
    ],
)
def test_mappings_are_found_wherever_they_are_kept(section: dict[str, Any]) -> None:
    text = msgspec.json.encode([MAPPING]).decode()
    for place in ("adapterConfig", "extraFields"):
        match section.get(place):
            case {"fieldMappings": "[MAPPING]"}:
                section = {**section, place: {**section[place], "fieldMappings": text}}
            case [{"value": "[MAPPING]"}]:
                section = {**section, place: [{"name": "fieldMappings", "value": text}]}
    [mapping] = read(**({"adapterConfig": GOOD} | section)).mappings
    assert (mapping.form_field, mapping.remote_field, mapping.transformer) == ("born", "birthdate", "date")
    assert mapping.options == {"inputFormat": "auto"}


def test_mappings_without_a_transformer_are_text_and_bad_ones_are_named() -> None:
    plain = {"formField": "a", "opensppField": "b"}
    assert read(adapterConfig=GOOD, fieldMappings=[plain]).mappings[0].transformer == "text"
    unfinished = read(adapterConfig=GOOD, fieldMappings=[plain, {"formField": "a", "opensppField": ""}, {}])
    assert len(unfinished.mappings) == 1
    assert [one.path for one in unfinished.left_out] == [
        ("fieldMappings", 1, "opensppField"),
        ("fieldMappings", 2, "formField"),
    ]
    bad = [plain, {"formField": "a"}, "text", {**plain, "transformer": "date"}]
    assert problems(adapterConfig=GOOD, fieldMappings=bad) == [
        "fieldMappings.2: must be an object",
        "fieldMappings.3.transformer: must be an object",
    ]
    assert problems(adapterConfig=GOOD, fieldMappings="[{") == ["fieldMappings: must be an array, or the JSON of one"]


def test_a_form_is_drawn_from_the_options() -> None:
    assert [one.as_json() for one in form_fields(Options)] == [
        {
            "name": "userName",
            "label": "User",
            "type": "text",
            "required": True,
            "placeholder": "ada",
            "default": "guest",
        },
        {"name": "password", "label": "Password", "type": "password", "required": True},
        {
            "name": "batchSize",
            "label": "Batch size",
            "type": "number",
            "required": False,
            "helpText": "Records in a call.",
            "default": 50,
        },
        {
            "name": "isStrict",
            "label": "Is strict",
            "type": "select",
            "required": False,
            "default": "true",
            "options": [{"value": "true", "label": "Yes"}, {"value": "false", "label": "No"}],
        },
        {
            "name": "submitVia",
            "label": "Submit via",
            "type": "select",
            "required": False,
            "default": "direct",
            "options": [
                {"value": "direct", "label": "direct"},
                {"value": "change-request", "label": "change-request"},
            ],
        },
        {"name": "namespace", "label": "Namespace", "type": "text", "required": False, "default": "urn:x"},
    ]


def test_secrets_are_not_shown_by_options_or_errors() -> None:
    found = options(adapterConfig=GOOD)
    assert "hunter2" not in repr(found)
    assert "registry.example.org" not in repr(found)
