"""Shapes of published configs that are brought into one form before the schema looks at them.

Source: README decision 17 and the samples of v1: forms without `id`, seeds with `ID` and `Name`, `extraFields` as a
map. What a reader of the stored config would miss is told as a repair.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.features.tenants.findings import Findings
from datacollect.features.tenants.rules import FORM_ID_GIVEN, SEED_ID_GIVEN
from datacollect.kernel.canonical import canonical_json
from datacollect.kernel.ids import derived_guid


def tolerated(sent: dict[str, Any], found: Findings) -> dict[str, Any]:
    """The document as the schema takes it; what was sent is left as it is."""
    document = dict(sent)
    if isinstance(forms := sent.get("entityForms"), list):
        document["entityForms"] = _with_ids(forms, found)
    if isinstance(groups := sent.get("entityData"), list):
        document["entityData"] = [_with_v2_items(group) for group in groups]
    external = sent.get("externalSync")
    if isinstance(external, dict) and isinstance(fields := external.get("extraFields"), dict):
        pairs = [{"name": name, "value": value} for name, value in fields.items()]
        document["externalSync"] = {**external, "extraFields": pairs}
    return document


def identify_seeds(document: Mapping[str, Any], found: Findings) -> None:
    """Give items with an empty `id` one that is the same whenever the same config is uploaded again."""
    alike: dict[bytes, int] = {}
    for group_index, group in enumerate(document.get("entityData", ())):
        for index, item in enumerate(group["data"]):
            if item["id"]:
                continue
            content = canonical_json([group["name"], item])
            alike[content] = alike.get(content, -1) + 1
            item["id"] = derived_guid(document["id"], f"seed-{alike[content]}", content.decode())
            place = ("entityData", group_index, "data", index, "id")
            found.add(SEED_ID_GIVEN, place, f'is empty; the item was given the id "{item["id"]}"')


def _with_ids(forms: Sequence[Any], found: Findings) -> list[Any]:
    taken = {form["id"] for form in forms if isinstance(form, dict) and isinstance(form.get("id"), str)}
    numbers: dict[str, int] = {}
    result = []
    for index, form in enumerate(forms):
        if isinstance(form, dict) and form.get("id") in (None, "") and isinstance(form.get("name"), str):
            given = _free_id(form["name"], taken, numbers)
            found.add(FORM_ID_GIVEN, ("entityForms", index, "id"), f'is missing; the form was given the id "{given}"')
            form = {**form, "id": given}
        result.append(form)
    return result


def _free_id(name: str, taken: set[str], numbers: dict[str, int]) -> str:
    """The name, or the name with a number; `numbers` remembers where looking went on, so that it stays linear."""
    given = name
    number = numbers.get(name, 1)
    while given in taken:
        number += 1
        given = f"{name}-{number}"
    numbers[name] = number
    taken.add(given)
    return given


def _with_v2_items(group: Any) -> Any:
    """Published v1 samples write `ID` and `Name`, and one `parentId` for all items of a form."""
    if not isinstance(group, dict) or not isinstance(group.get("data"), list):
        return group
    return {**group, "data": [_v2_item(item, group.get("parentId")) for item in group["data"]]}


def _v2_item(item: Any, parent_id: Any) -> Any:
    if not isinstance(item, dict):
        return item
    added = {new: item[old] for new, old in (("id", "ID"), ("name", "Name")) if new not in item and old in item}
    if parent_id and "parentId" not in item:
        added["parentId"] = parent_id
    return {**item, **added}
