"""Wire models of findings."""

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, examples


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class FormFinding(_Out):
    """A value in a stored event that the program's form would not have let pass."""

    event_guid: str
    entity_guid: str = Field(description="The entity the value is of: the event's, or a member's inside it.")
    form: str
    path: list[str | int] = Field(description="Where in the event, from its root.")
    code: str = Field(examples=["FORM_MISMATCH"])
    message: str = Field(description="What is expected there; never what was sent.")
    recorded_at: str


class FindingList(_Out):
    model_config = examples(
        {
            "findings": [
                {
                    "eventGuid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4a01",
                    "entityGuid": "in-lan",
                    "form": "individual",
                    "path": ["data", "phone"],
                    "code": "FORM_MISMATCH",
                    "message": "must be a text",
                    "recordedAt": "2026-11-18T17:02:11.480Z",
                }
            ],
            "nextCursor": None,
        }
    )

    findings: list[FormFinding]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null at the end.")
