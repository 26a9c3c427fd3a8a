"""Hashes: those the hub makes, and those it takes over from existing deployments."""

import bcrypt
import pytest
from argon2 import extract_parameters
from argon2.exceptions import VerifyMismatchError

from datacollect.features.users import passwords
from datacollect.features.users.passwords import hash_password, is_outdated, verify_password

pytestmark = pytest.mark.usefixtures("dear_hashes")


def bcrypt_hash(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


@pytest.mark.parametrize(
    "password", ["Correct-Horse-7", "Pässwört-7", "パスワード-Aa-7", "🐎" * 40 + "Aa-7", " Aa-7 " * 100]
)
async def test_a_password_of_any_alphabet_and_length_opens_its_hash_and_no_other(password: str) -> None:
    stored = await hash_password(password)
    assert await verify_password(password, stored)
    # Also what differs in the last character only: nothing is cut off.
    assert not await verify_password(password[:-1], stored)
    assert not await verify_password(password + "x", stored)
    assert not is_outdated(stored)


async def test_one_password_never_has_one_hash() -> None:
    assert await hash_password("Correct-Horse-7") != await hash_password("Correct-Horse-7")


async def test_a_long_password_opens_the_bcrypt_hash_of_its_first_72_bytes() -> None:
    """The libraries that made those hashes cut silently; today's refuses longer ones."""
    password = "ä" * 30 + "Correct-Horse-Battery-Staple-7"
    stored = bcrypt_hash(password.encode()[:72])
    assert len(password.encode()) > 72
    assert await verify_password(password, stored)
    assert not await verify_password("x" + password, stored)
    assert is_outdated(stored)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_every_dialect_of_bcrypt_is_understood(prefix: str) -> None:
    stored = prefix + bcrypt_hash(b"Correct-Horse-7").removeprefix("$2b$")
    assert await verify_password("Correct-Horse-7", stored)
    assert not await verify_password("Correct-Horse-8", stored)
    assert is_outdated(stored)


def test_nobodys_hash_costs_what_everybodys_does() -> None:
    assert not is_outdated(passwords.NOBODYS_HASH)
    real = passwords._hasher.hash("Correct-Horse-7")
    assert extract_parameters(passwords.NOBODYS_HASH) == extract_parameters(real)
    with pytest.raises(VerifyMismatchError):  # not InvalidHashError, which would take no time
        passwords._hasher.verify(passwords.NOBODYS_HASH, "Correct-Horse-7")
