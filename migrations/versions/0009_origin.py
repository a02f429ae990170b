"""Where a job came from: the ids of the request that made it. A bare column, nobody waits."""

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE jobs ADD COLUMN origin jsonb")


def downgrade() -> None:
    """Undo; what happens to open jobs is not tied to their requests any more."""
    op.execute("ALTER TABLE jobs DROP COLUMN origin")
