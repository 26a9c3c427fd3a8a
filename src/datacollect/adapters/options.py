"""The settings of an adapter as a model, and what a form for them is drawn from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

HIDDEN: dict[str, Any] = {"inForm": False}
"""`Field(json_schema_extra=HIDDEN)`: read if it is there, but not asked for in forms."""


def filled_in(value: str | float) -> dict[str, Any]:
    """`Field(json_schema_extra=filled_in("x"))`: required, and forms begin with this value."""
    return {"formDefault": value}


def at_most(most: int) -> AfterValidator:
    """`Annotated[int, at_most(10)]`: a larger number counts as this one. Configs in use have numbers that nobody limited."""
    return AfterValidator(lambda number: min(number, most))


_Address = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")]


class AdapterOptions(BaseModel):
    """What every adapter is told. Subclasses add their own, with `title`, `description` and `examples` for forms.

    Names are camelCase in configs. Secrets are `SecretStr`. Old names of an option are accepted with
    `validation_alias=AliasChoices(...)`, the name of today first. Options nobody knows are passed over.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    url: _Address = Field(title="URL", min_length=1, max_length=2048, repr=False)
    """Where the other system is. May hold a secret itself (webhooks), so it is not shown with the others."""

    @property
    def base_url(self) -> str:
        return self.url.rstrip("/")


def _read_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        raise ValueError("is not JSON") from None


FromJson = BeforeValidator(_read_json)
"""`Annotated[dict[str, str], FromJson]`: an object, or its JSON as a text, which is what forms can enter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """An option as a form shows it."""

    name: str
    label: str
    type: Literal["text", "password", "number", "url", "select"]
    required: bool
    placeholder: str | None = None
    help_text: str | None = None
    options: Sequence[tuple[str, str]] | None = None
    """Of a `select`: values and labels."""
    default: str | float | None = None

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "label": self.label, "type": self.type, "required": self.required}
        rest = {"placeholder": self.placeholder, "helpText": self.help_text, "default": self.default}
        shown |= {name: value for name, value in rest.items() if value is not None}
        if self.options is not None:
            shown["options"] = [{"value": value, "label": label} for value, label in self.options]
        return shown


def form_fields(options: type[AdapterOptions]) -> list[FormField]:
    """Those of `adapterConfig`, in the order of the model. `url` has its own place in a config, and is not among them."""
    return [
        _form_field(name, info)
        for name, info in options.model_fields.items()
        if name != "url" and _extra(info).get("inForm") is not False
    ]


def required_names(options: type[AdapterOptions]) -> frozenset[str]:
    """Of the options without which there is no adapter, as configs name them."""
    return frozenset(wire_name(name, info) for name, info in options.model_fields.items() if info.is_required())


def json_schema(options: type[AdapterOptions]) -> dict[str, Any]:
    """Of all options, `url` included."""
    return options.model_json_schema(by_alias=True)


def _form_field(name: str, info: FieldInfo) -> FormField:
    kind, choices = _input_of(info.annotation)
    default = _extra(info).get("formDefault") if info.is_required() else _default_of(info.default)
    return FormField(
        name=wire_name(name, info),
        label=info.title or name.replace("_", " ").capitalize(),
        type=kind,
        required=info.is_required(),
        placeholder=str(info.examples[0]) if info.examples else None,
        help_text=info.description,
        options=choices,
        default=None if kind == "password" else default,
    )


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def wire_name(name: str, info: FieldInfo) -> str:
    """The one name by which an option is stored and shown."""
    return info.serialization_alias or to_camel(name)


def _input_of(annotation: Any) -> tuple[Literal["text", "password", "number", "select"], list[tuple[str, str]] | None]:
    kinds = set(_kinds_of(annotation))
    if SecretStr in kinds:
        return "password", None
    if bool in kinds:
        return "select", [("true", "Yes"), ("false", "No")]
    if choices := [one for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum) for one in kind]:
        return "select", [(str(one.value), str(one.value)) for one in choices]
    if words := _words_of(annotation):
        return "select", [(word, word) for word in words]
    return ("number" if kinds & {int, float} else "text"), None


def _kinds_of(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _kinds_of(part)
    elif origin is Annotated:
        yield from _kinds_of(get_args(annotation)[0])
    elif origin is None:
        yield annotation


def _words_of(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words_of(part)]


def _default_of(default: Any) -> str | float | None:
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, Enum):
        return str(default.value)
    if default is None or isinstance(default, str | int | float):
        return default
    return None


def problems_path(location: Sequence[str | int], names: Mapping[str, str]) -> tuple[str | int, ...]:
    """Where pydantic says that something is wrong, in the words of a config."""
    first, *rest = location or ("",)
    return (names.get(str(first), first), *rest)
