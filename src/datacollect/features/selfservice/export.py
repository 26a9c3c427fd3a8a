"""A citizen's data as a file to take along: what the program holds about them, as far as they are shown it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from datacollect.db import Reading
from datacollect.eventstore.event import event_from_body
from datacollect.eventstore.log import EventLog
from datacollect.features.attachments.model import Attachment
from datacollect.features.attachments.service import of_entity
from datacollect.features.audit.model import Touching, data_of_members
from datacollect.features.audit.service import events_touching
from datacollect.features.entities.service import StoredEntity, groups_of
from datacollect.features.selfservice import service
from datacollect.features.selfservice.access import accounts_in, by_view
from datacollect.features.selfservice.model import Own, OwnForms
from datacollect.features.selfservice.views import entity_view, submission_view
from datacollect.features.users.model import User
from datacollect.features.users.service import find_users
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import OwnRecord, TenantScope
from datacollect.kernel.ids import UserId
from datacollect.kernel.tenancy import Tenant

FORMAT = "datacollect-own-data"
MOST_EVENTS = 10_000
"""In one file, and submissions; the first ones. Nobody has as many."""
_BATCH = 500


async def exported(
    view: Reading, log: EventLog, own: OwnRecord, scope: TenantScope, tenant: Tenant, forms: OwnForms, *, now: Millis
) -> dict[str, Any]:
    """The whole document, of one view. Raises `EntityNotFound`."""
    entity = await service.read_record(view, scope, own.entity_guid)
    record = service.own_of(entity)
    touchings = [touching async for touching in _events(view, scope, record.guid)]
    groups = await groups_of(view, scope, record.guid)
    sent = await service.list_submissions(view, scope, own, before=None, limit=MOST_EVENTS)
    files = await of_entity(view, scope, record.guid)
    people = await find_users(view, accounts_in({touching.actor for touching in touchings}))
    return {
        "format": FORMAT,
        "version": 1,
        "exportedAt": format_timestamp(now),
        "program": {"id": tenant.id, "name": tenant.name},
        "entity": entity_view(entity, record, forms),
        "memberships": [_group(group) for group in groups],
        "events": [_event(one, log, record, forms, people, tenant) for one in touchings],
        "eventsAreComplete": len(touchings) < MOST_EVENTS,
        "submissions": [
            submission_view(one, tenant.id, record, forms, asked=sent.asked.get(one.id)) for one in sent.found
        ],
        "submissionsAreComplete": sent.next_key is None,
        "attachments": [_file(file) for file in files],
    }


async def _events(view: Reading, scope: TenantScope, guid: str) -> AsyncIterator[Touching]:
    reached, told = 0, 0
    while batch := await events_touching(view, scope, guid, after=reached, limit=min(_BATCH, MOST_EVENTS - told)):
        for touching in batch:
            yield touching
        reached, told = batch[-1].position, told + len(batch)
        if told == MOST_EVENTS:
            return


def _event(
    touching: Touching, log: EventLog, own: Own, forms: OwnForms, people: Mapping[UserId, User], tenant: Tenant
) -> dict[str, Any]:
    """Of an event about a group, only what it says of this member: the rest is about others."""
    event = log.upcasters.upcast(event_from_body(touching.body))
    data = event.data if event.entity_guid == own.guid else data_of_members(event.data).get(own.guid, {})
    return {
        "guid": event.guid,
        "type": event.type,
        "timestamp": format_timestamp(event.occurred_at),
        "receivedAt": format_timestamp(touching.recorded_at),
        "by": by_view(touching.actor, people, tenant, names_staff=forms.names_staff),
        "data": forms.visible_in(data, own.form),
    }


def _group(group: StoredEntity) -> dict[str, Any]:
    """Which group it is, and nothing of what it holds: that is about others, too."""
    return {"guid": group.guid, "type": group.type, "name": group.name}


def _file(file: Attachment) -> dict[str, Any]:
    return {
        "guid": file.guid,
        "name": file.original_name,
        "mimeType": file.mime_type,
        "sizeBytes": file.size_bytes,
        "hash": file.digest,
        "createdAt": format_timestamp(file.created_at),
    }
