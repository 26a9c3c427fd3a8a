"""What an index may be asked while it is brought from one set of fields to another."""

from dataclasses import replace

from datacollect.features.entities.indexing.state import NO_INDEX, RULES, IndexState, state_of_new_log


def under_way() -> IndexState:
    return state_of_new_log(["a", "b"]).heading_for(("b", "c"), at=10).advanced(4)


def test_a_field_may_be_asked_for_while_both_sets_have_it() -> None:
    assert [field for field in "abc" if under_way().has(field)] == ["b"]
    assert [field for field in "abc" if under_way().advanced(10).has(field)] == ["b", "c"]


def test_words_may_be_asked_for_when_all_are_of_the_same_fields() -> None:
    assert state_of_new_log(["a", "b"]).has_words_of(["a", "b"])
    assert not state_of_new_log(["a", "b"]).has_words_of(["a"])
    assert not under_way().has_words_of(["a", "b"])
    assert not under_way().has_words_of(["b", "c"])
    assert under_way().advanced(10).has_words_of(["b", "c"])


def test_the_position_of_its_last_change_tells_an_entitys_fields() -> None:
    state = under_way()
    assert [state.fields_at(position) for position in (4, 5, 10, 11)] == [
        ("b", "c"),
        ("a", "b"),
        ("a", "b"),
        ("b", "c"),
    ]
    assert state.fields_of_new == ("b", "c")


def test_an_index_of_other_rules_says_nothing() -> None:
    state = IndexState(RULES + 1, ("a",))
    assert not state.has("a")
    assert not state.has_words_of(["a"])
    assert state.fields_of_new is None
    assert state.fields_at(1) is None
    assert NO_INDEX.fields_of_new is None


def test_each_change_of_what_may_be_asked_is_noticed() -> None:
    states = [state_of_new_log(["a"])]
    states.append(states[-1].heading_for(("b",), at=5))
    states.append(states[-1].advanced(5))
    states.append(states[-1].voided())
    states.append(states[-1].heading_for(("b",), at=5).advanced(5))
    assert len({state.changes for state in states}) == len(states)


def test_what_a_reindex_begins_with_is_not_the_indexers_any_more() -> None:
    assert NO_INDEX.heading_for(("a",), at=7).indexed == 7


def test_how_far_a_reindex_is_makes_no_difference_to_who_asks() -> None:
    assert under_way().tells_as(under_way().advanced(7))
    assert under_way().tells_as(replace(under_way(), indexed=12))
    assert not under_way().tells_as(under_way().advanced(10))
    assert not under_way().tells_as(under_way().heading_for(("c",), at=12))
