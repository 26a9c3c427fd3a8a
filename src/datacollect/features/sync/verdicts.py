"""What a push is told of its events, in wire form."""

from collections.abc import Collection, Sequence
from typing import Any

from datacollect.eventstore.event import EventRejected
from datacollect.eventstore.log import Rejection, stop_at_first
from datacollect.features.entities.entity import parent_in
from datacollect.features.entities.errors import EntityUnknownInReach, OutOfReach
from datacollect.features.sync.payload import Push

Refused = tuple[int, EventRejected]
"""An event, by its index in the array as sent, and what is wrong with it."""


class Refusals:
    """What a push does about events that cannot be applied.

    Out of reach of the sender: the others are applied, as the contract says. Anything else ends an atomic push; with
    verdicts the event is left out.
    """

    def __init__(self, *, atomic: bool) -> None:
        self._atomic = atomic
        self._out_of_reach: list[Rejection] = []
        self._not_created: set[str] = set()

    def note(self, rejection: Rejection) -> None:
        if isinstance(rejection.reason, OutOfReach):
            self._out_of_reach.append(rejection)
            is_refused = not isinstance(self.judged(rejection), EntityUnknownInReach)
            if is_refused and rejection.event.type.startswith("create-"):
                self._not_created.add(rejection.event.entity_guid)
        elif self._atomic:
            stop_at_first(rejection)

    def judged(self, rejection: Rejection) -> EventRejected:
        """The reason to tell: what is said of an entity whose creation was refused is out of scope, not unknown. So is a
        record of one."""
        event, reason = rejection.event, rejection.reason
        if not isinstance(reason, EntityUnknownInReach):
            return reason
        unknown = event.entity_guid if reason.path == ["entityGuid"] else parent_in(event.data)
        return OutOfReach(path=reason.path) if unknown in self._not_created else reason

    def to_wire(self, *, without: Collection[int] = ()) -> list[dict[str, Any]]:
        """The events that were out of reach, as an atomic push is told; `without` those, by index."""
        return [
            {
                "guid": one.event.guid,
                "entityGuid": one.event.entity_guid,
                "type": one.event.type,
                **_told(self.judged(one)),
            }
            for one in self._out_of_reach
            if one.index not in without
        ]

    def ending_with(self, rejection: Rejection) -> list[dict[str, Any]]:
        """What an atomic push is told that ended with this event.

        `index` counts in the list sorted by time and without what was out of reach, as the reference does; the
        `eventGuid` is unambiguous.
        """
        failure = {
            "index": rejection.index - len(self._out_of_reach),
            "eventGuid": rejection.event.guid,
            "error": rejection.reason.message,
            "reason": "submit_failed",
            **_told(rejection.reason),
        }
        return [failure, *self.to_wire()]


def verdicts(reasons: Sequence[Refused], pushed: Push) -> list[dict[str, Any]]:
    """One entry each, in the order in which the events were sent, with the guid that each was sent with."""
    return [_verdict(index, pushed, reason) for index, reason in sorted(reasons, key=lambda one: one[0])]


def _verdict(index: int, pushed: Push, reason: EventRejected) -> dict[str, Any]:
    event = pushed.events[index]
    return {
        "index": index,
        "guid": pushed.guids_sent.get(index, event.guid),
        "entityGuid": event.entity_guid,
        "type": event.type,
        **_told(reason),
    }


def _told(reason: EventRejected) -> dict[str, Any]:
    """What is wrong with an event, where, and what to do: an operator reads it in a device's log, without the docs."""
    return {"code": reason.code, "message": reason.message, "help": reason.help, **reason.extra}
