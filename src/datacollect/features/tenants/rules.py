"""What is looked at in a config, as data: every finding's code, how severe it is, and what to do about it.

`docs/reference/program-config.md` is printed from these. Errors keep a config from being stored. A warning says what
will not work as it is written, a repair what the hub has written in its place; neither keeps anything out, because
configs in use have all of these.
"""

from dataclasses import dataclass
from enum import StrEnum

from datacollect.kernel.errors import IssueCode


class Severity(StrEnum):
    """From the worst on."""

    ERROR = "error"
    REPAIR = "repair"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked at. A code never changes its meaning."""

    code: str
    severity: Severity
    about: str
    """What is found, as Markdown."""
    help: str

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


RULES: dict[str, Rule] = {}
"""All of them, by code, in the order in which the page shows them."""


def _rule(code: str, severity: Severity, about: str, help: str) -> Rule:
    assert code not in RULES
    rule = RULES[code] = Rule(code, severity, about, help)
    return rule


def _error(code: IssueCode, about: str) -> Rule:
    return _rule(code.value, Severity.ERROR, about, code.help)


def _repair(code: str, about: str, help: str) -> Rule:
    return _rule(code, Severity.REPAIR, about, help)


def _warning(code: str, about: str, help: str) -> Rule:
    return _rule(code, Severity.WARNING, about, help)


INVALID_CONFIG_ID = _error(IssueCode.INVALID_CONFIG_ID, "`id` has other characters than letters, digits, `-` and `_`")
DUPLICATE_FORM = _error(IssueCode.DUPLICATE_FORM, "two forms have one `name`, by which events find their form")
DUPLICATE_FORM_ID = _error(IssueCode.DUPLICATE_FORM_ID, "two forms have one `id`")
UNKNOWN_FORM = _error(IssueCode.UNKNOWN_FORM, "`dependsOn` names no form")
CIRCULAR_FORM = _error(IssueCode.CIRCULAR_FORM, "forms depend on each other in a circle; the message names it")
DUPLICATE_SEED = _error(IssueCode.DUPLICATE_SEED, "two items of `entityData` have one `id`")
UNKNOWN_PARENT = _error(
    IssueCode.UNKNOWN_PARENT, "an item is to be a member of a group, and its `parentId` names no item of `entityData`"
)
PARENT_NO_GROUP = _error(
    IssueCode.PARENT_NO_GROUP, "an item is to be a member of a group, and its `parentId` names an item that is none"
)
INVALID_ADDRESS = _error(
    IssueCode.INVALID_ADDRESS,
    "`url`, `syncServerUrl`, `externalSync.url` of a known adapter or a redirect address that nothing can be reached at",
)
ADAPTER_OPTION_MISSING = _error(
    IssueCode.ADAPTER_OPTION_MISSING,
    "an option is missing without which the adapter that `externalSync.type` names can do nothing",
)

FORM_ID_GIVEN = _repair(
    "form_id_given",
    "a form has no `id`; the hub gives its name, or the name with a number if that is taken",
    "Write the id that was given into the form: names may change, ids should not.",
)
SEED_ID_GIVEN = _repair(
    "seed_id_given",
    "an item of `entityData` has an empty `id`; the hub gives one that follows from its content",
    "Write an id into the item: with its content the one that was given changes, and the item is seeded anew.",
)

UNKNOWN_KEY = _warning("unknown_key", "a key that the hub does not know and drops", "Look for a typing error.")
AMBIGUOUS_FORM_ID = _warning(
    "ambiguous_form_id",
    "a form's `id` is another form's `name`: what names it in `allowedForms` means both",
    "Give the form another id.",
)
UNTIDY_NAME = _warning(
    "untidy_name",
    "a form's name begins or ends with a space, or has characters that cannot be seen",
    "Write the name without them: who names the form elsewhere will not see why it is not found.",
)
UNKNOWN_NAME_FIELD = _warning(
    "unknown_name_field",
    "`nameField` names no component of the form (forms without components are passed over)",
    "Name the key of a component.",
)
COMPONENT_WITHOUT_KEY = _warning(
    "component_without_key", "a component that takes input has no `key`", "Give it a key: its value is kept nowhere."
)
DUPLICATE_COMPONENT = _warning(
    "duplicate_component",
    "two components on one level have one `key`; published samples have such forms, to compute a field",
    "Give them keys of their own, unless they are to fill one field: such a field is not checked.",
)
MANAGED_COMPONENT = _warning(
    "managed_component",
    "a component's key is a member of the data that the hub manages",
    "Choose another key: what is entered is dropped, or is read as the hub's own member.",
)
SEED_WITHOUT_FORM = _warning(
    "seed_without_form",
    "`entityData` names no form; its items are seeded as individuals, for forms to choose from",
    "Nothing, if it is a list to choose from.",
)
PARENT_NOT_SEEDED = _warning(
    "parent_not_seeded",
    "an item's `parentId` names no item of `entityData`",
    "Add the parent, unless the program has it already.",
)
PARENT_OF_OTHER_FORM = _warning(
    "parent_of_other_form",
    "an item's `parentId` names an item of another form than `dependsOn`",
    "Name an item of the form's parent form.",
)
NO_WAY_TO_SEND_CODES = _warning(
    "no_way_to_send_codes",
    "`selfService` lets citizens sign in by codes, and the hub has neither a mail server nor a gateway (an upload tells, "
    "and `program lint --this-hub`)",
    "Ask the hub's operator for `SMTP_URL` or `SMS_GATEWAY_URL`, or take `otp` out of `authMethods`.",
)
UNKNOWN_ALLOWED_FORM = _warning(
    "unknown_allowed_form",
    "`selfService.allowedForms` names no form, neither by name nor by id; clients have nothing to draw, and what is sent "
    "is kept for review and changes no record",
    "Name a form, or remove the entry.",
)
INTERNAL_FIELD = _warning(
    "internal_field",
    "`selfService.fields` names what the hub keeps for itself or places the record in the program",
    "Remove it: it is never shown to citizens.",
)
DUPLICATE_AREA = _warning("duplicate_area", "`syncScope.areaIds` names an area twice", "Remove one of them.")
UNTIDY_AREA = _warning(
    "untidy_area",
    "an area in `syncScope.areaIds` begins or ends with a space",
    "Write it as the entities' data have it: areas are compared letter by letter.",
)
UNKNOWN_EVENT_TYPE = _warning(
    "unknown_event_type", "`customEventTypes` names no event type", "Name one that the message lists."
)
PROVIDER_ACCEPTS_NOTHING = _warning(
    "provider_accepts_nothing",
    "an identity provider is described in a way in which no token of it is accepted",
    "Complete the entry as the message says.",
)
DUPLICATE_PROVIDER = _warning(
    "duplicate_provider",
    "two entries of `authConfigs` have one `type` and `authority`",
    "Remove one of them.",
)
HIDDEN_AUTH_FIELD = _warning(
    "hidden_auth_field",
    "a field of an identity provider that devices do not get, because it may be a secret",
    "Nothing, if no app needs it.",
)
HIDDEN_MAPPING_FIELD = _warning(
    "hidden_mapping_field",
    "a member of `externalSync.fieldMappings` that devices do not get, because it is called like a secret",
    "Nothing, if no app needs it; a secret belongs into `adapterConfig`.",
)
PUBLISHED_SECRET = _warning(
    "published_secret",
    "a component sends a header to where its choices come from that is called like a secret; forms are published",
    "Let the form ask for nothing that needs a secret: everybody can read the onboarding file.",
)
ODD_REDIRECT = _warning(
    "odd_redirect",
    "a redirect address of an identity provider that is not absolute",
    "Write the whole address, as it is registered at the provider.",
)
ADDRESS_WITHOUT_SCHEME = _warning(
    "address_without_scheme",
    "`url` or `syncServerUrl` without `http://` or `https://`; apps put `http://` in front, and only to sign in",
    "Write the whole address.",
)
ODD_ADDRESS = _warning(
    "odd_address",
    "`externalSync.url` of an adapter that the hub does not know is no http or https address",
    "Check the address.",
)
UNKNOWN_ADAPTER = _warning(
    "unknown_adapter",
    "`externalSync.type` names no adapter of this hub: the program exchanges with nothing",
    "Name one that the message lists, or install the package that brings it.",
)
ADAPTER_CANNOT_START = _warning(
    "adapter_cannot_start",
    "an option of the adapter is not what it must be, or missing of one by an older name or of an extension: exchanges "
    "of the program fail at once",
    "Correct the option as the message says; `docs/reference/adapters.md` has all of them.",
)
INCOMPLETE_MAPPING = _warning(
    "incomplete_mapping",
    "a field mapping that names no field of the form, or none of the other system; it maps nothing",
    "Complete it, or remove it.",
)
UNKNOWN_TRANSFORMER = _warning(
    "unknown_transformer",
    "a field mapping's transformer that there is not; it does what `text` does",
    "Name one that the message lists, or leave it out.",
)
KEPT_FROM_STORED = _warning(
    "kept_from_stored",
    "told by an upload: the file is an onboarding file, and what such a file cannot have was kept",
    "Nothing; to remove it, upload what `GET /api/apps/{id}` gives, without it.",
)
SECRETS_REMOVED = _warning(
    "secrets_removed",
    "told by an upload: a secret that was stored is not in it, and is removed",
    "Nothing, if that was meant; else upload the config with it. Older versions of the program have it.",
)
SEEDS_REMOVED = _warning(
    "seeds_removed",
    "told by an upload: the program had `entityData`, and the upload has none; entities that were seeded stay",
    "Nothing, if that was meant.",
)
SEEDS_NOT_SEEDED = _warning(
    "seeds_not_seeded",
    "told by a `PUT`: its `entityData` is new, and only a `POST` seeds",
    "Send the config by `POST`.",
)
OTHER_SYNC_SERVER = _warning(
    "other_sync_server",
    "told by an upload: an onboarding file names another server, and it becomes this program's own",
    "Remove `syncServerUrl` from the file, if devices are to sync at this hub.",
)
DUPLICATE_ISSUER = _warning(
    "duplicate_issuer",
    "an issuer is trusted twice in `claim169`, or with one `kid` twice in `inji`",
    "Remove one of them: apps may look at the first only.",
)
ISSUER_WITHOUT_KEY = _warning(
    "issuer_without_key", "a trusted issuer has no public key; nothing of it is accepted", "Add its key."
)
DUPLICATE_TEMPLATE = _warning(
    "duplicate_template", "two credential templates of `inji` have one `id`", "Give them ids of their own."
)
UNKNOWN_ISSUER = _warning(
    "unknown_issuer",
    "`allowedIssuers` of a credential template names no trusted issuer",
    "Add the issuer to `trustedIssuers`, or remove it here.",
)
DUPLICATE_ENROLMENT = _warning(
    "duplicate_enrolment_program", "two entries of `programs` have one `id`", "Remove one of them."
)
