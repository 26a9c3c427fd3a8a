"""Letters: records of the other system that could not be taken in, kept to be taken up again."""

from dataclasses import replace

import msgspec

from datacollect.adapters.errors import Failure
from datacollect.adapters.port import Incoming, Page
from datacollect.db import Tx
from datacollect.features.external import record_queries
from datacollect.features.external.codes import Trouble
from datacollect.features.external.incoming import Item, Source
from datacollect.features.external.model import LONGEST_MESSAGE
from datacollect.features.external.pushing import is_external_id
from datacollect.features.external.record_queries import Letter
from datacollect.kernel.clock import Millis
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import derived_guid

_incoming = msgspec.json.Decoder(Incoming)


def missing_members(item: Item) -> Failure | None:
    if not item.missing:
        return None
    message = f"{len(item.missing)} of the group's members are not known here yet."
    return Failure(code=Trouble.MEMBER_UNKNOWN.value, message=message, retryable=True, guid=item.guid)


def only_members_of(item: Item) -> Incoming:
    """What of it has not been taken in: the rest may have changed on either side when those members come."""
    return replace(item.incoming, data={}, state={}, version=None, members=item.missing)


def letter_about(
    source: Source,
    key: str,
    guid: str | None,
    incoming: Incoming | None,
    failure: Failure,
    *,
    is_due: bool,
    now: Millis,
) -> Letter:
    text = "" if incoming is None else msgspec.json.encode(incoming).decode()
    return Letter(key, guid, text, failure.code, failure.message[:LONGEST_MESSAGE], is_due, 1, source.run_id, now)


def incoming_of(letter: Letter) -> Incoming:
    """The record that a letter is about."""
    incoming = _incoming.decode(letter.record)
    # Letters of older versions hold all of the record.
    return replace(incoming, data={}, state={}, version=None) if is_of_members(letter) else incoming


def is_of_members(letter: Letter) -> bool:
    """Whether only members of it could not be taken in."""
    return letter.code == Trouble.MEMBER_UNKNOWN.value


async def keep_unreadable(tx: Tx, scope: TenantScope, system: str, page: Page, *, run_id: int, now: Millis) -> None:
    """Name the records that the adapter itself could not read: it does not give them again."""
    letters = [
        Letter(
            _key_of(failure) or derived_guid(system, "unreadable", f"{number}#{page.mark}"),
            failure.guid,
            "",
            failure.code,
            failure.message[:LONGEST_MESSAGE],
            is_due=False,
            tries=1,
            run_id=run_id,
            updated_at=now,
        )
        for number, failure in enumerate(page.failures)
    ]
    await record_queries.keep_letters(tx, scope, system, list({one.external_id: one for one in letters}.values()))


def _key_of(failure: Failure) -> str | None:
    return next((key for key in (failure.external_id, failure.guid) if is_external_id(key)), None)
