"""Wire models: the small edits, and the answers. Source: the contract's programs, 3 and 8."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from datacollect.features.tenants.config_schemas import (
    EXAMPLE_CLAIM169,
    EXAMPLE_INJI,
    EXAMPLE_PROGRAM,
    MOST_ENTRIES,
    Claim169,
    EnrolmentProgram,
    Inji,
    ProgramConfig,
)
from datacollect.http.wire import Model, SyncScope, Wire, examples

_ARTIFACT = "f134ddcc311dd73a871084f675bf4026"
_LINE: dict[str, Any] = {
    "id": "household-registry",
    "artifactId": _ARTIFACT,
    "name": "Household registry",
    "version": "1.0.0",
    "description": "Households and the people who live in them.",
    "externalSync": {},
    "entitiesCount": 3,
    "archivedAt": None,
    "status": "running",
}
_META = {
    "total": 1,
    "page": 1,
    "pageSize": 20,
    "totalPages": 1,
    "sortBy": "createdAt",
    "sortOrder": "desc",
    "search": "",
}

ONBOARDING_FILE: dict[str, Any] = {
    "type": "object",
    "description": "The config without secrets and seeds, with where to sync.",
    "examples": [
        {
            "id": "household-registry",
            "name": "Household registry",
            "version": "1.0.0",
            "syncServerUrl": "https://hub.example.org",
            "entityForms": EXAMPLE_PROGRAM["entityForms"],
        }
    ],
}


class SyncScopePatch(Wire):
    model_config = examples(
        {"syncScope": {"areaIds": ["cedar-bay"], "entityTypes": ["group", "individual"]}}, {"syncScope": None}
    )

    sync_scope: SyncScope | None


class ProgramsPatch(Wire):
    model_config = examples({"programs": [{"id": 3, "name": "Widow Disability Support", "code": "widow-disability"}]})

    programs: list[EnrolmentProgram] | None = Field(max_length=MOST_ENTRIES)


class Claim169Patch(Wire):
    model_config = examples({"claim169": EXAMPLE_CLAIM169})

    claim169: Claim169 | None


class InjiPatch(Wire):
    model_config = examples({"inji": EXAMPLE_INJI})

    inji: Inji | None


class SeedingProgress(Model):
    """Seed records, all and those that are done with."""

    total: int
    done: int


class SeedRejection(Wire):
    type: str
    entity_guid: str
    message: str


class SeedingOut(Wire):
    """What became of the seed records that were uploaded last."""

    state: Literal["running", "paused", "failed", "done"] = Field(
        description="`paused`: the program is archived, restore it. `failed`: given up, upload the config again."
    )
    total: int
    done: int = Field(description="The sum of the four below.")
    added: int
    existing: int = Field(description="Seeded before.")
    changed: int = Field(description="Seeded before with other content, which stays.")
    rejected: int
    rejections: list[SeedRejection] | None = Field(
        None, description="The first 20 of them; only for those who may see seed data."
    )
    error: str | None = Field(None, description="The code of what it failed with.")
    started_at: str
    finished_at: str | None


class Saved(Model):
    """The program is stored. `warnings` is present when there is something to know."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True) | examples(
        {"status": "success", "artifactId": _ARTIFACT}
    )

    status: Literal["success"] = "success"
    artifact_id: str
    seeding: SeedingProgress | None = Field(None, description="Present when seed records are still to come.")
    warnings: list[str] | None = None


class ProgramReply(Model):
    model_config = examples({"status": "success"})

    status: Literal["success"] = "success"


class ProgramLine(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    id: str
    artifact_id: str
    name: str
    version: str
    description: str
    external_sync: dict[str, Any]
    entities_count: int | None = Field(
        description="Null for who is limited to a part of the program: `GET /api/entities/count` counts what is theirs."
    )
    archived_at: str | None
    status: Literal["running", "archived"] = Field(description="Whether devices sync with it.")
    seeding: SeedingProgress | None = Field(
        None, description="Present when seed records are still to come.", exclude_if=lambda value: value is None
    )


class ListMeta(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    total: int
    page: int
    page_size: int
    total_pages: int
    sort_by: str
    sort_order: Literal["asc", "desc"]
    search: str


class ProgramList(Model):
    model_config = examples({"data": [_LINE], "meta": _META})

    data: list[ProgramLine]
    meta: ListMeta


class _Patched(Model):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    status: Literal["success"] = "success"
    warnings: list[str] | None = Field(None, description="Present when there is something to know.")


class SyncScopePatched(_Patched):
    model_config = examples(
        {"status": "success", "syncScope": {"areaIds": ["cedar-bay"], "entityTypes": ["group", "individual"]}}
    )

    sync_scope: dict[str, Any] | None


class ProgramsPatched(_Patched):
    model_config = examples(
        {"status": "success", "programs": [{"id": 3, "name": "Widow Disability Support", "code": "widow-disability"}]}
    )

    programs: list[dict[str, Any]]


class Claim169Patched(_Patched):
    model_config = examples({"status": "success", "claim169": EXAMPLE_CLAIM169})

    claim169: dict[str, Any] | None


class InjiPatched(_Patched):
    model_config = examples({"status": "success", "inji": EXAMPLE_INJI})

    inji: dict[str, Any] | None


class ProgramOut(ProgramConfig):
    """A stored program. Sections without a value are null or, if optional, absent."""

    model_config = examples(
        EXAMPLE_PROGRAM
        | {
            "artifactId": _ARTIFACT,
            "archivedAt": None,
            "createdAt": "2026-11-02T07:12:09.120Z",
            "updatedAt": "2026-11-16T08:30:00.000Z",
            "revision": 3,
            "status": "running",
            "syncServerUrl": None,
        }
    )

    artifact_id: str
    archived_at: str | None
    created_at: str
    updated_at: str
    revision: int = Field(description="Goes up with every change; the ETag.")
    status: Literal["running", "archived"] = Field(description="Whether devices sync with it.")
    seeding: SeedingOut | None = Field(None, description="Absent if the program was never uploaded with seed data.")
    locked_secrets: list[str] | None = Field(
        None, description="Sections whose secrets no key of this hub opens (see `SECRETS_KEY`); masks stand for them."
    )


class LoginOidc(Wire):
    authority: str
    client_id: str
    redirect_uri: str
    scope: str
    acr_values: str | None = None


class LoginSelfService(Wire):
    enabled: bool
    auth_methods: list[str]
    languages: list[str]
    oidc_config: LoginOidc | None = None


class ProgramLoginProvider(Wire):
    type: str


class ProgramLogin(Wire):
    """What a login screen needs."""

    model_config = examples(
        {
            "name": "Household registry",
            "selfService": {"enabled": True, "authMethods": ["otp", "id"], "languages": ["en"]},
            "authConfigs": [{"type": "keycloak"}],
        }
    )

    name: str
    description: str | None = None
    self_service: LoginSelfService | None = None
    auth_configs: list[ProgramLoginProvider] | None = None
