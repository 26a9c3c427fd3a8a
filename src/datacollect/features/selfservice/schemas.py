"""Wire models of citizens' own data."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from datacollect.http.wire import Model, NonEmpty, Wire, examples

_ENTITY: dict[str, Any] = {
    "entity": {
        "guid": "p-001",
        "type": "individual",
        "data": {"name": "Ana", "phone": "+1555"},
        "lastUpdated": "2026-01-01T00:00:00.000Z",
    },
    "availableForms": [{"type": "individual", "label": "Person", "formio": {"components": []}}],
    "language": "en",
}
_SUBMISSION: dict[str, Any] = {
    "id": "0b0f5f3e-6f0e-4a53-8f4e-0a9d4f8a5a11",
    "submissionGuid": "6f1d7a52-0b7e-4c7f-9c35-2f0f6f1f4b77",
    "tenantId": "household-registry",
    "status": "pending",
    "submittedBy": "self-service:+1555",
    "reviewedBy": None,
    "reviewedAt": None,
    "rejectionReason": None,
    "eventType": "update-individual",
    "entityGuid": "p-001",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "data": {"village": "Hoa Binh"},
    "requestedChanges": None,
}
_ACCESS: dict[str, Any] = {
    "at": "2026-01-01T00:00:00.000Z",
    "action": "read-entity",
    "by": {"kind": "staff", "role": "supervisor", "program": "Household registry"},
    "wide": False,
}


OWN_DATA: dict[str, Any] = {
    "type": "object",
    "examples": [
        {
            "format": "datacollect-own-data",
            "version": 1,
            "exportedAt": "2026-01-02T00:00:00.000Z",
            "program": {"id": "household-registry", "name": "Household registry"},
            "entity": _ENTITY["entity"],
            "memberships": [],
            "events": [],
            "eventsAreComplete": True,
            "submissions": [],
            "submissionsAreComplete": True,
            "attachments": [],
        }
    ],
}


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class SubmitRequest(Wire):
    """A form, filled in."""

    model_config = Wire.model_config | ConfigDict(
        json_schema_extra={"examples": [{"formType": "individual", "formData": {"village": "Hoa Binh"}}]}
    )

    form_type: NonEmpty = Field(description="The `type` of one of the `availableForms`.")
    form_data: dict[str, Any] = Field(
        description="What the form holds, as a whole or only what is to change. What comes back as it was shown is no "
        "change."
    )
    submission_guid: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{16,64}$")] | None = Field(
        None,
        description="Chosen by the client, a UUID: the same one sent again is the same submission, whatever became of "
        "the first answer.",
    )
    replaces: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None,
        description="The `id` of a submission of theirs that was rejected or is to be changed: this one takes its place.",
    )


class OwnEntity(_Out):
    """The citizen's record, as far as it is shown."""

    guid: str
    type: Literal["group", "individual", "record"]
    data: dict[str, Any]
    last_updated: str


class AvailableForm(_Out):
    type: str = Field(description="Send it as `formType`.")
    label: str
    formio: dict[str, Any] | None = Field(
        None, description="Form.io definition; absent where the program has no such form."
    )


class OwnEntityAnswer(_Out):
    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_ENTITY]})

    entity: OwnEntity
    available_forms: list[AvailableForm]
    language: str = Field(description="Of the forms: the one of the program's languages that fits best.")


class Submitted(_Out):
    """What became of a submission."""

    model_config = _Out.model_config | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "pending_review",
                    "submissionGuid": _SUBMISSION["submissionGuid"],
                    "reviewId": _SUBMISSION["id"],
                }
            ]
        }
    )

    status: Literal["success", "pending_review"] = Field(description="`success`: the record is changed.")
    submission_guid: str
    review_id: str


class SubmissionView(_Out):
    """Something a citizen has sent."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_SUBMISSION]})

    id: str
    submission_guid: str
    tenant_id: str
    status: Literal["pending", "approved", "rejected", "changes-requested", "withdrawn"]
    submitted_by: str
    reviewed_by: str | None = Field(
        description="`system`, or the reviewer as `accessLog` of the program tells of staff."
    )
    reviewed_at: str | None
    rejection_reason: str | None
    event_type: str
    entity_guid: str
    created_at: str
    data: dict[str, Any] = Field(description="What was sent, as far as it differed from the record.")
    requested_changes: str | None = Field(description="Of `changes-requested`: what somebody wants changed in it.")


class SubmissionList(_Out):
    model_config = examples({"submissions": [_SUBMISSION], "nextCursor": None})

    submissions: list[SubmissionView]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class SubmissionAnswer(_Out):
    model_config = examples({"submission": _SUBMISSION | {"status": "withdrawn"}})

    submission: SubmissionView


class By(_Out):
    """Somebody, as citizens are told of them."""

    kind: Literal["self", "staff", "system"]
    role: str | None = Field(
        None, description="Of staff: their role in the program now, `administrator`, or null for one who has left."
    )
    program: str | None = None
    name: str | None = Field(None, description="Only where the program says so: `selfService.accessLog`.")


class Access(_Out):
    """One look at the record."""

    model_config = _Out.model_config | ConfigDict(json_schema_extra={"examples": [_ACCESS]})

    at: str
    action: str
    by: By
    wide: bool = Field(description="Many records were read at once; this one may have been among them.")


class AccessLog(_Out):
    """Who has looked at the record, the latest first."""

    model_config = examples(
        {
            "isKept": True,
            "note": "These are all who have read it since the program began to note that.",
            "accesses": [_ACCESS],
            "nextCursor": None,
        }
    )

    is_kept: bool = Field(description="Whether the program notes who reads records. If not, nobody can tell.")
    note: str
    accesses: list[Access]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last one.")
