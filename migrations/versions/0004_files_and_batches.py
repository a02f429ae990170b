"""Files in chunks, and batches over them. New tables only: nothing that is in use waits for this."""

from typing import Final

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

STATEMENTS: Final = (
    """
CREATE TABLE files (
    id text NOT NULL,
    tenant_id text NOT NULL,
    filename text NOT NULL,
    purpose varchar(16) NOT NULL,
    num_bytes bigint,
    job_id text,
    part varchar(16),
    keep_s integer,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    expires_at timestamptz,
    CONSTRAINT files_pkey PRIMARY KEY (id),
    CONSTRAINT files_part_of_a_job CHECK ((part IS NULL) = (job_id IS NULL)),
    CONSTRAINT files_output_is_rendered CHECK ((part IS NULL) = (purpose <> 'batch_output')),
    CONSTRAINT files_size_known CHECK (part IS NOT NULL OR num_bytes IS NOT NULL),
    CONSTRAINT files_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT files_purpose_known CHECK (purpose IN ('batch', 'user_data', 'batch_output')),
    CONSTRAINT files_job_id_fkey FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT files_part_known CHECK (part IN ('output', 'error'))
)
""",
    """
CREATE TABLE file_chunks (
    file_id text NOT NULL,
    number integer NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT file_chunks_pkey PRIMARY KEY (file_id, number),
    CONSTRAINT file_chunks_file_id_fkey FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE batches (
    id text NOT NULL,
    tenant_id text NOT NULL,
    job_id text,
    input_file_id text NOT NULL,
    endpoint text NOT NULL,
    completion_window text NOT NULL,
    window_s integer NOT NULL,
    metadata jsonb NOT NULL,
    output_file_id text,
    error_file_id text,
    errors jsonb,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    failed_at timestamptz,
    cancelled_at timestamptz,
    CONSTRAINT batches_pkey PRIMARY KEY (id),
    CONSTRAINT batches_failed_with_errors CHECK ((errors IS NULL) = (failed_at IS NULL)),
    CONSTRAINT batches_one_fate CHECK (num_nonnulls(job_id, failed_at, cancelled_at) <= 1),
    CONSTRAINT batches_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT batches_job_id_fkey FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX files_tenant ON files (tenant_id, id)",
    "CREATE INDEX files_job ON files (job_id) WHERE job_id IS NOT NULL",
    "CREATE INDEX files_due ON files (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE INDEX batches_tenant ON batches (tenant_id, id)",
    "CREATE UNIQUE INDEX batches_job ON batches (job_id) WHERE job_id IS NOT NULL",
    """
CREATE INDEX batches_validating ON batches (created_at)
WHERE job_id IS NULL AND failed_at IS NULL AND cancelled_at IS NULL
""",
)


def upgrade() -> None:
    """Apply."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Undo, with everything in the tables."""
    op.execute("DROP TABLE batches, file_chunks, files")
