"""Sending a batch: several records at a time, and not on and on to a system that is away."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog

from datacollect.adapters.calling import CallFailed, CallKind
from datacollect.adapters.errors import AdapterError, Failure
from datacollect.adapters.port import Failed, Outcome, Outgoing

_log = structlog.get_logger(component="adapters")

AT_ONCE = 4
ENOUGH_FAILED = 5
"""Records in a row that get no answer, or the other system's own error: then it is taken for away."""

_NO_ANSWER = frozenset({CallKind.UNREACHABLE, CallKind.UNAVAILABLE, CallKind.TOO_SLOW})


async def push_each(
    records: Sequence[Outgoing],
    push_one: Callable[[Outgoing], Awaitable[Outcome]],
    *,
    code: str = "PUSH_FAILED",
    at_once: int = AT_ONCE,
    goes_first: Callable[[Outgoing], bool] = lambda record: True,
) -> list[Outcome]:
    """Push every record by itself, `at_once` at a time; one outcome for each, in their order.

    Those that go first (members before their groups, say) are done before the others begin.

    A record whose call fails is failed, and uncertain if the call may have arrived. When the other system is away the
    rest is not tried. Raises `AdapterError` if that is so and nothing has arrived.
    """
    batch = _Batch(records, push_one, code)
    for is_first in (True, False):
        waiting = iter([(place, one) for place, one in enumerate(records) if goes_first(one) is is_first])
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(records))):
                group.create_task(batch.work(waiting))
    return batch.outcomes()


class _Batch:
    def __init__(
        self, records: Sequence[Outgoing], push_one: Callable[[Outgoing], Awaitable[Outcome]], code: str
    ) -> None:
        self._records = records
        self._push_one = push_one
        self._code = code
        self._done: dict[int, Outcome] = {}
        self._has_answered = False
        self._in_a_row = 0
        self._away: CallFailed | AdapterError | None = None

    async def work(self, waiting: Iterator[tuple[int, Outgoing]]) -> None:
        for place, record in waiting:
            if self._away:
                return
            try:
                self._done[place] = await self._push_one(record)
            except CallFailed as failed:
                self._note(failed)
                failure = failed.failure(self._code, record.guid)
                # What an earlier try left open is still open when a question about it fails.
                self._done[place] = Failed(failure=failure, is_uncertain=failed.may_have_arrived or record.is_uncertain)
            except AdapterError as error:
                self._away = error
            except Exception as error:
                # Where it went wrong, and no text of its own: that may hold what people have told.
                lines = "".join(traceback.format_tb(error.__traceback__))
                _log.error("adapter.record_failed", error=type(error).__name__, traceback=lines)
                self._done[place] = self._crashed(record)
            else:
                self._has_answered, self._in_a_row = True, 0

    def _note(self, failed: CallFailed) -> None:
        if failed.kind in _NO_ANSWER:
            self._in_a_row += 1
        elif not failed.is_systemic:
            # Also where it is no answer about the record: its front may refuse just these, and they come first in every run.
            self._has_answered, self._in_a_row = True, 0
        is_alone = failed.kind is CallKind.UNREACHABLE and self._in_a_row == len(self._records)
        if failed.is_systemic or self._in_a_row >= ENOUGH_FAILED or is_alone:
            self._away = failed

    def outcomes(self) -> list[Outcome]:
        if self._away and not self._has_answered:
            raise self._away if isinstance(self._away, AdapterError) else self._away.error(self._code)
        return [self._done.get(place) or self._untried(record) for place, record in enumerate(self._records)]

    def _crashed(self, record: Outgoing) -> Outcome:
        """One record that the adapter cannot deal with does not keep the others back."""
        message = "The adapter could not deal with this record; the log says more."
        failure = Failure(code=self._code, message=message, retryable=False, guid=record.guid)
        return Failed(failure=failure, is_uncertain=True)

    def _untried(self, record: Outgoing) -> Outcome:
        message = "Not sent: the other system is away, or does not let us in."
        failure = Failure(code=self._code, message=message, retryable=True, guid=record.guid)
        # It may be that an earlier try has arrived; this one changes nothing about that.
        return Failed(failure=failure, is_uncertain=record.is_uncertain)
