import pytest

from bench.limits import measure

pytestmark = pytest.mark.anyio


async def test_both_hubs_are_asked_the_same() -> None:
    found = await measure(2)
    assert set(found) == {"push of 10", "pull of 10"}
    assert all(cell["with_us"] > 0 and cell["without_us"] > 0 and cell["ratio"] > 0 for cell in found.values())
