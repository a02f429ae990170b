"""Items may have several choices, and log-probabilities; both are frozen with the rest of what an item has become.

Columns without a default and a new body of a function: nothing is rewritten, nobody waits.
"""

from typing import Final

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

GUARD: Final = """
CREATE OR REPLACE FUNCTION items_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IS DISTINCT FROM NEW.status AND NOT (
        (OLD.status = 'queued' AND NEW.status IN ('cancelled', 'expired', 'failed', 'running', 'succeeded'))
        OR (OLD.status = 'running' AND NEW.status IN ('cancelled', 'expired', 'failed', 'queued', 'succeeded'))
    ) THEN
        RAISE EXCEPTION 'items: % may not become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status NOT IN ('queued', 'running') AND
        ({old})
        IS DISTINCT FROM ({new})
    THEN
        RAISE EXCEPTION 'items: a row that is % never changes', OLD.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
"""
BEFORE: Final = ("output", "finish_reason", "usage", "decoding", "error", "finished_at")
AFTER: Final = ("output", "finish_reason", "choices", "logprobs", "usage", "decoding", "error", "finished_at")


def upgrade() -> None:
    """Apply. The guard comes last: it names the columns."""
    op.execute("ALTER TABLE items ADD COLUMN choices jsonb, ADD COLUMN logprobs jsonb")
    op.execute(_guard(AFTER))


def downgrade() -> None:
    """Undo; further choices and log-probabilities are lost."""
    op.execute(_guard(BEFORE))
    op.execute("ALTER TABLE items DROP COLUMN choices, DROP COLUMN logprobs")


def _guard(columns: tuple[str, ...]) -> str:
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    return GUARD.format(old=old, new=new)
