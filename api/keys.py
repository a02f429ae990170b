"""Whose key a secret is: kept for some seconds, and not a moment longer than the key is worth something.

News of any revocation drops all copies. Secrets are not kept, only their digests.
"""

from __future__ import annotations

from typing import Final

from api.copies import Copies
from api.errors import Unauthorized
from api.news import News, Subscriber
from models.database import Database
from models.errors import KeyExpired
from models.keys import Principal, authenticate, digest
from models.notify import KEYS, Change

KEPT_S: Final = 5.0  # `last_used_at` is right to the minute because this is short


class Keys:
    """The keys of all tenants."""

    def __init__(self, database: Database, news: News) -> None:
        self._database = database
        self._copies: Copies[Principal] = Copies(news)
        news.subscribe(Subscriber(self._hear, self._copies.clear))

    def whose(self, secret: str) -> Principal:
        """Who sends this secret. Raises Unauthorized."""
        return self._copies.read(digest(secret), lambda: self._load(secret), _lasts_s)

    def _load(self, secret: str) -> Principal:
        try:
            with self._database.session() as session:
                found = authenticate(session, secret)
        except KeyExpired as error:
            raise Unauthorized("the API key has expired") from error
        if found is None:
            raise Unauthorized("the API key is wrong or was revoked")
        return found

    def _hear(self, subject: str, _: Change) -> None:
        if subject == KEYS:
            self._copies.clear()


def _lasts_s(found: Principal) -> float:
    return KEPT_S if found.left_s is None else min(KEPT_S, found.left_s)
