"""Words as people look for them: without case, accents and marks that are often left out. Pure.

The index holds an entity's words, and a search asks for words by how they begin. Both come from here, so that a search
that goes through the index and one that goes through the entities agree.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence

MOST_WORDS = 60
"""Words kept of one entity; a name has five."""
MOST_ASKED = 8
"""Words of one search; the others are not looked at."""

_LONGEST_WORD = 40
_LONGEST_TEXT = 1000
"""Characters of one text that are looked at."""

_JOINED = re.compile(r"[0-9'`]")
"""What is in chunks that are written with and without marks inside: ids, phone numbers, O'Brien."""
_PARTS = re.compile(r"[^\W_]+")
_CHUNKS = re.compile(r"[^\s,;|]+")
_LONGEST_NUMBER_RUN = 6

# Hebrew points, Arabic and Syriac vowel signs, and accents above, below and across letters. Marks of other classes are
# letters' parts: vowels and viramas of India and South-East Asia, voiced kana.
_DROPPED_CLASSES = frozenset({1, *range(10, 37), *range(200, 241)})

_ZERO_WIDTH_SPACE = "\u200b"
"""Stands between words in Khmer, Thai, Lao and Burmese; joiners, which are of the same category, stand inside of them."""

_SAME = str.maketrans(
    {
        "ي": "ی",  # Arabic and Persian keyboards differ
        "ى": "ی",
        "ك": "ک",
        "ة": "ه",
        "ـ": None,  # stretches a word, says nothing
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ı": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ħ": "h",
        "ŧ": "t",
        "ŋ": "n",
        "ƙ": "k",
        "ɗ": "d",
        "ɓ": "b",
        "ƴ": "y",
        **dict.fromkeys("ʼʻʹ’‘`´′", "'"),
    }
)

_UNSPACED = re.compile(
    "[\u3005\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+"
)
"""Chinese characters and kana: written without spaces, so that a word may begin anywhere."""


def folded(text: str) -> str:
    """The text without case, accents and the like; letters that look or sound the same are one."""
    if text.isascii():
        return text.lower().replace("`", "'")
    # The first translation for what would be taken apart otherwise, such as an acute accent that stands alone.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.translate(_SAME)).casefold())
    kept = (_plain(c) for c in text if unicodedata.combining(c) not in _DROPPED_CLASSES)
    return unicodedata.normalize("NFC", "".join(kept).translate(_SAME))


def _plain(character: str) -> str:
    """Digits of every script as ours; nothing for what is not seen."""
    if character == _ZERO_WIDTH_SPACE:
        return " "
    match unicodedata.category(character):
        case "Nd":
            return str(unicodedata.decimal(character))
        case "Cf":
            return ""
        case _:
            return character


def words_in(texts: Iterable[str]) -> Collection[str]:
    """The words of some texts, each once, `MOST_WORDS` at most."""
    found: dict[str, None] = {}
    for text in texts:
        for word in _words(text[:_LONGEST_TEXT]):
            found[word[:_LONGEST_WORD]] = None
            if len(found) == MOST_WORDS:
                return found.keys()
    return found.keys()


Beginnings = tuple[str, ...]
"""What is asked for: a word that begins with any of them."""


def asked_in(search: str) -> tuple[Beginnings, ...]:
    """What words must begin with to answer a search; empty when it asks for none.

    A number in groups is met by its groups, and by itself as it is written without.
    """
    found: dict[Beginnings, None] = {}
    for run in _runs(folded(search[:_LONGEST_TEXT])):
        number = "".join(part for chunk in run for part in _parts(chunk)) if len(run) > 1 else ""
        for chunk in run:
            for word in _asked(chunk):
                # What begins with the number begins with its first group.
                several = (word, number) if number and not number.startswith(word) else (word,)
                found.setdefault(tuple(one[:_LONGEST_WORD] for one in several))
    # What another asked word begins with is answered with it.
    words = [word for word in found if not any(other != word and _implies(other, word) for other in found)]
    return tuple(words[:MOST_ASKED])


def _implies(one: Beginnings, other: Beginnings) -> bool:
    return all(begins.startswith(other) for begins in one)


def _runs(text: str) -> Iterator[Sequence[str]]:
    """The chunks of a text, each alone, but for the groups of a number, which are together."""
    number: list[str] = []
    for chunk in _CHUNKS.findall(text):
        parts = _parts(chunk)
        if parts and all(map(str.isdigit, parts)):
            number.append(chunk)
            continue
        if number:
            yield number
        number = []
        yield (chunk,)
    if number:
        yield number


def answers(words: Collection[str], asked: Sequence[Beginnings]) -> bool:
    """Whether each of the asked is how one of the words begins."""
    return all(any(word.startswith(one) for word in words) for one in asked)


def _words(text: str) -> Iterable[str]:
    # Nearly all texts are one of the first two; this is in the way of every push.
    if text.isascii():
        if text.isalnum():
            return (text.lower(),)
        if not _JOINED.search(text):
            return _PARTS.findall(text.lower())
    return _words_of_chunks(folded(text))


def _words_of_chunks(text: str) -> Iterator[str]:
    number: list[str] = []
    for chunk in _CHUNKS.findall(text):
        parts = _parts(chunk)
        for part in parts:
            yield from _of_part(part)
        if _is_joined(chunk, parts):
            yield "".join(parts)
        if parts and all(map(str.isdigit, parts)):
            number += parts
            continue
        yield from _of_run(number)
        number = []
    yield from _of_run(number)


def _of_run(number: Sequence[str]) -> Iterator[str]:
    """A number in groups, such as a phone's, as it is written without."""
    if 1 < len(number) <= _LONGEST_NUMBER_RUN:
        yield "".join(number)


def _of_part(part: str) -> Iterator[str]:
    if part.isascii():
        yield part
        return
    for run in _UNSPACED.findall(part):
        yield from (run[at : at + 2] for at in range(len(run)))
    rest = _UNSPACED.sub(" ", part).split() if _UNSPACED.search(part) else [part]
    yield from rest


def _asked(chunk: str) -> Iterator[str]:
    parts = _parts(chunk)
    if _is_joined(chunk, parts):
        yield "".join(parts)
        return
    for part in parts:
        for run in _UNSPACED.findall(part):
            # The last character alone, which any pair begins with, unless it is all there is.
            yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
        yield from _UNSPACED.sub(" ", part).split()


def _is_joined(chunk: str, parts: Sequence[str]) -> bool:
    """Whether the parts are one word as well."""
    return len(parts) > 1 and _JOINED.search(chunk) is not None and not _UNSPACED.search(chunk)


def _parts(chunk: str) -> list[str]:
    """Letters and digits with their marks, without what is between them."""
    if chunk.isascii():
        return _PARTS.findall(chunk)
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in chunk)
    return kept.split()
