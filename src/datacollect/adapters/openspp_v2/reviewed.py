"""Records that the registry changes when somebody there has approved it: one change request at a time for each.

While one is under way, a newer edit waits, or the two would be applied in the order of their approval. When it has ended,
whatever the record has become meanwhile is asked for next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import Failure
from datacollect.adapters.openspp_v2 import codes
from datacollect.adapters.openspp_v2.direct import ARCHIVED, CODINGS, SENT, Registrants, Unfinished
from datacollect.adapters.openspp_v2.identifiers import RESOURCES, Identifiers, Key
from datacollect.adapters.openspp_v2.requests import (
    APPLIED,
    DRAFT,
    Asked,
    Asking,
    ChangeRequests,
    NotMade,
    NotSubmitted,
    sent_back,
)
from datacollect.adapters.openspp_v2.resources import Resources, digest, digests
from datacollect.adapters.port import Delivery, Followed, Link, Outgoing, RecordType
from datacollect.kernel.clock import Millis

REQUEST, WAITING = "request", "waiting"
DELETE = "delete"
"""Content of a request to archive, and what waits when that is to come next."""
_PUT = "put"
_UNKNOWN_TO_REGISTRY = "datacollect:guid"

_CODES = {
    "create-individual": "add_individual",
    "update-individual": "edit_individual",
    "create-group": "add_group",
    "update-group": "edit_group",
}
_ARCHIVE = {RecordType.INDIVIDUAL: "archive_individual", RecordType.GROUP: "archive_group"}

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a record has come."""

    link: Link | None
    state: State
    failure: Failure | None = None
    delivery: Delivery = Delivery.DONE
    is_done: bool = False
    """The request that was under way has been carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A record as it is to be: from a push, or as it is when the request before has ended."""

    guid: str
    type: RecordType
    data: Mapping[str, Any]
    link: Link | None
    version: int | None = None
    is_deleted: bool = False
    is_uncertain: bool = False
    told_at: Millis | None = None


class Reviewed:
    def __init__(
        self,
        requests: ChangeRequests,
        registrants: Registrants,
        identifiers: Identifiers,
        resources: Resources,
        request_types: Mapping[str, str],
    ) -> None:
        self._requests, self._registrants = requests, registrants
        self._identifiers, self._resources, self._request_types = identifiers, resources, request_types

    async def put(self, record: Outgoing) -> Standing:
        """Ask for the record to become what it is. Raises `CallFailed` or `Unfinished`."""
        state: State = dict(record.state)
        wanted = _Wanted(
            guid=record.guid,
            type=record.type,
            data=record.data,
            link=record.link,
            version=record.version,
            is_deleted=record.is_deleted,
            is_uncertain=record.is_uncertain,
            told_at=record.told_at,
        )
        asked = Asked.read(state.get(REQUEST))
        if asked and asked.is_sent_back:
            asked = await self._looked(asked)
        if asked and asked.status == APPLIED:
            wanted = replace(wanted, link=wanted.link or await self._learnt(wanted, asked))
            if wanted.link is None:
                raise Unfinished(_unlinked(wanted.guid), state=state | {REQUEST: asked.state})
        asking = self._asking(wanted)
        if asked and asked.is_sent_back:
            is_same = asked.content == asking.content
            # The very record of which people were told: somebody has said that it is to be tried again.
            is_retried = asked.is_told and asked.version == wanted.version and not wanted.is_uncertain
            if is_same and not is_retried:
                asked = replace(asked, is_told=True, version=wanted.version)
                return Standing(wanted.link, state | {REQUEST: asked.state}, sent_back(asked, wanted.guid))
        elif asked and asked.is_open:
            return await self._go_on(wanted, state, asked, asking)
        elif self._is_as_seen(wanted) or (asked and asked.content == asking.content):
            return Standing(wanted.link, state | ({REQUEST: asked.state} if asked else {}))
        return await self._ask(wanted, state, asking)

    async def follow(self, followed: Followed) -> Standing:
        """See what has become of the request, and ask for what has been waiting for that. Raises `CallFailed`."""
        state: State = dict(followed.state)
        standing = Standing(followed.link, state)
        asked = Asked.read(state.get(REQUEST))
        if asked and asked.is_open:
            standing = await self._polled(followed, state, asked)
            asked = Asked.read(standing.state.get(REQUEST))
        if asked and WAITING in standing.state and (not asked.is_open or asked.is_sent_back):
            return await self._next(followed, standing)
        return standing

    async def _polled(self, followed: Followed, state: State, asked: Asked) -> Standing:
        now = await self._looked(asked)
        if now.status == DRAFT:  # never submitted, or handed back to us by somebody in the registry
            try:
                now = await self._requests.submit(now)
            except NotSubmitted as error:
                raise error.failed from None
        link, failure = followed.link, None
        if now.status == APPLIED:
            wanted = _Wanted(guid=followed.guid, type=followed.type, data=followed.data, link=followed.link)
            link = followed.link or await self._learnt(wanted, now)
            if link is None:
                return Standing(None, state, _unlinked(followed.guid))  # looked at again by the next run
            link = _as_applied(link, now)
        elif now.is_sent_back and not now.is_told:
            failure, now = sent_back(now, followed.guid), replace(now, is_told=True)
        return Standing(link, state | {REQUEST: now.state}, failure, is_done=now.status == APPLIED)

    async def _next(self, followed: Followed, standing: Standing) -> Standing:
        state = {name: value for name, value in standing.state.items() if name != WAITING}
        wanted = _Wanted(
            guid=followed.guid,
            type=followed.type,
            data=followed.data,
            link=standing.link,
            is_deleted=standing.state[WAITING] == DELETE,
            is_uncertain=True,  # the last run may have asked, and died before it was noted
        )
        if self._is_as_seen(wanted):
            return replace(standing, state=state)
        try:
            asked = await self._ask(wanted, state, self._asking(wanted))
            return replace(asked, failure=standing.failure, is_done=standing.is_done)
        except Unfinished as unfinished:
            return replace(standing, state={**standing.state, **(unfinished.state or {})}, failure=unfinished.failure)
        except CallFailed as failed:
            return replace(standing, failure=failed.failure(codes.PUSH_FAILED, followed.guid))

    async def _go_on(self, wanted: _Wanted, state: State, asked: Asked, asking: Asking) -> Standing:
        if asked.status == DRAFT:
            if asked.content != asking.content:
                asked = self._noted(wanted, await self._requests.correct(asked, asking))
            return await self._submitted(wanted, state, asked)
        waiting = {} if asked.content == asking.content else {WAITING: DELETE if wanted.is_deleted else _PUT}
        delivery = Delivery.WAITING if waiting else Delivery.REQUESTED
        return Standing(wanted.link, _next_state(state, asked) | waiting, delivery=delivery)

    async def _ask(self, wanted: _Wanted, state: State, asking: Asking) -> Standing:
        try:
            asked = await self._requests.ask(asking, is_uncertain=wanted.is_uncertain, told_at=wanted.told_at)
        except NotSubmitted as error:
            raise self._unsubmitted(wanted, state, error) from None
        except NotMade as error:
            failure = error.failed.failure(codes.PUSH_FAILED, wanted.guid)
            raise Unfinished(failure, link=wanted.link, is_uncertain=True) from None
        return Standing(wanted.link, _next_state(state, self._noted(wanted, asked)), delivery=Delivery.REQUESTED)

    async def _submitted(self, wanted: _Wanted, state: State, asked: Asked) -> Standing:
        try:
            asked = await self._requests.submit(asked)
        except NotSubmitted as error:
            raise self._unsubmitted(wanted, state, error) from None
        return Standing(wanted.link, _next_state(state, asked), delivery=Delivery.REQUESTED)

    def _unsubmitted(self, wanted: _Wanted, state: State, error: NotSubmitted) -> Unfinished:
        failure = error.failed.failure(codes.PUSH_FAILED, wanted.guid)
        return Unfinished(failure, link=wanted.link, state=_next_state(state, self._noted(wanted, error.asked)))

    def _noted(self, wanted: _Wanted, asked: Asked) -> Asked:
        return replace(asked, sent=self._digests(wanted), version=wanted.version)

    async def _looked(self, asked: Asked) -> Asked:
        try:
            return await self._requests.look(asked)
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:
                raise
            return asked

    async def _learnt(self, wanted: _Wanted, asked: Asked) -> Link | None:
        """The registrant that came of a request to create one: the one with our identifier, or whom the request names."""
        own = self._identifiers.own(wanted.type, wanted.guid)
        resource = await self._registrants.find(wanted.type, own)
        if resource is None:
            named = await self._requests.registrant(asked)
            key = self._identifiers.of_resource(wanted.type, {"identifier": [named]})
            resource = await self._registrants.find(wanted.type, key) if key and key != own else None
        return self._registrants.link_to(wanted.type, resource) if resource else None

    def _is_as_seen(self, wanted: _Wanted) -> bool:
        if wanted.link is None:
            return wanted.is_deleted
        if wanted.is_deleted:
            return bool(wanted.link.state.get(ARCHIVED))
        sent = wanted.link.state.get(SENT, {})
        is_same = all(sent.get(name) == seen for name, seen in self._digests(wanted).items())
        return is_same and not wanted.link.state.get(ARCHIVED)

    def _asking(self, wanted: _Wanted) -> Asking:
        built = self._built(wanted)
        key = self._key(wanted)
        return Asking(
            code=self._code(wanted),
            registrant=self._registrant(wanted, built),
            detail={
                "type": RESOURCES[wanted.type],
                "active": not wanted.is_deleted,
                "identifier": [self._identifiers.wire(key)],
                **built,
            },
            description=f"DataCollect entity {wanted.guid}",
            content=DELETE if wanted.is_deleted else digest(built),
            is_unique=wanted.link is None,
        )

    def _registrant(self, wanted: _Wanted, built: Mapping[str, Any]) -> dict[str, str]:
        if wanted.link is None:
            return {"system": _UNKNOWN_TO_REGISTRY, "value": wanted.guid}
        name = built.get("name")
        display = name.get("text") if isinstance(name, dict) else name
        return self._identifiers.wire(self._key(wanted)) | ({"display": display} if display else {})

    def _code(self, wanted: _Wanted) -> str:
        if wanted.is_deleted:
            return self._request_types.get("delete-entity", _ARCHIVE[wanted.type])
        name = f"{'update' if wanted.link else 'create'}-{wanted.type.value}"
        return self._request_types.get(name, _CODES[name])

    def _key(self, wanted: _Wanted) -> Key:
        if wanted.link:
            return self._identifiers.of_link(wanted.type, wanted.link)
        return self._identifiers.own(wanted.type, wanted.guid)

    def _built(self, wanted: _Wanted) -> dict[str, Any]:
        if wanted.is_deleted:
            return {}
        codings = wanted.link.state.get(CODINGS) if wanted.link else None
        return self._resources.build(wanted.type, wanted.data, codings)

    def _digests(self, wanted: _Wanted) -> dict[str, str]:
        return digests(self._built(wanted))


def _next_state(state: State, asked: Asked) -> State:
    """With this as the request under way, and nothing waiting behind it."""
    return {name: value for name, value in state.items() if name != WAITING} | {REQUEST: asked.state}


def _as_applied(link: Link, asked: Asked) -> Link:
    sent = {**link.state.get(SENT, {}), **(asked.sent or {})}
    state = {**link.state, SENT: sent, ARCHIVED: asked.content == DELETE}
    return replace(link, version=None, state=state)


def _unlinked(guid: str) -> Failure:
    message = "The change request was applied, but the registry does not name the registrant that came of it yet."
    return Failure(code=codes.CR_PROJECTION_FAILED, message=message, retryable=True, guid=guid)
