"""What a file is called: safely, and as its sender called it. Pure. Source: the contract's attachments, 4.3."""

import re
import unicodedata
from urllib.parse import quote

MOST_CHARACTERS = 200
NAMELESS = "attachment"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_EXTENSION = re.compile(r"\.[^.]{1,16}\Z")
_SEPARATORS = re.compile(r"[/\\]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what cannot be seen, among it what turns the direction of a text: `gpj.exe` reads `exe.jpg`."""


def safe_name(sent: str) -> str:
    """Letters, digits, `.`, `_` and `-`: nothing that means something to a file system or a header."""
    name = _UNSAFE.sub("_", _last_component(sent))
    return _shortened(name if name.strip(".") else NAMELESS)


def shown_name(sent: str) -> str:
    """The name in its own script."""
    name = unicodedata.normalize("NFC", _last_component(sent))
    name = "".join("_" if unicodedata.category(letter) in _HIDDEN else letter for letter in name).strip()
    return _shortened(name if name.strip(".") else NAMELESS)


def disposition(filename: str, original_name: str) -> str:
    """The value of `Content-Disposition`. Both names are of this module."""
    value = f'attachment; filename="{filename}"'
    return value if original_name == filename else f"{value}; filename*=UTF-8''{quote(original_name, safe='')}"


def _last_component(sent: str) -> str:
    return _SEPARATORS.split(sent)[-1]


def _shortened(name: str) -> str:
    """At most `MOST_CHARACTERS`, with the extension kept: it is what programs go by."""
    if len(name) <= MOST_CHARACTERS:
        return name
    extension = found.group() if (found := _EXTENSION.search(name)) else ""
    return name[: MOST_CHARACTERS - len(extension)] + extension
