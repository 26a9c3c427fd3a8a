"""What is different between two versions of a program: for people first, and complete enough to be applied.

A path leads to the place: a text is a member, a whole number an item of a list that is told by its place, and an object
an item that is told by what it is called (`{"name": "household"}`, of a scalar `{"item": "A1"}`), so that an item
that is put in front of others is one difference, and not one for each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import MASK, hiding_secrets
from datacollect.kernel.canonical import canonical_json

_DEEPEST = 100
"""Below this, values are compared as a whole: it is far deeper than forms are."""

_ITSELF = ("item",)
_NAMES = (
    _ITSELF,
    ("key",),
    ("name",),
    ("id",),
    ("issuerId",),
    ("type",),
    ("type", "fields.authority"),
    ("value",),
)
"""What items of a list are told by: the first of these that each item has, and no two have alike. Scalars are told by
themselves."""

Step = str | int | Mapping[str, Any]


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    """The items of a list that it had and has stand in another order."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`before` is missing for what is added, `after` for what is removed; of what has moved they are the orders, as steps."""

    path: tuple[Step, ...]
    kind: Kind
    before: Any = None
    after: Any = None
    index: int | None = None
    """Where in its list an item that is told by its name was added."""


@dataclass(frozen=True, slots=True)
class SeedChange:
    """How many seeds of a form are different; which is nobody's business here, they are people."""

    form: str
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class Comparison:
    revision: int
    against: int | None
    """None: compared with nothing."""
    changes: list[Difference]
    seeds: list[SeedChange]


@dataclass(frozen=True, slots=True)
class _Hidden:
    """A secret: it can be told that it is another one, and no more."""

    value: bytes


def changes_between(old: Program | None, new: Program) -> list[Difference]:
    """All but the seeds. Secrets are masked on both sides, for everybody."""
    return [_shown(difference) for difference in differences(_document(old), _document(new))]


def differences(old: Any, new: Any, path: tuple[Step, ...] = ()) -> Iterator[Difference]:
    """Whoever applies them in this order gets from one document to the other."""
    if len(path) < _DEEPEST:
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _of_objects(old, new, path)
            return
        if isinstance(old, list) and isinstance(new, list):
            yield from _of_lists(old, new, path)
            return
    if not _same(old, new):
        yield Difference(path, Kind.CHANGED, old, new)


def seed_changes(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[SeedChange]:
    """By form, in the order of the old version and then the new one; forms whose seeds are alike are left out."""
    before, after = _seeds(old), _seeds(new)
    changes = []
    for form in {**before, **after}:
        was, now = before.get(form, {}), after.get(form, {})
        changed = sum(1 for key in was.keys() & now.keys() if was[key] != now[key])
        change = SeedChange(form, len(now.keys() - was.keys()), len(was.keys() - now.keys()), changed)
        if change.added or change.removed or change.changed:
            changes.append(change)
    return changes


def path_for_people(path: Sequence[Step]) -> str:
    """`entityForms[household].formio.components[age].label`"""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}"
        elif isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f"[{' '.join(str(name) for name in step.values())}]"
    return text.removeprefix(".")


def _document(program: Program | None) -> dict[str, Any]:
    if program is None:
        return {}
    document = {
        **program.config,
        "artifactId": program.artifact_id,
        "archived": program.archived_at is not None,
    }
    if program.external_sync is not None:
        document["externalSync"] = program.external_sync
    return hiding_secrets(document, lambda value: _Hidden(canonical_json(value)))


def _shown(difference: Difference) -> Difference:
    return Difference(
        tuple(_unhidden(step) for step in difference.path),
        difference.kind,
        _unhidden(difference.before),
        _unhidden(difference.after),
        difference.index,
    )


def _unhidden(value: Any) -> Any:
    if isinstance(value, _Hidden):
        return MASK
    if isinstance(value, dict):
        return {key: _unhidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unhidden(item) for item in value]
    return value


def _of_objects(old: dict[str, Any], new: dict[str, Any], path: tuple[Step, ...]) -> Iterator[Difference]:
    for key, value in old.items():
        if key not in new:
            yield Difference((*path, key), Kind.REMOVED, before=value)
        else:
            yield from differences(value, new[key], (*path, key))
    for key, value in new.items():
        if key not in old:
            yield Difference((*path, key), Kind.ADDED, after=value)


def _of_lists(old: list[Any], new: list[Any], path: tuple[Step, ...]) -> Iterator[Difference]:
    steps = _steps(old, new)
    if steps is None:
        yield from _by_place(old, new, path)
        return
    before = {_key(step): (step, item) for step, item in zip(steps[0], old, strict=True)}
    after = {_key(step): (step, item) for step, item in zip(steps[1], new, strict=True)}
    for key, (step, item) in before.items():
        if key not in after:
            yield Difference((*path, step), Kind.REMOVED, before=item)
    stayed = [key for key in before if key in after]
    order = [key for key in after if key in before]
    if stayed != order:
        yield Difference(path, Kind.MOVED, [before[key][0] for key in stayed], [before[key][0] for key in order])
    for key in order:
        yield from differences(before[key][1], after[key][1], (*path, before[key][0]))
    for index, (key, (step, item)) in enumerate(after.items()):
        if key not in before:
            yield Difference((*path, step), Kind.ADDED, after=item, index=index)


def _by_place(old: list[Any], new: list[Any], path: tuple[Step, ...]) -> Iterator[Difference]:
    for index, (was, now) in enumerate(zip(old, new, strict=False)):
        yield from differences(was, now, (*path, index))
    for index in range(len(old) - 1, len(new) - 1, -1):
        yield Difference((*path, index), Kind.REMOVED, before=old[index])
    for index in range(len(old), len(new)):
        yield Difference((*path, index), Kind.ADDED, after=new[index])


def _steps(old: list[Any], new: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """How the items of both lists are told; None if they can only be told by their places."""
    for names in _NAMES:
        before, after = _told_by(names, old), _told_by(names, new)
        if before is not None and after is not None:
            return before, after
    return None


def _told_by(names: Sequence[str], items: list[Any]) -> list[dict[str, Any]] | None:
    steps = [{name: _found(item, name) for name in names} for item in items]
    has_all = all(_is_name(value) for step in steps for value in step.values())
    return steps if has_all and len({_key(step) for step in steps}) == len(steps) else None


def _found(item: Any, name: str) -> Any:
    if (name,) == _ITSELF:
        return item
    for part in name.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _key(step: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(step.values())


def _same(one: Any, other: Any) -> bool:
    # To Python 1 and `true` are one value.
    return type(one) is type(other) and one == other


def _seeds(groups: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, bytes]]:
    """Of each form, the content of its seeds by their ids."""
    found: dict[str, dict[str, bytes]] = {}
    for group in groups:
        seeds = found.setdefault(group["name"], {})
        for item in group["data"]:
            seeds[item["id"]] = canonical_json(item)
    return found
