"""Change requests: what somebody in the registry has to approve before it is done.

A request lives longer than a run, so all that is known of one is JSON beside the record (`Asked.state`). It goes from
`draft` through `pending` and `approved` to `applied`, or ends as `rejected`; `revision` sends it back to its author.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v2 import codes
from datacollect.adapters.openspp_v2.client import RegistryClient, document, objects
from datacollect.kernel.clock import Clock, Millis

DRAFT, REVISION, REJECTED, APPLIED = "draft", "revision", "rejected", "applied"
_SENT_BACK = (REVISION, REJECTED)
_SEARCHED, _MOST_SEARCHED = 100, 1000
"""How many of the latest requests of a kind are looked through for one that may have arrived: a page just after it was told,
more of them later, when others have been made since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A request to be made."""

    code: str
    registrant: Mapping[str, Any]
    detail: Mapping[str, Any]
    description: str
    content: str
    """Names what it carries: a later request for something else has another one."""
    is_unique: bool = False
    """The same content is never asked for twice: one that has been applied is this one."""

    @property
    def mark(self) -> str:
        """Written into the request, so that one whose answer was lost is found again."""
        return f"datacollect:{self.content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was made."""

    reference: str
    status: str
    content: str
    submitted_at: Millis | None = None
    polled_at: Millis | None = None
    reason: str | None = None
    decided_at: str | None = None
    """As the registry says when: of the application or the rejection."""
    is_told: bool = False
    """People have been told that it was sent back."""
    sent: Mapping[str, str] | None = None
    """Digests of the fields it carries."""
    version: int | None = None
    """Of our record, when it was made or when people were told of it."""

    @property
    def is_open(self) -> bool:
        return self.status not in (APPLIED, REJECTED)

    @property
    def is_sent_back(self) -> bool:
        return self.status in _SENT_BACK

    @classmethod
    def read(cls, state: Any) -> Self | None:
        if not isinstance(state, Mapping) or not isinstance(state.get("reference"), str):
            return None
        return cls(
            reference=state["reference"],
            status=str(state.get("status") or DRAFT),
            content=str(state.get("content") or ""),
            submitted_at=state.get("submittedAt"),
            polled_at=state.get("lastPolledAt"),
            reason=state.get("rejectionReason"),
            decided_at=state.get("decidedAt"),
            is_told=bool(state.get("isTold")),
            sent=state.get("sent"),
            version=state.get("version"),
        )

    @property
    def state(self) -> dict[str, Any]:
        told = {
            "reference": self.reference,
            "status": self.status,
            "content": self.content,
            "submittedAt": self.submitted_at,
            "lastPolledAt": self.polled_at,
            "rejectionReason": self.reason,
            "decidedAt": self.decided_at,
            "isTold": self.is_told or None,
            "sent": self.sent,
            "version": self.version,
        }
        return {name: value for name, value in told.items() if value is not None}


class NotSubmitted(Exception):
    """The draft is made, and could not be submitted."""

    def __init__(self, asked: Asked, failed: CallFailed) -> None:
        self.asked, self.failed = asked, failed
        super().__init__(failed.message)


class NotMade(Exception):
    """The answer was lost, and the registry does not show a request like that. It may do so later."""

    def __init__(self, failed: CallFailed) -> None:
        self.failed = failed
        super().__init__(failed.message)


class ChangeRequests:
    """The registry's change requests, one call or two at a time. Raises `CallFailed`."""

    def __init__(self, client: RegistryClient, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def ask(self, asking: Asking, *, is_uncertain: bool = False, told_at: Millis | None = None) -> Asked:
        """Make the draft and submit it. With `is_uncertain` it may have been made before, or (if it was told at a time that
        is known) be made while we look. Raises `NotMade` and `NotSubmitted` too."""
        asked = await self._find(asking) if is_uncertain else None
        if asked is None and is_uncertain and told_at is not None:
            await self._client.outlast(told_at)
            asked = await self._find(asking, at_most=_MOST_SEARCHED)
        return await self.submit(asked or await self._draft(asking))

    async def submit(self, asked: Asked) -> Asked:
        """A draft; what is no draft any more is told as it is."""
        if asked.status != DRAFT:
            return asked
        try:
            # Submitting twice is refused the second time, with nothing done.
            reply = await self._client.call(
                "POST", "ChangeRequest", asked.reference, "$submit", what="submit a change request", json={}, repeatable=True
            )  # fmt: skip
        except CallFailed as failed:
            if failed.kind is CallKind.CONFLICT:
                return await self.look(asked)
            raise NotSubmitted(asked, failed) from None
        return replace(self._read(asked, document(reply)), submitted_at=self._clock.now())

    async def correct(self, asked: Asked, asking: Asking) -> Asked:
        """Give a draft its newest content."""
        path = ("ChangeRequest", asked.reference)
        await self._client.call("PUT", *path, what="change a draft", json={"detail": asking.detail})
        return replace(asked, content=asking.content)

    async def look(self, asked: Asked) -> Asked:
        """How it is now. Raises `CallFailed` with `NOT_FOUND` for one the registry does not know (any more)."""
        path = ("ChangeRequest", asked.reference)
        reply = await self._client.call("GET", *path, what="read a change request")
        return replace(self._read(asked, document(reply)), polled_at=self._clock.now())

    async def registrant(self, asked: Asked) -> Mapping[str, Any]:
        """Whom the registry names as the one it is about."""
        reply = await self._client.call("GET", "ChangeRequest", asked.reference, what="read a change request")
        named = document(reply).get("registrant")
        return named if isinstance(named, dict) else {}

    async def _draft(self, asking: Asking) -> Asked:
        body = {
            "type": "ChangeRequest",
            "requestType": {"code": asking.code},
            "registrant": asking.registrant,
            "detail": asking.detail,
            "description": asking.description,
            "notes": asking.mark,
        }
        try:
            reply = await self._client.call("POST", "ChangeRequest", what="make a change request", json=body)
        except CallFailed as failed:
            if not failed.may_have_arrived:
                raise
            try:
                found = await self._find(asking)
            except CallFailed:
                found = None
            if found is None:
                raise NotMade(failed) from None
            return found
        made = document(reply)
        if not isinstance(made.get("reference"), str):
            raise CallFailed(CallKind.UNREADABLE, "make a change request", status=reply.status)
        return self._read(Asked(reference=made["reference"], status=DRAFT, content=asking.content), made)

    async def _find(self, asking: Asking, *, at_most: int = _SEARCHED) -> Asked | None:
        """Among the latest of its kind; one that has ended may be of an earlier time when the record was the same."""
        offset, has_next = 0, True
        ended = (REJECTED,) if asking.is_unique else (REJECTED, APPLIED)
        while has_next and offset < at_most:
            told, has_next = await self._latest(asking.code, offset)
            for one in told:
                is_ours = one.get("notes") == asking.mark and one.get("description") == asking.description
                if is_ours and isinstance(one.get("reference"), str) and one.get("status") not in ended:
                    return self._read(Asked(reference=one["reference"], status=DRAFT, content=asking.content), one)
            offset += len(told)
        return None

    async def _latest(self, code: str, offset: int) -> tuple[Sequence[Mapping[str, Any]], bool]:
        """A page of the requests of a kind, newest first, and whether there are more."""
        query = {"requestType": code, "_count": _SEARCHED, "_offset": offset}
        try:
            page = document(
                await self._client.call("GET", "ChangeRequest", what="look for a change request", query=query)
            )
        except CallFailed as failed:
            if failed.kind in (CallKind.NOT_FOUND, CallKind.REJECTED):
                return [], False  # a release that does not list them
            raise
        told, links = objects(page.get("data")), page.get("links")
        return told, bool(told) and isinstance(links, dict) and bool(links.get("next"))

    def _read(self, asked: Asked, told: Mapping[str, Any]) -> Asked:
        status = told.get("status")
        if not isinstance(status, str) or not status:
            return asked
        reason = told.get("rejectionReason") or told.get("revisionNotes")
        decided = told.get("appliedDate") if status == APPLIED else told.get("rejectedDate")
        return replace(
            asked,
            status=status,
            reason=str(reason)[:1000] if reason else None,
            decided_at=decided if isinstance(decided, str) else None,
            is_told=asked.is_told and status == asked.status,
        )


def sent_back(asked: Asked, guid: str) -> Failure:
    """What people are told, without the words of whoever decided: those are about somebody."""
    said = "was rejected" if asked.status == REJECTED else "was sent back for revision"
    code = codes.CR_REJECTED if asked.status == REJECTED and not asked.is_told else codes.CR_REVISION_NEEDED
    message = f"The change request {asked.reference} {said}. See to it in the registry, or change the record."
    return Failure(code=code, message=message, retryable=False, guid=guid)
