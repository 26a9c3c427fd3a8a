"""A citizen's data as a file to take along: what the program holds about them, as far as they are shown it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from datacollect.features.selfservice.views import entity_view, json_of, submission_view
from datacollect.features.users.model import User
from datacollect.features.users.service import find_users
from datacollect.kernel.clock import Millis, format_timestamp
from datacollect.kernel.identity import OwnRecord, TenantScope
from datacollect.kernel.ids import UserId
from datacollect.kernel.tenancy import Tenant

FORMAT = "datacollect-own-data"
MOST_EVENTS = 10_000
"""In one file, and submissions; the first ones. Nobody has as many."""
MOST_BYTES = 16 * 1024 * 1024
"""Of what the events of one file tell; one more may be begun."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Told:
    """What an event says of the citizen, without the rest of it."""

    guid: str
    type: str
    occurred_at: Millis
    recorded_at: Millis
    actor: str
    data: Mapping[str, Any]


async def exported(
    view: Reading, log: EventLog, own: OwnRecord, scope: TenantScope, tenant: Tenant, forms: OwnForms, *, now: Millis
) -> dict[str, Any]:
    """The whole document, of one view. Raises `EntityNotFound`."""
    entity = await service.read_record(view, scope, own.entity_guid)
    record = service.own_of(entity)
    told, is_complete = await _events(view, log, scope, record, forms)
    groups = await groups_of(view, scope, record.guid)
    sent = await service.list_submissions(view, scope, own, before=None, limit=MOST_EVENTS)
    files = await of_entity(view, scope, record.guid)
    people = await find_users(view, accounts_in({one.actor for one in told}))
    return {
        "format": FORMAT,
        "version": 1,
        "exportedAt": format_timestamp(now),
        "program": {"id": tenant.id, "name": tenant.name},
        "entity": entity_view(entity, record, forms),
        "memberships": [_group(group) for group in groups],
        "events": [_event(one, forms, people, tenant) for one in told],
        "eventsAreComplete": is_complete,
        "submissions": [
            submission_view(one, tenant.id, record, forms, asked=sent.asked.get(one.id)) for one in sent.found
        ],
        "submissionsAreComplete": sent.next_key is None,
        "attachments": [_file(file) for file in files],
    }


async def _events(
    view: Reading, log: EventLog, scope: TenantScope, own: Own, forms: OwnForms
) -> tuple[Sequence[_Told], bool]:
    """What the events about the citizen tell, and whether that is all. Of the events themselves a batch is held at once."""
    told: list[_Told] = []
    size_bytes, reached = 0, 0
    while batch := await events_touching(
        view, scope, own.guid, after=reached, limit=min(_BATCH, MOST_EVENTS - len(told))
    ):
        for touching in batch:
            told.append(_told_by(touching, log, own, forms))
            size_bytes += len(json_of(told[-1].data))
        reached = batch[-1].position
        if len(told) == MOST_EVENTS or size_bytes >= MOST_BYTES:
            return told, False
    return told, True


def _told_by(touching: Touching, log: EventLog, own: Own, forms: OwnForms) -> _Told:
    """Of an event about a group, only what it says of this member: the rest is about others."""
    event = log.upcasters.upcast(event_from_body(touching.body))
    data = event.data if event.entity_guid == own.guid else data_of_members(event.data).get(own.guid, {})
    visible = forms.visible_in(data, own.form)
    return _Told(event.guid, event.type, event.occurred_at, touching.recorded_at, touching.actor, visible)


def _event(told: _Told, forms: OwnForms, people: Mapping[UserId, User], tenant: Tenant) -> dict[str, Any]:
    return {
        "guid": told.guid,
        "type": told.type,
        "timestamp": format_timestamp(told.occurred_at),
        "receivedAt": format_timestamp(told.recorded_at),
        "by": by_view(told.actor, people, tenant, names_staff=forms.names_staff),
        "data": told.data,
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
