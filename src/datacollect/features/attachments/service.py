"""Attachments: making, finding and deleting them. Source: the contract's attachments, and README decisions 12 and 19."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from datacollect.db import Database, Reading, Tx
from datacollect.eventstore.log import EventLog
from datacollect.eventstore.verification import history_of
from datacollect.features.attachments import queries
from datacollect.features.attachments.contents.keeping import Contents
from datacollect.features.attachments.errors import (
    AttachmentDeleted,
    AttachmentNotFound,
    EntityDeleted,
    EntityUnknown,
    GuidTaken,
    ImportContradicts,
    ProgramFull,
    TooManyAttachments,
)
from datacollect.features.attachments.model import Attachment, Mark, named
from datacollect.features.audit.service import note
from datacollect.features.entities.service import known_guids, within_reach
from datacollect.kernel.clock import Clock
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.tenancy import AttachmentRules
from datacollect.objects import Spooled, StorageUnavailable

UPLOADED, DELETED, IMPORTED = "attachment-uploaded", "attachment-deleted", "attachments-imported"

Successors = Callable[[Reading, TenantScope, str], Awaitable[Sequence[str]]]
"""Asked about an entity that was merged into another one: who took its place, who took theirs, and so on."""

Touchable = Callable[[Reading, TenantScope, Sequence[str]], Awaitable[Collection[str]]]
"""Those of the entities that events of the caller's may be about: within reach, or ended within it."""

_TRIES = 5
_log = structlog.get_logger(component="attachments")


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """What is to be made; its bytes are in the spool."""

    guid: str
    entity_guid: str
    filename: str
    original_name: str
    mime_type: str


class Keeper:
    """Makes and deletes attachments. Each is told by the program's audit trail in the transaction that does it."""

    def __init__(
        self,
        database: Database,
        log: EventLog,
        contents: Contents,
        clock: Clock,
        *,
        successors: Successors,
        touchable: Touchable = within_reach,
        quota_bytes: int,
    ) -> None:
        """`quota_bytes` is the room that the attachments of one program may take; 0 for no limit."""
        self._database = database
        self._log = log
        self._contents = contents
        self._clock = clock
        self._successors = successors
        self._touchable = touchable
        self._quota_bytes = quota_bytes

    async def keep(
        self, scope: TenantScope, rules: AttachmentRules, new: NewAttachment, spooled: Spooled
    ) -> tuple[Attachment, bool]:
        """The attachment, and whether it was made now: the same one sent again is the one that is there, and its bytes are
        stored anew if they are not. What is sent for an entity that was merged into another one is the other one's.

        When this returns, its bytes and its row outlive the machine's power. Otherwise nothing of it can be seen, and
        what is left of its bytes is collected. Raises `EntityUnknown`, `EntityDeleted`, `GuidTaken`,
        `AttachmentDeleted`, `TooManyAttachments`, `ProgramFull`, and what the storage raises.
        """
        async with self._database.reading(scope) as view:
            # Before storage is asked for anything; the transaction looks again.
            before = await self._made_before(view, scope, new, spooled)
            if before is None:
                await self._require_room(view, scope, rules, new)
                self._require_quota((await queries.totals(view, scope)).size_bytes + spooled.size_bytes)
        if before is not None:
            await self._restore(scope, spooled)
            return before, False
        secured = await self._contents.secure(scope, spooled)
        try:
            async with self._changing(scope) as tx:
                if made := await self._made_before(tx, scope, new, spooled):
                    return made, False
                if await self._contents.take(tx, scope, secured):
                    made = await self._insert(tx, scope, rules, new, spooled)
                    await self._note(tx, scope, UPLOADED, made)
        except TenantUnknown:
            await self._contents.discard(scope, secured)
            raise
        if made is None:
            # It may have gone with its program, whose id is another one's by now: who sends it again is let in anew.
            raise StorageUnavailable()
        _log.info("attachment.uploaded", guid=made.guid, entity_guid=made.entity_guid, size_bytes=made.size_bytes)
        return made, True

    async def _restore(self, scope: TenantScope, spooled: Spooled) -> None:
        """Store the bytes of an attachment anew unless they are there: who is told so next deletes its own copy."""
        secured = await self._contents.secure(scope, spooled)
        if not secured.is_written:
            return
        try:
            async with self._changing(scope) as tx:
                is_there = await self._contents.restore(tx, scope, secured)
        except TenantUnknown:
            await self._contents.discard(scope, secured)
            raise
        if not is_there:
            raise StorageUnavailable()
        _log.info("attachment.restored", size_bytes=spooled.size_bytes)

    async def find_here(self, scope: TenantScope, told: Attachment) -> Attachment | None:
        """What is here already of an attachment of another hub; what is left of it where it was deleted here.

        Raises `ImportContradicts` when its guid is taken by another one, and `TenantUnknown`.
        """
        async with self._database.reading(scope) as view:
            if await self._log.head(view, scope) is None:
                raise TenantUnknown()
            return await self._find_here(view, scope, told)

    async def take_in(self, scope: TenantScope, told: Attachment, spooled: Spooled) -> bool:
        """Make an attachment as it was in another hub, whatever the limits. False if somebody has just done so.

        Raises `ImportContradicts`, and `TenantUnknown` for a program that is gone: nothing is left of the bytes then.
        """
        for _ in range(_TRIES):
            secured = await self._contents.secure(scope, spooled)
            try:
                async with self._changing(scope) as tx:
                    if await self._find_here(tx, scope, told) is not None:
                        return False
                    if not await self._contents.take(tx, scope, secured):
                        continue
                    totals = await queries.advance(tx, scope, files=1, size_bytes=told.size_bytes)
                    entity_guid, exists = await self._owner(tx, scope, told.entity_guid)
                    new = replace(told, entity_guid=entity_guid, position=totals.position, awaits_entity=exists is None)
                    await queries.insert_attachment(tx, scope, new)
                    return True
            except TenantUnknown:
                await self._contents.discard(scope, secured)
                raise
        raise StorageUnavailable()

    async def take_in_deleted(self, scope: TenantScope, told: Attachment) -> bool:
        """Note an attachment that was deleted in another hub, so that it is not made anew here. False if its guid is known:
        what is here is left as it is. Raises `TenantUnknown`."""
        async with self._changing(scope) as tx:
            if await queries.find(tx, scope, told.guid) is not None:
                return False
            totals = await queries.advance(tx, scope, files=0, size_bytes=0)
            await queries.insert_attachment(tx, scope, replace(told, position=totals.position))
            return True

    async def note_import(self, scope: TenantScope, count: int) -> None:
        """What comes from elsewhere is told once, and not for each."""
        async with self._changing(scope) as tx:
            await note(tx, self._log, scope, IMPORTED, "*", {"attachments": count}, now=self._clock.now())

    async def _find_here(self, view: Reading, scope: TenantScope, told: Attachment) -> Attachment | None:
        found = await queries.find(view, scope, told.guid)
        if found is None or found.deleted_at is not None:
            return found
        if found.digest != told.digest or not await self._is_of(view, scope, found, told.entity_guid):
            raise ImportContradicts(f"Attachment {told.guid} is here, and is another one.")
        return found

    async def delete(self, scope: TenantScope, guid: str) -> None:
        """What is left tells readers that it is gone. Raises `AttachmentNotFound`."""
        async with self._changing(scope) as tx:
            await self.delete_in(tx, scope, await get(tx, scope, guid))
        _log.info("attachment.deleted", guid=guid)

    async def delete_in(self, tx: Tx, scope: TenantScope, found: Attachment) -> None:
        """The same within a unit of work that holds the log."""
        assert found.digest is not None
        totals = await queries.advance(tx, scope, files=-1, size_bytes=-found.size_bytes)
        await self._contents.release(tx, scope, found.digest)
        await queries.bury(tx, scope, found.guid, position=totals.position, now=self._clock.now())
        await self._note(tx, scope, DELETED, found)

    @asynccontextmanager
    async def _changing(self, scope: TenantScope) -> AsyncIterator[Tx]:
        """A unit of work in which nobody else changes attachments. The log's lock is taken first, as by everybody who
        takes several. Raises `TenantUnknown` for a program that is gone."""
        async with self._log.turn(scope), self._database.transaction(scope) as tx:
            if await self._log.hold(tx, scope) is None:
                raise TenantUnknown()
            yield tx

    async def _made_before(
        self, view: Reading, scope: TenantScope, new: NewAttachment, spooled: Spooled
    ) -> Attachment | None:
        found = await queries.find(view, scope, new.guid)
        if found is None:
            return None
        is_same = found.digest == spooled.digest and await self._is_of(view, scope, found, new.entity_guid)
        if not await visible(view, scope, [found]) and not (is_same and await self._may_add(view, scope, new)):
            raise GuidTaken()
        if found.deleted_at is not None:
            raise AttachmentDeleted()
        if not is_same:
            raise GuidTaken()
        return found

    async def _may_add(self, view: Reading, scope: TenantScope, new: NewAttachment) -> bool:
        """Whether events of the sender's may be about the entity it is sent for: a device that has not heard of a merge
        goes on with the one it knows, whoever has taken their place and wherever they are."""
        return new.entity_guid in await self._touchable(view, scope, [new.entity_guid])

    async def _is_of(self, view: Reading, scope: TenantScope, found: Attachment, entity_guid: str) -> bool:
        """Whether it was made for an entity: a merge may have handed it over since."""
        if found.entity_guid == entity_guid:
            return True
        return found.entity_guid in await self._successors(view, scope, entity_guid)

    async def _owner(self, view: Reading, scope: TenantScope, entity_guid: str) -> tuple[str, bool | None]:
        """Whose an attachment of an entity is, and whether that exists; None if nobody knows it.

        It is the entity's own, or of who has taken its place.
        """
        exists = (await known_guids(view, scope, [entity_guid])).get(entity_guid)
        if exists is False:
            line = await self._successors(view, scope, entity_guid)
            known = await known_guids(view, scope, line)
            return next(((guid, True) for guid in line if known.get(guid)), (entity_guid, False))
        return entity_guid, exists

    async def _require_room(
        self, view: Reading, scope: TenantScope, rules: AttachmentRules, new: NewAttachment
    ) -> tuple[str, bool]:
        """Whose it is to be, and whether that is there. Raises `EntityUnknown`, `EntityDeleted`, `TooManyAttachments`."""
        entity_guid, exists = await self._owner(view, scope, new.entity_guid)
        if exists is False and not scope.reach.is_bounded:
            raise EntityDeleted()
        is_own = entity_guid == new.entity_guid
        if entity_guid not in await within_reach(view, scope, [entity_guid]) and (
            is_own or not await self._may_add(view, scope, new)
        ):
            raise EntityUnknown()
        if await queries.count_of_entity(view, scope, entity_guid) >= rules.most_per_entity:
            raise TooManyAttachments(f"The entity has {rules.most_per_entity} attachments; it may not have more.")
        return entity_guid, exists is True

    def _require_quota(self, size_bytes: int) -> None:
        """Raises `ProgramFull`."""
        if self._quota_bytes and size_bytes > self._quota_bytes:
            raise ProgramFull()

    async def _insert(
        self, tx: Tx, scope: TenantScope, rules: AttachmentRules, new: NewAttachment, spooled: Spooled
    ) -> Attachment:
        entity_guid, is_known = await self._require_room(tx, scope, rules, new)
        totals = await queries.advance(tx, scope, files=1, size_bytes=spooled.size_bytes)
        self._require_quota(totals.size_bytes)
        made = Attachment(
            guid=new.guid,
            entity_guid=entity_guid,
            digest=spooled.digest,
            filename=new.filename,
            original_name=new.original_name,
            mime_type=new.mime_type,
            size_bytes=spooled.size_bytes,
            position=totals.position,
            created_at=self._clock.now(),
            created_by=scope.actor.event_user_id,
            awaits_entity=not is_known,
        )
        await queries.insert_attachment(tx, scope, made)
        return made

    async def _note(self, tx: Tx, scope: TenantScope, action: str, about: Attachment) -> None:
        # Not what it is called: the trail outlasts the file, and names tell of people.
        told = {
            "attachmentGuid": about.guid,
            "hash": about.digest,
            "mimeType": about.mime_type,
            "sizeBytes": about.size_bytes,
        }
        await note(tx, self._log, scope, action, about.entity_guid, told, now=self._clock.now())


async def hand_over(tx: Tx, scope: TenantScope, from_guid: str, to_guid: str) -> int:
    """Give an entity what another one has, which is merged into it; how many. The log is held."""
    found = await queries.list_of_entity(tx, scope, from_guid)
    for each in found:
        totals = await queries.advance(tx, scope, files=0, size_bytes=0)
        await queries.hand_over(tx, scope, each.guid, to_guid, position=totals.position)
    return len(found)


programs_with_attachments = queries.tenants


# -- reading


async def get(view: Reading, scope: TenantScope, guid: str) -> Attachment:
    """Raises `AttachmentNotFound`, also for one whose entity is deleted or beyond the reader's reach."""
    found = await queries.find(view, scope, guid.lower())
    if found is None or found.deleted_at is not None:
        raise AttachmentNotFound()
    known = await known_guids(view, scope, [found.entity_guid])
    if known.get(found.entity_guid) is False or not await visible(view, scope, [found]):
        raise AttachmentNotFound()
    return replace(found, awaits_entity=found.entity_guid not in known)


async def of_entity(view: Reading, scope: TenantScope, entity_guid: str) -> Sequence[Attachment]:
    """By time, then guid; none of an entity that is deleted, unknown or beyond the reader's reach."""
    known = await known_guids(view, scope, [entity_guid])
    if known.get(entity_guid) is False or entity_guid not in await within_reach(view, scope, [entity_guid]):
        return []
    found = await queries.list_of_entity(view, scope, entity_guid)
    return [replace(one, awaits_entity=entity_guid not in known) for one in found]


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """Attachments by their last change. `mark` is where to go on, `None` while nothing has ever changed."""

    found: Sequence[Attachment]
    mark: Mark | None
    has_more: bool


async def changes(view: Reading, scope: TenantScope, since: Mark | None, *, limit: int) -> ChangesPage:
    """What has changed since a mark, in the order of commits; deleted ones too.

    Attachments of deleted entities are told, for an entity may come back. Who reads a part of the program is told of
    what is within reach now. A mark of another history (the hub was put back to an older backup, or the program taken up
    from an export), and one that is not known, begins anew.
    """
    history = named(await history_of(view, scope) or "")
    if since is not None and (since.history != history or not await queries.knows(view, scope, since)):
        since = None
    rows = await queries.list_after(view, scope, since.position if since else 0, limit=limit + 1)
    page = rows[:limit]
    mark = Mark(page[-1].position, page[-1].guid, history) if page else since
    return ChangesPage(await _with_status(view, scope, await visible(view, scope, page)), mark, len(rows) > limit)


async def pending(view: Reading, scope: TenantScope, since: Mark | None, *, limit: int) -> ChangesPage:
    """Those whose entities are not there, by their position; a page may hold fewer although there are more."""
    rows = await queries.list_pending(view, scope, since.position if since else 0, limit=limit + 1)
    page = rows[:limit]
    waiting = [one for one in await _with_status(view, scope, page) if one.awaits_entity]
    mark = Mark(page[-1].position, page[-1].guid) if page else since
    return ChangesPage(waiting, mark, len(rows) > limit)


async def visible(view: Reading, scope: TenantScope, found: Sequence[Attachment]) -> Sequence[Attachment]:
    """Those of entities that the reader may see."""
    within = set(await within_reach(view, scope, sorted({one.entity_guid for one in found})))
    return [one for one in found if one.entity_guid in within]


async def _with_status(view: Reading, scope: TenantScope, found: Sequence[Attachment]) -> Sequence[Attachment]:
    """What is noted may be older than the entity."""
    known = await known_guids(view, scope, sorted({one.entity_guid for one in found if one.awaits_entity}))
    return [replace(one, awaits_entity=one.awaits_entity and one.entity_guid not in known) for one in found]
