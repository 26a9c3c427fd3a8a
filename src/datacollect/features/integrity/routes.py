"""`/api/integrity`: what is known about the integrity of a program's log."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from datacollect.eventstore.anchors import Anchor, chain_text
from datacollect.features.integrity import service
from datacollect.features.integrity.model import LastVerification
from datacollect.features.integrity.schemas import IntegrityReply
from datacollect.http.current import CurrentHub
from datacollect.http.openapi import errors
from datacollect.http.policy import Entered, InProgram
from datacollect.kernel.clock import format_timestamp
from datacollect.kernel.identity import Action

router = APIRouter(prefix="/api/integrity", tags=["Integrity"])

Reader = Annotated[Entered, Depends(InProgram(Action.APPROVE))]


@router.get(
    "",
    summary="Integrity of a log",
    response_model=IntegrityReply,
    responses=errors(400, texts={404: "There is no such program."}),
)
async def get_integrity(hub: CurrentHub, reader: Reader) -> dict[str, Any]:
    """The head of the program's log, its last verification and its last anchor. Needs a supervisor.

    Nothing is verified here: compare `head` with one you noted, and run `datacollect verify` to have every event read.
    """
    scope = reader.scope
    async with hub.db.reading(scope) as view:
        known = await service.known(view, hub.log, scope)
    anchor = await service.newest_anchor(hub.settings.data_dir, scope)
    head = known.head
    return {
        "status": "success",
        "configId": scope.tenant_id,
        "algorithm": "v3",
        "head": chain_text(head.chain_hash) if head else "",
        "count": head.position if head else 0,
        "position": head.position if head else 0,
        "recordedAt": format_timestamp(head.recorded_at) if head else None,
        "lastVerification": known.verification and _verification(known.verification),
        "lastAnchor": anchor and _anchor(anchor),
    }


def _verification(last: LastVerification) -> dict[str, Any]:
    finding = last.finding
    return {
        "verifiedAt": format_timestamp(last.verified_at),
        "ok": finding is None,
        "position": last.position,
        "head": chain_text(last.chain_hash) if last.chain_hash else "",
        "finding": finding
        and {"code": finding.code, "position": finding.position, "guid": finding.guid, "message": finding.message},
    }


def _anchor(anchor: Anchor) -> dict[str, Any]:
    return {
        "position": anchor.position,
        "head": chain_text(anchor.chain_hash),
        "writtenAt": format_timestamp(anchor.recorded_at),
    }
