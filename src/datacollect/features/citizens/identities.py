"""Signing in with a national id and a date of birth. Source: the contract's self-service area, 3.3; its weak points R7
and R8.

Both are known to many, so wrong tries lock the national id for longer and longer, whether or not anybody has it.
"""

from datacollect.db import Reading, Tx
from datacollect.features.citizens.errors import VerificationFailed
from datacollect.features.citizens.journal import Journal
from datacollect.features.citizens.model import ID_LOCK, Holder
from datacollect.features.citizens.service import begin_session, require_program
from datacollect.features.citizens.standing import Claimed, lock_of, standing_of
from datacollect.kernel.clock import Millis
from datacollect.kernel.errors import DataCollectError
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.peppers import Peppers
from datacollect.kernel.source import Source
from datacollect.kernel.tenancy import SignIn
from datacollect.kernel.tokens import Tokens


async def require_unlocked(
    view: Reading, scope: TenantScope, peppers: Peppers, national_id: str, *, source: Source, now: Millis
) -> None:
    """Raises `SignInLocked`."""
    locked = await lock_of(view, scope, peppers, _claimed(national_id), ID_LOCK, source=source, now=now)
    if locked is not None:
        raise locked


async def sign_in(
    tx: Tx,
    scope: TenantScope,
    peppers: Peppers,
    tokens: Tokens,
    national_id: str,
    holder: Holder | None,
    *,
    source: Source,
    journal: Journal,
    now: Millis,
) -> str | DataCollectError:
    """A citizen's token, if somebody's record has both. A refusal is returned: that the try was wrong is to be kept."""
    await require_program(tx, scope)
    standing = await standing_of(tx, scope, peppers, _claimed(national_id), ID_LOCK, source=source, now=now)
    if (locked := standing.refusal(now)) is not None:
        return locked
    if holder is None:
        await journal.refused(national_id, locks=await standing.note_wrong(tx, scope, now=now))
        return VerificationFailed()
    await standing.note_right(tx, scope, source, now=now)
    await journal.signed_in(holder.guid)
    return await begin_session(tx, scope, tokens, peppers, holder, method=SignIn.ID, identifier=holder.guid, now=now)


def _claimed(national_id: str) -> Claimed:
    return Claimed("id", national_id)
