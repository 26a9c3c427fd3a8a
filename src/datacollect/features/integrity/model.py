"""What is kept of a verification: the result of the last one. Pure."""

from dataclasses import dataclass

from datacollect.eventstore.anchors import AnchorsUnreadable
from datacollect.eventstore.integrity import EMPTY_CHAIN
from datacollect.eventstore.verification import Finding, Verification
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import is_uuid_text


@dataclass(frozen=True, slots=True)
class KeptFinding:
    """What was wrong. Holds nothing that somebody may have written into a row: see `verification.py` on messages."""

    code: str
    message: str
    position: int | None = None
    guid: str | None = None


@dataclass(frozen=True, slots=True)
class LastVerification:
    """When a log was verified, and up to which event, and chain hash, it was sound."""

    verified_at: Millis
    position: int
    chain_hash: bytes
    finding: KeptFinding | None


def result_of(outcome: Verification, *, now: Millis) -> LastVerification:
    sound, finding = outcome.sound, outcome.finding
    return LastVerification(now, sound.position, sound.chain_hash, None if finding is None else _kept(finding))


def _kept(finding: Finding) -> KeptFinding:
    # The hub takes no guid of another form: what stands there instead may be anything.
    guid = finding.guid if finding.guid and is_uuid_text(finding.guid) else None
    return KeptFinding(finding.code.value, finding.message, finding.position, guid)


def unread(unreadable: AnchorsUnreadable, *, now: Millis) -> LastVerification:
    """The log could not be verified, because its anchors cannot be read. Where they are is not for the wire."""
    finding = KeptFinding(unreadable.code, "The program's anchors cannot be read.")
    return LastVerification(now, 0, EMPTY_CHAIN, finding)
