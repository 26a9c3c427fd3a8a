"""Entities as they are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from datacollect.features.entities.queries import StoredEntity
from datacollect.features.entities.service import Shown
from datacollect.kernel.clock import format_timestamp


def view_of(entity: StoredEntity) -> dict[str, Any]:
    view: dict[str, Any] = {"guid": entity.guid, "id": entity.guid}
    if entity.name is not None:
        view["name"] = entity.name
    if entity.entity_name is not None:
        view["entityName"] = entity.entity_name
    view["type"] = entity.type
    if entity.external_id is not None:
        view["externalId"] = entity.external_id
    view["data"] = msgspec.Raw(data_of(entity).encode())
    view["lastUpdated"] = format_timestamp(entity.last_updated)
    return view


def data_of(entity: StoredEntity) -> str:
    """The data with the key of the twin, where clients of the reference look for it. Links are kept beside the log."""
    data = entity.data
    if entity.external_id is None or '"externalId"' in data:
        return data
    member = f'"externalId":{msgspec.json.encode(entity.external_id).decode()}}}'
    return f"{data[:-1]}{'' if data == '{}' else ','}{member}"


def view_with_members(shown: Shown) -> dict[str, Any]:
    view = view_of(shown.entity)
    if shown.member_ids is not None:
        view["memberIds"] = shown.member_ids
    return view


def view_of_fields(shown: Shown, fields: Sequence[str]) -> dict[str, Any]:
    """Only the members that are named; of the data, if not the whole of it, those that are named with `data.`."""
    whole = view_with_members(shown)
    view = {name: whole[name] for name in fields if name in whole}
    paths = [name.split(".")[1:] for name in fields if name.startswith("data.")]
    if paths and "data" not in view:
        data = msgspec.json.decode(data_of(shown.entity))
        view["data"] = picked = dict[str, Any]()
        for path in paths:
            _pick(picked, data, path)
    return view


def _pick(picked: dict[str, Any], data: Mapping[str, Any], path: Sequence[str]) -> None:
    """Copy what is at a path, inside the objects it is in."""
    step, *rest = path
    if step not in data:
        return
    if not rest:
        picked[step] = data[step]
    elif isinstance(data[step], dict):
        inner = picked.setdefault(step, {})
        # What is named as a whole, too, is there already.
        if inner is not data[step]:
            _pick(inner, data[step], rest)
