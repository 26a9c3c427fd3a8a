"""What is wrong with the command line itself, whatever the hub holds: told as an unknown option is, with exit code 2.

Values are checked where they are read, before anything is opened.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import typer

from datacollect.features.tenants.errors import InvalidConfigId
from datacollect.features.users.errors import InvalidUserId
from datacollect.features.users.model import exact_key_of
from datacollect.kernel.errors import InvalidPayload, InvalidRequest
from datacollect.kernel.ids import is_config_id


@contextlib.contextmanager
def mistyped() -> Iterator[None]:
    """What is refused in the block is what was typed."""
    try:
        yield
    except InvalidRequest as wrong:
        told = [issue["message"] for issue in wrong.issues] if isinstance(wrong, InvalidPayload) else [wrong.message]
        raise typer.BadParameter("; ".join(told)) from None


def checked(check: Callable[[str], object]) -> Callable[[Any], Any]:
    """The callback of an argument or option, where `check` raises `InvalidRequest` for a value that nobody can mean."""

    def each(given: Any) -> Any:
        with mistyped():
            for text in given if isinstance(given, list | tuple) else [given]:
                if text is not None:
                    check(text)
        return given

    return each


def _require_config_id(text: str) -> None:
    if not is_config_id(text):
        raise InvalidConfigId()


config_ids = checked(_require_config_id)
"""For ids of programs, whether or not there are such programs."""


def account_key(text: str) -> str:
    """Raises `InvalidUserId`: what is neither a number nor an e-mail is a slip."""
    if isinstance(exact_key_of(text), str) and "@" not in text:
        raise InvalidUserId()
    return text
