"""Addresses as operators see them: enough to tell two apart, too little to write to."""

from urllib.parse import urlsplit

from datacollect.messaging.port import Channel

_SHOWN_DIGITS = 2
_LONG_ENOUGH = 7
"""Of shorter numbers the first and last digits would be most of it."""


def masked(address: str, channel: Channel) -> str:
    """`+49…12`, `a…@…`; of a webhook its host."""
    match channel:
        case Channel.MAIL:
            first = address[:1]
            return f"{first if first.isalnum() else '…'}…@…".replace("……", "…")
        case Channel.SMS:
            return _masked_number("".join(mark for mark in address if mark.isdecimal() or mark == "+"))
        case Channel.WEBHOOK:
            return _host(address)


def _masked_number(number: str) -> str:
    if len(number) < _LONG_ENOUGH:
        return "…"
    country = number[: 1 + _SHOWN_DIGITS] if number.startswith("+") else ""
    return f"{country}…{number[-_SHOWN_DIGITS:]}"


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "…"
    except ValueError:
        return "…"
