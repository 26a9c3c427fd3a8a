"""The rules of refresh families and of rate limits."""

from dataclasses import replace

import pytest

from datacollect.features.auth.model import (
    GRACE_MILLIS,
    Session,
    Verdict,
    hash_of,
    judge,
    successor,
)
from datacollect.kernel.clock import Millis

ROTATED = Millis(1_000_000)
SESSION = Session(
    family="f",
    user_id=7,
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
