"""Turns: who has enough under way, and who comes next."""

from workers import turns
from workers.turns import Turns


def test_who_is_full() -> None:
    now = Turns(per_tenant=2, per_host=1)

    now.begin("ten_a", "a.example")
    first = now.full_tenants, now.full_hosts
    now.begin("ten_a", "b.example")
    second = now.full_tenants, now.full_hosts
    now.end("ten_a", "a.example")

    assert first == ([], ["a.example"])
    assert second == (["ten_a"], ["a.example", "b.example"])
    assert (now.full_tenants, now.full_hosts) == ([], ["b.example"])


def test_the_latest_comes_last() -> None:
    now = Turns(per_tenant=9, per_host=9)

    for tenant_id in ("ten_a", "ten_b", "ten_a"):
        now.begin(tenant_id, "host")

    assert now.served == ["ten_b", "ten_a"]


def test_memory_is_bounded() -> None:
    now = Turns(per_tenant=1, per_host=10**6)

    for number in range(turns.MOST_SERVED + 2):
        now.begin(f"ten_{number}", "host")
        now.end(f"ten_{number}", "host")

    assert (len(now.served), now.served[0]) == (turns.MOST_SERVED, "ten_2")
    assert (now.full_tenants, len(now._tenants), len(now._hosts)) == ([], 0, 0)
