"""Speaks to an OpenFn workflow: batches of records to its webhook, changes from the same address."""

from collections.abc import Sequence
from dataclasses import replace

from datacollect.adapters.calling import CallFailed, CallKind, Retrying
from datacollect.adapters.errors import Failure
from datacollect.adapters.health import measured
from datacollect.adapters.kinds import Context
from datacollect.adapters.openfn.answers import Answered, read_answer
from datacollect.adapters.openfn.items import Item, Unreadable, named, read_item
from datacollect.adapters.openfn.marks import Mark, read_mark
from datacollect.adapters.openfn.options import OpenFnOptions
from datacollect.adapters.openfn.webhook import GIVES_NOTHING, Webhook
from datacollect.adapters.port import Failed, Health, Incoming, Outcome, Outgoing, Page, Pushed
from datacollect.kernel.parts import parts

PAGE_ITEMS = 200
EXTRA_CALLS = 24
"""How many parts of a batch are sent that is refused for its content: enough to find a bad record or two."""
ENOUGH_FAILED = 3
"""Batches in a row on which the workflow breaks or hangs: then it is taken for away."""
CHECK_SECONDS = 10
RETRYING = Retrying()

_REFUSES_CONTENT = frozenset({CallKind.REJECTED, CallKind.CONFLICT, CallKind.PRECONDITION})
_CLOSED = (402, 405)
"""What a workflow says that is out of quota, or takes nothing. All else of 4xx a front may say of what is in a batch."""
_HAS_FORGOTTEN = (400, 404, 410)
"""What a server says to a cursor that it does not know any more."""
_STOPS = frozenset({CallKind.NOT_FOUND, CallKind.FORBIDDEN, CallKind.UNREADABLE})
_BREAKS = frozenset({CallKind.UNAVAILABLE, CallKind.TOO_SLOW, CallKind.UNREACHABLE})


class OpenFnAdapter:
    """One program's way to one workflow."""

    def __init__(self, options: OpenFnOptions, context: Context, *, retrying: Retrying = RETRYING) -> None:
        self._options = options
        self._context = context
        self._webhook = Webhook(context.client, options, retrying)
        self._broken_in_a_row = 0
        self._extra_calls = 0
        self._answered: Answered | None = None

    async def close(self) -> None:
        self._answered = None

    async def check(self) -> Health:
        return await measured(self._probe)

    async def _probe(self) -> str | None:
        latest = Mark(since=self._context.clock.now())  # so that the answer is short
        reply = await self._webhook.ask(latest, what="reach the workflow", timeout_seconds=CHECK_SECONDS)
        if reply.status == GIVES_NOTHING:
            return "The workflow takes records and has none to give: it answers GET with 405."
        return None

    # -- to the workflow

    async def push(self, records: Sequence[Outgoing]) -> Sequence[Outcome]:
        """A batch has arrived or it has not. One on which the workflow breaks does not keep the next ones back; one that
        it refuses for its content is sent in parts, so that a record it does not like keeps few others back."""
        outcomes: list[Outcome] = []
        for some in parts(records, self._options.batch_size):
            self._extra_calls = EXTRA_CALLS
            outcomes += await self._hand_over(some)
        return outcomes

    async def _hand_over(self, records: Sequence[Outgoing]) -> list[Outcome]:
        try:
            await self._webhook.hand_over(records)
        except CallFailed as failed:
            if _is_about_content(failed) and len(records) > 1 and self._extra_calls >= 2:
                self._extra_calls -= 2
                middle = len(records) // 2
                return [*await self._hand_over(records[:middle]), *await self._hand_over(records[middle:])]
            return self._not_taken(records, failed)
        self._broken_in_a_row = 0
        return [Pushed(link=record.link) for record in records]

    def _not_taken(self, records: Sequence[Outgoing], failed: CallFailed) -> list[Outcome]:
        self._broken_in_a_row = self._broken_in_a_row + 1 if failed.kind in _BREAKS else 0
        is_closed = failed.kind in _STOPS or failed.status in _CLOSED
        if failed.is_systemic or is_closed or self._broken_in_a_row >= ENOUGH_FAILED:
            raise failed.error("PUSH_BATCH_FAILED")
        # Only of one that was refused alone is it known that it is to blame: the next run goes on looking for the others.
        is_shared = _is_about_content(failed) and len(records) > 1
        return [
            Failed(
                failure=replace(
                    failed.failure("PUSH_BATCH_FAILED", record.guid), retryable=failed.retryable or is_shared
                ),
                is_uncertain=failed.may_have_arrived or record.is_uncertain,
            )
            for record in records
        ]

    # -- from the workflow

    async def pull(self, mark: str | None) -> Page:
        at = read_mark(mark)
        if at.newest is not None and at.newest > self._context.clock.now():
            # Made by a clock that has been set back since: what changes until that time would be left out.
            at = Mark()
        answered = await self._answer_to(at)
        if answered is None:
            return Page(records=(), mark=at.begun_anew().to_text(), is_last=False)
        left = [item for item in answered.items if at.after is None or item.place > at.after]
        part = left[:PAGE_ITEMS]
        records, failures = self._read(part)
        if len(left) > len(part):
            return Page(records=records, mark=at.past(part[-1].place).to_text(), is_last=False, failures=failures)
        return Page(records=records, mark=answered.onward.to_text(), is_last=answered.is_last, failures=failures)

    async def _answer_to(self, at: Mark) -> Answered | None:
        """None if the workflow does not know its own cursor any more: then these pages begin anew, once."""
        if at.after is not None and self._answered is not None and self._answered.question == at.question:
            return self._answered
        may_begin_anew = not (at.is_opening or at.has_begun_anew)
        try:
            reply = await self._webhook.ask(at, accept=_HAS_FORGOTTEN if may_begin_anew else ())
            if may_begin_anew and reply.status in _HAS_FORGOTTEN:
                return None
            now = self._context.clock.now()
            self._answered = read_answer(at.question, reply, webhook=self._options.url, now=now)
        except CallFailed as failed:
            raise failed.error("PULL_FETCH_FAILED") from None
        return self._answered

    def _read(self, items: Sequence[Item]) -> tuple[list[Incoming], list[Failure]]:
        records: list[Incoming] = []
        failures: list[Failure] = []
        for item in items:
            try:
                records.append(read_item(item, form_types=self._context.form_types, allowed=self._options.allowed))
            except Unreadable as reason:
                message = f"An item ({named(item)}) was left out: {reason}."
                failures.append(
                    Failure(code="PULL_APPLY_FAILED", message=message, retryable=False, external_id=item.digest)
                )
        return records, failures


def _is_about_content(failed: CallFailed) -> bool:
    return failed.kind in _REFUSES_CONTENT and failed.status not in _CLOSED
