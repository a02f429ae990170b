"""How many workers share a search. A bare column, nobody waits."""

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE searches ADD COLUMN workers integer DEFAULT 1 NOT NULL")


def downgrade() -> None:
    """Undo; what of a shared search is open goes on with as many shards as it has."""
    op.execute("ALTER TABLE searches DROP COLUMN workers")
