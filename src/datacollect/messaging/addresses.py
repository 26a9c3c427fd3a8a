"""What can be the number of a phone, and what the address of a mailbox."""

import re

_NUMBER = re.compile(r"\+?[0-9]{3,20}")
_BETWEEN_DIGITS = re.compile(r"[ \u00a0().\-/\u2010-\u2015]+")
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def dialled(text: str) -> str | None:
    """The number without what people write between its digits; None for what cannot be one."""
    number = _BETWEEN_DIGITS.sub("", text)
    return number if _NUMBER.fullmatch(number) else None


def is_mailbox(text: str) -> bool:
    """Whether it is one address, and in letters that every mail server takes."""
    return _MAILBOX.fullmatch(text) is not None
