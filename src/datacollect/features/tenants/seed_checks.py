"""What holds between a config's seeds and its forms. The document has passed the schema."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datacollect.features.tenants.findings import MOST_OF_A_KIND, Findings, Path
from datacollect.features.tenants.form_checks import quoted
from datacollect.features.tenants.model import FormKind, classify
from datacollect.features.tenants.rules import (
    DUPLICATE_SEED,
    PARENT_NO_GROUP,
    PARENT_NOT_SEEDED,
    PARENT_OF_OTHER_FORM,
    SEED_WITHOUT_FORM,
    UNKNOWN_PARENT,
)
from datacollect.kernel.errors import IssueCode
from datacollect.kernel.ids import LONGEST_GUID_BYTES, has_guids_length


def check_items(groups: Sequence[Mapping[str, Any]], found: Findings) -> None:
    """The items' own shape; stops after the first that are wrong, as the schema does.

    The schema lets them hold anything, so that it need not look into a hundred thousand of them.
    """
    seen: set[str] = set()
    wrong = 0
    for group_index, group in enumerate(groups):
        for index, item in enumerate(group["data"]):
            id, name, parent = item.get("id"), item.get("name"), item.get("parentId")
            is_id = isinstance(id, str) and has_guids_length(id)
            if is_id and isinstance(name, str) and isinstance(parent, str | None):
                if id in seen:
                    place: Path = ("entityData", group_index, "data", index, "id")
                    found.add(DUPLICATE_SEED, place, f"id {quoted(id)} is used twice")
                if id:
                    seen.add(id)
                continue
            _tell_shape(item, ("entityData", group_index, "data", index), found)
            wrong += 1
            if wrong == MOST_OF_A_KIND:
                return


def _tell_shape(item: Mapping[str, Any], place: Path, found: Findings) -> None:
    if isinstance(item.get("id"), str) and not has_guids_length(item["id"]):
        message = f"may have at most {LONGEST_GUID_BYTES} bytes"
        found.add_issue(IssueCode.STRING_TOO_LONG, (*place, "id"), message)
    for key in ("id", "name"):
        if not isinstance(item.get(key), str):
            found.add_issue(IssueCode.STRING_TYPE, (*place, key), "must be a text")
    if not isinstance(item.get("parentId"), str | None):
        found.add_issue(IssueCode.STRING_TYPE, (*place, "parentId"), "must be a text")


def check_seeds(groups: Sequence[Mapping[str, Any]], forms: Sequence[Mapping[str, Any]], found: Findings) -> None:
    """Forms and parents that the items name. The items have passed `check_items`."""
    kinds = classify(forms)
    parent_form = {form["name"]: form.get("dependsOn") or None for form in forms}
    for index, group in enumerate(groups):
        if group["data"] and group["name"] not in kinds:
            message = f"there is no form {quoted(group['name'])}; its items are seeded as individuals"
            found.add(SEED_WITHOUT_FORM, ("entityData", index, "name"), message)
    form_of = {item["id"]: form for form, item, _ in _items(groups) if item["id"]}
    for form, item, place in _items(groups):
        if item.get("parentId"):
            _check_parent(item["parentId"], (*place, "parentId"), form, form_of, kinds, parent_form, found)


def _check_parent(
    parent: str,
    place: Path,
    form: str,
    form_of: Mapping[str, str],
    kinds: Mapping[str, FormKind],
    parent_form: Mapping[str, str | None],
    found: Findings,
) -> None:
    kind = kinds.get(form)
    is_member = kind is not None and kind.parent_is_group and kind.category == "entity"
    if parent not in form_of:
        # The membership would be lost. A record, or an item of a list to choose from, only says where it belongs.
        rule = UNKNOWN_PARENT if is_member else PARENT_NOT_SEEDED
        found.add(rule, place, f"there is no item {quoted(parent)}")
        return
    named = form_of[parent]
    if is_member and (named not in kinds or kinds[named].entity_type != "group"):
        message = f"item {quoted(parent)} is of {quoted(named)}, which is no form of groups"
        found.add(PARENT_NO_GROUP, place, message)
    elif kind is not None and parent_form[form] != named:
        above = parent_form[form]
        expected = "no form stands above" if above is None else f"{quoted(above)} stands above"
        message = f"item {quoted(parent)} is of {quoted(named)}; {expected} {quoted(form)}"
        found.add(PARENT_OF_OTHER_FORM, place, message)


def _items(groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """The form's name, the item and its place."""
    for group_index, group in enumerate(groups):
        for index, item in enumerate(group["data"]):
            yield group["name"], item, ("entityData", group_index, "data", index)
