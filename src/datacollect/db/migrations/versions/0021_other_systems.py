"""synchronising with other systems"""

import sqlalchemy as sa
from alembic import op

from datacollect.db.walls import raise_wall

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "external_links",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("external_id", _KEY, nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("tenant_id", "system", "guid", name=op.f("pk_external_links")),
        sa.UniqueConstraint(
            "tenant_id", "system", "external_id", name=op.f("uq_external_links_tenant_id_system_external_id")
        ),
    )
    op.create_table(
        "external_current",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_external_current")),
    )
    op.create_table(
        "external_runs",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("pushed", "pulled", "failed", "skipped")
        ),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("errors", sa.Text(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("triggered_by", sa.Text(), nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_external_runs")),
        sa.UniqueConstraint("tenant_id", "job_id", name=op.f("uq_external_runs_tenant_id_job_id")),
    )
    op.create_table(
        "external_jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_external_jobs")),
    )
    op.create_index("ix_external_jobs_tenant_id", "external_jobs", ["tenant_id", "job_id"])
    op.create_table(
        "external_marks",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("push", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("pull", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "system", name=op.f("pk_external_marks")),
    )
    _create_outcomes()
    _create_letters()
    op.create_index(
        "ix_entities_gone",
        "entities",
        ["tenant_id", "changed_position", "guid"],
        sqlite_where=sa.text("deleted = 1"),
        postgresql_where=sa.text("deleted"),
    )
    raise_wall(
        op.get_bind(),
        "external_links",
        "external_current",
        "external_runs",
        "external_marks",
        "external_outcomes",
        "external_letters",
    )


def _create_outcomes() -> None:
    op.create_table(
        "external_outcomes",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_due", sa.Boolean(), nullable=False),
        sa.Column("sent_key", sa.Text(), nullable=True),
        sa.Column("agreed_key", sa.Text(), nullable=True),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("pulls", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("state", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("retryable", sa.Boolean(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "system", "guid", name=op.f("pk_external_outcomes")),
    )
    for name, columns, condition in (
        ("due", ("stage", "guid"), "is_due"),
        ("open", ("guid",), "is_open"),
        ("failed", ("guid",), "code IS NOT NULL"),
    ):
        is_flag = condition.startswith("is_")
        op.create_index(
            f"ix_external_outcomes_{name}",
            "external_outcomes",
            ["tenant_id", "system", *columns],
            sqlite_where=sa.text(f"{condition} = 1" if is_flag else condition),
            postgresql_where=sa.text(condition),
        )


def _create_letters() -> None:
    op.create_table(
        "external_letters",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("external_id", _KEY, nullable=False),
        sa.Column("guid", sa.Text(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("is_due", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "system", "external_id", name=op.f("pk_external_letters")),
    )
    op.create_index(
        "ix_external_letters_due",
        "external_letters",
        ["tenant_id", "system", "external_id"],
        sqlite_where=sa.text("is_due = 1"),
        postgresql_where=sa.text("is_due"),
    )
