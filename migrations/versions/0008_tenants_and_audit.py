"""How long a tenant's jobs are kept, and the audit of keys and tenants: a bare column and a new table, nobody waits."""

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE tenants ADD COLUMN keep_s integer")
    op.execute("""
        CREATE TABLE audit (
            id text NOT NULL,
            tenant_id text NOT NULL,
            action text NOT NULL,
            subject_id text NOT NULL,
            actor_id text,
            at timestamptz DEFAULT statement_timestamp() NOT NULL,
            CONSTRAINT audit_pkey PRIMARY KEY (id),
            CONSTRAINT audit_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
        )
    """)
    op.execute("CREATE INDEX audit_tenant ON audit (tenant_id, id)")
    op.execute("CREATE INDEX audit_age ON audit (at)")


def downgrade() -> None:
    """Undo; the audit is lost."""
    op.execute("DROP TABLE audit")
    op.execute("ALTER TABLE tenants DROP COLUMN keep_s")
