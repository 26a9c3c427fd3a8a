"""The adapter: which way a record goes, and what is told of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from datacollect.adapters.batches import push_each
from datacollect.adapters.calling import CallFailed
from datacollect.adapters.errors import Failure
from datacollect.adapters.health import measured
from datacollect.adapters.kinds import AdapterKind, Capability, Context
from datacollect.adapters.openspp_v2 import codes, enrolments
from datacollect.adapters.openspp_v2.client import RegistryClient, Sleep
from datacollect.adapters.openspp_v2.direct import Memberships, Registrants, Unfinished
from datacollect.adapters.openspp_v2.enrolments import Enrolments, Subject
from datacollect.adapters.openspp_v2.identifiers import Identifiers
from datacollect.adapters.openspp_v2.options import OpenSppV2Options
from datacollect.adapters.openspp_v2.pulling import Pulling
from datacollect.adapters.openspp_v2.requests import APPLIED, REJECTED, REVISION, Asked, ChangeRequests
from datacollect.adapters.openspp_v2.resources import Resources
from datacollect.adapters.openspp_v2.reviewed import REQUEST, WAITING, Reviewed, State
from datacollect.adapters.port import (
    Delivery,
    Failed,
    Followed,
    FollowUp,
    Health,
    Link,
    Member,
    Outcome,
    Outgoing,
    Page,
    Proposed,
    Pushed,
    RecordType,
    Ruling,
    Skipped,
    Verdict,
)

ENOUGH_UNANSWERED = 3
"""Records in a row of which the registry says nothing: then it is away, and the others stay as they are."""


class OpenSppV2Adapter:
    def __init__(self, options: OpenSppV2Options, context: Context, *, sleep: Sleep = asyncio.sleep) -> None:
        self._options, self._sleep = options, sleep
        self._client = RegistryClient(
            context.client,
            context.clock,
            url=options.base_url,
            client_id=options.client_id,
            client_secret=options.client_secret.get_secret_value(),
            max_retries=options.max_retries,
            write_seconds=options.write_seconds,
            sleep=sleep,
        )
        identifiers = Identifiers(options)
        resources = Resources(context.mappings, options.include_studio_extensions, context.form_types)
        requests = ChangeRequests(self._client, context.clock)
        request_types = options.change_request_type_map
        self._registrants = Registrants(self._client, identifiers, resources, context.owners)
        self._memberships = Memberships(self._client, identifiers)
        self._reviewed = Reviewed(requests, self._registrants, identifiers, resources, request_types)
        self._enrolments = Enrolments(requests, identifiers, context.clock, request_types)
        self._pulling = Pulling(self._client, context.clock, self._registrants, identifiers, resources)
        self._links: dict[str, Link] = {}
        """Made in this run: the record of a group may have been read before its members were there."""
        self._has_pushed = False

    async def check(self) -> Health:
        return await measured(self._probe)

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        if not records:
            return []
        if self._has_pushed and self._options.batch_delay_ms:
            await self._sleep(self._options.batch_delay_ms / 1000)
        self._has_pushed = True
        return await push_each(records, self._push_one, goes_first=lambda record: record.type is not RecordType.GROUP)

    async def pull(self, mark: str | None) -> Page:
        try:
            return await self._pulling.page(mark)
        except CallFailed as failed:
            raise failed.error(codes.SEARCH_FAILED) from None

    async def follow_up(self, followed: Sequence[Followed]) -> Sequence[FollowUp]:
        """The longest under way first. When the registry is away, those not asked for stay as they are."""
        told: list[FollowUp] = []
        unanswered = 0
        for one in sorted(followed, key=_asked_at):
            answer, failed = await self._follow(one)
            told.append(answer)
            unanswered = unanswered + 1 if failed and failed.kind in enrolments.NO_ANSWER else 0
            if (failed and failed.is_systemic) or unanswered >= ENOUGH_UNANSWERED:
                break
        return told

    @property
    def decides(self) -> bool:
        return self._options.uses_change_requests

    async def propose(self, proposals: Sequence[Outgoing]) -> Sequence[Outcome]:
        """A change request for each, and nothing beside it: nobody is enrolled by what is not approved."""
        if not proposals:
            return []
        return await push_each(proposals, self._propose_one, goes_first=lambda one: one.type is not RecordType.GROUP)

    async def rulings(self, proposed: Sequence[Proposed]) -> Sequence[Ruling]:
        told: list[Ruling] = []
        unanswered = 0
        for one in sorted(proposed, key=lambda one: _asked_at(one.followed)):
            ruling, failed = await self._rule(one)
            told.append(ruling)
            unanswered = unanswered + 1 if failed and failed.kind in enrolments.NO_ANSWER else 0
            if (failed and failed.is_systemic) or unanswered >= ENOUGH_UNANSWERED:
                break
        return told

    async def close(self) -> None:
        """Nothing to let go of: connections and tokens are the process's."""

    async def _probe(self) -> str | None:
        scopes = await self._client.sign_in(fresh=True)
        await self._client.call("GET", "Individual", what="read individuals", query={"_count": 1, "_offset": 0})
        return f"Scopes: {', '.join(scopes)}" if scopes else None

    async def _push_one(self, record: Outgoing) -> Outcome:
        if record.type is RecordType.RECORD:
            return Skipped(reason="RECORD_TYPE_NOT_SUPPORTED")
        try:
            outcome = await (self._ask_for(record) if self._options.uses_change_requests else self._write(record))
        except Unfinished as unfinished:
            return Failed(
                failure=unfinished.failure,
                state=unfinished.state,
                link=unfinished.link,
                is_uncertain=unfinished.is_uncertain,
            )
        if isinstance(outcome, Pushed | Failed) and outcome.link:
            self._links[record.guid] = outcome.link
        return outcome

    async def _write(self, record: Outgoing) -> Outcome:
        if record.is_deleted:
            link = await self._registrants.archive(record)
            return Pushed(link=link) if link else Skipped(reason="NEVER_SENT")
        link = await self._registrants.put(record)
        self._links[record.guid] = link
        members = [self._linked(member) for member in record.members or ()]
        if record.members is not None:
            link = await self._memberships.put(record, link, members)
        missing = sum(member.link is None for member in members if member.type is RecordType.INDIVIDUAL)
        outcome = await self._enrol(record, link, dict(record.state), _nested(record, members))
        return _incomplete(record, outcome, missing) if missing else outcome

    async def _ask_for(self, record: Outgoing) -> Outcome:
        standing = await self._reviewed.put(record)
        if record.is_deleted and standing.link is None and not standing.state:
            return Skipped(reason="NEVER_SENT")
        outcome = await self._enrol(record, standing.link, standing.state, [])
        if standing.failure is None:
            return replace(outcome, delivery=standing.delivery, has_members=False)
        return Failed(failure=standing.failure, state=outcome.state, link=outcome.link)

    async def _propose_one(self, proposal: Outgoing) -> Outcome:
        if proposal.type is RecordType.RECORD:
            return Skipped(reason="RECORD_TYPE_NOT_SUPPORTED")
        try:
            standing = await self._reviewed.put(proposal)
        except Unfinished as unfinished:
            return Failed(
                failure=unfinished.failure,
                state=unfinished.state,
                link=unfinished.link,
                is_uncertain=unfinished.is_uncertain,
            )
        if standing.failure is not None:
            return Failed(failure=standing.failure, state=standing.state, link=standing.link)
        is_open = _is_open(standing.state)
        return Pushed(link=standing.link, state=standing.state, is_open=is_open, delivery=standing.delivery)

    async def _rule(self, one: Proposed) -> tuple[Ruling, CallFailed | None]:
        followed = one.followed
        try:
            standing = await self._reviewed.follow(followed)
        except CallFailed as failed:
            failure = failed.failure(codes.CR_POLL_FAILED, followed.guid)
            return Ruling(key=one.key, state=followed.state, verdict=None, failure=failure), failed
        asked = Asked.read(standing.state.get(REQUEST))
        verdict = None if asked is None else _VERDICTS.get(asked.status)
        if verdict is Verdict.APPROVED and standing.link is None:
            verdict = None  # nobody can say yet what has come of it
        reason = asked.reason if asked is not None and verdict is not Verdict.APPROVED else None
        ruling = Ruling(
            key=one.key,
            state=standing.state,
            verdict=verdict,
            reason=reason,
            link=standing.link,
            failure=standing.failure if verdict is None else None,
        )
        return ruling, None

    async def _enrol(self, record: Outgoing, link: Link | None, state: State, warnings: list[Failure]) -> Pushed:
        subject = Subject(
            guid=record.guid,
            type=record.type,
            data=record.data,
            link=link,
            is_uncertain=record.is_uncertain,
            told_at=record.told_at,
        )
        result = await self._enrolments.put(subject, state)
        return Pushed(
            link=link, state=result.state, is_open=_is_open(result.state), warnings=[*warnings, *result.failures]
        )

    async def _follow(self, one: Followed) -> tuple[FollowUp, CallFailed | None]:
        """What has become of it, and the call that failed, if one did."""
        try:
            standing = await self._reviewed.follow(one)
        except CallFailed as failed:
            failure = failed.failure(codes.CR_POLL_FAILED, one.guid)
            return FollowUp(guid=one.guid, state=one.state, is_open=True, link=one.link, failures=[failure]), failed
        # The last run may have asked, and died before it was noted: nothing says so before a follow-up.
        subject = Subject(guid=one.guid, type=one.type, data=one.data, link=standing.link, is_uncertain=True)
        result = await self._enrolments.follow(subject, standing.state)
        answer = FollowUp(
            guid=one.guid,
            state=result.state,
            is_open=_is_open(result.state),
            link=standing.link,
            is_done=standing.is_done,
            is_requested=standing.delivery is Delivery.REQUESTED,
            events=result.events,
            failures=[*([standing.failure] if standing.failure else []), *result.failures],
        )
        return answer, result.failed

    def _linked(self, member: Member) -> Member:
        return replace(member, link=member.link or self._links.get(member.guid))


_VERDICTS = {APPLIED: Verdict.APPROVED, REJECTED: Verdict.REJECTED, REVISION: Verdict.SENT_BACK}


def _is_open(state: State) -> bool:
    asked = Asked.read(state.get(REQUEST))
    return bool(asked and asked.is_open) or WAITING in state or enrolments.is_open(state)


def _asked_at(followed: Followed) -> tuple[bool, int]:
    asked = [followed.state.get(REQUEST), *followed.state.get(enrolments.ENROLMENTS, {}).values()]
    times = [one["submittedAt"] for one in asked if one and isinstance(one.get("submittedAt"), int)]
    return (not times, min(times, default=0))


def _nested(group: Outgoing, members: Sequence[Member]) -> list[Failure]:
    if all(member.type is RecordType.INDIVIDUAL for member in members):
        return []
    message = "OpenSPP takes individuals as members of a group only; its other members were not sent."
    return [Failure(code=codes.MEMBER_TYPE_NOT_SUPPORTED, message=message, retryable=False, guid=group.guid)]


def _incomplete(group: Outgoing, pushed: Pushed, missing: int) -> Failed:
    message = f"{missing} members of the group are not in the registry yet."
    failure = Failure(code=codes.MEMBER_NOT_LINKED, message=message, retryable=True, guid=group.guid)
    return Failed(failure=failure, state=pushed.state, link=pushed.link)


def create(options: OpenSppV2Options, context: Context) -> OpenSppV2Adapter:
    return OpenSppV2Adapter(options, context)


KIND = AdapterKind(
    name="openspp-v2-adapter",
    label="OpenSPP V2",
    version="2.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=OpenSppV2Options,
    create=create,
    aliases=("openspp-v2",),
    selection=("include_studio_extensions",),
    event_user="openspp-v2-sync",
)
