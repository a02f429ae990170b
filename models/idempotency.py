"""The first request with an idempotency key decides; later ones are answered with what it made.

Two requests at the same moment: the second waits for the first to commit, then finds its record.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import IdempotencyMismatch

MAX_AGE_S: Final = 24 * 3600

TAKE: Final = text("""
INSERT INTO idempotency_keys (tenant_id, key, fingerprint, target_id)
VALUES (:tenant_id, :key, :fingerprint, :target_id)
ON CONFLICT DO NOTHING
RETURNING target_id
""")

# A record that is found stays, and what it names with it, while the transaction lasts: nobody releases it meanwhile.
FIND: Final = text("""
SELECT fingerprint, target_id FROM idempotency_keys WHERE tenant_id = :tenant_id AND key = :key FOR KEY SHARE
""")

RELEASE: Final = text("""
DELETE FROM idempotency_keys WHERE tenant_id = :tenant_id AND key = :key AND target_id = :target_id
""")

FORGET: Final = text("""
DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
    SELECT tenant_id, key FROM idempotency_keys
    WHERE created_at < statement_timestamp() - make_interval(secs => :max_age_s)
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def take(session: Session, tenant_id: str, key: str, fingerprint: str, target_id: str) -> str:
    """Note that this request makes `target_id`; returns the id that the first request with the key made.

    The caller makes the thing, in this transaction, when it gets its own id back. `fingerprint` is equal for equal
    requests.

    Raises:
        IdempotencyMismatch: the first request was a different one.
    """
    values = {"tenant_id": tenant_id, "key": key, "fingerprint": fingerprint, "target_id": target_id}
    while session.execute(TAKE, values).first() is None:
        first = session.execute(FIND, values).one_or_none()
        if first is None:  # forgotten in between: it is ours after all
            continue
        if first.fingerprint != fingerprint:
            raise IdempotencyMismatch(key)
        return str(first.target_id)
    return target_id


def release(session: Session, tenant_id: str, key: str, target_id: str) -> None:
    """Give a key back whose request came to nothing after all: the next one with it is the first again."""
    session.execute(RELEASE, {"tenant_id": tenant_id, "key": key, "target_id": target_id})


def forget(session: Session, *, limit: int) -> None:
    """Delete up to `limit` records older than a day."""
    session.execute(FORGET, {"max_age_s": MAX_AGE_S, "limit": limit})
