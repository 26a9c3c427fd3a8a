"""Names as people write them, made comparable."""

import re
import unicodedata
from functools import lru_cache

import jellyfish
from rapidfuzz.distance import OSA, JaroWinkler

_LETTERS = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ħ": "h", "ŋ": "n",
    "ə": "e", "ʻ": "", "ʼ": "", "’": "", "‘": "", "'": "", "`": "",
}  # fmt: skip
_TABLE = str.maketrans(_LETTERS)
_SEPARATORS = re.compile(r"[\W_]+")
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else _LETTERS.get(chr(code), " ") for code in range(128)}
_TITLES = frozenset(
    {
        "mr",
        "mrs",
        "ms",
        "miss",
        "dr",
        "sr",
        "sra",
        "srta",
        "don",
        "dona",
        "haj",
        "haji",
        "hajj",
        "hajji",
        "sheikh",
        "al",
        "el",
    }
    | {"bin", "ibn", "bint", "ould", "mint", "de", "da", "do", "dos", "das", "del", "la", "van", "von", "jr", "sr"}
)
"""Words around names that some write and some leave out."""

_SPELLINGS = (
    (re.compile(r"kh|gh|q"), "k"),
    (re.compile(r"ou|oo|u|w"), "u"),
    (re.compile(r"ee|ie|y|e|i"), "i"),
    (re.compile(r"dh|d"), "d"),
    (re.compile(r"th|tt|t"), "t"),
    (re.compile(r"sh|ch|sch|cz"), "s"),
    (re.compile(r"ph|v|f"), "f"),
    (re.compile(r"dj|j|g"), "j"),
    (re.compile(r"ts|tz|z|x|s|c"), "s"),
    (re.compile(r"h"), ""),
)
"""What the same sounds are written as when names come from other scripts: Mohammed and Muhamad, Khadija and Hadidja."""
_VOWEL = re.compile(r"[aeiouyw]")
_HEARD_AS = {"a": "a", "e": "i", "i": "i", "y": "i", "o": "u", "u": "u", "w": "u"}
_SOMALI = re.compile(r"x|c(?![hkz])")
_TWICE = re.compile(r"(.)\1+")


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """Lower case without marks; everything between words is one space. Scripts other than Latin stay as they are."""
    if text.isascii():  # nothing of what follows but this
        return " ".join(text.translate(_ASCII).split())
    lowered = text.casefold().translate(_TABLE)
    bare = "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))
    return _SEPARATORS.sub(" ", bare).strip()


@lru_cache(maxsize=4096)
def tokens(text: str) -> tuple[str, ...]:
    """The words of a name; titles and particles only if there is nothing else."""
    words = plain(text).split()
    return tuple(word for word in words if word not in _TITLES) or tuple(words)


@lru_cache(maxsize=4096)
def sound(token: str) -> str:
    """A key that spellings of one sound share: of Latin letters by Metaphone, of others the letters themselves."""
    return jellyfish.metaphone(token) if token.isascii() else token


@lru_cache(maxsize=4096)
def spelling(token: str) -> str:
    """The consonants and vowels that survive a transliteration."""
    for pattern, letter in _SPELLINGS:
        token = pattern.sub(letter, token)
    token = _TWICE.sub(r"\1", token)
    return token[:1] + re.sub(r"[aiuo]", "", token[1:])


@lru_cache(maxsize=16384)
def closeness(one: str, other: str) -> float:
    """How alike two tokens are, from 0 to 1; 1 only for the same."""
    if one == other:
        return 1.0
    if min(len(one), len(other)) < 2:
        return 0.0
    alike = _likeness(one, other)
    if alike < 0.92 and (_SOMALI.search(one) is None) != (_SOMALI.search(other) is None):
        alike = max(alike, min(0.92, _likeness(_as_elsewhere(one), _as_elsewhere(other))))
    return min(alike, 0.99)


@lru_cache(maxsize=4096)
def _as_elsewhere(token: str) -> str:
    """Somali writes x for the h of others, and c for a sound that they leave out: Xasan Cali is Hassan Ali."""
    return _SOMALI.sub(lambda letter: "h" if letter[0] == "x" else "", token)


def _likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    alike = JaroWinkler.similarity(one, other)
    # One slip of the pen in a word of some length says more than the measure does.
    if min(len(one), len(other)) >= 4 and OSA.distance(one, other, score_cutoff=1) <= 1:
        alike = max(alike, 0.93)
    if alike < 0.92 and _may_sound_alike(one, other):
        if spelling(one) == spelling(other) and len(spelling(one)) > 1:
            alike = max(alike, 0.92)
        elif sound(one) == sound(other) and len(sound(one)) > 1:
            alike = max(alike, 0.90)
    return alike


def _may_sound_alike(one: str, other: str) -> bool:
    """Consonants alone are shared by names that are not the same, and that twins are given (Hassan and Hussein, Hadjara
    and Hajira): the first vowel has to be one that is written for the other."""
    if len(one) <= 2 or len(other) <= 2 or not one.isascii() or not other.isascii():
        return False
    return _first_vowel(one) == _first_vowel(other)


def _first_vowel(token: str) -> str:
    found = _VOWEL.search(token)
    return _HEARD_AS[found[0][0]] if found is not None else ""
