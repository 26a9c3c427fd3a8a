"""Columns as texts of arrays: PostgreSQL reads what was written."""

from itertools import product

import asyncpg
import pytest

from datacollect.db.arrays import array_text

pytestmark = pytest.mark.anyio

PIECES = (
    "",
    " ",
    '"',
    "\\",
    "{",
    "}",
    ",",
    "'",
    "\n",
    "\t",
    "\x01",
    "\x7f",
    "NULL",
    "null",
    "n",
    "[1]",
    "é",
    "𐌀",
    '""',
)
TEXTS = ["".join(pieces) for pieces in product(PIECES, repeat=3)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", []),
        ("text", [text for text in TEXTS if not {'"', "\\"} & set(text) and text.isprintable()]),  # the short way
        ("text", [None, *TEXTS, None]),
        ("bigint", [0, -1, 2**63 - 1, -(2**63), None]),
        ("bool", [True, False, None]),
    ],
)
async def test_what_is_written_is_what_is_read(postgres_server: str, kind: str, values: list[str | int | None]) -> None:
    connection = await asyncpg.connect(postgres_server)
    try:
        assert await connection.fetchval(f"SELECT $1::text::{kind}[]", array_text(values)) == values
    finally:
        await connection.close()
