"""Texts that only a hub with the right key can read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacollect.kernel.errors import StartupError
from datacollect.kernel.sealing import CannotOpen, Key, Seals, is_sealed
from tests.conftest import make_settings

OLD, NEW = Key("an-older-secret-of-32-characters"), Key("a-newer-secret-of-32-characters!")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place_and_reads_as_nothing(text: str, place: str) -> None:
    place = place.encode(errors="ignore").decode()
    seals = Seals([NEW])
    sealed = seals.seal(text, place)
    assert seals.open(sealed, place) == text
    assert is_sealed(sealed) and re.fullmatch(r"v1\.[0-9a-f]{12}\.[A-Za-z0-9_=-]+", sealed)
    with pytest.raises(CannotOpen):
        seals.open(sealed, place + "/elsewhere")


def test_the_same_text_is_sealed_differently_each_time() -> None:
    seals = Seals([NEW])
    assert len({seals.seal("x", "p") for _ in range(100)}) == 100


def test_the_first_key_seals_also_where_it_is_named_twice() -> None:
    """`SECRETS_KEY` may be what `JWT_SECRET` was before: another key that sealed would be gone with the next change."""
    seals = Seals([NEW, OLD, NEW])
    assert seals.prefix == Seals([NEW]).prefix
    assert Seals([NEW]).open(seals.seal("x", "p"), "p") == "x"


def test_a_newer_key_seals_and_the_older_one_still_opens() -> None:
    sealed = Seals([OLD]).seal("x", "p")
    both = Seals([NEW, OLD])
    assert both.open(sealed, "p") == "x"
    assert both.seal("x", "p").startswith(both.prefix) and not sealed.startswith(both.prefix)
    with pytest.raises(CannotOpen):
        Seals([NEW]).open(sealed, "p")


@pytest.mark.parametrize("change", [lambda s: s[:-6], lambda s: s[:-2] + "AA", lambda s: s + "A", lambda s: s[3:]])
def test_what_was_changed_does_not_open(change: object) -> None:
    seals = Seals([NEW])
    changed = change(seals.seal("something", "p"))  # type: ignore[operator]
    for text in (changed, "", "v1.", "{}", seals.prefix, seals.prefix + "A", seals.prefix + "AAAA"):
        with pytest.raises(CannotOpen):
            seals.open(text, "p")


def test_the_name_of_a_key_is_not_the_key() -> None:
    assert NEW.id not in "a-newer-secret-of-32-characters!" and NEW.id != OLD.id
    assert Key("a-newer-secret-of-32-characters!").id == NEW.id


def test_without_a_key_nothing_is_sealed() -> None:
    for refused in (lambda: Seals([]).seal("x", "p"), lambda: Seals([]).prefix):
        with pytest.raises(StartupError, match="SECRETS_KEY"):
            refused()
    with pytest.raises(CannotOpen):
        Seals([]).open(Seals([NEW]).seal("x", "p"), "p")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"SECRETS_KEY": "k" * 32}),
        ({"SECRETS_KEY": "k" * 32}, {"SECRETS_KEY": "l" * 32, "SECRETS_KEY_PREVIOUS": "k" * 32}),
        ({"JWT_SECRET": "j" * 32}, {"JWT_SECRET": "n" * 32, "JWT_SECRET_PREVIOUS": "j" * 32}),
        ({"JWT_SECRET": "j" * 32}, {"JWT_SECRET": "n" * 32, "SECRETS_KEY_PREVIOUS": "j" * 32}),
        ({"JWT_SECRET": "j" * 32}, {"SECRETS_KEY": "l" * 32, "SECRETS_KEY_PREVIOUS": "j" * 32}),
    ],
)
def test_secrets_survive_a_change_of_keys(before: dict[str, str], after: dict[str, str], tmp_path: object) -> None:
    old, new = (make_settings(tmp_path, None, **changes).seals for changes in (before, after))  # type: ignore[arg-type]
    sealed = old.seal("x", "p")
    assert new.open(sealed, "p") == "x"
    assert not sealed.startswith(new.prefix), "it would never be sealed anew"
