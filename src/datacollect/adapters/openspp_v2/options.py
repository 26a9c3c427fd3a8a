"""The settings of the OpenSPP V2 adapter, with the names that older configs and guides use."""

from typing import Annotated, Any

import msgspec
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, field_validator

from datacollect.adapters.openspp_v2.client import WRITE_SECONDS
from datacollect.adapters.options import HIDDEN, AdapterOptions, at_most

NAMESPACE = "urn:openspp:vocab:id-type#"
CHANGE_REQUEST = "change-request"


def _read_map(value: Any) -> dict[str, str]:
    """An object, or its JSON. What is neither means that nothing is changed: that is how configs in use are read."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return {}
    return {name: code for name, code in value.items() if isinstance(code, str)} if isinstance(value, dict) else {}


class OpenSppV2Options(AdapterOptions):
    client_id: str = Field(title="Client ID", min_length=1, description="Of the API client in OpenSPP.")
    client_secret: SecretStr = Field(title="Client secret", min_length=1)
    batch_size: Annotated[int, at_most(1000)] = Field(50, title="Records per batch", ge=1)
    include_studio_extensions: bool = Field(
        True, title="Studio fields", description="Whether fields added in OpenSPP Studio are read and written."
    )
    batch_delay_ms: Annotated[int, at_most(60_000)] = Field(1000, title="Pause between batches (ms)", ge=0)
    max_retries: Annotated[int, at_most(10)] = Field(2, title="Further tries of a call", ge=0)
    identifier_namespace: str = Field(NAMESPACE, min_length=1, json_schema_extra=HIDDEN)
    identifier_type: str = Field(
        "system_id",
        min_length=1,
        validation_alias=AliasChoices("identifierType", "identifierSystem", "identifier_type"),
        json_schema_extra=HIDDEN,
    )
    group_identifier_type: str | None = Field(
        None,
        validation_alias=AliasChoices("groupIdentifierType", "groupIdentifierSystem", "group_identifier_type"),
        json_schema_extra=HIDDEN,
    )
    write_seconds: float = Field(
        WRITE_SECONDS,
        ge=1,
        le=250,  # a call of an adapter is cut off after five minutes
        json_schema_extra=HIDDEN,
    )
    submit_via: str = Field("direct", json_schema_extra=HIDDEN)
    change_request_type_map: Annotated[dict[str, str], BeforeValidator(_read_map)] = Field(
        default_factory=dict, json_schema_extra=HIDDEN
    )

    @field_validator("include_studio_extensions", mode="before")
    @classmethod
    def _all_but_false(cls, value: Any) -> bool:
        return not (value is False or (isinstance(value, str) and value.strip().lower() == "false"))

    @property
    def uses_change_requests(self) -> bool:
        return self.submit_via == CHANGE_REQUEST
