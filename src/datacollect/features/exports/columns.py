"""From a form to the columns of a table, and from an entity's data to a row of it. Pure.

Columns stand in the order of the form. What is inside a container or a set of boxes has its own column, named by its
path. Rows of a grid are a table of their own, linked by the entity's guid. What no form describes is not lost: keys that
are found in the data come last, and what is left deeper down is in the column `_other`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from datacollect.kernel.forms import (
    DEEPEST,
    LAYOUT,
    MOST_COMPONENTS,
    WITHOUT_VALUE,
    arranged_by,
    components_in,
    items_of,
)

_GRIDS = frozenset({"datagrid", "editgrid"})
_DATES = frozenset({"datetime"})
_MOST_BOXES = 500
MOST_COLUMNS = 16_000
"""A sheet of Excel has 384 more, for what the hub adds."""

OTHER = "_other"
FORM_KEYS = frozenset({"entityName"})
GROUP_KEYS = FORM_KEYS | {"members", "memberIds"}
"""Keys of an entity's data that say what the table itself says: the form, and who belongs to a group. They have no column."""


def told_of_group(data: Mapping[str, Any]) -> Collection[str]:
    """Those that do say so: a form may have asked something else under such a key, which is not lost."""
    return {key for key in GROUP_KEYS if key in FORM_KEYS or isinstance(data.get(key), list)}


class Kind(Enum):
    PLAIN = auto()
    DATE = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is the path of the value, joined by dots."""

    key: str
    label: str
    kind: Kind = Kind.PLAIN


@dataclass(slots=True)
class _Node:
    """What stands at a key: a column of this table, more keys below it, or the rows of a table of their own."""

    column: int | None = None
    inside: "dict[str, _Node] | None" = None
    table: "Table | None" = None


@dataclass(slots=True)
class Table:
    """The columns of one form, or of one grid in it."""

    name: str
    path: tuple[str, ...] = ()
    """Of the grid, the keys that lead to its rows from the rows of the table above."""
    columns: list[Column] = field(default_factory=list)
    grids: "list[Table]" = field(default_factory=list)
    nodes: dict[str, _Node] = field(default_factory=dict)

    def chains(self) -> "Iterator[tuple[Table, ...]]":
        """The grids at any depth, each behind those it is in."""
        for grid in self.grids:
            yield (grid,)
            yield from ((grid, *inner) for inner in grid.chains())

    def add_keys(self, keys: Iterable[str]) -> None:
        """Columns for keys of the data that the form does not have."""
        for key in keys:
            if key not in self.nodes and key not in GROUP_KEYS:
                self.add(self.nodes, Column(key, key))

    def row(self, data: Mapping[str, Any], told: Collection[str] = ()) -> tuple[list[Any], dict[str, Any]]:
        """The values in the order of the columns, and what has no column, by path; but for keys that are `told` elsewhere."""
        values: list[Any] = [None] * len(self.columns)
        rest: dict[str, Any] = {}
        _fill(values, rest, self.nodes, data, "")
        for key in told:
            rest.pop(key, None)
        return values, rest

    def add(self, nodes: dict[str, _Node], column: Column, name: str | None = None) -> None:
        """What is beyond the most columns has none, as if the form did not have it."""
        if len(self.columns) < MOST_COLUMNS:
            nodes[column.key if name is None else name] = _Node(column=len(self.columns))
            self.columns.append(column)


def rows_of(
    chain: Sequence[Table], data: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of the last grid of the chain, each with its number: `2`, and `2.1` for one inside a row."""
    value: Any = data
    for key in chain[0].path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, list):
        return
    for number, item in enumerate(value, 1):
        if isinstance(item, dict) and len(chain) > 1:
            yield from rows_of(chain[1:], item, f"{above}{number}.")
        elif isinstance(item, dict):
            yield f"{above}{number}", item


def table_of(name: str, definition: Any) -> Table:
    """The columns of a form. Never raises, whatever the definition holds."""
    table = Table(name)
    components = components_in(definition)
    _Reader(table.nodes).read(table, table.nodes, components, (), depth=0)
    return table


def headers(columns: Sequence[Column], *, labels: bool, taken: set[str] | None = None) -> list[str]:
    """Keys, or labels; of fields with the same label each says its key behind it. None is one of those `taken`, to which
    they are added: of two columns with one heading most readers keep the last."""
    names = [column.label if labels else column.key for column in columns]
    counts = Counter(names if labels else ())
    taken = set() if taken is None else taken
    found = []
    for column, name in zip(columns, names, strict=True):
        is_alone = counts[name] < 2 and name not in taken
        found.append(_free(name if is_alone else f"{name} ({column.key})", taken))
        taken.add(found[-1])
    return found


def _free(name: str, taken: Collection[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found


def _fill(
    values: list[Any], rest: dict[str, Any], nodes: Mapping[str, _Node], data: Mapping[str, Any], prefix: str
) -> None:
    for key, value in data.items():
        node = nodes.get(key)
        if node is None:
            rest[prefix + key] = value
        elif node.column is not None:
            values[node.column] = value
        elif node.inside is not None and isinstance(value, dict):
            _fill(values, rest, node.inside, value, f"{prefix}{key}.")
        elif not _is_empty(value) and not (node.table is not None and _are_rows(value)):
            rest[prefix + key] = value


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


@dataclass(slots=True)
class _Reader:
    top: dict[str, _Node]
    """Where the keys of an entity's data stand."""
    left: int = MOST_COMPONENTS

    def read(
        self, table: Table, nodes: dict[str, _Node], components: Any, path: tuple[str, ...], *, depth: int
    ) -> None:
        """Add the components' columns to `table`; `path` leads to `nodes` from the table's rows."""
        for component in self._fields(components, depth):
            key = component.get("key")
            if not isinstance(key, str) or not key or key in nodes or (nodes is self.top and key in GROUP_KEYS):
                continue
            self._read_one(table, nodes, component, (*path, key), depth)

    def _read_one(
        self, table: Table, nodes: dict[str, _Node], component: Mapping[str, Any], path: tuple[str, ...], depth: int
    ) -> None:
        kind, key, inner = _kind(component), path[-1], component.get("components")
        if kind in _GRIDS:
            grid = Table(".".join(filter(None, (table.name, *path))), path)
            self.read(grid, grid.nodes, inner, (), depth=depth + 1)
            nodes[key] = _Node(table=grid)
            table.grids.append(grid)
        elif kind == "container" and items_of(inner):
            below: dict[str, _Node] = {}
            nodes[key] = _Node(inside=below)
            self.read(table, below, inner, path, depth=depth + 1)
        elif boxes := _boxes(component):
            inside: dict[str, _Node] = {}
            nodes[key] = _Node(inside=inside)
            for value, label in boxes:
                name = ".".join((*path, value))
                table.add(inside, Column(name, f"{_label(component, key)}: {label}"), value)
        else:
            shown = Kind.DATE if kind in _DATES and component.get("multiple") is not True else Kind.PLAIN
            table.add(nodes, Column(".".join(path), _label(component, key), shown), key)

    def _fields(self, components: Any, depth: int) -> Iterator[Mapping[str, Any]]:
        """Components that give data, layout taken away."""
        if depth > DEEPEST:
            return
        for component in items_of(components):
            self.left -= 1
            if self.left < 0:
                return
            if not isinstance(component, Mapping):
                continue
            kind = _kind(component)
            if kind in LAYOUT:
                for inner in arranged_by(component, kind):
                    yield from self._fields(inner, depth + 1)
            elif kind not in WITHOUT_VALUE:
                yield component


def _kind(component: Mapping[str, Any]) -> str:
    kind = component.get("type")
    return kind if isinstance(kind, str) else ""


def _boxes(component: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Value and label of each box, or of each question of a survey."""
    choices = component.get({"selectboxes": "values", "survey": "questions"}.get(_kind(component), ""))
    found: dict[str, str] = {}
    for choice in items_of(choices)[:_MOST_BOXES]:
        if isinstance(choice, Mapping) and isinstance(value := choice.get("value"), str) and value:
            label = choice.get("label")
            found.setdefault(value, label if isinstance(label, str) and label else value)
    return list(found.items())


def _label(component: Mapping[str, Any], key: str) -> str:
    label = component.get("label")
    return label.strip() if isinstance(label, str) and label.strip() else key
