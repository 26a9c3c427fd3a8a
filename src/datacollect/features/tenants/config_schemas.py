"""Wire models of a program's config, as it is uploaded and given out. Source: the contract's programs, 3."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from datacollect.features.tenants import addresses
from datacollect.features.tenants.published import MASK, is_published_auth_field
from datacollect.http.wire import Model, NonEmpty, SyncScope, Wire, examples
from datacollect.kernel.client_assertions import LONGEST_KEY
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.filetypes import FILE_TYPES, HIGHEST_PER_ENTITY, MOST_FILE_BYTES, MOST_PER_ENTITY

MOST_FORMS = 2000
MOST_ENTRIES = 1000
"""Of most other lists; seeds have no limit of their own. A file of 10 MB has room for five million wrong entries, and to
tell of them takes gigabytes: the schema stops at a list that is too long."""
MOST_SMALL = 100
"""Of lists that stand in other lists, of providers and their fields, of languages."""


_PUBLISHED = "must not hold a user name or password: it is published"

_SHORTEST_SECRET = 16
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


def _without_credentials(text: str) -> str:
    """Of what everybody can read in the onboarding file."""
    if addresses.holds_credentials(text):
        raise ValueError(_PUBLISHED)
    return text


def _web_address(text: str) -> str:
    if problem := addresses.web_address_problem(text):
        raise ValueError(problem)
    return _without_credentials(text)


WebAddress = Annotated[str, AfterValidator(_web_address)]


def _redirect(text: str) -> str:
    if problem := addresses.redirect_problem(text):
        raise ValueError(problem)
    if not addresses.is_absolute(text):
        raise ValueError("must be an absolute URL")
    return _without_credentials(text)


Redirect = Annotated[str, AfterValidator(_redirect)]
"""Where a provider sends people: a page, or an app by a scheme of its own."""

PublishedText = Annotated[NonEmpty, AfterValidator(_without_credentials)]
"""What a provider is sent, such as the name of a client, which may be an address."""


def _base_without_credentials(text: str) -> str:
    if addresses.base_holds_credentials(text):
        raise ValueError(_PUBLISHED)
    return text


PublishedAddress = Annotated[str, AfterValidator(_base_without_credentials)]


EXAMPLE_CLAIM169: dict[str, Any] = {
    "enabled": True,
    "trustedIssuers": [
        {
            "issuerId": "https://issuer.example.org",
            "publicKey": {"ed25519": "MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        }
    ],
}
EXAMPLE_INJI: dict[str, Any] = {
    "enabled": True,
    "trustedIssuers": [
        {
            "issuerId": "did:web:issuer.example.org",
            "publicKey": {"ed25519": "MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            "kid": "key-1",
        }
    ],
    "credentialTemplates": [
        {"id": "farmer", "matchTypes": ["FarmerCredential"], "expectedFormat": "jwt-vc", "claimLabel": "Farmer"}
    ],
}
EXAMPLE_PROGRAM: dict[str, Any] = {
    "id": "household-registry",
    "name": "Household registry",
    "description": "Households and the people who live in them.",
    "version": "1.0.0",
    "entityForms": [
        {
            "id": "household",
            "name": "household",
            "title": "Household",
            "nameField": "name",
            "formio": {"components": [{"type": "textfield", "key": "name", "label": "Name", "input": True}]},
        },
        {
            "id": "individual",
            "name": "individual",
            "title": "Person",
            "dependsOn": "household",
            "nameField": "name",
            "formio": {
                "components": [
                    {"type": "textfield", "key": "name", "label": "Name", "input": True},
                    {"type": "textfield", "key": "village", "label": "Village", "input": True},
                    {"type": "phoneNumber", "key": "phone", "label": "Phone", "input": True},
                    {"type": "textfield", "key": "nationalId", "label": "National ID", "input": True},
                    {"type": "datetime", "key": "dateOfBirth", "label": "Date of birth", "input": True},
                ]
            },
        },
    ],
    "entityData": [
        {"name": "household", "data": [{"id": "hh-001", "name": "Rivera household"}]},
        {
            "name": "individual",
            "parentId": "hh-001",
            "data": [
                {
                    "id": "p-001",
                    "name": "Ana Rivera",
                    "phone": "+49151123456",
                    "nationalId": "N-1990-0042",
                    "dateOfBirth": "1990-04-02",
                },
                {"id": "p-002", "name": "Inés Rivera"},
            ],
        },
    ],
    "selfService": {
        "enabled": True,
        "authMethods": ["otp", "id"],
        "allowedForms": ["individual"],
        "languages": ["en"],
        "requireReview": True,
    },
}


class EntityForm(Wire):
    """One form of a program; forms that depend on another stand below it."""

    id: str = Field(description="The hub gives one, the name, if it is missing.")
    name: NonEmpty
    title: str
    formio: dict[str, Any] = Field(description="Form.io definition; its content is the clients' business.")
    depends_on: str | None = Field(None, description="Name of the parent form; empty for none.")
    # No None: the contract allows it to be left out, not to be null.
    entity_type: Literal["group", "individual", "record"] = Field(
        default=None,  # type: ignore[arg-type]
        description="Overrides the kind that follows from the hierarchy.",
    )
    name_field: str | None = Field(None, description="Key of the data that holds the display name.")
    version: Any = Field(None, description="Kept for the form builder.")


class SeedData(Wire):
    """Entities a program starts with, of one form."""

    name: str = Field(description="The form's name.")
    parent_id: str | None = Field(None, description="Parent of those items that name none.")
    # As many as the file has room for, so it stops at the first that is no object.
    data: list[dict[str, Any]] = Field(
        fail_fast=True, description="Items with `id`, `name`, optionally `parentId`, and anything else."
    )


class ExtraField(Wire):
    name: str
    value: Any


class ExternalSync(Model):
    """How the program is bridged to an external system. A free object; an empty `type` means that it is not."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="allow", validate_by_name=False)

    type: str | None = None
    url: str | None = None
    auth: Any = None
    adapter_config: dict[str, Any] | None = None
    extra_fields: list[ExtraField] | None = Field(None, max_length=MOST_ENTRIES)
    field_mappings: Any = None


def _not_too_many(fields: Any) -> Any:
    if isinstance(fields, dict) and len(fields) > MOST_SMALL:
        raise PydanticCustomError(IssueCode.TOO_LONG.value, f"Input should have at most {MOST_SMALL} members")
    return fields


class AuthConfig(Wire):
    """An identity provider whose users may sign in."""

    type: str = Field(description="The word that apps put in front of its tokens.")
    fields: Annotated[dict[str, str], BeforeValidator(_not_too_many)] = Field(
        description="`authority`, `client_id` and what else apps need; for the hub also `audience`, `issuer`, "
        "`organization`, `default_role`, `default_area`, `userinfo`."
    )

    @field_validator("fields")
    @classmethod
    def _published_fields_hold_no_credentials(cls, fields: dict[str, str]) -> dict[str, str]:
        for key, value in fields.items():
            if is_published_auth_field(key):
                _without_credentials(value)
        return fields


class EntityMapping(Wire):
    primary_claim: NonEmpty
    entity_field: NonEmpty
    fallback_claim: str | None = None
    fallback_field: str | None = None


class OidcConfig(Wire):
    authority: WebAddress
    redirect_uri: Redirect
    client_id: PublishedText
    scope: PublishedText
    acr_values: str | None = None
    entity_mapping: EntityMapping
    require_nonce: bool | None = Field(
        None, description="Whether only ID tokens count that were asked for with a nonce of the hub's."
    )
    private_key: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_KEY,
        description="The client's private RSA key, as PEM or as the text of a JWK: with it the hub redeems authorisation "
        "codes (`private_key_jwt`, as eSignet asks for). Sealed, shown to administrators only.",
    )
    userinfo: bool | None = Field(
        None, description="Whether the claims of `entityMapping` are what the provider's userinfo endpoint says."
    )


MessageText = Annotated[str, Field(min_length=1, max_length=480)]


def _holds_the_code(text: str) -> str:
    if "{code}" not in text:
        raise ValueError("must have a gap for the code: {code}")
    return text


def _is_language(tag: str) -> str:
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError("must be a language tag, such as `fr` or `pt-BR`")
    return tag


Language = Annotated[str, AfterValidator(_is_language)]
Words = Annotated[dict[Language, MessageText], BeforeValidator(_not_too_many)]


class MessageTexts(Wire):
    """What messages say in the program's own words, by language. `{program}` stands for the program's name."""

    otp: Annotated[
        dict[Language, Annotated[MessageText, AfterValidator(_holds_the_code)]] | None, BeforeValidator(_not_too_many)
    ] = Field(None, description="With the code. Has to have `{code}`, may have `{minutes}`.")
    review_decided: Words | None = Field(None, description="There is news about a request.")
    review_due: Words | None = Field(None, description="Reviews are due.")
    review_waiting: Words | None = Field(None, description="Requests wait for review.")


class SelfService(Wire):
    """What citizens may do with their own record."""

    enabled: bool
    auth_methods: list[Literal["otp", "id", "qr", "oidc"]] = Field(max_length=MOST_SMALL)
    allowed_forms: list[str] = Field(max_length=2 * MOST_FORMS)
    languages: list[str] | None = Field(None, max_length=MOST_SMALL, description='Taken as `["en"]` when absent.')
    require_review: bool
    fields: list[NonEmpty] | None = Field(
        None,
        max_length=MOST_ENTRIES,
        description="What is shown of a record, as keys of its data; dots lead into objects. Without it, what the "
        "record's own form and the allowed forms ask for, and `name`, `phone` and `email`.",
    )
    access_log: Literal["roles", "names"] | None = Field(
        None, description="Whether citizens are told who of the staff has read their record, or (`roles`) only as what."
    )
    messages_per_day: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="Text messages and mails that the hub may send for the program in a day (UTC). Without it, "
        "`MESSAGES_PER_DAY`.",
    )
    message_texts: MessageTexts | None = Field(
        None, description="What messages say, where it is not to be what the hub says."
    )
    oidc_config: OidcConfig | None = None


class EnrolmentProgram(Wire):
    id: int
    name: NonEmpty
    code: str | None = None


class PublicKey(Wire):
    ed25519: str | None = None
    es256: str | None = None


class ClaimIssuer(Wire):
    issuer_id: NonEmpty
    public_key: PublicKey


class Claim169(Wire):
    enabled: bool
    trusted_issuers: list[ClaimIssuer] = Field(max_length=MOST_ENTRIES)


class UploadedClaim169(Claim169):
    enabled: bool = False
    trusted_issuers: list[ClaimIssuer] = Field(default_factory=list, max_length=MOST_ENTRIES)


class CredentialIssuer(ClaimIssuer):
    kid: str | None = None


class CredentialTemplate(Wire):
    id: NonEmpty
    match_types: list[str] = Field(max_length=MOST_SMALL)
    expected_format: Literal["jwt-vc", "sd-jwt"]
    allowed_issuers: list[str] | None = Field(None, max_length=MOST_SMALL)
    claim_label: str | None = None


class Inji(Wire):
    enabled: bool
    trusted_issuers: list[CredentialIssuer] = Field(max_length=MOST_ENTRIES)
    credential_templates: list[CredentialTemplate] = Field(max_length=MOST_SMALL)


def _as_given(value: Any) -> Any:
    return value


def _validation(value: Any) -> Any:
    """To the literals below, 1 and `true` are one value, and a refusal would name Python's `True`."""
    if value is not None and not isinstance(value, bool) and value not in ("off", "warn", "reject"):
        raise PydanticCustomError(IssueCode.LITERAL_ERROR.value, "Input should be 'off', 'warn', 'reject' or a boolean")
    return value


FormValidation = Annotated[
    Literal["off", "warn", "reject", True, False] | None,
    BeforeValidator(_validation),
    # Of an enumeration of texts and truths many a generator of clients makes nothing.
    WithJsonSchema(
        {"anyOf": [{"type": "string", "enum": ["off", "warn", "reject"]}, {"type": "boolean"}, {"type": "null"}]}
    ),
]


def _file_type(name: str) -> str:
    if name not in FILE_TYPES:
        raise PydanticCustomError(
            IssueCode.LITERAL_ERROR.value, f"Input should be one of {', '.join(sorted(FILE_TYPES))}"
        )
    return name


FileType = Annotated[str, AfterValidator(_file_type), WithJsonSchema({"type": "string", "enum": sorted(FILE_TYPES)})]


class Attachments(Wire):
    """What the program takes as attachments of its entities."""

    max_bytes: int | None = Field(
        None, ge=1, le=MOST_FILE_BYTES, description=f"The largest file. Without it, {MOST_FILE_BYTES}."
    )
    types: list[FileType] | None = Field(
        None,
        min_length=1,
        max_length=MOST_SMALL,
        description="Media types; the content has to be of them. Without it, pictures (JPEG, PNG, GIF, WebP), PDF, Word, "
        "Excel and text.",
    )
    max_per_entity: int | None = Field(
        None, ge=1, le=HIGHEST_PER_ENTITY, description=f"Attachments of one entity. Without it, {MOST_PER_ENTITY}."
    )


class DuplicateSettings(Wire):
    """How duplicates are looked for."""

    detect: StrictBool | None = Field(None, description="`false`: not at all in this program.")
    threshold: float | None = Field(
        None,
        ge=1,
        le=100,
        description="Bits of evidence from which on a pair is told; 15 if left out. Higher tells less, and is less often wrong.",
    )


def _not_guessable(secret: str) -> str:
    if len(secret) < _SHORTEST_SECRET and secret != MASK:
        raise ValueError(f"must have at least {_SHORTEST_SECRET} characters")
    return secret


class ReviewNotifications(Wire):
    """A system of the program's own that is told of news about reviews, by signed requests."""

    url: WebAddress
    secret: Annotated[str, AfterValidator(_not_guessable)] = Field(
        max_length=256,
        description="Requests are signed with it, as https://www.standardwebhooks.com has it. Sealed, and shown to "
        "administrators only.",
    )


class ProgramConfig(Wire):
    """A program's config as it is uploaded."""

    model_config = examples(EXAMPLE_PROGRAM)

    id: str = Field(description="Letters, digits, hyphen and underscore.")
    name: NonEmpty
    description: str | None = None
    version: str | None = None
    url: PublishedAddress | None = Field(None, description="Sync server for the identity provider's client.")
    sync_server_url: PublishedAddress | None = Field(
        None, description="Where this program's devices sync, if not at this hub."
    )
    entity_forms: list[EntityForm] | None = Field(None, max_length=MOST_FORMS, description="What is collected.")
    entity_data: list[SeedData] | None = Field(
        None, max_length=MOST_ENTRIES, description="Entities to start with; only a POST seeds them."
    )
    external_sync: ExternalSync | None = None
    auth_configs: list[AuthConfig] | None = Field(
        None, max_length=MOST_SMALL, description="Identity providers whose users may sign in."
    )
    self_service: SelfService | None = None
    review_notifications: ReviewNotifications | None = None
    sync_scope: SyncScope | None = None
    programs: list[EnrolmentProgram] | None = Field(
        None, max_length=MOST_ENTRIES, description="Programmes of the external system, offered for enrolment."
    )
    claim169: UploadedClaim169 | None = None
    inji: Inji | None = None
    custom_event_types: list[NonEmpty] | None = Field(
        None, max_length=MOST_SMALL, description="Custom event types to switch on."
    )
    audit_reads: StrictBool | None = Field(None, description="Whether the audit trail tells who has read what.")
    duplicates: DuplicateSettings | None = Field(
        None, description="How the hub looks for people who are registered twice."
    )
    form_validation: FormValidation = Field(
        None,
        description="Check pushed events against the forms: `warn` (or true) keeps and flags what does not match, "
        "`reject` refuses it.",
    )
    attachments: Attachments | None = None
    # Accepted, so that a downloaded file can be uploaded again, then ignored.
    artifact_id: Annotated[Any, BeforeValidator(_as_given)] = Field(None, exclude=True)
    archived_at: Annotated[Any, BeforeValidator(_as_given)] = Field(None, exclude=True)
