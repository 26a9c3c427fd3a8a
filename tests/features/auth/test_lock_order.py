"""The order in which signing in takes rows: the other way round it and a deletion of the account end in a deadlock."""

from httpx2 import AsyncClient

from datacollect.http.hub import Hub
from tests.accounts import login, make_person


async def test_signing_in_holds_the_account_before_it_clears_old_families(
    hub: Hub, admin: AsyncClient, client: AsyncClient
) -> None:
    """Deleting an account takes the account's row, then those of its families; so must whoever wants both."""
    person = await make_person(admin)
    with hub.db.statements.record() as statements:
        await login(client, person)
    verbs = [statement.split()[0] for statement in statements if " sessions" in statement]
    # The insert refers to the account and thereby holds it.
    assert verbs == ["INSERT", "DELETE", "DELETE"]
