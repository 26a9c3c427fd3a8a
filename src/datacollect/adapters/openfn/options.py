"""The settings of a way to an OpenFn workflow."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from datacollect.adapters.openfn.items import ALLOWED, KNOWN
from datacollect.adapters.options import AdapterOptions, at_most


class OpenFnOptions(AdapterOptions):
    api_key: SecretStr = Field(min_length=1, title="API key", description="Sent as X-Api-Key with every call.")
    callback_token: SecretStr | None = Field(
        None, title="Callback token", description="Sent as X-Callback-Token when the workflow is asked for changes."
    )
    batch_size: Annotated[int, at_most(1000)] = Field(100, ge=1, title="Batch size", description="Records in one call.")
    event_types: str = Field(
        ", ".join(ALLOWED),
        title="Accepted event types",
        description="What the workflow may send, separated by commas. delete-entity is accepted only if it is named here.",
    )

    @field_validator("event_types")
    @classmethod
    def _known(cls, text: str) -> str:
        if not _split(text) <= set(KNOWN):
            raise ValueError(f"must be out of {', '.join(KNOWN)}")
        return text

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(_split(self.event_types))


def _split(text: str) -> set[str]:
    return {part.strip() for part in text.split(",") if part.strip()}
