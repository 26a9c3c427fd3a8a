"""Addresses in a config, as far as they can be judged by looking at them.

Whether the hub may call one is decided when it does, by the client that guards outgoing calls.
"""

import re
from urllib.parse import SplitResult, urlsplit

_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.+)", re.DOTALL)
_SCRIPTING = frozenset({"javascript", "vbscript", "data", "blob", "file", "about"})


def web_address_problem(text: str) -> str | None:
    """Why something is no absolute http or https address; None if it is one."""
    if problem := _character_problem(text):
        return problem
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be an http or https URL"
    return None


def base_address_problem(text: str) -> str | None:
    """Why something cannot be an address that apps add paths to; without a scheme they put `http://` in front."""
    whole = text if has_scheme(text) else f"http://{text}"
    if problem := web_address_problem(whole):
        return problem
    if "?" in text or "#" in text:
        return "must have no query and no fragment: apps add paths to it"
    return None


def redirect_problem(text: str) -> str | None:
    """Why nobody can be sent there. Apps have schemes of their own; what would run in a page is refused."""
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute and absolute[1].lower() in _SCRIPTING:
        return "must not be an address that runs or shows what it holds"
    if problem := _character_problem(text):
        return problem
    if absolute and absolute[1].lower() in {"http", "https"}:
        return web_address_problem(text)
    return None


def is_absolute(text: str) -> bool:
    return _ABSOLUTE.fullmatch(text) is not None


def has_scheme(text: str) -> bool:
    return "://" in text


def holds_credentials(text: str) -> bool:
    """Whether it is an address with a user name or password in it."""
    try:
        return "@" in urlsplit(text.strip()).netloc
    except ValueError:
        # Nobody can tell what it is, so nobody is shown it.
        return "@" in text


def base_holds_credentials(text: str) -> bool:
    """The same of an address that apps put `http://` in front of."""
    return holds_credentials(text) or (not has_scheme(text) and holds_credentials(f"//{text.strip()}"))


def _character_problem(text: str) -> str | None:
    # What readers of addresses drop or read in different ways: one sees another address than the other.
    if any(letter.isspace() or letter == "\\" or not letter.isprintable() for letter in text):
        return "must have no spaces, backslashes or characters that cannot be seen"
    return None


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    return parts
