"""What somebody is entitled to, what of it has been handed out, and what of that was taken back.

Pure: from an entity's data and an event to the fields that the event sets. The histories are kept in the order of the
events' times, and an entitlement is what its latest grant says, so the order of arrival does not matter as long as the
balance allows each redemption. Source: the contract's model, 5.2-5.4; decision 0013 says where we differ.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import reduce
from typing import Any, TypeGuard

from datacollect.eventstore.event import Event
from datacollect.features.entities.entity import items_in, once_each
from datacollect.features.entities.errors import (
    AlreadyVoided,
    EntitlementExpired,
    EntitlementNotFound,
    EntitlementNotYetValid,
    InsufficientBalance,
    InvalidEntitlement,
    InvalidQuantity,
    NoEntitlements,
    RedemptionNotFound,
    VoidUnauthorized,
)
from datacollect.kernel.clock import Millis, format_timestamp

ENTITLEMENTS, GRANTS, REDEMPTIONS = "entitlements", "grantHistory", "redemptionHistory"
FIELDS = frozenset({ENTITLEMENTS, GRANTS, REDEMPTIONS})
"""Fields of an entity that only these events write."""

Fields = Mapping[str, Any]
Number = int | float

_DAY = 24 * 60 * 60 * 1000
_LARGEST = int(sys.float_info.max)
"""What every client can read. More than that has nobody been granted, so it is all the same how much more is redeemed."""
_EXACT = Context(prec=800)
"""Of a sum of doubles, the digits before the point and behind it."""


def grant(data: Fields, event: Event) -> Fields:
    """Add entitlements, or replace what an earlier grant said of them; what has been redeemed here stays counted."""
    granted = _granted(event)
    grants = items_in(data, GRANTS)
    entry = {
        "formGuid": event.guid,
        "timestamp": format_timestamp(event.occurred_at),
        "entitlementIds": list(granted),
    }
    held = items_in(data, ENTITLEMENTS)
    current = {item["id"]: item for item in held if _is_id(item.get("id"))}
    for key, new in granted.items():
        if any(key in _ids(other) and _order(other) > _order(entry) for other in grants):
            continue
        if key in current:
            redeemed = _total([_number(new, "redeemed"), _net(items_in(data, REDEMPTIONS), key)])
            new = {**new, "redeemed": redeemed}
        current[key] = new
    history = sorted([*grants, entry], key=_order)
    nameless = [item for item in held if not _is_id(item.get("id"))]
    return {ENTITLEMENTS: nameless + _in_order_of_grants(current, history), GRANTS: history}


def redeem(data: Fields, event: Event) -> Fields:
    """Hand out some of an entitlement. Refused when it is not valid at the event's time, or too little is left."""
    held = _entitlement(data, event)
    _require_valid(held, event.occurred_at)
    requested = _quantity(event.data)
    allocated, before = _number(held, "allocated"), _number(held, "redeemed")
    redeemed = _total([before, requested])
    if redeemed > allocated:
        remaining = max(0, _total([allocated, -before]))
        details = {
            "entitlementId": held["id"],
            "allocated": allocated,
            "remaining": remaining,
            "requested": requested,
        }
        raise InsufficientBalance(details)
    kept = ("entitlementId", "receiptNumber", "redemptionType", "quantity", "amount", "items")
    entry = _entry(event, "redemption", {key: event.data[key] for key in kept if event.data.get(key) is not None})
    return _with(data, held, redeemed, entry)


def void(data: Fields, event: Event, *, by_supervisor: bool) -> Fields:
    """Take back a redemption, with the amounts it had: what the event says of them does not count."""
    if event.data.get("supervisorVerified") is not True or not by_supervisor:
        raise VoidUnauthorized(path=["data", "supervisorVerified"])
    held = _entitlement(data, event)
    original_guid = event.data.get("originalRedemptionGuid")
    history = [item for item in items_in(data, REDEMPTIONS) if item.get("entitlementId") == held["id"]]
    original = next(
        (item for item in history if item.get("type") == "redemption" and item.get("formGuid") == original_guid), None
    )
    if original is None:
        raise RedemptionNotFound(path=["data", "originalRedemptionGuid"])
    if any(item.get("type") == "void" and item.get("originalRedemptionGuid") == original_guid for item in history):
        raise AlreadyVoided(path=["data", "originalRedemptionGuid"])
    kept = ("entitlementId", "originalRedemptionGuid", "redemptionType", "reason", "supervisorId")
    said = {key: event.data[key] for key in kept if event.data.get(key) is not None}
    amounts = {key: original[key] for key in ("quantity", "amount") if original.get(key) is not None}
    redeemed = max(0, _total([_number(held, "redeemed"), -_amount(original)]))
    return _with(data, held, redeemed, _entry(event, "void", said | amounts))


def united(data: Fields, other: Fields) -> Fields:
    """The fields of one person who was registered twice; nothing where `other` has none.

    An entitlement of both is what the latest grant says of it, and what either has redeemed of it is redeemed: that may be
    more than was allocated.
    """
    if not any(items_in(other, name) for name in FIELDS):
        return {}
    histories = {name: [*items_in(data, name), *items_in(other, name)] for name in (GRANTS, REDEMPTIONS)}
    grants, redemptions = (sorted(once_each(found, "formGuid"), key=_order) for found in histories.values())
    own = [item for item in items_in(data, ENTITLEMENTS) if _is_id(item.get("id"))]
    theirs = [item for item in items_in(other, ENTITLEMENTS) if _is_id(item.get("id"))]
    current = {item["id"]: _redeemed_by_both(item, items_in(data, REDEMPTIONS), redemptions) for item in own}
    for item in theirs:
        if item["id"] not in current or _latest(other, item["id"]) > _latest(data, item["id"]):
            current[item["id"]] = _redeemed_by_both(item, items_in(other, REDEMPTIONS), redemptions)
    nameless = [item for item in items_in(data, ENTITLEMENTS) if not _is_id(item.get("id"))]
    fields = {ENTITLEMENTS: nameless + _in_order_of_grants(current, grants), GRANTS: grants, REDEMPTIONS: redemptions}
    return {name: found for name, found in fields.items() if found or name in data}


def _redeemed_by_both(item: Fields, own: Sequence[Fields], both: Sequence[Fields]) -> Fields:
    """An entitlement with what all `both` redeem of it, where it has counted its `own` redemptions."""
    more = _total([_net(both, item["id"]), -_net(own, item["id"])])
    return {**item, "redeemed": _total([_number(item, "redeemed"), more])} if more else item


def _latest(data: Fields, key: Any) -> tuple[str, str]:
    """The place of the latest grant that names an entitlement."""
    return max((_order(grant) for grant in items_in(data, GRANTS) if key in _ids(grant)), default=("", ""))


# -- what an event says


def _granted(event: Event) -> dict[Any, Fields]:
    given = event.data.get(ENTITLEMENTS)
    if not isinstance(given, list) or not given:
        raise InvalidEntitlement("`entitlements` must name at least one.", path=["data", ENTITLEMENTS])
    granted: dict[Any, Fields] = {}
    for index, item in enumerate(given):
        path: list[str | int] = ["data", ENTITLEMENTS, index]
        if not isinstance(item, dict):
            raise InvalidEntitlement(path=path)
        if not _is_id(item.get("id")):
            raise InvalidEntitlement(path=[*path, "id"])
        for key in ("allocated", "redeemed"):
            if key in item and not _is_amount(item[key]):
                raise InvalidEntitlement(path=[*path, key])
        granted[item["id"]] = item
    return granted


def _entitlement(data: Fields, event: Event) -> Fields:
    entitlements = items_in(data, ENTITLEMENTS)
    if not entitlements:
        raise NoEntitlements(path=["entityGuid"])
    wanted = event.data.get("entitlementId")
    for item in entitlements:
        if item.get("id") == wanted and wanted is not None:
            return item
    raise EntitlementNotFound(path=["data", "entitlementId"])


def _quantity(data: Fields) -> Number:
    for key in ("quantity", "amount"):
        if data.get(key) is not None and not _is_amount(data[key]):
            raise InvalidQuantity(path=["data", key])
    return _amount(data)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _number(entry: Fields, key: str) -> Number:
    """An amount; 0 for what is none."""
    value = entry.get(key)
    return value if _is_amount(value) else 0


def _is_amount(value: Any) -> TypeGuard[Number]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LARGEST


# -- validity


def _require_valid(entitlement: Fields, at: Millis) -> None:
    begins, ends = _instant(entitlement.get("validFrom")), _instant(entitlement.get("validUntil"), end_of_day=True)
    if begins is not None and begins > at:
        raise EntitlementNotYetValid(path=["data", "entitlementId"])
    if ends is not None and ends < at:
        raise EntitlementExpired(path=["data", "entitlementId"])


def _instant(value: Any, *, end_of_day: bool = False) -> float | None:
    """Milliseconds since 1970 of a date or a time, UTC where it names no zone; None for what is neither."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    start = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    return start + _DAY - 1 if end_of_day and len(value) == len("YYYY-MM-DD") else start


# -- the histories


def _entry(event: Event, kind: str, said: Fields) -> Fields:
    return {
        "formGuid": event.guid,
        "type": kind,
        **said,
        "timestamp": format_timestamp(event.occurred_at),
        "userId": event.user_id,
        "synced": False,
    }


def _with(data: Fields, entitlement: Fields, redeemed: Number, entry: Fields) -> Fields:
    changed = {**entitlement, "redeemed": redeemed}
    return {
        ENTITLEMENTS: [changed if item is entitlement else item for item in items_in(data, ENTITLEMENTS)],
        REDEMPTIONS: sorted([*items_in(data, REDEMPTIONS), entry], key=_order),
    }


def _ids(grant: Fields) -> list[Any]:
    ids = grant.get("entitlementIds")
    return [key for key in ids if _is_id(key)] if isinstance(ids, list) else []


def _order(entry: Fields) -> tuple[str, str]:
    return str(entry.get("timestamp")), str(entry.get("formGuid"))


def _in_order_of_grants(held: Mapping[Any, Fields], history: Sequence[Fields]) -> list[Fields]:
    """Those that no grant names first, then as they were granted."""
    granted = dict.fromkeys(key for entry in history for key in _ids(entry))
    keys = [key for key in held if key not in granted] + [key for key in granted if key in held]
    return [held[key] for key in keys]


def _net(redemptions: Iterable[Fields], key: Any) -> Number:
    """What was redeemed here of an entitlement and not voided."""
    mine = [item for item in redemptions if item.get("entitlementId") == key and item.get("synced") is False]
    return max(0, _total(-_amount(item) if item.get("type") == "void" else _amount(item) for item in mine))


def _amount(entry: Fields) -> Number:
    """`quantity`, else `amount`; 0 for what is no number."""
    return _number(entry, "quantity" if entry.get("quantity") is not None else "amount")


def _total(numbers: Iterable[Number]) -> Number:
    """An exact sum, up to the largest number: 0.1 and 0.2 are 0.3."""
    total = min(reduce(_EXACT.add, (Decimal(str(number)) for number in numbers), Decimal(0)), Decimal(_LARGEST))
    return int(total) if total == total.to_integral_value() else float(total)
