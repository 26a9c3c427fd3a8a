"""Criteria as conditions that a database can check: they let everything through that may meet a criterion.

What they let through is judged by `criteria.py`. They spare the hub most of the rows: of texts the databases compare
ASCII letters only, of numbers no more than doubles.
"""

import math
from collections.abc import Sequence

from datacollect.features.entities.finding.criteria import Attribute, Criterion, Hint
from datacollect.features.entities.finding.statements import Sql
from datacollect.features.entities.indexing.values import LONGEST_KEY

_MOST_TEXTS = 10
_PG_NUMBER = 10**300
"""What is larger is not told to PostgreSQL: its digits would be many."""


class Value:
    """A value in the data of an entity, as SQL."""

    def __init__(self, sql: Sql, path: str, row: str) -> None:
        self._sql = sql
        self._data = f"{row}.data"
        steps = path.split(".")
        if sql.is_sqlite:
            literal = sql.bind(f'$."{path}"')
            self._path = literal
            if len(steps) > 1 and all(steps):
                walked = sql.bind("$" + "".join(f'."{step}"' for step in steps))
                self._path = f"iif(json_type({self._data}, {literal}) IS NULL, {walked}, {literal})"
        else:
            self.json = f"({self._data} -> {sql.bind(path)})"
            if len(steps) > 1:
                self.json = f"coalesce({self.json}, {self._data} #> {sql.bind(steps, 'text[]')})"

    def is_kind(self, *kinds: str) -> str:
        """By the names that SQLite gives to kinds; `number` stands for both of its numbers."""
        if self._sql.is_sqlite:
            names = [name for kind in kinds for name in _SQLITE_KINDS.get(kind, (kind,))]
            return f"json_type({self._data}, {self._path}) IN ({', '.join(map(repr, names))})"
        names = [name for kind in kinds for name in _POSTGRES_KINDS.get(kind, (kind,))]
        return f"jsonb_typeof({self.json}) IN ({', '.join(map(repr, names))})"

    @property
    def is_there(self) -> str:
        if self._sql.is_sqlite:
            return f"json_type({self._data}, {self._path}) <> 'null'"
        return f"jsonb_typeof({self.json}) <> 'null'"

    @property
    def text(self) -> str:
        if self._sql.is_sqlite:
            found = f"{self._data}, {self._path}"
            return (
                f"(CASE json_type({found}) WHEN 'text' THEN json_extract({found})"
                f" ELSE {self._data} -> {self._path} END)"
            )
        return f"({self.json} #>> '{{}}')"

    @property
    def lower(self) -> str:
        """Of ASCII letters only, wherever the database was made."""
        return f"lower({self.text})" if self._sql.is_sqlite else f'lower({self.text} COLLATE "C")'

    @property
    def is_beyond_ascii(self) -> str:
        if self._sql.is_sqlite:
            return f"length(CAST({self.text} AS BLOB)) <> length({self.text})"
        return f"octet_length({self.text}) <> char_length({self.text})"

    def is_between(self, low: int | float | None, high: int | float | None) -> str:
        """A number, or a text that may be one. Only a number is read as one, whatever is beside it."""
        if self._sql.is_sqlite:
            number = f"json_extract({self._data}, {self._path})"
            bounds = [f"{number} >= {self._sql.bind(_below(low))}"] if low is not None else []
            bounds += [f"{number} <= {self._sql.bind(_above(high))}"] if high is not None else []
            numeral = f"{number} GLOB '[-0-9]*'"
            kinds = "'integer', 'real'"
            kind = f"json_type({self._data}, {self._path})"
            return (
                f"(CASE WHEN {kind} IN ({kinds}) THEN {' AND '.join(bounds)} WHEN {kind} = 'text' THEN {numeral} END)"
            )
        number = f"({self.json})::numeric"
        bounds = [f"{number} >= {self._bind_number(low)}"] if low is not None else []
        bounds += [f"{number} <= {self._bind_number(high)}"] if high is not None else []
        return (
            f"(CASE jsonb_typeof({self.json}) WHEN 'number' THEN {' AND '.join(bounds)}"
            f" WHEN 'string' THEN {self.text} ~ '^[-0-9]' END)"
        )

    def _bind_number(self, number: int | float) -> str:
        return f"{self._sql.bind(str(number))}::numeric"


_SQLITE_KINDS = {"number": ("integer", "real"), "boolean": ("true", "false")}
_POSTGRES_KINDS = {"text": ("string",)}


def _below(number: int | float) -> float:
    """The double next below: whole numbers beyond 2^53 are compared as doubles."""
    return math.nextafter(float(number), -math.inf)


def _above(number: int | float) -> float:
    return math.nextafter(float(number), math.inf)


def condition_of(sql: Sql, criterion: Criterion, row: str = "e") -> str:
    """What every entity meets that meets the criterion."""
    if criterion.hint is Hint.NOTHING:
        return "false"
    if criterion.guids is not None:
        return sql.among(f"{row}.guid", criterion.guids) if criterion.guids else "false"
    if criterion.attribute is Attribute.TYPE and criterion.hint is Hint.EQUAL:
        return sql.among(f"{row}.type", criterion.texts)
    if criterion.attribute is not None or criterion.hint is Hint.ANYTHING:
        return "true"
    value = Value(sql, criterion.path, row)
    match criterion.hint:
        case Hint.EQUAL if len(criterion.texts) <= _MOST_TEXTS:
            return _is_equal(sql, value, criterion.texts)
        case Hint.HOLDS:
            return _holds(sql, value, criterion.texts[0])
        case Hint.NUMBER if all(number is None or abs(number) < _PG_NUMBER for number in criterion.numbers):
            return value.is_between(*criterion.numbers)
        case Hint.DATE:
            return _is_date(sql, value, *criterion.texts)
        case _:
            return value.is_there


def _is_equal(sql: Sql, value: Value, texts: Sequence[str]) -> str:
    ascii_texts = {text[:LONGEST_KEY] for text in texts if text.isascii()}
    one_of = [value.is_beyond_ascii]
    if ascii_texts:
        one_of.append(sql.among(f"substr({value.lower}, 1, {LONGEST_KEY})", ascii_texts))
    return f"({value.is_kind('text', 'number', 'boolean')} AND ({' OR '.join(one_of)}))"


def _holds(sql: Sql, value: Value, text: str) -> str:
    one_of = [value.is_kind("array"), value.is_beyond_ascii]
    if text.isascii():
        wanted = sql.bind(text)
        one_of.append(
            f"instr({value.lower}, {wanted}) > 0" if sql.is_sqlite else f"strpos({value.lower}, {wanted}) > 0"
        )
    # Numbers are not written alike everywhere.
    one_of.append(value.is_kind("number"))
    return f"({value.is_there} AND ({' OR '.join(one_of)}))"


def _is_date(sql: Sql, value: Value, first: str, last: str) -> str:
    date = f"substr({value.text}, 1, 10)" if sql.is_sqlite else f'substr({value.text}, 1, 10) COLLATE "C"'
    bounds = [f"{date} >= {sql.bind(first)}"] if first else []
    bounds += [f"{date} <= {sql.bind(last)}"] if last else []
    return f"({value.is_kind('text')} AND {' AND '.join(bounds)})"


def extracts(sql: Sql, path: str, row: str = "e") -> Sequence[str]:
    """The JSON of the data's member of that name, and, for a path, of the member that it begins with."""
    steps = path.split(".")
    names = [path] if len(steps) == 1 or not all(steps) else [path, steps[0]]
    if sql.is_sqlite:
        return [f"""{row}.data -> {sql.bind(f'$."{name}"')}""" for name in names]
    return [f"({row}.data -> {sql.bind(name)})::text" for name in names]
