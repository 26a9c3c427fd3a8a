"""What is different between two configs; and that it is all: applied, it leads from one to the other."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from datacollect.features.tenants.differences import (
    Difference,
    Kind,
    SeedChange,
    changes_between,
    differences,
    path_for_people,
    seed_changes,
)
from datacollect.features.tenants.model import Program
from datacollect.features.tenants.published import MASK
from datacollect.kernel.clock import Millis
from datacollect.kernel.ids import TenantId


def apply(document: Any, changes: Sequence[Difference]) -> Any:
    """Written for this test, from what is said of differences alone."""
    root = {"": copy.deepcopy(document)}
    for change in changes:
        steps: list[Any] = ["", *change.path]
        holder: Any = root
        for step in steps[:-1]:
            holder = holder[at(holder, step)]
        if change.kind is Kind.ADDED and isinstance(holder, list):
            holder.insert(len(holder) if change.index is None else change.index, copy.deepcopy(change.after))
        elif change.kind is Kind.REMOVED:
            del holder[at(holder, steps[-1])]
        elif change.kind is Kind.MOVED:
            items = holder[at(holder, steps[-1])]
            items[:] = [items[at(items, step)] for step in change.after]
        else:
            key = steps[-1] if isinstance(holder, dict) else at(holder, steps[-1])
            holder[key] = copy.deepcopy(change.after)
    return root[""]


def at(holder: Any, step: Any) -> Any:
    if not isinstance(step, Mapping):
        return step
    [found] = [index for index, item in enumerate(holder) if all(named(item, *pair) for pair in step.items())]
    return found


def named(item: Any, name: str, value: Any) -> bool:
    if name == "item" and not isinstance(item, dict):
        return type(item) is type(value) and bool(item == value)
    for part in name.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return bool(item == value)


NAMES = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from(["", "a", "b", "1"]), st.just(1.5))
KEYED = st.fixed_dictionaries({"key": NAMES}, optional={"label": LEAVES, "name": NAMES, "type": NAMES, "id": LEAVES})


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.sampled_from(["a", "key", "name", "id", "components", "type", "fields", "authority", "value"])
    return st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(members, inner, max_size=4),
        st.lists(KEYED, max_size=4, unique_by=lambda item: item["key"]),
        st.lists(st.fixed_dictionaries({"name": NAMES, "x": inner}), max_size=4, unique_by=lambda item: item["name"]),
        st.lists(st.fixed_dictionaries({"type": NAMES, "fields": st.dictionaries(st.just("authority"), NAMES)})),
    )


DOCUMENTS = st.recursive(LEAVES, nested, max_leaves=25)


@given(DOCUMENTS, DOCUMENTS)
@example([1, {"a": True}], [True, {"a": 1}])
def test_applied_to_one_document_they_give_the_other(old: Any, new: Any) -> None:
    found = list(differences(old, new))
    assert repr(apply(old, found)) == repr(in_order_of(new, apply(old, found)))


def in_order_of(document: Any, other: Any) -> Any:
    """The document with the members of its objects in the other's order, which JSON does not know."""
    if isinstance(document, dict) and isinstance(other, dict):
        assert document.keys() == other.keys()
        return {key: in_order_of(document[key], other[key]) for key in other}
    if isinstance(document, list) and isinstance(other, list):
        assert len(document) == len(other)
        return [in_order_of(mine, theirs) for mine, theirs in zip(document, other, strict=True)]
    return document


@given(DOCUMENTS)
def test_between_a_document_and_itself_there_is_nothing(document: Any) -> None:
    assert list(differences(document, copy.deepcopy(document))) == []


def test_depth_beyond_any_form_is_compared_as_a_whole() -> None:
    old: Any = 1
    new: Any = 2
    for _ in range(300):
        old, new = {"a": old}, {"a": new}
    [change] = differences(old, new)
    assert (len(change.path), change.kind) == (100, Kind.CHANGED)
    assert list(differences(old, copy.deepcopy(old))) == []


def field(key: str, **more: Any) -> dict[str, Any]:
    return {"type": "textfield", "key": key, "label": key} | more


def form(name: str, *fields: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "title": name, "formio": {"components": list(fields)}}


def program(**changes: Any) -> Program:
    config = {"id": "p", "name": "P", "entityForms": [form("household", field("size"), field("village"))]}
    values = {"artifact_id": "a", "external_sync": None, "archived_at": None} | {
        key: changes.pop(key) for key in ("artifact_id", "external_sync", "archived_at") if key in changes
    }
    return Program(
        id=TenantId("p"),
        config=config | changes,
        entity_data=(),
        revision=1,
        created_at=Millis(0),
        updated_at=Millis(0),
        **values,
    )


def told(old: Program | None, new: Program) -> list[tuple[str, str]]:
    return [(change.kind.value, path_for_people(change.path)) for change in changes_between(old, new)]


def test_a_form_put_in_front_is_one_change() -> None:
    before = program()
    after = program(entityForms=[form("area"), *before.config["entityForms"]])
    [change] = changes_between(before, after)
    assert (change.kind, change.path, change.index) == (Kind.ADDED, ("entityForms", {"name": "area"}), 0)
    assert change.after == form("area")
    assert told(after, before) == [("removed", "entityForms[area]")]


def test_a_component_is_told_by_its_key_wherever_it_stands() -> None:
    fields = (field("size", validate={"min": 1}), field("area"), field("village"))
    after = program(entityForms=[form("household", *reversed(fields))])
    place = "entityForms[household].formio.components"
    assert told(program(), after) == [
        ("moved", place),
        ("added", f"{place}[size].validate"),
        ("added", f"{place}[area]"),
    ]


def test_two_providers_of_one_type_are_told_by_where_they_are() -> None:
    first, second, third = (
        {"type": "keycloak", "fields": {"authority": f"https://{name}.test", "client_id": "c"}} for name in "abc"
    )
    assert told(program(authConfigs=[first, second]), program(authConfigs=[third, first, second])) == [
        ("added", "authConfigs[keycloak https://c.test]")
    ]


def test_areas_are_told_by_themselves() -> None:
    before, after = ({"areaIds": areas} for areas in (["A1", "A2"], ["A0", "A1"]))
    assert told(program(syncScope=before), program(syncScope=after)) == [
        ("removed", "syncScope.areaIds[A2]"),
        ("added", "syncScope.areaIds[A0]"),
    ]


def test_that_a_program_was_archived_or_got_another_file_is_a_change() -> None:
    assert told(program(), program(archived_at=Millis(5), artifact_id="b")) == [
        ("changed", "artifactId"),
        ("changed", "archived"),
    ]


def test_of_a_secret_only_that_it_changed_is_told() -> None:
    def secretive(word: str) -> Program:
        return program(
            external_sync={
                "type": "mock",
                "adapterConfig": {"clientSecret": word, "deep": {"key": word}},
                "extraFields": [{"name": "password", "value": word}],
            },
            authConfigs=[{"type": "auth0", "fields": {"client_id": "c", "client_secret": word}}],
            url=f"https://u:{word}@x.test",
        )

    changes = changes_between(secretive("CANARY-1"), secretive("CANARY-2"))
    assert {(change.before, change.after) for change in changes} == {(MASK, MASK)}
    assert [path_for_people(change.path) for change in changes] == [
        "authConfigs[auth0].fields.client_secret",
        "url",
        "externalSync.adapterConfig.clientSecret",
        "externalSync.adapterConfig.deep.key",
        "externalSync.extraFields[password].value",
    ]
    assert changes_between(secretive("CANARY-1"), secretive("CANARY-1")) == []
    for old, new in (
        (None, secretive("CANARY-1")),
        (program(), secretive("CANARY-1")),
        (secretive("CANARY-1"), program()),
    ):
        assert "CANARY" not in repr(changes_between(old, new))


def test_seeds_are_counted_by_form() -> None:
    before = [{"name": "f", "data": [{"id": "1", "name": "A"}, {"id": "2", "name": "B"}, {"id": "3", "name": "C"}]}]
    after = [
        {"name": "g", "data": [{"id": "9", "name": "A"}]},
        {"name": "f", "data": [{"id": "2", "name": "b"}, {"name": "C", "id": "3"}, {"id": "4", "name": "D"}]},
    ]
    assert seed_changes(before, after) == [SeedChange("f", 1, 1, 1), SeedChange("g", 1, 0, 0)]
    assert seed_changes(before, before) == []
