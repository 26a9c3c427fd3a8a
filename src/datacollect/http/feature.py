"""What a slice plugs into the hub."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter

from datacollect.settings import Settings


def _always(_: Settings) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Feature:
    """One slice, as `app.py` lists it."""

    name: str
    router: APIRouter | None = None
    is_offered: Callable[[Settings], bool] = _always
    """Where it is not, its paths are unknown."""
    goes_first: bool = False
    """Whether its routes are tried before those of other slices, because a pattern of theirs holds its paths too."""
    is_asked_most: bool = False
    """Whether its routes are tried before all others: a third of a small pull's CPU time was spent on finding its route."""
