"""What stands for a text that was typed as an e-mail."""

from datacollect.features.security_log.model import hint_of


def test_a_hint_is_equal_for_equal_texts_and_needs_the_key() -> None:
    assert hint_of("a@b.c", secret=b"key") == hint_of("a@b.c", secret=b"key")
    assert (
        len({hint_of("a@b.c", secret=b"key"), hint_of("d@b.c", secret=b"key"), hint_of("a@b.c", secret=b"other")}) == 3
    )


def test_a_hint_tells_nothing_of_the_text_and_takes_any() -> None:
    assert "Horse" not in hint_of("Correct-Horse-7", secret=b"key")
    assert len(hint_of("\ud800", secret=b"key")) == len(hint_of("x" * 100_000, secret=b"key")) == 32
