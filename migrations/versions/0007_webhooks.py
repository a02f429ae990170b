"""Webhooks: a tenant's signing secret, and the deliveries that are due. New tables only."""

from typing import Final

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

STATEMENTS: Final = (
    """
CREATE TABLE webhooks (
    tenant_id text NOT NULL,
    secret text NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT webhooks_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT webhooks_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE deliveries (
    id text NOT NULL,
    job_id text NOT NULL,
    tenant_id text NOT NULL,
    url text NOT NULL,
    status varchar(16) DEFAULT 'waiting' NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    due_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    last_error text,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    ended_at timestamptz,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT deliveries_job_id_fkey FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT deliveries_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT deliveries_status_known CHECK (status IN ('waiting', 'delivered', 'given_up'))
)
""",
    "CREATE INDEX deliveries_due ON deliveries (due_at) WHERE status = 'waiting'",
    "CREATE INDEX deliveries_job ON deliveries (job_id)",
)


def upgrade() -> None:
    """Apply."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Undo; what has not been delivered is lost."""
    op.execute("DROP TABLE deliveries, webhooks")
