"""Sealing anew what waits in the outbox, after a change of keys: a message that no key opens is refused and never sent."""

from datacollect.db import EVERY_TENANT, Database
from datacollect.features.messages import queries
from datacollect.features.messages.model import place_of
from datacollect.kernel.sealing import CannotOpen, Seals

_AT_ONCE = 100


async def reseal(db: Database, seals: Seals) -> tuple[int, int]:
    """Seal with the first key what any other has sealed. How many messages were, and how many no key opens."""
    done = locked = 0
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        async with db.transaction(EVERY_TENANT) as tx:
            rows = await queries.sealed_otherwise(tx, seals.prefix, after=after, limit=_AT_ONCE)
            for row in rows:
                place = place_of(row.id)
                try:
                    again = seals.seal(seals.open(row.content, place), place)
                except CannotOpen:
                    locked += 1
                else:
                    await queries.replace_content(tx, row, again)
                    done += 1
        after = (rows[-1].tenant_id, rows[-1].id) if rows else None
    return done, locked
