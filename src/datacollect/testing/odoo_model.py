"""The inside of the fake Odoo: models whose fields are checked, records, and the few ways to ask for them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

_DATE = "%Y-%m-%d"
_DATETIME = "%Y-%m-%d %H:%M:%S"
"""Odoo stores microseconds, and neither shows them nor takes them. There is no zone: it is UTC."""


class OdooError(Exception):
    """What Odoo raises; `name` is the class as JSON-RPC tells it."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


def access_denied() -> OdooError:
    return OdooError("odoo.exceptions.AccessDenied", "Access Denied")


def access_error(message: str) -> OdooError:
    return OdooError("odoo.exceptions.AccessError", message)


def missing_error(model: str, ids: Iterable[int]) -> OdooError:
    told = ",".join(map(str, ids))
    return OdooError(
        "odoo.exceptions.MissingError", f"Record does not exist or has been deleted.\n(Record: {model}({told},))"
    )


def validation_error(message: str) -> OdooError:
    return OdooError("odoo.exceptions.ValidationError", message)


def value_error(message: str) -> OdooError:
    return OdooError("builtins.ValueError", message)


@dataclass(frozen=True, slots=True)
class OdooField:
    type: str
    string: str
    required: bool = False
    selection: Sequence[tuple[str, str]] = ()
    relation: str | None = None
    inverse: str | None = None
    readonly: bool = False


@dataclass(slots=True)
class OdooModel:
    name: str
    fields: dict[str, OdooField]
    readers: str | None = None
    """The group whose users may read it; None for all."""
    writers: str | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    next_id: int = 1
    check: Callable[[Row], None] = lambda _: None


class Registry:
    """All models of one database."""

    def __init__(self, models: Iterable[OdooModel], now: Callable[[], datetime]) -> None:
        self.models = {model.name: model for model in models}
        self._now = now

    def model(self, name: str) -> OdooModel:
        if name not in self.models:
            raise OdooError("builtins.KeyError", f"'{name}'")
        return self.models[name]

    def transaction(self) -> "Transaction":
        return Transaction(self, self._now())


class Transaction:
    """One call: it happens as a whole or, rolled back, not at all."""

    def __init__(self, registry: Registry, now: datetime) -> None:
        self._registry = registry
        self._now = now
        self._before: list[tuple[OdooModel, int, Row | None]] = []

    def model(self, name: str) -> OdooModel:
        return self._registry.model(name)

    def roll_back(self) -> None:
        """Numbers that were taken stay taken, as with a sequence."""
        for model, key, row in reversed(self._before):
            if row is None:
                model.rows.pop(key, None)
            else:
                model.rows[key] = row

    def _touch(self, model: OdooModel, key: int) -> None:
        row = model.rows.get(key)
        self._before.append((model, key, None if row is None else dict(row)))

    # -- writing

    def create(self, model_name: str, values: Mapping[str, Any]) -> int:
        model = self._registry.model(model_name)
        key = model.next_id
        model.next_id += 1
        self._touch(model, key)
        row: Row = {name: _empty(one) for name, one in model.fields.items()} | {
            "id": key,
            "active": True,
            "create_date": self._now,
            "write_date": self._now,
        }
        model.rows[key] = row
        self._assign(model, row, values)
        self._require(model, row)
        return key

    def write(self, model_name: str, ids: Sequence[int], values: Mapping[str, Any]) -> None:
        model = self._registry.model(model_name)
        for row in self.existing(model, ids):
            self._touch(model, row["id"])
            self._assign(model, row, values)
            row["write_date"] = self._now
            self._require(model, row)

    def unlink(self, model_name: str, ids: Sequence[int]) -> None:
        model = self._registry.model(model_name)
        for row in self.existing(model, ids):
            self._touch(model, row["id"])
            del model.rows[row["id"]]

    def existing(self, model: OdooModel, ids: Sequence[int]) -> Sequence[Row]:
        missing = [key for key in ids if key not in model.rows]
        if missing:
            raise missing_error(model.name, missing)
        return [model.rows[key] for key in ids]

    def _assign(self, model: OdooModel, row: Row, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            described = model.fields.get(name)
            if described is None:
                raise value_error(f"Invalid field '{name}' on model '{model.name}'")
            if described.readonly:
                raise value_error(f"Field '{name}' of '{model.name}' cannot be written")
            if described.type == "one2many":
                self._command_many(described, row, value)
            else:
                row[name] = self._stored(model, name, described, value, row.get(name))

    def _stored(self, model: OdooModel, name: str, described: OdooField, value: Any, before: Any) -> Any:
        if value is None or (value is False and described.type != "boolean"):
            return _empty(described)
        wrong = value_error(f"Wrong value for {model.name}.{name}: {value!r}")
        match described.type:
            case "char" | "text" if isinstance(value, str):
                return value
            case "boolean" if isinstance(value, bool):
                return value
            case "integer" if isinstance(value, int) and not isinstance(value, bool):
                return value
            case "float" if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
            case "date" if isinstance(value, str):
                return _parsed(value, _DATE, wrong).date()
            case "datetime" if isinstance(value, str):
                return _parsed(value, _DATETIME, wrong)
            case "selection" if value in [key for key, _ in described.selection]:
                return value
            case "many2one" if isinstance(value, int) and not isinstance(value, bool):
                self._require_related(described, [value])
                return value
            case "many2many":
                return self._command_set(described, value, before or [], wrong)
        raise wrong

    def _require_related(self, described: OdooField, ids: Sequence[int]) -> None:
        self.existing(self._registry.model(described.relation or ""), ids)

    def _command_set(self, described: OdooField, commands: Any, before: list[int], wrong: OdooError) -> list[int]:
        ids = list(before)
        for command in commands if isinstance(commands, list) else [commands]:
            match command:
                case [6, _, [*given]] if all(isinstance(one, int) for one in given):
                    ids = given
                case [4, int() as one, *_]:
                    ids = [*ids, one]
                case _:
                    raise wrong
        self._require_related(described, ids)
        return ids

    def _command_many(self, described: OdooField, row: Row, commands: Any) -> None:
        assert described.relation and described.inverse
        wrong = value_error(f"Wrong commands for {described.relation}: {commands!r}")
        for command in commands if isinstance(commands, list) else [commands]:
            match command:
                case [0, _, dict() as values]:
                    self.create(described.relation, {**values, described.inverse: row["id"]})
                case [1, int() as key, dict() as values]:
                    self.write(described.relation, [key], values)
                case [2, int() as key, *_]:
                    self.unlink(described.relation, [key])
                case _:
                    raise wrong

    def _require(self, model: OdooModel, row: Row) -> None:
        for name, described in model.fields.items():
            if described.required and row.get(name) in (None, False, ""):
                raise validation_error(
                    f"The operation cannot be completed: Missing required value for the field '{described.string}' ({name})"
                )
        model.check(row)

    # -- reading

    def search(
        self,
        model_name: str,
        domain: Any,
        *,
        order: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        active_test: bool = True,
    ) -> list[Row]:
        model = self._registry.model(model_name)
        holds = _domain(model, domain)
        rows = [row for row in model.rows.values() if holds(row)]
        if active_test and "active" in model.fields and "active" not in _named(domain):
            rows = [row for row in rows if row["active"]]
        for name, descending in reversed(_order(model, order or "id")):
            rows.sort(key=_by(name), reverse=descending)
        return rows[offset : None if limit is None else offset + limit]

    def shown(self, model_name: str, row: Row, fields: Sequence[str]) -> Row:
        model = self._registry.model(model_name)
        unknown = [name for name in fields if name not in model.fields and name != "id"]
        if unknown:
            raise value_error(f"Invalid field '{unknown[0]}' on model '{model_name}'")
        return {"id": row["id"]} | {
            name: self._shown(model.fields[name], row, name) for name in fields or model.fields if name != "id"
        }

    def _shown(self, described: OdooField, row: Row, name: str) -> Any:
        value = row.get("name") if name == "display_name" else row.get(name)
        match described.type:
            case "one2many":
                related = self._registry.model(described.relation or "").rows.values()
                return [one["id"] for one in related if one[described.inverse or ""] == row["id"]]
            case "many2one":
                return [value, self.display_name(described.relation or "", value)] if value else False
            case "datetime":
                return value.strftime(_DATETIME) if value else False
            case "date":
                return value.strftime(_DATE) if value else False
            case "boolean":
                return bool(value)
            case "integer" | "float":
                return value or 0
            case "many2many":
                return list(value or [])
        return value or False

    def display_name(self, model_name: str, key: int) -> str:
        row = self._registry.model(model_name).rows.get(key, {})
        return str(row.get("name") or f"{model_name},{key}")


def _by(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _empty(described: OdooField) -> Any:
    return [] if described.type == "many2many" else None


def _parsed(text: str, layout: str, wrong: OdooError) -> datetime:
    try:
        return datetime.strptime(text, layout).replace(tzinfo=UTC)
    except ValueError:
        raise wrong from None


def _order(model: OdooModel, order: str) -> Sequence[tuple[str, bool]]:
    found = []
    for part in order.split(","):
        match = re.fullmatch(r"\s*([a-z_]+)(?:\s+(asc|desc))?\s*", part)
        if match is None or (match[1] not in model.fields and match[1] != "id"):
            raise OdooError("odoo.exceptions.UserError", f'Invalid "order" specified ({order})')
        found.append((match[1], match[2] == "desc"))
    return found


def _named(domain: Any) -> set[str]:
    return {leaf[0] for leaf in domain if isinstance(leaf, list)}


def _domain(model: OdooModel, domain: Any) -> Callable[[Row], bool]:
    """Read in Polish notation, as Odoo does; what is not understood here is refused."""
    if not isinstance(domain, list):
        raise value_error(f"Domain is not a list: {domain!r}")
    stack: list[Callable[[Row], bool]] = []
    for part in reversed(domain):
        if part in ("&", "|"):
            if len(stack) < 2:
                raise value_error(f"Domain is malformed: {domain!r}")
            first, second = stack.pop(), stack.pop()
            stack.append(_both(first, second) if part == "&" else _either(first, second))
        else:
            stack.append(_leaf(model, part))
    return lambda row: all(holds(row) for holds in stack)


def _both(first: Callable[[Row], bool], second: Callable[[Row], bool]) -> Callable[[Row], bool]:
    return lambda row: first(row) and second(row)


def _either(first: Callable[[Row], bool], second: Callable[[Row], bool]) -> Callable[[Row], bool]:
    return lambda row: first(row) or second(row)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda value, given: value is not None and value > given,
    ">=": lambda value, given: value is not None and value >= given,
    "<": lambda value, given: value is not None and value < given,
    "<=": lambda value, given: value is not None and value <= given,
    "=": lambda value, given: value == given,
    "!=": lambda value, given: value != given,
    "in": lambda value, given: value in given,
    "not in": lambda value, given: value not in given,
}


def _leaf(model: OdooModel, leaf: Any) -> Callable[[Row], bool]:
    match leaf:
        case [str() as name, str() as operator, value] if operator in _COMPARISONS:
            pass
        case _:
            raise value_error(f"Invalid leaf {leaf!r}")
    if name != "id" and name not in model.fields:
        raise value_error(f"Invalid field {model.name}.{name} in leaf {leaf!r}")
    if ("in" in operator) != isinstance(value, list):
        raise value_error(f"The domain term {leaf!r} should use the 'in' or 'not in' operator.")
    described = model.fields.get(name)
    compare = _COMPARISONS[operator]
    given = [_compared(described, one) for one in value] if isinstance(value, list) else _compared(described, value)
    return lambda row: compare(_comparable(described, row[name]), given)


def _comparable(described: OdooField | None, value: Any) -> Any:
    return bool(value) if described is not None and described.type == "boolean" else value


def _compared(described: OdooField | None, value: Any) -> Any:
    wrong = value_error(f"Invalid value in a domain: {value!r}")
    if value is False and (described is None or described.type != "boolean"):
        return None
    if described is not None and described.type == "datetime":
        return _parsed(value, _DATETIME, wrong)
    if described is not None and described.type == "date":
        return _parsed(value, _DATE, wrong).date()
    return value
