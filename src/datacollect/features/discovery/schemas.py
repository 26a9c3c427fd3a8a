"""Wire models of discovery."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, RootModel, SecretStr, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import EMPTY_IS_ABSENT, Model, Wire
from datacollect.outgoing import UrlRefused, require_url

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048, strip_whitespace=True)]
# Strict models take no text for a secret by themselves.
Secret = Annotated[SecretStr, Field(min_length=1, max_length=4000, strict=False)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,100}$")]

MOST_NAMES = 500


def _absolute(text: str) -> str:
    try:
        require_url(text)
    except UrlRefused as refused:
        raise ValueError(refused.message) from None
    return text


class Sample(RootModel[dict[str, Any] | list[Any]]):
    """A record as the registry gives it, or an array of them, of which the first is looked at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"firstname": "John", "birthdate": "1990-01-01", "gender_id": {"id": 1, "display_name": "Male"}}
            ]
        }
    )


class OdooConnection(Wire):
    """Where an Odoo is and who reads there. Nothing of it is stored."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://openspp.example.org",
                    "database": "openspp",
                    "username": "datacollect",
                    "password": "<password>",
                    "fields": ["name", "gender"],
                }
            ]
        }
    )

    url: Url
    database: Text
    username: Text
    password: Secret
    model: Name = Field("res.partner", description="The model whose fields are asked for.")
    fields: list[Name] | None = Field(None, max_length=MOST_NAMES, description="Only these; without them all.")
    attributes: list[Name] | None = Field(
        None,
        max_length=50,
        description="What Odoo is to tell of each. `type`, `string`, `required`, `selection` and `relation` are always asked for.",
    )
    relation_options: bool = Field(
        True, description="Whether to look up what can be chosen in relations, where these are at most 100 records."
    )


class SppConnection(Wire):
    """Where an OpenSPP registry is, and as which client to read there. Nothing of it is stored."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {"baseUrl": "https://openspp.example.org", "clientId": "datacollect", "clientSecret": "<secret>"}
            ]
        }
    )

    base_url: Url
    client_id: Text
    client_secret: Secret


def _active_unless_given(value: object) -> object:
    return "active" if value is None or value == "" else value


class ProgramFilter(Wire):
    """Which programs. Null and empty are absent: JavaScript and web forms send either for what was not chosen."""

    status: Annotated[Literal["active", "ended"], BeforeValidator(_active_unless_given)] = "active"
    target_type: Annotated[Literal["individual", "group"] | None, EMPTY_IS_ABSENT] = None
    name: str | None = Field(None, max_length=1000, description="Part of the name; an empty one is none.")


class Discover(Wire):
    """Where an OpenSPP registry is, as which client to read there, and which programs are looked for."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "https://openspp.example.org",
                    "clientId": "datacollect",
                    "clientSecret": "<secret>",
                    "filter": {"status": "active", "targetType": "individual"},
                }
            ]
        }
    )

    url: Annotated[Url, AfterValidator(_absolute)]
    client_id: Text
    client_secret: Secret
    filter: ProgramFilter | None = None


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class OptionOut(_Out):
    """A value that can be chosen."""

    id: int | float | str
    label: str


class FieldOut(_Out):
    """A field of the registry."""

    name: str
    type: Literal["text", "date", "relation", "selection"]
    value_type: Literal["text", "number", "boolean", "date", "datetime", "one", "many", "selection", "other"] = Field(
        description="What the values are, more finely than `type` tells."
    )
    label: str
    required: bool
    options: list[OptionOut] | None = Field(None, description="What can be chosen, where that is known.")


class FieldList(_Out):
    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fields": [
                        {
                            "name": "gender_id",
                            "type": "relation",
                            "valueType": "one",
                            "label": "Gender Id",
                            "required": False,
                            "options": [{"id": 1, "label": "Male"}],
                        }
                    ]
                }
            ]
        }
    )

    fields: list[FieldOut]


class ChoiceOut(_Out):
    """A value that can be chosen."""

    value: str | int | float | bool
    label: str


class StudioFieldOut(_Out):
    """A field that somebody has added to the registry."""

    name: str
    label: str
    type: str
    target_type: Literal["individual", "group", "both"]
    required: bool
    source: Literal["studio"]
    selection_options: list[ChoiceOut] | None = None


class StudioFields(_Out):
    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fields": [
                        {
                            "name": "household_income",
                            "label": "Household income",
                            "type": "float",
                            "targetType": "group",
                            "required": False,
                            "source": "studio",
                        }
                    ],
                    "truncated": False,
                }
            ]
        }
    )

    fields: list[StudioFieldOut]
    truncated: bool = Field(description="Whether the registry has more than were asked for.")


class Connection(_Out):
    """Whether the registry lets the hub in."""

    model_config = _Out.model_config | ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"success": True, "scopes": ["individual:read", "group:read"]}]}
    )

    success: bool
    scopes: list[str] | None = Field(None, description="What the client may do there.")
    error: str | None = Field(None, description="Why not.")
    message: str | None = Field(None, description="The same text as `error`.")
    code: str | None = Field(None, description="Why not, for programs.")
    request_id: str | None = None


class RegistryProgram(_Out):
    """A program of the registry."""

    identifier: str | None = Field(None, description="Its durable key, `system|value`.")
    id: int | None = Field(None, description="Its number there; newer registries hide it.")
    name: str
    code: str | None = None
    state: str
    target_type: str


class RegistryPrograms(_Out):
    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "programs": [
                        {
                            "identifier": "urn:example:program|widow-disability",
                            "id": 3,
                            "name": "Widow Disability Support",
                            "code": "widow-disability",
                            "state": "active",
                            "targetType": "individual",
                        }
                    ],
                    "total": 1,
                    "truncated": False,
                }
            ]
        }
    )

    programs: list[RegistryProgram]
    total: int = Field(description="How many are in this answer.")
    truncated: bool = Field(description="Whether the registry has more; ask by name for fewer.")
