"""A program's forms in a citizen's language. Pure, and never an error, whatever the forms hold.

A form brings its translations along as Form.io takes them: `i18n` in the definition holds, for each language, the form's
texts and what they are there. `docs/reference/translated-forms.md` says which texts are looked at.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from datacollect.kernel.languages import normal

TEXTS = frozenset({
    "addAnother", "content", "customMessage", "description", "errorLabel", "header", "label", "legend",
    "patternMessage", "placeholder", "prefix", "removeRow", "saveRow", "suffix", "title", "tooltip",
})  # fmt: skip
"""Members of components, choices and rules that people read."""

_NO_TEXTS = frozenset({"defaultValue", "i18n"})
_DEEPEST = 64


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
        if normal(name) == normal(language):
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
