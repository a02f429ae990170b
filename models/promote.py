"""Promote: make a skip set the active one of its place. Rolling back is promoting an older one."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import SkipSetNotFound

# Promotions of one model take turns, so that the unique index never has to refuse one.
LOCK_MODEL: Final = text("SELECT 1 FROM models WHERE name = :model FOR NO KEY UPDATE")

RETIRE: Final = text("""
UPDATE skip_sets AS old SET is_active = FALSE FROM skip_sets AS new
WHERE new.id = :id AND new.model = :model AND old.id <> new.id AND old.is_active
  AND old.model = new.model AND old.revision IS NOT DISTINCT FROM new.revision
  AND old.device_kind = new.device_kind AND old.dtype = new.dtype AND old.batch_class = new.batch_class
""")

ACTIVATE: Final = text("""
UPDATE skip_sets SET is_active = TRUE, activated_at = statement_timestamp() WHERE id = :id AND model = :model
RETURNING id
""")


def promote(session: Session, model: str, skip_set_id: str) -> None:
    """Make the skip set the active one of its revision, device kind, dtype and batch class. Raises SkipSetNotFound."""
    place = {"model": model, "id": skip_set_id}
    session.execute(LOCK_MODEL, {"model": model})
    session.execute(RETIRE, place)
    if session.execute(ACTIVATE, place).first() is None:
        raise SkipSetNotFound(skip_set_id)
