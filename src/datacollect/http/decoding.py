"""JSON that somebody has sent, as values: strictly, and checked by a model. Without FastAPI, for commands read files so."""

import codecs
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from datacollect.http.wire import place_in_body
from datacollect.kernel.canonical import LEAST_BYTES_OF_CONTAINER, MAXIMUM_DEPTH, holds_nul, is_deeper, is_too_dense
from datacollect.kernel.errors import InvalidJson, InvalidPayload, Issue, IssueCode

_LARGEST_DOUBLE = int(sys.float_info.max)

_M = TypeVar("_M", bound=BaseModel)

_LEVELS_ABOVE = 2
"""Of an item: the object, and the array in it."""
_SPACE = re.compile(r"[ \t\n\r]*")
_ends = JSONDecoder(parse_int=len, parse_float=len, strict=False)
"""Finds where a value ends whatever characters and numbers are in it; what it is nobody wants to know."""

_STRINGS_AND_COLONS = re.compile(rb'"(?:[^"\\]|\\.)*+"|:', re.DOTALL)


class _Named(msgspec.Struct):
    """The members of a body by which somebody says what program they are of."""

    configId: msgspec.Raw = msgspec.Raw(b"null")
    tenantId: msgspec.Raw = msgspec.Raw(b"null")


_NAMED = msgspec.json.Decoder(_Named)

_CONTROLS = bytes(range(32))
_LEGIBLE = bytes.maketrans(_CONTROLS, bytes(ord(" ") if byte in b"\t\n\r" else 0x7F for byte in _CONTROLS))
"""Of control characters in strings, at which the decoder stops; space stays space."""


class NulCharacter(InvalidJson):
    """The body contains a NUL character."""

    code = "NUL_CHARACTER"
    help = "Remove NUL characters (`%00`, `\\u0000`): no database can store them."


class InvalidUtf8(InvalidJson):
    """The body is not valid UTF-8."""

    code = "INVALID_UTF8"
    help = "Encode the body in UTF-8."


class DuplicateKey(InvalidJson):
    """An object in the body has the same key twice."""

    code = "DUPLICATE_KEY"
    help = "Send each key of an object once: readers disagree on which of two values counts."


class NumberOutOfRange(InvalidJson):
    """A number in the body is too large."""

    code = "NUMBER_OUT_OF_RANGE"
    help = "Send large numbers as texts."


class JsonTooDeep(InvalidJson):
    """The body is nested too deeply."""

    code = "JSON_TOO_DEEP"
    help = f"Nest arrays and objects at most {MAXIMUM_DEPTH} levels deep."


class JsonTooDense(InvalidJson):
    """The body has too many arrays and objects for its size."""

    code = "JSON_TOO_DENSE"
    help = f"Send fewer arrays and objects at once, or such that have {LEAST_BYTES_OF_CONTAINER} bytes each on the average."


def strict_json(body: bytes) -> Any:
    """Decode JSON that means the same to every reader.

    A mark for UTF-8 before it is passed over. Raises `InvalidJson` with a code of its own for: bytes that are not UTF-8, NUL characters (PostgreSQL cannot store
    them), numbers without a finite value, a key twice in one object, more than `MAXIMUM_DEPTH` levels, more arrays and
    objects than its size is worth (see `is_too_dense`), anything else that is not JSON.
    """
    value = decoded(body)
    require_unique_keys(body, members=count_members(value))
    return value


def faults_of_items(body: bytes, name: str) -> Iterator[InvalidJson | None]:
    """Of each item of the array with that name, in an object that `strict_json` has refused: why it is refused, if it is.

    As `items_of`."""
    return (fault for _, fault in items_of(body, name))


def items_of(body: bytes, name: str) -> Iterator[tuple[slice, InvalidJson | None]]:
    """Where each item of the array with that name is in an object that `strict_json` has refused, and why it is refused, if
    it is.

    Ends with the first that is nested so deeply that its end cannot be found. Raises `InvalidJson` where the body, or the
    rest of it, is no JSON at all, and for what is not worth the room that it takes.
    """
    body = without_mark(body)
    if is_too_dense(body):
        raise JsonTooDense()
    text = body.decode("latin-1")  # a character for each byte
    try:
        at = _start_of_array(text, name)
        while text[at] != "]":
            begin = at = _after_space(text, at + 1)
            try:
                at = _ends.raw_decode(text, begin)[1]
            except RecursionError:
                yield slice(begin, len(body)), _too_deep()
                return
            yield slice(begin, at), _fault_of_item(body[begin:at])
            at = _after_space(text, at)
            if text[at] not in ",]":
                raise InvalidJson()
    except (JSONDecodeError, IndexError, RecursionError):
        raise InvalidJson() from None


def _start_of_array(text: str, name: str) -> int:
    """Where the `[` is, or the `]` if it is empty. Raises `JSONDecodeError` and `IndexError`, `InvalidJson` if there is none."""
    at = _after_space(text, 0)
    while text[at] in "{,":
        key, at = _ends.raw_decode(text, _after_space(text, at + 1))
        at = _after_space(text, at)
        if text[at] != ":":
            break
        at = _after_space(text, at + 1)
        if key == name and text[at] == "[":
            first = _after_space(text, at + 1)
            return first if text[first] == "]" else at
        at = _after_space(text, _ends.raw_decode(text, at)[1])
    raise InvalidJson()


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _fault_of_item(item: bytes) -> InvalidJson | None:
    try:
        value = strict_json(item)
    except JsonTooDense:
        return None
    except InvalidJson as refused:
        return refused
    return _too_deep() if is_deeper(value, MAXIMUM_DEPTH - _LEVELS_ABOVE) else None


def said_of_a_file(refused: InvalidJson) -> str:
    """Its message, for who has named a file and sent no body."""
    return refused.message.replace("The body", "The file").replace("the body", "the file")


def without_mark(body: bytes) -> bytes:
    """Without the mark that editors on Windows put before UTF-8: nobody sees it who is told that something is there."""
    return body.removeprefix(codecs.BOM_UTF8)


def decoded(body: bytes) -> Any:
    body = without_mark(body)
    if not body.strip():
        raise InvalidJson("The body is empty.")
    if holds_nul(body):
        raise NulCharacter()
    if is_too_dense(body):
        raise JsonTooDense()
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise InvalidUtf8() from None
    except msgspec.ValidationError:
        raise NumberOutOfRange() from None
    except msgspec.DecodeError as malformed:
        raise InvalidJson(f"The body is not valid JSON: {malformed}") from None
    except RecursionError:
        raise _too_deep() from None


def require_unique_keys(body: bytes, *, members: int) -> None:
    """`members` are those that were decoded of the body."""
    if not _keys_are_unique(body, members):
        raise DuplicateKey()


def programs_named(body: bytes) -> Mapping[str, Any]:
    """The `configId` and `tenantId` of a body whose sender nobody knows yet; of what is no text, 0.

    Nothing else of it is built, and most is not checked: whoever takes the body in reads it by `strict_json`, or what of
    it can be read. Raises `InvalidJson`.
    """
    body = without_mark(body)
    try:
        return _programs_named(body)
    except InvalidJson:
        found = _programs_beside(body)
        if found is None:
            raise
        return found


def _programs_beside(body: bytes) -> Mapping[str, Any] | None:
    """The same where the decoder stops at characters of other strings; None where that is not all that is wrong."""
    try:
        # Halves of surrogates become characters for private use: texts of one length are replaced in no time.
        found = _programs_named(body.translate(_LEGIBLE).replace(rb"\ud", rb"\uf").replace(rb"\uD", rb"\uf"))
    except InvalidJson:
        return None
    texts = [text for text in found.values() if isinstance(text, str)]
    return found if all(text.isascii() and text.isprintable() and " " not in text for text in texts) else None


def _programs_named(body: bytes) -> Mapping[str, Any]:
    try:
        named = _NAMED.decode(body)
        found = {"configId": _text_of(named.configId), "tenantId": _text_of(named.tenantId)}
    except UnicodeDecodeError:
        raise InvalidUtf8() from None
    except msgspec.ValidationError:
        return {}  # no object
    except msgspec.DecodeError as malformed:
        raise InvalidJson(f"The body is not valid JSON: {malformed}") from None
    except RecursionError:
        raise _too_deep() from None
    if any("\x00" in text for text in found.values() if isinstance(text, str)):
        raise NulCharacter()
    return found


def _text_of(raw: msgspec.Raw) -> str | int | None:
    start = memoryview(raw)[:1].tobytes()
    if start == b'"':
        return msgspec.json.decode(raw, type=str)
    return None if start == b"n" else 0


def count_members(value: Any) -> int:
    """All members of all objects, level by level (so that depth costs no stack).

    The same walk refuses integers that clients with doubles only, as JavaScript's, would read as infinity.
    """
    members = 0
    level: list[Any] = [[value]]
    for _ in range(MAXIMUM_DEPTH + 1):
        below: list[Any] = []  # arrays and objects only: there may be millions of other values
        for node in level:
            if type(node) is dict:
                members += len(node)
                values: Collection[Any] = node.values()
            else:
                values = node
            kinds = set(map(type, values))
            if int in kinds and any(type(one) is int and abs(one) > _LARGEST_DOUBLE for one in values):
                raise NumberOutOfRange()
            if dict in kinds or list in kinds:
                below.extend(one for one in values if type(one) is dict or type(one) is list)
        if not below:
            return members
        level = below
    raise _too_deep()


def _keys_are_unique(body: bytes, members: int) -> bool:
    """Whether the text has as many members as were decoded; a key that came twice was decoded once.

    Every member has a quote, maybe spaces, and a colon, so without its spaces the text has at least as many `":` as
    members. Equal counts therefore prove uniqueness. Strings that hold such pairs give more; then it is counted slowly.
    """
    return (
        # As it is, with spaces in front of some colons, it could have as many by chance.
        body.translate(None, b" \t\r\n").count(b'":') == members or _count_written_members(body) == members
    )


def _count_written_members(body: bytes) -> int:
    """Colons outside strings of a text that is known to be JSON: one per member."""
    return sum(1 for token in _STRINGS_AND_COLONS.finditer(body) if token.group() == b":")


def _too_deep() -> InvalidJson:
    return JsonTooDeep(f"The body is nested deeper than {MAXIMUM_DEPTH} levels.")


def validated(model: type[_M], value: Any, *, message: str | None = None) -> _M:
    """`value` as a `model`. Raises `InvalidPayload` with every issue there is."""
    try:
        return model.model_validate(value)
    except ValidationError as invalid:
        raise InvalidPayload(issues_of(invalid), message) from None


def issues_of(invalid: ValidationError) -> list[Issue]:
    """Issues as the contract writes them. Values stay out: they may be passwords."""
    return [
        Issue(code=IssueCode(error["type"]), path=list(place_in_body(error["loc"])), message=error["msg"])
        for error in invalid.errors(include_url=False, include_input=False, include_context=False)
    ]
