"""How far a rendered file has been measured. Bare columns, nobody waits."""

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Apply."""
    op.execute(
        "ALTER TABLE files ADD COLUMN items_measured integer DEFAULT 0 NOT NULL,"
        " ADD COLUMN bytes_measured bigint DEFAULT 0 NOT NULL"
    )


def downgrade() -> None:
    """Undo; files are measured in one go again."""
    op.execute("ALTER TABLE files DROP COLUMN items_measured, DROP COLUMN bytes_measured")
