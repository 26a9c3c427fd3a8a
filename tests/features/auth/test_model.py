"""The rules of refresh families and of rate limits."""

from dataclasses import replace

import pytest

from datacollect.features.auth.model import (
    GRACE_MILLIS,
    Session,
    Verdict,
    account_hash,
    hash_of,
    judge,
    session_id,
    successor,
)
from datacollect.kernel.clock import Millis

ROTATED = Millis(1_000_000)
SESSION = Session(
    family="f",
    user_id=7,
    version=1,
    current_hash=hash_of("current"),
    previous_hash=hash_of("previous"),
    rotated_at=ROTATED,
    expires_at=Millis(10_000_000),
    revoked_at=None,
)


@pytest.mark.parametrize(
    ("token_id", "after_millis", "verdict"),
    [
        ("current", 0, Verdict.ROTATE),
        ("current", 8_999_999, Verdict.ROTATE),
        ("current", 9_000_000, Verdict.REFUSE),
        ("previous", 0, Verdict.REPEAT),
        ("previous", GRACE_MILLIS, Verdict.REPEAT),
        ("previous", GRACE_MILLIS + 1, Verdict.REVOKE),
        ("older", 0, Verdict.REVOKE),
        ("older", 9_000_000, Verdict.REFUSE),
    ],
)
def test_a_token_is_judged_by_its_place_in_the_family(token_id: str, after_millis: int, verdict: Verdict) -> None:
    assert judge(SESSION, hash_of(token_id), now=Millis(ROTATED + after_millis)) is verdict


@pytest.mark.parametrize("token_id", ["current", "previous", "older"])
def test_an_ended_family_takes_nothing(token_id: str) -> None:
    ended = replace(SESSION, revoked_at=ROTATED)
    assert judge(ended, hash_of(token_id), now=ROTATED) is Verdict.REFUSE
    assert judge(None, hash_of(token_id), now=ROTATED) is Verdict.REFUSE


def test_a_token_has_one_successor_which_only_the_hub_can_tell() -> None:
    assert successor("t", secret=b"s") == successor("t", secret=b"s")
    assert len({successor("t", secret=b"s"), successor("u", secret=b"s"), successor("t", secret=b"other")}) == 3


def test_a_session_is_shown_by_an_id_that_is_not_its_tokens() -> None:
    assert session_id("f") == session_id("f") != session_id("g")
    assert len(session_id("f")) == 32


def test_attempts_on_an_account_are_counted_under_a_keyed_hash_of_whatever_was_typed() -> None:
    hashes = {account_hash("a", secret=b"k"), account_hash("b", secret=b"k"), account_hash("a", secret=b"l")}
    assert len(hashes) == 3
    assert account_hash("a", secret=b"k") in hashes
    assert len(account_hash("\ud800" * 100_000, secret=b"k")) == 32
