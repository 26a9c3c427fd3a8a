"""The adapter: how records reach the registry, and how its records are read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from datacollect.adapters.batches import push_each
from datacollect.adapters.calling import CallFailed, CallKind, JsonApi, Retrying
from datacollect.adapters.errors import Failure
from datacollect.adapters.health import measured
from datacollect.adapters.kinds import Context
from datacollect.adapters.mock.mapping import (
    KINDS,
    NAMES,
    Changes,
    changes,
    fingerprints,
    has_identifier,
    members_of,
    new_resource,
    resource,
)
from datacollect.adapters.mock.options import MockOptions
from datacollect.adapters.mock.pulling import Puller
from datacollect.adapters.port import Failed, Health, Link, Outcome, Outgoing, Page, Pushed, RecordType, Skipped
from datacollect.adapters.tokens import ClientCredentials

_MOST_PAGES = 10_000
_TRIES = 4
"""How often a record is read again because somebody else has changed it meanwhile."""


class MockAdapter:
    def __init__(self, options: MockOptions, context: Context) -> None:
        self._options, self._context = options, context
        seconds = options.timeout / 1000
        self._credentials = ClientCredentials(
            context.client,
            f"{options.base_url}/oauth/token",
            options.client_id,
            options.client_secret,
            context.clock,
            timeout_seconds=seconds,
        )
        self._open = JsonApi(context.client, options.base_url, timeout_seconds=seconds, retrying=Retrying(tries=1))
        self._api = JsonApi(context.client, options.base_url, sign_in=self._credentials, timeout_seconds=seconds)
        self._puller = Puller(self._api, options, context.form_types)

    async def check(self) -> Health:
        return await measured(self._probe)

    async def _probe(self) -> str | None:
        reply = await self._open.call("GET", "/health", what="ask whether it is well")
        if not (isinstance(reply.document, dict) and reply.document.get("status") in ("ok", "healthy")):
            raise CallFailed(CallKind.UNAVAILABLE, "ask whether it is well")
        await self._credentials.token()
        return None

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        batch = _Batch(self._api, self._options, self._context)
        return await push_each(records, batch.push, goes_first=lambda record: record.type is not RecordType.GROUP)

    async def pull(self, mark: str | None) -> Page:
        return await self._puller.page(mark)

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Twin:
    """A resource as it is there."""

    uuid: str
    version: str | None
    attributes: Mapping[str, Any]
    members: Collection[str]
    is_read: bool = True
    """As opposed to: known from its link."""

    def link(self, sent: Mapping[str, Any], ours: Mapping[str, Any]) -> Link:
        """`sent` is what is known of it; `ours` the attributes that are ours to set."""
        state = {"sent": sent, "members": sorted(self.members), "others": bool(self.attributes.keys() - ours.keys())}
        return Link(external_id=self.uuid, version=self.version, state=state)


class _Batch:
    """The pushing of one batch. Knows who of it is there already, so that groups can name their members."""

    def __init__(self, api: JsonApi, options: MockOptions, context: Context) -> None:
        self._api = api
        self._options = options
        self._owners = context.owners
        self._made: dict[str, str] = {}

    async def push(self, record: Outgoing) -> Outcome:
        if record.type not in KINDS:
            return Skipped(reason="TYPE_NOT_SUPPORTED")
        if record.is_deleted:
            return await self._delete(record)
        link = await self._store(record)
        if isinstance(link, Failed):
            return link
        self._made[record.guid] = link.external_id
        return Pushed(link=link) if record.members is None else await self._set_members(record, link)

    async def _store(self, record: Outgoing) -> Link | Failed:
        """Make it, or make it the same, whichever it takes."""
        if record.link is None:
            return await self._create(record)
        for _ in range(_TRIES):
            try:
                return await self._update(record, record.link)
            except CallFailed as failed:
                if failed.kind is CallKind.NOT_FOUND:
                    return await self._create(record, instead_of=record.link.external_id)
                if failed.kind not in (CallKind.CONFLICT, CallKind.PRECONDITION):
                    raise
                conflict = failed
            # Changed there meanwhile: look what it is now, and set what is ours to set once more.
            record = _without_version(record)
        failure = replace(conflict.failure("PUSH_FAILED", record.guid), retryable=True)
        return Failed(failure=failure, link=record.link)

    async def _create(self, record: Outgoing, *, instead_of: str = "") -> Link:
        if record.is_uncertain and (twin := await self._find(record)):
            return await self._adopt(record, twin)
        kind, body = KINDS[record.type], new_resource(record, self._options)
        reply = await self._api.call(
            "POST",
            f"/v1/{kind}",
            what=f"create a {NAMES[kind]}",
            json=body,
            # Not the key under which the one that is gone was made: its answer would be given again.
            headers={"idempotency-key": f"{record.key}{instead_of}"},
            # The registry has no two records with our identifier: the second try is answered 409, and the twin is found.
            repeatable=True,
            accept=(409,),
        )
        if reply.status == 409:
            if twin := await self._find(record):
                # Made by an earlier try, with what the record was then.
                return await self._adopt(record, twin)
            raise CallFailed(CallKind.CONFLICT, f"create a {NAMES[kind]}", status=409)
        return _twin(reply.document, f"create a {NAMES[kind]}").link(fingerprints(body), body.get("attributes", {}))

    async def _find(self, record: Outgoing) -> _Twin | None:
        """By our identifier, unless it is the twin of another record. A registry that does not know how to look for one
        gives all it has: then all is read."""
        kind, offset = KINDS[record.type], 0
        for _ in range(_MOST_PAGES):
            query = {
                "identifier_type": self._options.identifier_type,
                "identifier_scheme_id": self._options.identifier_scheme,
                "identifier_value": record.guid,
                "limit": 100,
                "offset": offset,
            }
            what = f"look for a {NAMES[kind]}"
            document = (await self._api.call("GET", f"/v1/{kind}", what=what, query=query)).document
            items = document.get("items") if isinstance(document, dict) else None
            if not isinstance(items, list):
                raise CallFailed(CallKind.UNREADABLE, what)
            for item in items:
                if isinstance(item, dict) and has_identifier(item, record.guid, self._options):
                    twin = _twin(item, what)
                    owners = await self._owners([twin.uuid])
                    return twin if owners.get(twin.uuid, record.guid) == record.guid else None
            offset = document.get("next_offset")
            if not items or not isinstance(offset, int):
                return None
        return None

    async def _adopt(self, record: Outgoing, twin: _Twin) -> Link:
        body = resource(record)
        return await self._patch(record, body, changes(body, {}), twin)

    async def _update(self, record: Outgoing, link: Link) -> Link:
        body, known, members = resource(record), link.state.get("sent"), link.state.get("members")
        changed = changes(body, known if isinstance(known, dict) else {})
        is_changed = bool(changed.members or changed.attributes)
        # Members of others are to stay, so who is there must be known; and so must their attributes, before ours are set.
        must_read = record.members is not None and members is None
        if is_changed and (link.version is None or (changed.attributes and link.state.get("others"))):
            must_read = True
        if not must_read:
            twin = _Twin(link.external_id, link.version, {}, members or (), is_read=False)
        else:
            twin = await self._read(record, link.external_id)
            twin = replace(twin, members=twin.members if members is None else members)
        if is_changed:
            return await self._patch(record, body, changed, twin)
        return replace(link, state={**link.state, "members": sorted(twin.members)})

    async def _read(self, record: Outgoing, uuid: str) -> _Twin:
        kind = KINDS[record.type]
        what = f"read a {NAMES[kind]}"
        return _twin((await self._api.call("GET", f"/v1/{kind}/{quote(uuid, safe='')}", what=what)).document, what)

    async def _patch(self, record: Outgoing, body: Mapping[str, Any], changed: Changes, twin: _Twin) -> Link:
        kind = KINDS[record.type]
        what = f"update a {NAMES[kind]}"
        sent = dict(changed.members)
        if changed.attributes:
            # They are replaced as a whole: what others have changed among them goes back as it is.
            sent["attributes"] = {**body["attributes"], **twin.attributes, **changed.attributes}
        reply = await self._api.call(
            "PATCH",
            f"/v1/{kind}/{quote(twin.uuid, safe='')}",
            what=what,
            json=sent,
            headers={"if-match": twin.version} if twin.version else None,
        )
        now = replace(_twin(reply.document, what), members=twin.members)
        if twin.is_read:
            # It also has what others have changed. A version that we name is taken for what we have sent, and not read.
            now = replace(now, version=None)
        return now.link(fingerprints(body), body.get("attributes", {}))

    async def _delete(self, record: Outgoing) -> Outcome:
        uuid = record.link.external_id if record.link else None
        if uuid is None and record.is_uncertain:
            twin = await self._find(record)
            uuid = twin.uuid if twin else None
        if uuid is None:
            return Skipped(reason="NEVER_THERE")
        kind = KINDS[record.type]
        path = f"/v1/{kind}/{quote(uuid, safe='')}"
        await self._api.call("DELETE", path, what=f"delete a {NAMES[kind]}", accept=(404, 410))
        return Pushed(link=record.link)

    async def _set_members(self, record: Outgoing, link: Link) -> Outcome:
        """Let those join that have joined here, and those leave that have left here. Others it has there stay, and all keep
        the roles they have there: the hub knows none."""
        was = set(link.state.get("members") or ())
        wanted, missing = self._wanted(record)
        version = link.version
        failure: Failure | None = None
        path = f"/v1/groups/{quote(link.external_id, safe='')}/members"
        try:
            for person in sorted(wanted - was):
                await self._join(path, person)
                was.add(person)
                version = None  # others may have changed the group as well
            for person in [] if missing else sorted(was - wanted - record.strange_members):
                what = "take a member out of a group"
                await self._api.call("DELETE", f"{path}/{quote(person, safe='')}", what=what, accept=(404, 410))
                was.remove(person)
                version = None
        except CallFailed as failed:
            failure, version = failed.failure("PUSH_FAILED", record.guid), None
        link = Link(external_id=link.external_id, version=version, state={**link.state, "members": sorted(was)})
        if missing and failure is None:
            message = f"{missing} of the group's members are not in the registry yet."
            failure = Failure(code="MEMBER_NOT_LINKED", message=message, retryable=True, guid=record.guid)
        return Pushed(link=link) if failure is None else Failed(failure=failure, link=link)

    def _wanted(self, record: Outgoing) -> tuple[set[str], int]:
        """The persons in the group, and how many of its members have no twin yet. Groups in groups it does not know."""
        wanted: set[str] = set()
        missing = 0
        for member in record.members or ():
            if member.type is not RecordType.INDIVIDUAL:
                continue
            uuid = self._made.get(member.guid) or (member.link.external_id if member.link else None)
            if uuid is None:
                missing += 1
            else:
                wanted.add(uuid)
        return wanted, missing

    async def _join(self, path: str, person: str) -> None:
        what = "put a member into a group"
        await self._api.call("POST", path, what=what, json={"person_uuid": person}, repeatable=True, accept=(409,))


def _without_version(record: Outgoing) -> Outgoing:
    assert record.link
    return replace(record, link=replace(record.link, version=None))


def _twin(document: Any, what: str) -> _Twin:
    if not (isinstance(document, dict) and isinstance(document.get("uuid"), str) and document["uuid"]):
        raise CallFailed(CallKind.UNREADABLE, what)
    version, attributes = document.get("updated_at"), document.get("attributes")
    return _Twin(
        uuid=document["uuid"],
        version=version if isinstance(version, str) else None,
        attributes=attributes if isinstance(attributes, dict) else {},
        members=members_of(document),
    )
