"""Records written into the registry at once: created, patched, archived, put into groups."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datacollect.adapters.calling import CallFailed, CallKind, Reply
from datacollect.adapters.errors import Failure
from datacollect.adapters.kinds import Owners
from datacollect.adapters.openspp_v2 import codes
from datacollect.adapters.openspp_v2.client import RegistryClient, document
from datacollect.adapters.openspp_v2.identifiers import RESOURCES, TYPE_KEY, Identifiers, Key
from datacollect.adapters.openspp_v2.resources import LISTS, Resources, codings_of, digest, digests, with_others
from datacollect.adapters.port import Link, Member, Outgoing, RecordType

MAX_VERSIONS_TRIED = 3
"""How often a record that keeps changing in the registry is read anew before it waits for the next run."""

SENT, CODINGS, ARCHIVED, MEMBERS = "sent", "codings", "isArchived", "members"
_CONFLICTS = (CallKind.CONFLICT, CallKind.PRECONDITION)


class Unfinished(Exception):
    """A part of it is done, and a call failed. What was made is told, so that it is not made twice."""

    def __init__(
        self,
        failure: Failure,
        *,
        link: Link | None = None,
        state: Mapping[str, Any] | None = None,
        is_uncertain: bool = False,
    ) -> None:
        self.failure, self.link, self.state, self.is_uncertain = failure, link, state, is_uncertain
        super().__init__(failure.message)


class Registrants:
    """Reads and writes individuals and groups."""

    def __init__(self, client: RegistryClient, identifiers: Identifiers, resources: Resources, owners: Owners) -> None:
        self._client, self._identifiers, self._resources, self._owners = client, identifiers, resources, owners

    async def put(self, record: Outgoing) -> Link:
        """Make the registrant what the record is. Raises `CallFailed` or `Unfinished`."""
        if record.link is None:
            return await self._create(record)
        built = self._built(record)
        emptied = self._resources.emptied(record.type, record.data)
        patch = _changes(built, emptied, record.link)
        if not patch:
            return record.link
        return await self._patch(record, record.link, patch, built)

    async def archive(self, record: Outgoing) -> Link | None:
        """End it in the registry, which deletes nobody. None if it never was there."""
        link = record.link or await self._made_before(record)
        if link is None or link.state.get(ARCHIVED):
            return link
        try:
            link = await self._patch_in_place(record, link, {"active": False}, {})
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:
                raise
        return replace(link, state={**link.state, ARCHIVED: True})

    async def find(self, type: RecordType, key: Key) -> Mapping[str, Any] | None:
        what = f"look for {_article(type)}"
        try:
            return document(
                await self._client.call(
                    "GET", RESOURCES[type], self._identifiers.text(key), what=what, query=self.extensions
                )
            )
        except CallFailed as failed:
            if failed.kind is CallKind.NOT_FOUND:
                return None
            raise

    @property
    def extensions(self) -> Mapping[str, str]:
        return {"_extensions": "*"} if self._resources.with_studio else {}

    def link_to(self, type: RecordType, resource: Mapping[str, Any], reply: Reply | None = None) -> Link | None:
        """As `resource` is now; None if it carries no identifier that we know it by."""
        key = self._identifiers.of_resource(type, resource)
        if key is None:
            return None
        codings = codings_of(resource)
        seen = self._resources.build(type, self._resources.read(type, resource), codings)
        return Link(
            external_id=self._identifiers.external_id(key),
            version=version_of(resource, reply),
            state={TYPE_KEY: key.code, SENT: digests(seen)}
            | ({CODINGS: codings} if codings else {})
            | ({ARCHIVED: True} if resource.get("active") is False else {}),
        )

    async def _create(self, record: Outgoing) -> Link:
        """Never a second one: wherever an earlier try may have arrived, the registry is asked for our identifier first."""
        if found := await self._made_before(record):
            return await self.put(replace(record, link=found))
        built, own = self._built(record), self._identifiers.own(record.type, record.guid)
        body = {"type": RESOURCES[record.type], "active": True, "identifier": [self._identifiers.wire(own)], **built}
        what = f"create {_article(record.type)}"
        try:
            reply = await self._client.call("POST", RESOURCES[record.type], what=what, json=body)
        except CallFailed as failed:
            if failed.kind is not CallKind.CONFLICT and not failed.may_have_arrived:
                raise
            return await self._created_after_all(record, failed)
        return self._link_after(record, own, reply, built)

    async def _created_after_all(self, record: Outgoing, failed: CallFailed) -> Link:
        try:
            found = await self._found(record)
        except CallFailed as unanswered:
            if unanswered.may_have_arrived:
                raise  # as uncertain as the create itself
            raise Unfinished(unanswered.failure(codes.PUSH_FAILED, record.guid), is_uncertain=True) from None
        if found:
            return await self.put(replace(record, link=found))
        failure = replace(failed.failure(codes.PUSH_FAILED, record.guid), retryable=failed.may_have_arrived)
        raise Unfinished(failure, is_uncertain=failed.may_have_arrived)

    async def _made_before(self, record: Outgoing) -> Link | None:
        """What an earlier try has made. One that is still at work makes it later than it is first looked for."""
        found = await self._found(record) if record.is_uncertain else None
        if found is None and record.is_uncertain and await self._client.outlast(record.told_at):
            found = await self._found(record)
        return found

    async def _found(self, record: Outgoing) -> Link | None:
        """The twin that carries our guid, if there is one that is nobody else's."""
        own = self._identifiers.own(record.type, record.guid)
        resource = await self.find(record.type, own)
        if resource is None:
            return None
        found = self.link_to(record.type, resource) or self._link(own, None, {})
        owners = await self._owners([found.external_id])
        if owners.get(found.external_id, record.guid) != record.guid:
            return None
        return replace(found, version=None)  # as above: others may have been there

    async def _patch(self, record: Outgoing, link: Link, patch: Mapping[str, Any], built: Mapping[str, Any]) -> Link:
        try:
            return await self._patch_in_place(record, link, patch, built)
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:
                raise
        return await self._recover(record, link, built)

    async def _patch_in_place(
        self, record: Outgoing, link: Link, patch: Mapping[str, Any], built: Mapping[str, Any]
    ) -> Link:
        """With the version that we saw last. When the registry has moved on, read it and try with the fresh one; a patch of
        lists, too, needs what is in them.

        What is there then holds edits that we have not seen. So the link has no version, by which it would be taken for
        nothing but our own; the next pull gives it one.
        """
        key, version = self._identifiers.of_link(record.type, link), link.version
        path = (RESOURCES[record.type], self._identifiers.text(key))
        what = f"update {_article(record.type)}"
        for _ in range(MAX_VERSIONS_TRIED):
            sent = patch
            if version is None or not LISTS.isdisjoint(patch):
                there, version = await self._there(record.type, path)
                if there.get("active") is False and "active" not in patch:
                    # Our patch would be the later change, and the end of somebody who was edited since; the pull decides.
                    raise Unfinished(_ended(record.guid), link=replace(link, version=None))
                sent = self._with_others(record, link, patch, there, version)
            try:
                reply = await self._client.call("PATCH", *path, what=what, json=sent, if_match=version)
            except CallFailed as failed:
                if failed.kind not in _CONFLICTS:
                    raise
                version, conflict = None, failed
                continue
            after = self._link_after(record, key, reply, built, link, patch)
            return after if version == link.version else replace(after, version=None)
        failure = replace(conflict.failure(codes.PUSH_FAILED, record.guid), retryable=True)
        raise Unfinished(failure, link=replace(link, version=None))

    async def _there(self, type: RecordType, path: Sequence[str]) -> tuple[Mapping[str, Any], str | None]:
        """As it is now, and its version."""
        reply = await self._client.call("GET", *path, what=f"read {_article(type)}")
        resource = document(reply)
        return resource, version_of(resource, reply)

    def _with_others(
        self, record: Outgoing, link: Link, patch: Mapping[str, Any], there: Mapping[str, Any], version: str | None
    ) -> Mapping[str, Any]:
        """Nothing is taken out of a list in which somebody there has changed what we read: nobody here has seen that."""
        emptied = self._resources.emptied_parts(record.type, record.data)
        if version is None or version != link.version:
            now = digests(self._resources.build(record.type, self._resources.read(record.type, there)))
            seen = link.state.get(SENT, {})
            changed = {name for name in LISTS if now.get(name) != seen.get(name)}
            emptied = frozenset(part for part in emptied if part.partition(".")[0] not in changed)
        return with_others(patch, there, emptied)

    async def _recover(self, record: Outgoing, link: Link, built: Mapping[str, Any]) -> Link:
        """It is not where it was: under the type of identifier that is configured now, or gone and made again.

        Asks for identifiers that the hub keeps only: what a form calls an id must not choose whom we overwrite.
        """
        key = self._identifiers.rebound(record.type, self._identifiers.of_link(record.type, link))
        resource = await self.find(record.type, key) if key else None
        if key and resource:
            rebound = self._link(key, None, {CODINGS: link.state.get(CODINGS, {})})
            return await self._patch_in_place(record, rebound, built, built)
        return await self._create(replace(record, link=None, is_uncertain=True))

    def _link_after(
        self,
        record: Outgoing,
        key: Key,
        reply: Reply,
        built: Mapping[str, Any],
        before: Link | None = None,
        patch: Mapping[str, Any] | None = None,
    ) -> Link:
        """What we know of the twin once it has taken `built`, or the `patch` of what it was `before`."""
        resource = reply.document if isinstance(reply.document, dict) else {}
        kept = {name: value for name, value in before.state.items() if name != ARCHIVED} if before else {}
        cleared = {name for name, value in (patch or {}).items() if value is None}
        sent = {name: seen for name, seen in kept.get(SENT, {}).items() if name not in cleared}
        key = key if before else self._identifiers.of_resource(record.type, resource) or key
        return self._link(key, version_of(resource, reply), {**kept, SENT: sent | digests(built)})

    def _link(self, key: Key, version: str | None, state: Mapping[str, Any]) -> Link:
        return Link(
            external_id=self._identifiers.external_id(key), version=version, state={**state, TYPE_KEY: key.code}
        )

    def _built(self, record: Outgoing) -> dict[str, Any]:
        codings = record.link.state.get(CODINGS) if record.link else None
        return self._resources.build(record.type, record.data, codings)


class Memberships:
    """Who is in which group. The registry is told of changes only: whom it has is kept with the group's link, so those
    that it got elsewhere and that we have not seen stay. Roles are its own affair: the hub knows none."""

    def __init__(self, client: RegistryClient, identifiers: Identifiers) -> None:
        self._client, self._identifiers = client, identifiers

    async def put(self, group: Outgoing, link: Link, members: Sequence[Member]) -> Link:
        """Tell it who has come and gone; the link with whom it has now. Raises `Unfinished` with what was told."""
        path = self._identifiers.text(self._identifiers.of_link(RecordType.GROUP, link))
        told = set(link.state.get(MEMBERS, ()))
        wanted = {
            self._reference(member.link) for member in members if member.link and member.type is RecordType.INDIVIDUAL
        }
        strange = {self._reference(Link(external_id=one)) for one in group.strange_members}
        try:
            for reference in sorted(told - wanted - strange):
                await self._remove(path, reference)
                told.remove(reference)
            for reference in sorted(wanted - told):
                await self._add(path, reference)
                told.add(reference)
        except CallFailed as failed:
            raise Unfinished(failed.failure(codes.PUSH_FAILED, group.guid), link=_with_members(link, told)) from None
        return _with_members(link, told)

    def _reference(self, link: Link) -> str:
        return self._identifiers.reference(self._identifiers.of_link(RecordType.INDIVIDUAL, link))

    async def _add(self, group: str, reference: str) -> None:
        try:
            body = {"entity": {"reference": reference}}
            await self._action(group, "$add-member", "add a member to a group", body)
        except CallFailed as failed:
            if failed.kind is not CallKind.CONFLICT:  # in it already
                raise

    async def _remove(self, group: str, reference: str) -> None:
        try:
            body = {"entity": {"reference": reference}}
            await self._action(group, "$remove-member", "take a member out of a group", body)
        except CallFailed as failed:
            if failed.kind is not CallKind.NOT_FOUND:  # not in it any more
                raise

    async def _action(self, group: str, action: str, what: str, body: Mapping[str, Any]) -> None:
        # Doing it twice is doing it once: the second time it is a conflict, or not found.
        await self._client.call("POST", "Group", group, action, what=what, json=body, repeatable=True)


def _with_members(link: Link, members: Collection[str]) -> Link:
    return replace(link, state={**link.state, MEMBERS: sorted(members)})


def version_of(resource: Mapping[str, Any], reply: Reply | None = None) -> str | None:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    if version is None and reply is not None:
        version = reply.headers.get("etag", "").removeprefix("W/").strip('"')
    return str(version) if version else None


def _changes(built: Mapping[str, Any], emptied: Collection[str], link: Link) -> dict[str, Any]:
    """The fields that are not as the registry was last seen to have them. Others may have been edited there since."""
    sent: Mapping[str, str] = link.state.get(SENT, {})
    patch = {name: value for name, value in built.items() if digest(value) != sent.get(name)}
    patch |= {name: None for name in emptied if name in sent}
    return patch | ({"active": True} if link.state.get(ARCHIVED) else {})


def _ended(guid: str) -> Failure:
    message = "It has been ended there since it was seen last. The next pull settles it."
    return Failure(code="CONFLICT", message=message, retryable=True, guid=guid)


def _article(type: RecordType) -> str:
    return "an individual" if type is RecordType.INDIVIDUAL else "a group"
