"""Alembic's entry: runs on the connection that `db.migrate` hands over, inside its transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=context.config.attributes.get("target_metadata"),
    render_as_batch=context.config.attributes.get("render_as_batch", True),
    transaction_per_migration=False,
    transactional_ddl=False,
)
context.run_migrations()
