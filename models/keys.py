"""API keys: made, listed, revoked, and turned into a principal. Secrets are shown once and stored as SHA-256."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from models.audit import KEPT_DAYS, Action, note
from models.errors import KeyExpired, KeyNotFound
from models.ids import new_id
from models.notify import notify_keys
from models.page import Page, page_of
from models.tables import ApiKey
from models.tables.base import CLOCK

SECRET_BYTES: Final = 32
SHOWN: Final = 10  # characters of the secret that are kept to recognise it by


class Scope(StrEnum):
    """What a key may do: use jobs, register models, scrape metrics, administer keys. `admin` holds the others."""

    JOBS = "jobs"
    MODELS = "models"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `left_s` is how long the key has until it expires; None for ever."""

    tenant_id: str
    key_id: str
    scopes: frozenset[Scope]
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its secret. `last_used_at` is right to the minute."""

    id: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


# Stale before the minute is over: whoever keeps a principal for some seconds notes its use no later than that.
FIND: Final = text("""
SELECT id, tenant_id, scopes, extract(epoch FROM expires_at - statement_timestamp())::float8 AS left_s,
       coalesce(last_used_at < statement_timestamp() - interval '50 seconds', TRUE) AS is_stale
FROM api_keys WHERE hash = :hash AND revoked_at IS NULL
""")

# Never waits: many requests with one key arrive at once, and one note a minute is enough.
TOUCH: Final = text("""
UPDATE api_keys SET last_used_at = statement_timestamp()
WHERE id IN (SELECT id FROM api_keys WHERE id = :id FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
""")


# Worthless ones, as long after as the audit knows of them.
FORGET: Final = text("""
DELETE FROM api_keys WHERE id IN (
    SELECT id FROM api_keys
    WHERE LEAST(revoked_at, expires_at) < statement_timestamp() - make_interval(days => :days)
    ORDER BY LEAST(revoked_at, expires_at) LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def create_key(
    session: Session, tenant_id: str, name: str, scopes: Iterable[Scope], expires_at: datetime | None = None
) -> tuple[KeyView, str]:
    """Make a key for the tenant. Returns it with its secret, `sk-...`, which nobody can read again."""
    secret = "sk-" + secrets.token_urlsafe(SECRET_BYTES)
    statement = (
        insert(ApiKey)
        .values(
            id=new_id("key"),
            tenant_id=tenant_id,
            name=name,
            prefix=secret[:SHOWN],
            hash=digest(secret),
            scopes=sorted(Scope(scope).value for scope in set(scopes)),
            expires_at=expires_at,
        )
        .returning(ApiKey)
    )
    return _view(session.scalars(statement).one()), secret


def authenticate(session: Session, secret: str) -> Principal | None:
    """Whose key this is; None when nobody issued it or it was revoked. Raises KeyExpired."""
    row = session.execute(FIND, {"hash": digest(secret)}).one_or_none()
    if row is None:
        return None
    if row.left_s is not None and row.left_s <= 0:
        raise KeyExpired("the API key has expired")
    if row.is_stale and session.execute(TOUCH, {"id": row.id}).first() is not None:
        note(session, row.tenant_id, Action.KEY_USED, row.id, row.id)
    return Principal(row.tenant_id, row.id, frozenset(Scope(scope) for scope in row.scopes), row.left_s)


def get_key(session: Session, tenant_id: str, key_id: str) -> KeyView:
    """One key of the tenant. Raises KeyNotFound."""
    key = session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id))
    if key is None:
        raise KeyNotFound(key_id)
    return _view(key)


def list_keys(session: Session, tenant_id: str, *, after: str | None = None, limit: int = 100) -> Page[KeyView]:
    """Keys of the tenant, newest first, revoked ones included, from the one after id `after`."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id).order_by(ApiKey.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(ApiKey.id < after)
    return page_of([_view(key) for key in session.scalars(query)], limit)


def revoke_key(session: Session, tenant_id: str, key_id: str) -> bool:
    """Make a key worthless from now on; False where somebody has done so before. Raises KeyNotFound."""
    is_it = (ApiKey.id == key_id, ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None))
    if session.scalar(update(ApiKey).where(*is_it).values(revoked_at=CLOCK).returning(ApiKey.id)) is not None:
        notify_keys(session)
        return True
    get_key(session, tenant_id, key_id)
    return False


def forget_keys(session: Session, *, limit: int) -> None:
    """Delete up to `limit` keys that were revoked or expired more than `KEPT_DAYS` ago."""
    session.execute(FORGET, {"days": KEPT_DAYS, "limit": limit})


def digest(secret: str) -> str:
    """What a key is known by."""
    # A slow hash protects guessable secrets; these are 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _view(key: ApiKey) -> KeyView:
    values = {name: getattr(key, name) for name in KeyView.__slots__}
    return KeyView(**values | {"scopes": tuple(Scope(scope) for scope in key.scopes)})
