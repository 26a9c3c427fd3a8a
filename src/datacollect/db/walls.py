"""The second wall between tenants, on PostgreSQL: row-level security.

Every table with a `tenant_id` has one policy: a row may be seen, and written, if its tenant is the one that the
transaction names, or if the transaction names all of them. Which it is are two settings of the transaction, so that no
tenant's id can mean "all of them". Neither is set when a connection is opened, and then no row passes.

The policy says nothing but what its own expressions say: no function, and no sub-select, which Citus refuses in policies
of distributed tables. `current_setting` is asked per row for that (0.1 to 0.2 µs each).
"""

import re
from collections.abc import Collection

from sqlalchemy import Connection, text

from datacollect.db.metadata import SHARED, metadata
from datacollect.kernel.errors import TenantUnknown
from datacollect.kernel.ids import TenantId

_TENANT = "datacollect.tenant"
EVERY_TENANT_SETTING = "datacollect.every_tenant"

# After a transaction that has set it, a setting is not missing on that connection but empty.
_MAY_PASS = f"tenant_id = NULLIF(current_setting('{_TENANT}', true), '') OR current_setting('{EVERY_TENANT_SETTING}', true) = 'on'"

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
"""What PostgreSQL's text cannot hold, and so no tenant's id either."""


def tenant_tables() -> Collection[str]:
    """The tables of all slices that are imported whose rows belong to a tenant."""
    return sorted(
        name for name, table in metadata.tables.items() if "tenant_id" in table.columns and table.info != SHARED
    )


def raise_wall(connection: Connection, *tables: str) -> None:
    """For migrations: hold back the rows of tables that have just got a `tenant_id`, from their owner too."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        connection.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
        connection.execute(text(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"))
        connection.execute(text(f"CREATE POLICY tenant ON {table} USING ({_MAY_PASS}) WITH CHECK ({_MAY_PASS})"))
    expect_any_tenant(connection, *tables)


def expect_any_tenant(connection: Connection, *tables: str) -> None:
    """For migrations: let PostgreSQL expect the same share of the rows of whichever tenant, a two-hundredth.

    Statistics of `tenant_id` do harm. A tenant that had no rows when they were taken is expected to have none, so that every
    index that begins with the tenant promises to be as good as the one for the question; and the one that is taken
    may have to be walked through from end to end.
    """
    if connection.dialect.name != "postgresql":
        return
    clears = int(connection.execute(text("SHOW server_version_num")).scalar_one()) >= 180_000
    for table in tables:
        connection.execute(text(f"ALTER TABLE {table} ALTER COLUMN tenant_id SET STATISTICS 0"))
        if clears:
            connection.execute(
                text(f"SELECT pg_clear_attribute_stats(current_schema(), '{table}', 'tenant_id', false)")
            )


def naming(tenant_id: TenantId) -> str:
    """The statement by which a transaction names its tenant. Raises `TenantUnknown` for what no tenant can be called."""
    if not tenant_id or _UNSPEAKABLE.search(tenant_id):
        raise TenantUnknown()
    # Nothing but letters, digits, `_`, `-` and escapes by number, so that no id, whatever it holds, ends the literal.
    literal = _ODD.sub(lambda mark: f"\\U{ord(mark[0]):08X}", tenant_id)
    return f"SET LOCAL {_TENANT} = E'{literal}'"


def naming_every_tenant() -> str:
    return f"SET LOCAL {EVERY_TENANT_SETTING} = 'on'"
