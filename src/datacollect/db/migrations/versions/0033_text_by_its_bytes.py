"""all text is compared byte by byte

PostgreSQL compares text by the rules of a language, which are those of the operating system. Under another release of
it they may be others, and an index that was made by the old ones then misses what it holds: an event would be taken for
new, and stored once more. The rows stay as they are, and the indexes are made anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

# Those there are by now; tables of other programs may be beside them.
_TABLES = [
    "attachment_contents",
    "attachment_heads",
    "attachment_loose",
    "attachments",
    "attempts",
    "audit_log",
    "citizen_locks",
    "citizen_sessions",
    "conflicts",
    "device_revocations",
    "device_sync_summary",
    "duplicate_pairs",
    "entities",
    "entities_rebuild",
    "event_places",
    "events",
    "external_current",
    "external_jobs",
    "external_letters",
    "external_links",
    "external_marks",
    "external_outcomes",
    "external_runs",
    "familiar_origins",
    "form_findings",
    "jobs",
    "log_heads",
    "log_segments",
    "match_keys",
    "match_marks",
    "members",
    "members_rebuild",
    "message_days",
    "messages",
    "otp_codes",
    "program_contents",
    "program_versions",
    "programs",
    "purges",
    "quarantine",
    "rebuilds",
    "review_comments",
    "review_configs",
    "review_delegations",
    "review_owners",
    "search_indexes",
    "search_terms",
    "security_log",
    "seed_batches",
    "seedings",
    "sessions",
    "submission_reviews",
    "sync_activity",
    "user_tenants",
    "users",
    "verifications",
]

_COLUMNS = sa.text("""
SELECT c.relname, array_agg(quote_ident(a.attname) ORDER BY a.attnum)
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = current_schema() AND c.relname = ANY(:tables)
  AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype
  AND a.attcollation = 'pg_catalog."default"'::regcollation
GROUP BY c.relname ORDER BY c.relname""")

_POLICIES = sa.text("""
SELECT tablename, policyname, qual, with_check FROM pg_policies
WHERE schemaname = current_schema() AND tablename = ANY(:tables)""")


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    # A column that a policy names cannot be changed.
    policies = connection.execute(_POLICIES, {"tables": _TABLES}).all()
    for table, policy, _, _ in policies:
        op.execute(f"DROP POLICY {policy} ON {table}")
    for table, columns in connection.execute(_COLUMNS, {"tables": _TABLES}).all():
        changes = ", ".join(f'ALTER COLUMN {column} TYPE text COLLATE "C"' for column in columns)
        op.execute(f"ALTER TABLE {table} {changes}")
        op.execute(f"ANALYZE {table}")  # what was known of a column that is changed is forgotten
    for table, policy, may_be_seen, may_be_written in policies:
        op.execute(f"CREATE POLICY {policy} ON {table} USING ({may_be_seen}) WITH CHECK ({may_be_written})")
