"""What a slice plugs into the hub."""

from dataclasses import dataclass

from fastapi import APIRouter


@dataclass(frozen=True, slots=True)
class Feature:
    """One slice, as `app.py` lists it."""

    name: str
    router: APIRouter | None = None
    goes_first: bool = False
    """Whether its routes are tried before those of other slices, because a pattern of theirs holds its paths too."""
