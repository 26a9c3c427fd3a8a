"""What another system was asked for and has not done yet: told apart from what it holds, and from what others changed."""

from datacollect.features.external.model import (
    ASKED,
    PUSHED,
    changed_fields,
    hashes_of,
    with_asked,
    with_done,
    without_done,
)

BEFORE = hashes_of({"phone": "1"}) | {PUSHED: ""}


def test_neither_the_old_value_nor_the_one_asked_for_is_a_change() -> None:
    seen = with_asked(BEFORE, {"phone": "2"})
    assert PUSHED not in seen
    assert changed_fields({"phone": "1"}, seen) == {}
    assert changed_fields({"phone": "2"}, seen) == {}
    assert changed_fields({"phone": "3"}, seen) == {"phone": "3"}


def test_what_is_asked_for_anew_takes_the_place_of_what_was() -> None:
    seen = with_asked(with_asked(BEFORE, {"phone": "2"}), {"phone": "3"})
    assert changed_fields({"phone": "2"}, seen) == {"phone": "2"}


def test_what_has_been_done_is_what_is_held() -> None:
    seen = with_asked(with_done(with_asked(BEFORE, {"phone": "2"})), {"phone": "3"})
    assert changed_fields({"phone": "2"}, seen) == {}
    assert changed_fields({"phone": "1"}, seen) == {"phone": "1"}


def test_what_turns_out_to_be_done_is_asked_for_no_longer() -> None:
    seen = without_done(with_asked(BEFORE, {"phone": "2", "email": "e"}), hashes_of({"phone": "2", "email": "old"}))
    assert ASKED + "phone" not in seen
    assert ASKED + "email" in seen
    assert "phone" in seen
