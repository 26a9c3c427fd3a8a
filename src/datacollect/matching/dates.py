"""Dates of birth as forms hold them: whole, a year, an age, or the first of January because nobody knew."""

import re
from dataclasses import dataclass
from datetime import date

_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?", re.ASCII | re.DOTALL)
_PACKED = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_WRITTEN = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", re.ASCII)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Birth:
    """What is known of a birth. `month` and `day` are None together; `slack` is by how many years it may be wrong."""

    year: int
    month: int | None = None
    day: int | None = None
    slack: int = 0

    @property
    def is_whole(self) -> bool:
        return self.month is not None

    @property
    def is_placeholder(self) -> bool:
        """The first of January (or of July) is what is written when only the year is known."""
        return self.day == 1 and self.month in (1, 7)

    def digits(self) -> str:
        return f"{self.year:04}{self.month or 0:02}{self.day or 0:02}"


def read_birth(value: object) -> Birth | None:
    """A date, or only its year. What is no date of a human being is None."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        return None
    text = text[:_LONGEST].strip()
    if found := _ISO.fullmatch(text) or _PACKED.fullmatch(text):
        return _checked(int(found[1]), int(found[2]), int(found[3]))
    if found := _WRITTEN.fullmatch(text):
        return _checked(int(found[3]), int(found[2]), int(found[1]))
    return _checked(int(text), None, None) if _YEAR.fullmatch(text) else None


def birth_of_age(age: object, *, told_in: int) -> Birth | None:
    """The year of birth of somebody who was so old in the year `told_in`: right to a year, and people round."""
    if isinstance(age, str) and (digits := age.strip()[:_LONGEST]).isdecimal():
        age = int(digits)
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age <= 125:
        return None
    return Birth(told_in - int(age), slack=3 if age >= 20 and int(age) % 5 == 0 else 1)


def _checked(year: int, month: int | None, day: int | None) -> Birth | None:
    if not 1880 <= year <= 2200:
        return None
    if month is None or day is None:
        return Birth(year)
    try:
        date(year, month, day)
    except ValueError:
        # The other way round, or a slip: the digits still say something.
        return Birth(year, month, day) if month <= 31 and day <= 31 else Birth(year)
    return Birth(year, month, day)
