"""Checking events against forms: pure, and never an error, whatever the forms and the events hold.

What is checked is written down in `docs/reference/form-validation.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from datacollect.eventstore.checks import Mismatch
from datacollect.eventstore.event import Event
from datacollect.features.forms.fields import Fields
from datacollect.features.forms.translation import FormSchema, translate

if TYPE_CHECKING:
    from datacollect.features.forms.engine import ValidationError

_log = structlog.get_logger(component="forms")

MOST_PER_EVENT = 10
"""Mismatches told of one event; the rest shows when these are corrected."""

_DEEPEST_MEMBERS = 16
_MEMBER_KEYS = frozenset({"guid", "type", "members"})
"""What says which member it is, not what its form holds."""

Path = tuple[str | int, ...]


class ProgramForms:
    """The forms of one program as it was at one moment. A form is translated when its first event comes."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = dict(definitions)
        self._forms: dict[str, Form | None] = {}

    def mismatches(self, event: Event) -> Sequence[Mismatch]:
        """What in the event's data its form, and those of its members, would not have let pass; the first few."""
        if not event.type.startswith(("create-", "update-")):
            return ()
        found: list[Mismatch] = []
        for mismatch in self._in_event(event):
            found.append(mismatch)
            if len(found) == MOST_PER_EVENT:
                break
        return found

    def _in_event(self, event: Event) -> Iterator[Mismatch]:
        complete = event.type.startswith("create-")
        yield from self._in_data(event.data, event.data, event.entity_guid, ("data",), complete=complete)
        yield from self._in_members(event.data.get("members"), event.entity_guid, ("data", "members"), 1)

    def _in_members(self, members: Any, group: str, path: Path, depth: int) -> Iterator[Mismatch]:
        if not isinstance(members, list) or depth > _DEEPEST_MEMBERS:
            return
        for index, member in enumerate(members):
            if isinstance(member, dict):
                at = (*path, index)
                guid = member.get("guid")
                guid = guid if isinstance(guid, str) and guid else group
                data = {key: value for key, value in member.items() if key not in _MEMBER_KEYS}
                # The event does not say whether the member is new: only what is there can be judged.
                yield from self._in_data(data, member, guid, at, complete=False)
                yield from self._in_members(member.get("members"), guid, (*at, "members"), depth + 1)

    def _in_data(
        self, data: dict[str, Any], named: Mapping[str, Any], guid: str, path: Path, *, complete: bool
    ) -> Iterator[Mismatch]:
        name = named.get("entityName")
        form = self._form(name) if isinstance(name, str) else None
        if form is not None:
            for inner, message in form.faults(data, complete=complete):
                yield Mismatch(form.name, guid, (*path, *inner), message)

    def _form(self, name: str) -> "Form | None":
        if name not in self._forms and name in self._definitions:
            self._forms[name] = compiled(name, self._definitions.pop(name))
        return self._forms.get(name)


def compiled(name: str, definition: Any, asked: Fields | None = None) -> "Form | None":
    """The form, ready to check data; None for one that cannot be read. With `asked`, the form's fields, for those who
    cannot fill in what is fixed: it is not checked."""
    try:
        return Form(name, translate(definition, asked))
    except Exception as error:
        # A form may hold anything; one that cannot be read must not keep anybody's data out.
        _log.warning("form.not_translated", error=type(error).__name__)
        return None


class Form:
    """A form, ready to check data."""

    def __init__(self, name: str, form: FormSchema) -> None:
        from datacollect.features.forms.engine import validator  # noqa: PLC0415 - with the first form, see there

        self.name = name
        self._schema = form.schema
        self._fields: Mapping[str, Any] = form.schema["properties"]
        self._required = form.required
        self._validator = validator(form.schema)

    def faults(self, data: dict[str, Any], *, complete: bool) -> Iterator[tuple[Path, str]]:
        """One for each field that does not match: where, from `data`, and what is expected there."""
        if complete:
            for key in self._required:
                if key not in data:
                    yield (key,), "Required"
        try:
            if self._validator.is_valid(data):
                return
        except ValueError:
            pass  # a text that is not Unicode, which no body can bring; its field is passed over below
        from datacollect.features.forms.engine import ValidationError  # noqa: PLC0415

        # Field by field, each to its first fault: all faults of a hostile list of rows would take seconds to tell.
        for key, value in data.items():
            if key in self._fields:
                try:
                    self._validator.validate({key: value})
                except ValidationError as fault:
                    yield _told(self._schema, fault)
                except ValueError:
                    continue


def _told(schema: Any, fault: "ValidationError") -> tuple[Path, str]:
    """Where and what is expected, in the form's words; never what was sent: it is people's data."""
    at: Path = tuple(fault.instance_path)
    *steps, keyword = fault.schema_path
    if keyword == "required":
        return (*at, fault.kind.value), "Required"
    if keyword == "then":
        return at, "Required: this field may not be emptied"
    node = schema
    for step in steps:
        node = node[step]
    return at, f"Expected {_words(node, str(keyword))}"


_TYPES = {"string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false"}


def _words(node: Mapping[str, Any], keyword: str) -> str:
    limit = node[keyword]
    match keyword:
        case "minimum":
            return f"a number not below {limit}"
        case "maximum":
            return f"a number not above {limit}"
        case "minLength":
            return f"at least {limit} characters"
        case "maxLength":
            return f"at most {limit} characters"
        case "minItems":
            return f"at least {limit} rows"
        case "maxItems":
            return f"at most {limit} rows"
        case "not":
            return "at least one choice to be ticked"
        case _:
            return str(node.get("description") or _TYPES.get(str(limit), "another value"))
