"""The events that bring a program's seed data into being. Source: the contract's programs, 3.2.

Pass 1 takes the forms on top, pass 2 those below them, parents first; each is a create event, and a member of a group
also gets an `add-member`. Guids are derived, so a second upload finds them in the log and adds only what is new.

Data whose name matches no form: the contract's text says it is skipped, but the recorded traffic of the public server
shows it delivered as `create-individual` with its `entityName` (exchanges 16 and 39: an area list that forms choose
from). We follow the recording, because skipping would lose data the uploader meant; the upload's answer says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datacollect.eventstore.event import Event
from datacollect.features.tenants.model import FormKind, classify, levels
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId, derived_guid

SEEDER = "admin"
"""The `userId` of seed events."""

_FORMLESS = FormKind("individual", parent_is_group=False)


def seed_events(
    tenant_id: TenantId, forms: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]], *, now: Millis
) -> list[Event]:
    """The seed events in order, each at a millisecond of its own, the last one at `now`.

    Distinct times, because a v1 device comes back with a plain timestamp and gets all events of that time again.
    """
    drafts = list(_drafts(tenant_id, forms, seeds))
    first = now - len(drafts) + 1
    return [
        Event(guid, entity_guid, type_, data, Millis(first + index), SEEDER)
        for index, (guid, entity_guid, type_, data) in enumerate(drafts)
    ]


_Draft = tuple[str, str, str, dict[str, Any]]


def _drafts(
    tenant_id: TenantId, forms: Sequence[Mapping[str, Any]], seeds: Sequence[Mapping[str, Any]]
) -> Iterator[_Draft]:
    kinds = classify(forms)
    depth = levels(forms)
    for group in sorted(seeds, key=lambda group: depth.get(group["name"], 0)):
        form = group["name"]
        kind = kinds.get(form, _FORMLESS)
        for item in group["data"]:
            yield _creation(tenant_id, form, kind, item)
            if item.get("parentId") and kind.parent_is_group and kind.category == "entity":
                yield _membership(tenant_id, kind, item)


def _creation(tenant_id: TenantId, form: str, kind: FormKind, item: Mapping[str, Any]) -> _Draft:
    data = {**item, "entityName": form, "name": item["name"] or item["id"]}
    if item.get("parentId"):
        # Where v1 devices look for the parent.
        data.setdefault("parentGuid", item["parentId"])
    return derived_guid(tenant_id, "seed", item["id"]), item["id"], kind.create_type, data


def _membership(tenant_id: TenantId, kind: FormKind, item: Mapping[str, Any]) -> _Draft:
    member = {"guid": item["id"], "name": item["name"] or item["id"], "type": kind.entity_type}
    guid = derived_guid(tenant_id, f"seed-member-{item['parentId']}", item["id"])
    return guid, item["parentId"], "add-member", {"members": [member]}
