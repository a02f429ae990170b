"""Step costs, kept between starts; and workers say which drafters they have.

The new columns have constant defaults, so no row is rewritten.
"""

from typing import Final

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

STEP_COSTS: Final = """
CREATE TABLE step_costs (
    model text NOT NULL,
    weights text NOT NULL,
    device_kind text NOT NULL,
    device text NOT NULL,
    dtype text NOT NULL,
    threads integer NOT NULL,
    rows integer NOT NULL,
    engine text NOT NULL,
    costs jsonb NOT NULL,
    measured_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT step_costs_pkey PRIMARY KEY (model, weights, device_kind, device, dtype, threads, rows, engine),
    CONSTRAINT step_costs_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE
)
"""


def upgrade() -> None:
    """Apply."""
    op.execute(STEP_COSTS)
    op.execute("ALTER TABLE workers ADD COLUMN drafters text[] DEFAULT '{}' NOT NULL, ADD COLUMN note text")


def downgrade() -> None:
    """Undo; the next starts measure again."""
    op.execute("ALTER TABLE workers DROP COLUMN drafters, DROP COLUMN note")
    op.execute("DROP TABLE step_costs")
