"""What citizens may see of their record and change in it. Pure values and rules.

Source: the contract's self-service area, 4, and its weak points R15 to R20.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from datacollect.eventstore.event import SERVER_MANAGED_KEYS, without_server_managed
from datacollect.features.forms.fields import Fields, fields_of, unsaved_keys
from datacollect.features.forms.model import Form, compiled
from datacollect.features.forms.translation import TECHNICAL_KEYS
from datacollect.features.selfservice.rows import matched
from datacollect.features.selfservice.translations import Translation
from datacollect.features.tenants.form_checks import COUNTED_KEYS, MANAGED_KEYS
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.errors import Issue, IssueCode
from datacollect.kernel.languages import DEFAULT_LANGUAGES

FALLBACK, FALLBACK_LABEL = "update-individual", "Update Profile"
"""The one form of a program that allows none: made from what the record holds."""

USUAL_FIELDS = ("name", "phone", "email")
"""Shown in every program that does not say what is."""

INTERNAL_KEYS = TECHNICAL_KEYS | {"area_id", "parentGuid"}
"""Keys of a record's data that place it in the program or come from the hub: no citizen sees them."""

CLOSED_KEYS = INTERNAL_KEYS | MANAGED_KEYS.union(*COUNTED_KEYS.values())
"""Keys that no citizen sets: those, and what somebody is entitled to and has been given."""

_IGNORED = SERVER_MANAGED_KEYS | {"entityName", "submit"}
"""What clients add to a form's data by themselves, or the hub strips from everything that is sent."""

_ONE_AFTER_THE_OTHER = (
    "It cannot be told which rows were changed, and the programme's staff keep something with them:"
    " change rows and add or remove rows one after the other"
)

MOST_ISSUES = 50
"""Told of one submission; the rest shows when these are corrected."""

Path = tuple[str | int, ...]


def is_internal(key: str) -> bool:
    return key in INTERNAL_KEYS or key.startswith("_")


def is_closed(key: str) -> bool:
    return key in CLOSED_KEYS or key.startswith("_")


@dataclass(frozen=True, slots=True)
class Own:
    """A citizen's record as it is now."""

    guid: str
    kind: str
    form: str | None
    """The name of the form it came from."""
    data: Mapping[str, Any]


class OwnForm:
    """One form that citizens may fill in."""

    def __init__(
        self, type: str, label: str, definition: Mapping[str, Any] | None, *, name: str | None, standalone: bool
    ) -> None:
        self.type = type
        self.label = label
        self.definition = definition
        self.name = name
        """Of the program's form; None for what names none of them."""
        self.standalone = standalone
        """Whether what is sent with it changes no record: a report of something, a complaint."""

    @cached_property
    def fields(self) -> Fields:
        return fields_of(self.definition, is_report=self.standalone)

    @cached_property
    def unsaved(self) -> frozenset[str]:
        return unsaved_keys(self.definition)

    @cached_property
    def check(self) -> Form | None:
        """Without what nobody fills in: if it is missing or wrong, a citizen can do nothing about it."""
        return None if self.definition is None else compiled(self.type, self.definition, self.fields)

    def shown(self, language: str) -> dict[str, Any]:
        """Wire form, in a language."""
        if self.definition is None:
            return {"type": self.type, "label": self.label}
        words = Translation(self.definition, language)
        return {"type": self.type, "label": words.text(self.label), "formio": words.form(self.definition)}


@dataclass(frozen=True)
class OwnForms:
    """What a program lets citizens do, as it was at one moment."""

    allowed: tuple[OwnForm, ...]
    by_name: Mapping[str, Mapping[str, Any]]
    """All of the program's form definitions."""
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    require_review: bool = True
    fields: tuple[str, ...] | None = None
    """What is shown of a record; None for what the forms ask for."""
    names_staff: bool = False
    """Whether citizens are told who of the staff it was, and not only in which role."""
    factors: frozenset[str] = frozenset()
    """Fields that citizens sign in by. They change them nowhere here: whoever could would lock others out, or in."""
    _own: dict[str, OwnForm] = field(default_factory=dict)

    def of(self, own: Own) -> tuple[OwnForm, ...]:
        """The forms for one record: those that are allowed, or the fallback if none is."""
        if self.allowed:
            return self.allowed
        made = self._fallback(own)
        return () if made is None else (made,)

    def visible_in(self, data: Mapping[str, Any], form: str | None) -> dict[str, Any]:
        """What its citizen sees of a record's data, or of a part of it."""
        paths = self.fields if self.fields is not None else None
        if paths is None:
            return _seen(data, self._shown_by_forms(form))
        shown: dict[str, Any] = {}
        for path in paths:
            steps = path.split(".")
            if not any(map(is_internal, steps)):
                _copy(shown, data, steps)
        return without_server_managed(shown)

    def sent_in(self, data: Mapping[str, Any], form: str | None) -> dict[str, Any]:
        """What its citizen sees of a change that they have sent. An object or a list is stored with what the record held
        in it besides (`checked`): of that they see no more than in the record."""
        shown = self.visible_in(data, form)
        return {
            key: shown[key] if _has_parts(value) else value
            for key, value in data.items()
            if key in shown or not _has_parts(value)
        }

    def _shown_by_forms(self, form: str | None) -> Sequence[Fields]:
        names = Fields(dict.fromkeys(USUAL_FIELDS))
        own = self.by_name.get(form) if form else None
        return [names, *([self._own_form(form, own).fields] if form and own is not None else []), *self._allowed_fields]

    @cached_property
    def _allowed_fields(self) -> Sequence[Fields]:
        return [one.fields for one in self.allowed if not one.standalone]

    def _own_form(self, name: str, definition: Mapping[str, Any]) -> OwnForm:
        if name not in self._own:
            self._own[name] = OwnForm(FALLBACK, FALLBACK_LABEL, definition, name=name, standalone=False)
        return self._own[name]

    def _fallback(self, own: Own) -> OwnForm | None:
        """A form to correct the record with: its own, or else a line for each text and number it shows. Without what
        nobody may change here, and None if nothing is left."""
        definition = self.by_name.get(own.form) if own.form else None
        components = definition.get("components") if definition is not None else None
        if definition is not None and isinstance(components, list) and fields_of(definition).below:
            kept = [*_without(components, self.factors)]
            made = {**definition, "components": kept}
        else:
            made = {"display": "form", "components": [*_lines(self.visible_in(own.data, own.form), self.factors)]}
        form = OwnForm(FALLBACK, FALLBACK_LABEL, made, name=own.form, standalone=False)
        return form if form.fields.below else None


def _seen(data: Mapping[str, Any], asked: Sequence[Fields]) -> dict[str, Any]:
    """Of data, what some of the forms ask for and none of them hides."""
    hidden = {key for fields in asked for key in fields.unseen}
    shown: dict[str, Any] = {}
    for key, value in data.items():
        holders = [fields.below[key] for fields in asked if key in fields.below]
        if holders and key not in hidden and not is_internal(key):
            shown[key] = value if None in holders else _seen_inside(value, [one for one in holders if one is not None])
    return without_server_managed(shown)


def _seen_inside(value: Any, asked: Sequence[Fields]) -> Any:
    if isinstance(value, Mapping):
        return _seen(value, asked)
    if isinstance(value, list):
        return [_seen_inside(item, asked) for item in value]
    return value


def _has_parts(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _copy(shown: dict[str, Any], data: Mapping[str, Any], steps: Sequence[str]) -> None:
    step, *rest = steps
    if step not in data:
        return
    if not rest:
        shown[step] = data[step]
    elif isinstance(data[step], Mapping):
        inner = shown.setdefault(step, {})
        # What is named as a whole, too, is there already.
        if inner is not data[step]:
            _copy(inner, data[step], rest)


def _without(components: Any, factors: Collection[str]) -> Iterator[Any]:
    """Components of a form without those that citizens cannot fill in, wherever the layout has them."""
    for component in components if isinstance(components, list) else ():
        if not isinstance(component, Mapping):
            continue
        key = component.get("key")
        gives_data = component.get("input", True) is not False
        if isinstance(key, str) and gives_data and (key in factors or is_closed(key)):
            continue
        yield _thinned(component, factors)


def _thinned(component: Mapping[str, Any], factors: Collection[str]) -> dict[str, Any]:
    thinned = dict(component)
    for part in ("components", "columns"):
        if isinstance(component.get(part), list):
            thinned[part] = [*_without(component[part], factors)]
    if isinstance(component.get("rows"), list):
        thinned["rows"] = [[*_without(row, factors)] for row in component["rows"] if isinstance(row, list)]
    return thinned


def _lines(shown: Mapping[str, Any], factors: Collection[str]) -> Iterator[dict[str, Any]]:
    for key, value in shown.items():
        if (
            key in factors
            or is_closed(key)
            or "." in key
            or isinstance(value, bool)
            or not isinstance(value, str | int | float)
        ):
            continue
        kind = "textfield" if isinstance(value, str) else "number"
        yield {"type": kind, "key": key, "label": _label(key), "input": True}


def _label(key: str) -> str:
    """`firstName` and `first_name` as people write them."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in key.replace("_", " "))
    return spaced.strip().capitalize()


# -- what is sent


@dataclass(frozen=True, slots=True)
class Checked:
    """What a submission changes, or why it cannot."""

    data: dict[str, Any]
    issues: Sequence[Issue]


def checked(forms: OwnForms, form: OwnForm, own: Own, sent: Mapping[str, Any]) -> Checked:
    """Of what a client sends, the values that differ from the record; all of them if none does.

    Clients send a form's data as a whole, with what nobody has touched. What comes back as it was shown is no change
    and refused nowhere; anything else that is no field of the form, or none that citizens may set, is an issue. Values
    that were not shown are compared with nothing: answers must not tell what they are.
    """
    if form.standalone:
        return _report(form, sent)
    shown = forms.visible_in(own.data, own.form)
    sieve = _Sieve(forms.factors, form.unsaved)
    written = sieve.object(without_server_managed(dict(sent)), form.fields, own.data, shown, ())
    issues = [*sieve.issues, *_faults(form, written, complete=False)]
    changed = {key: value for key, value in written.items() if not _is_back(key, sent[key], shown)}
    return Checked(changed or written, issues[:MOST_ISSUES])


def _report(form: OwnForm, sent: Mapping[str, Any]) -> Checked:
    """Of a form that changes no record, everything is kept that it asks for, and what it fills in itself."""
    data = without_server_managed(dict(sent))
    if form.definition is None:
        return Checked({key: value for key, value in data.items() if key not in _IGNORED}, [])
    sieve = _Sieve(frozenset(), form.unsaved, is_report=True)
    kept = sieve.object(data, form.fields, {}, {}, ())
    return Checked(kept, [*sieve.issues, *_faults(form, kept, complete=True)][:MOST_ISSUES])


def _faults(form: OwnForm, data: dict[str, Any], *, complete: bool) -> Iterator[Issue]:
    if form.check is not None:
        for path, message in form.check.faults(data, complete=complete):
            yield _issue(IssueCode.FORM_MISMATCH, path, message)


def _issue(code: IssueCode, path: Path, message: str) -> Issue:
    return Issue(code=code, path=["formData", *path], message=message)


def _is_blank(value: Any) -> bool:
    """Whether it is what a form sends for what nobody has filled in or ticked, of an object or a list with nothing in
    it."""
    if isinstance(value, Mapping):
        return all(map(_is_blank, value.values()))
    return all(map(_is_blank, value)) if isinstance(value, list) else value in ("", None) or value is False


def _resizing(at: Path, value: Any, fields: Fields, held: Mapping[str, Any]) -> tuple[IssueCode, Path, str] | None:
    """What is wrong if rows are added or taken away where the form lets nobody. The first rows are anybody's to give."""
    key = str(at[-1])
    rows = held.get(key) if key in fields.steady else None
    if not isinstance(rows, list) or not rows or (isinstance(value, list) and len(value) == len(rows)):
        return None
    return IssueCode.NOT_WRITABLE, at, "The form lets nobody add rows to this or remove any"


def _is_back(key: str, value: Any, shown: Mapping[str, Any]) -> bool:
    """Whether a value comes back as it was shown."""
    return key in shown and _same(value, shown[key])


def _same(one: Any, other: Any) -> bool:
    return canonical_json(one) == canonical_json(other)


class _Sieve:
    """Goes through what is sent, object by object, and notes what nobody may set."""

    def __init__(self, factors: Collection[str], unsaved: Collection[str], *, is_report: bool = False) -> None:
        self._factors = factors
        self._unsaved = unsaved
        self._is_report = is_report
        self.issues: list[Issue] = []

    def object(
        self,
        sent: Mapping[str, Any],
        fields: Fields,
        held: Mapping[str, Any],
        shown: Mapping[str, Any],
        path: Path,
    ) -> dict[str, Any]:
        """What of it is to be written. `held` is what the record has in its place, `shown` what citizens see of that."""
        written: dict[str, Any] = {}
        for key, value in sent.items():
            at = (*path, key)
            is_extra = not path and (key in _IGNORED or key in self._unsaved)
            if is_extra or key in fields.fixed:
                continue
            # A form sends what is not shown as empty.
            is_left_out = key in fields.below and key not in shown and _is_blank(value)
            if problem := self._problem(at, fields) or _resizing(at, value, fields, held):
                if not is_left_out and not _is_back(key, value, shown):
                    self.issues.append(_issue(*problem))
            elif (inner := fields.below[key]) is None:
                written[key] = value
            elif not is_left_out or self._is_report:
                written[key] = self._inside(value, inner, held.get(key), shown.get(key), at)
            elif path and key in held:
                # A field of the record is written as a whole.
                written[key] = held[key]
        return written

    def _problem(self, at: Path, fields: Fields) -> tuple[IssueCode, Path, str] | None:
        key, name = at[-1], ".".join(str(step) for step in at)
        if self._is_factor(name, whole=fields.below.get(str(key)) is None):
            return IssueCode.LOGIN_FACTOR, at, "This is what you sign in with: ask the programme's staff to change it"
        if is_closed(str(key)):
            return IssueCode.NOT_WRITABLE, at, "The hub and the programme's staff set this"
        if key not in fields.below:
            return IssueCode.UNKNOWN_FIELD, at, "The form does not ask for this"
        if key in fields.mixed:
            return IssueCode.NOT_WRITABLE, at, "The form closes a part of this: ask the programme's staff to change it"
        return None

    def _is_factor(self, name: str, *, whole: bool) -> bool:
        """Whether writing it writes something that citizens sign in by."""
        return name in self._factors or (whole and any(factor.startswith(f"{name}.") for factor in self._factors))

    def _inside(self, value: Any, fields: Fields, held: Any, shown: Any, at: Path) -> Any:
        below, seen = (one if isinstance(one, Mapping) else {} for one in (held, shown))
        if isinstance(value, Mapping):
            return self._kept(below, fields, at) | self.object(value, fields, below, seen, at)
        if isinstance(value, list):
            return self._rows(value, fields, held, shown, at)
        if self._kept(below, fields, at):
            self.issues.append(_issue(IssueCode.NOT_WRITABLE, at, "This cannot be emptied as a whole"))
        return value

    def _rows(self, rows: Sequence[Any], fields: Fields, held: Any, shown: Any, at: Path) -> list[Any]:
        """Rows keep what they hold beside what is shown of them, as far as it can be told which was which."""
        old = held if isinstance(held, list) else []
        seen = shown if isinstance(shown, list) and len(shown) == len(old) else [{}] * len(old)
        found = matched(rows, seen, fields.fixed - fields.unseen)
        if any(isinstance(old[place], Mapping) and self._kept(old[place], fields, at) for place in found.doubtful):
            self.issues.append(_issue(IssueCode.NOT_WRITABLE, at, _ONE_AFTER_THE_OTHER))
        written: list[Any] = []
        for index, row in enumerate(rows):
            if index in found.back:
                written.append(old[found.back[index]])
            elif isinstance(row, Mapping):
                place = found.changed.get(index)
                before, told = ({}, {}) if place is None else (old[place], seen[place])
                written.append(self._inside(row, fields, before, told, (*at, index)))
            else:
                written.append(row)
        return written

    def _kept(self, held: Mapping[str, Any], fields: Fields, at: Path) -> dict[str, Any]:
        """What an object holds that is not the form's to write: a field of the record is written as a whole."""
        names = ".".join(str(step) for step in at)
        return {
            key: value
            for key, value in held.items()
            if key not in fields.below
            or key in fields.fixed
            or key in fields.unseen
            or key in fields.mixed
            or key in fields.steady
            or is_closed(key)
            or self._is_factor(f"{names}.{key}", whole=fields.below[key] is None)
        }
