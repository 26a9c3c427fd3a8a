"""The settings of the adapter."""

from typing import Annotated

from pydantic import Field, SecretStr

from datacollect.adapters.options import HIDDEN, AdapterOptions, at_most, filled_in

SCHEME = "urn:mock:vocab:id-type"
SYSTEM_ID = "system_id"


class MockOptions(AdapterOptions):
    client_id: str = Field(title="Client ID", min_length=1, json_schema_extra=filled_in("mock-client"))
    client_secret: SecretStr = Field(title="Client secret", min_length=1)
    identifier_scheme: str = Field(
        SCHEME,
        title="Identifier scheme",
        min_length=1,
        description="Where identifiers belong that name no scheme, ours among them.",
    )
    identifier_type: str = Field(
        SYSTEM_ID, title="Identifier type", min_length=1, description="Under which the registry keeps our records' ids."
    )
    timeout: Annotated[int, at_most(300_000)] = Field(30_000, title="Timeout (ms)", gt=0, json_schema_extra=HIDDEN)
    """Milliseconds."""
