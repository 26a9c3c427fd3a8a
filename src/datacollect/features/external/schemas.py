"""Wire models of external synchronisation."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.features.external.model import Run
from datacollect.features.external.service import Lost, Tested
from datacollect.http.wire import Model, NonEmpty, Wire, examples
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import TenantScope

_JOB_ID = "1f0c8e14-3f0d-4a39-9a5b-7b1c6d2f9e10"
_CODE = "PUSH_FAILED"
_ERROR = {
    "entityGuid": "p-9",
    "code": _CODE,
    "message": "POST /v1/persons: it does not accept what was sent",
    "retryable": False,
}
_JOB = {
    "id": 42,
    "jobId": _JOB_ID,
    "configId": "household-registry",
    "status": "partial",
    "phase": "completed",
    "adapter": "mock",
    "pushed": 17,
    "pulled": 3,
    "failed": 1,
    "skipped": 2,
    "durationMs": 5120,
    "errors": [_ERROR],
    "errorMessage": None,
    "triggeredBy": "admin@example.org",
    "retryOf": None,
    "createdAt": "2026-11-20T08:00:00.000Z",
    "startedAt": "2026-11-20T08:00:00.050Z",
    "updatedAt": "2026-11-20T08:00:05.170Z",
    "completedAt": "2026-11-20T08:00:05.170Z",
}
_LOST = {
    "direction": "push",
    "entityGuid": "p-9",
    "externalId": None,
    "code": _CODE,
    "message": "POST /v1/persons: it does not accept what was sent",
    "tries": 2,
    "willRetry": False,
    "run": 42,
    "updatedAt": "2026-11-20T08:00:05.170Z",
}


class Credentials(Wire):
    username: NonEmpty
    password: NonEmpty


class StartSync(Wire):
    """May be left out: then it is about the default program."""

    model_config = examples({"configId": "household-registry"})

    config_id: str | None = Field(None, description="The program; may be in the query instead.")
    credentials: Credentials | None = Field(
        None,
        description="Taken for the sake of older clients and dropped at once: adapters sign in with what the program's "
        "config says.",
    )


class _Out(Model):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def _example(example: Any) -> ConfigDict:
    return _Out.model_config | ConfigDict(json_schema_extra={"examples": [example]})


class SyncError(_Out):
    """Something that did not work."""

    model_config = _example(_ERROR)

    entity_guid: str | None = Field(
        None,
        description="Left out where it is about no single entity, and for who is limited to a part of the program.",
    )
    code: str
    message: str
    retryable: bool | None = Field(None, description="Whether the next run tries it again by itself.")
    cause: str | None = Field(None, description="Beside `SYNC_ERROR`: the code of what stopped the run.")


class SyncJob(_Out):
    """A run of an external synchronisation."""

    model_config = _example(_JOB)

    id: int = Field(description="Counts the program's runs.")
    job_id: str
    config_id: str
    status: Literal["pending", "success", "partial", "failed"] = Field(description="`pending` until the end.")
    phase: Literal["pending", "pushing", "pulling", "completed", "failed", "cancelled"]
    adapter: str | None = Field(description="Null until the run has begun.")
    pushed: int = Field(description="Entities that have arrived in the other system so far.")
    pulled: int = Field(description="Entities that its records have changed here so far.")
    failed: int
    skipped: int
    duration_ms: int = Field(description="0 until the end.")
    errors: list[SyncError] | None = Field(
        description="The first hundred; null when there are none. `…/errors` lists all records that did not arrive."
    )
    error_message: str | None = Field(description="Why it could not go on; null if it came to its end.")
    triggered_by: str
    retry_of: str | None = Field(description="The `jobId` of the run that this one repeats.")
    created_at: str
    started_at: str | None
    updated_at: str | None
    completed_at: str | None


class SyncStatus(_Out):
    """How it stands with a program's exchange."""

    model_config = _example({"isSyncing": False, "lastEvent": _JOB, "activeJob": None})

    is_syncing: bool = Field(description="Whether a run waits or is under way, in whichever process.")
    last_event: SyncJob | None = Field(description="The latest run, whatever its state.")
    active_job: SyncJob | None


class SyncEvents(_Out):
    """Runs, the latest first."""

    model_config = _example({"events": [_JOB], "nextCursor": None})

    events: list[SyncJob]
    next_cursor: str | None = Field(description="Pass it as `cursor` for older ones; null if there are none.")


class Started(_Out):
    """A run has been put in line."""

    model_config = _example({"jobId": _JOB_ID, "status": "pending"})

    job_id: str
    status: Literal["pending"] = "pending"


class Cancelling(_Out):
    """The run ends with the batch that is under way."""

    model_config = _example({"status": "cancelling"})

    status: Literal["cancelling"] = "cancelling"


class LostRecord(_Out):
    """A record that is not where it should be."""

    model_config = _example(_LOST)

    direction: Literal["push", "pull"] = Field(description="`push`: not in the other system. `pull`: not here.")
    entity_guid: str | None
    external_id: str | None = Field(description="Of `pull`: the record's key in the other system.")
    code: str
    message: str
    tries: int
    will_retry: bool = Field(description="Whether the next run tries it again by itself.")
    run: int = Field(description="The `id` of the run that met it last.")
    updated_at: str


class LostRecords(_Out):
    model_config = _example({"records": [_LOST], "nextCursor": None})

    records: list[LostRecord]
    next_cursor: str | None = Field(description="Pass it as `cursor` for more; null if there are none.")


class Retried(_Out):
    """What the next run tries once more."""

    model_config = _example({"status": "success", "records": 12})

    status: Literal["success"] = "success"
    records: int = Field(description="How many records it would not have tried again by itself.")


class ConnectionTest(_Out):
    """Whether the other system would take and give."""

    model_config = _example({"healthy": True, "adapter": "mock", "latencyMs": 41.7, "code": None, "message": None})

    healthy: bool
    adapter: str | None = Field(description="Null if the program names none that can be used.")
    latency_ms: float | None
    code: str | None = Field(description="Why not: `NOT_CONFIGURED`, `NOT_INITIALIZED`, `SECRETS_LOCKED`, `UNHEALTHY`.")
    message: str | None


class AdapterKinds(_Out):
    """The kinds of adapters of this hub."""

    model_config = _example(
        {
            "adapters": [
                {
                    "type": "mock",
                    "label": "Mock registry",
                    "version": "2.0.0",
                    "aliases": ["mock-sync-server"],
                    "capabilities": ["pull", "push"],
                    "fields": [{"name": "clientId", "label": "Client ID", "type": "text", "required": True}],
                    "configSchema": {"type": "object"},
                }
            ]
        }
    )

    adapters: list[dict[str, Any]] = Field(
        description="Each with the fields of a form for its settings, and the JSON Schema of them."
    )


# -- from values to the wire


def job_of(run: Run, scope: TenantScope) -> dict[str, Any]:
    run = run.naming_nobody() if scope.reach.is_bounded else run
    return {
        "id": run.id,
        "jobId": run.job_id,
        "configId": run.tenant_id,
        "status": run.status.value,
        "phase": run.phase.value,
        "adapter": run.adapter,
        "pushed": run.pushed,
        "pulled": run.pulled,
        "failed": run.failed,
        "skipped": run.skipped,
        "durationMs": run.duration_ms,
        "errors": [error.to_wire() for error in run.errors] or None,
        "errorMessage": run.error_message,
        "triggeredBy": run.triggered_by,
        "retryOf": run.retry_of,
        "createdAt": format_timestamp(run.created_at),
        "startedAt": _time(run.started_at),
        "updatedAt": format_timestamp(run.updated_at),
        "completedAt": None if run.phase.is_active else format_timestamp(run.updated_at),
    }


def lost_of(lost: Lost) -> dict[str, Any]:
    return {
        "direction": lost.direction,
        "entityGuid": lost.guid,
        "externalId": lost.external_id,
        "code": lost.code,
        "message": lost.message,
        "tries": lost.tries,
        "willRetry": lost.is_due,
        "run": lost.run_id,
        "updatedAt": format_timestamp(lost.updated_at),
    }


def test_of(tested: Tested) -> dict[str, Any]:
    return {
        "healthy": tested.is_healthy,
        "adapter": tested.adapter,
        "latencyMs": tested.latency_ms,
        "code": tested.code,
        "message": tested.message,
    }


def _time(instant: Millis | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
