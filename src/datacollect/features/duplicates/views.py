"""Pairs in wire form."""

from collections.abc import Mapping, Sequence
from typing import Any

from datacollect.features.duplicates.model import FoundPair
from datacollect.features.entities.service import Summary
from datacollect.kernel.clock import format_timestamp
from datacollect.matching.scoring import Evidence


def pair_document(found: FoundPair, entities: Mapping[str, Summary]) -> dict[str, Any]:
    return {
        "entityGuid": found.newer,
        "duplicateGuid": found.older,
        "status": found.status,
        "score": found.bits,
        "reasons": reasons(found.evidence),
        "detectedAt": format_timestamp(found.detected_at),
        "decidedAt": None if found.decided_at is None else format_timestamp(found.decided_at),
        "decidedBy": found.decided_by,
        "survivorGuid": found.survivor,
        "entity": _summary(entities.get(found.newer)),
        "duplicate": _summary(entities.get(found.older)),
    }


def _summary(entity: Summary | None) -> dict[str, Any] | None:
    if entity is None:
        return None
    return {
        "guid": entity.guid,
        "type": entity.type,
        "entityName": entity.entity_name,
        "name": entity.name,
        "areaId": entity.area_id,
        "lastUpdated": format_timestamp(entity.last_updated),
    }


def reasons(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    return [{"about": each.about, "found": each.found, "bits": each.bits} for each in evidence]
