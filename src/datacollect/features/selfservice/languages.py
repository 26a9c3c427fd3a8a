"""Which language a citizen reads, and forms in it. Pure, and never an error, whatever the forms and headers hold.

A form brings its translations along as Form.io takes them: `i18n` in the definition holds, for each language, the form's
texts and what they are there. `docs/reference/translated-forms.md` says which texts are looked at.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEFAULT_LANGUAGES = ("en",)
"""Of a program that names none."""

TEXTS = frozenset({
    "addAnother", "content", "customMessage", "description", "errorLabel", "header", "label", "legend",
    "patternMessage", "placeholder", "prefix", "removeRow", "saveRow", "suffix", "title", "tooltip",
})  # fmt: skip
"""Members of components, choices and rules that people read."""

_NO_TEXTS = frozenset({"defaultValue", "i18n"})
_DEEPEST = 64
_LONGEST_HEADER = 500
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


def negotiated(offered: Sequence[str], *, asked: str | None, header: str | None) -> str:
    """The offered language that fits best: what is asked for outright, then the header's ranges by their weight, then
    the first that is offered. A range fits by the words in front, as RFC 4647 looks languages up."""
    offered = offered or DEFAULT_LANGUAGES
    wanted = [asked] if asked else []
    for tag in [*wanted, *_ranges(header or "")]:
        if tag == "*":
            return offered[0]
        if (found := _looked_up(tag, offered)) is not None:
            return found
    return offered[0]


def _ranges(header: str) -> list[str]:
    """The ranges of an `Accept-Language`, the heaviest first; what cannot be read is passed over."""
    weighed: list[tuple[float, str]] = []
    for part in header[:_LONGEST_HEADER].split(","):
        if (match := _RANGE.fullmatch(part)) is not None:
            weight = float(match[2]) if match[2] else 1.0
            if 0 < weight <= 1:
                weighed.append((weight, match[1]))
    return [tag for _, tag in sorted(weighed, key=lambda one: -one[0])]


def _looked_up(tag: str, offered: Sequence[str]) -> str | None:
    """The offered language of that name, or of its first words; else one that is more exact than asked for."""
    known = {_normal(language): language for language in reversed(offered)}
    words = _normal(tag).split("-")
    for length in range(len(words), 0, -1):
        if (found := known.get("-".join(words[:length]))) is not None:
            return found
    return next((language for name, language in known.items() if name.split("-")[0] == words[0]), None)


def _normal(tag: str) -> str:
    return tag.strip().lower().replace("_", "-")


class Translation:
    """A form's texts in one language."""

    def __init__(self, definition: Any, language: str) -> None:
        self._texts = _dictionary(definition, language)

    def text(self, text: str) -> str:
        """The text itself where nobody has translated it."""
        return self._texts.get(text, text)

    def form(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """The definition in the language, without its translations."""
        plain = {key: value for key, value in definition.items() if key != "i18n"}
        return self._object(plain, 0) if self._texts else plain

    def _object(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {
            key: item if key in _NO_TEXTS else self.text(item) if self._is_text(key, item) else self._any(item, depth)
            for key, item in value.items()
        }

    def _any(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            return value
        if isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if isinstance(value, list):
            return [self._any(item, depth + 1) for item in value]
        return value

    @staticmethod
    def _is_text(key: str, value: Any) -> bool:
        return key in TEXTS and isinstance(value, str)


def _dictionary(definition: Any, language: str) -> Mapping[str, str]:
    for name, texts in _translations(definition):
        if _normal(name) == _normal(language):
            return {text: told for text, told in texts.items() if isinstance(told, str)}
    return {}


def _translations(definition: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """By language; also where i18next's own layout puts a `translation` in between."""
    sections = definition.get("i18n") if isinstance(definition, Mapping) else None
    if not isinstance(sections, Mapping):
        return
    for name, texts in sections.items():
        inner = texts.get("translation") if isinstance(texts, Mapping) else None
        if isinstance(inner, Mapping):
            texts = inner
        if isinstance(texts, Mapping):
            yield name, texts
