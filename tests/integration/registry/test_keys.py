"""API keys: shown once, known by their hash, good until they expire or are revoked."""

from datetime import UTC, datetime, timedelta

import pytest

from models.errors import KeyExpired, KeyNotFound
from models.keys import Principal, Scope, authenticate, create_key, get_key, list_keys, revoke_key
from tests.integration.registry.conftest import TENANT, Registry, at_once


def make(registry: Registry, tenant_id: str = TENANT, expires_at: datetime | None = None) -> tuple[str, str]:
    with registry.database.session() as session:
        view, secret = create_key(session, tenant_id, "laptop", {Scope.JOBS, Scope.MODELS}, expires_at)
    return view.id, secret


def ask(registry: Registry, secret: str) -> Principal | None:
    with registry.database.session() as session:
        return authenticate(session, secret)


def test_a_key_opens_its_tenant(registry: Registry) -> None:
    key_id, secret = make(registry)

    assert secret.startswith("sk-")
    assert ask(registry, secret) == Principal(TENANT, key_id, frozenset({Scope.JOBS, Scope.MODELS}))
    with registry.database.session() as session:
        view = get_key(session, TENANT, key_id)
    assert (view.name, view.scopes, secret.startswith(view.prefix)) == ("laptop", (Scope.JOBS, Scope.MODELS), True)
    assert view.last_used_at is not None


def test_the_secret_is_nowhere(registry: Registry) -> None:
    _, secret = make(registry)
    ((row,),) = registry.rows("SELECT to_jsonb(api_keys)::text FROM api_keys")
    assert secret[10:] not in row


@pytest.mark.parametrize("secret", ["", "sk-nobody", "sk-\0", "\ud800", "x" * 10_000])
def test_a_wrong_key(registry: Registry, secret: str) -> None:
    make(registry)
    assert ask(registry, secret) is None


def test_an_expired_key_says_so(registry: Registry) -> None:
    _, secret = make(registry, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert ask(registry, secret) is not None
    registry.rows("UPDATE api_keys SET expires_at = now() - interval '1 s'")

    with pytest.raises(KeyExpired):
        ask(registry, secret)


def test_a_revoked_key_is_wrong(registry: Registry) -> None:
    key_id, secret = make(registry)
    with registry.database.session() as session:
        first = revoke_key(session, TENANT, key_id), get_key(session, TENANT, key_id)
    with registry.database.session() as session:
        second = revoke_key(session, TENANT, key_id), get_key(session, TENANT, key_id)

    assert (first[0], second[0]) == (True, False)
    assert second[1].revoked_at == first[1].revoked_at is not None
    assert ask(registry, secret) is None


def test_keys_of_others_do_not_exist(registry: Registry) -> None:
    key_id, _ = make(registry, "ten_b")
    with registry.database.session() as session:
        assert list_keys(session, TENANT).data == ()
        for read in (get_key, revoke_key):
            with pytest.raises(KeyNotFound):
                read(session, TENANT, key_id)


def test_keys_newest_first(registry: Registry) -> None:
    ids = [make(registry)[0] for _ in range(3)]
    with registry.database.session() as session:
        page = list_keys(session, TENANT, limit=2)
        rest = list_keys(session, TENANT, after=page.data[-1].id)
    assert [view.id for view in (*page.data, *rest.data)] == sorted(ids, reverse=True)
    assert (page.has_more, rest.has_more) == (True, False)


def test_use_is_noted_once_a_minute_and_nobody_waits(registry: Registry) -> None:
    _, secret = make(registry)

    answers = at_once(*[lambda: ask(registry, secret)] * 6)
    first = registry.rows("SELECT last_used_at FROM api_keys")
    ask(registry, secret)

    assert all(isinstance(answer, Principal) for answer in answers)
    assert registry.rows("SELECT last_used_at FROM api_keys") == first
