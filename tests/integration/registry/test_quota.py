"""Quotas: what is unfinished counts, what has ended does not."""

from typing import Any

import pytest
from sqlalchemy import update

from models.errors import QuotaExceeded
from models.tables import Tenant
from tests.integration.registry.conftest import Registry


@pytest.mark.parametrize(
    ("column", "limit", "says"),
    [
        ("max_open_items", 4, "at most 4 unfinished items"),
        ("max_open_jobs", 2, "at most 2 unfinished jobs"),
        ("max_queued_tokens", 40, "at most 40 tokens"),
    ],
)
def test_the_last_of_a_quota(registry: Registry, column: str, limit: int, says: str) -> None:
    job: dict[str, Any] = {"num_items": 2, "parameters": {"max_tokens": 5, "n": 2}}
    with registry.database.session() as session:
        session.execute(update(Tenant).values({column: limit}))
    first = registry.submit(**job)
    registry.submit(**job)

    with pytest.raises(QuotaExceeded, match=says):
        registry.submit(**job)
    registry.complete(registry.hold(first))

    registry.submit(**job)


def test_items_of_unequal_length_count_with_what_they_may_have_together(registry: Registry) -> None:
    """Three items of ten tokens in all; what is open of them counts by the average."""
    job: dict[str, Any] = {"num_items": 3, "shard_items": 1, "parameters": {"max_tokens": 8, "n": 2}}
    job["options"] = {"mean_tokens": 10 / 3}
    with registry.database.session() as session:
        session.execute(update(Tenant).values(max_queued_tokens=20))
    first, _ = registry.submit(**job), registry.submit(**job)

    with pytest.raises(QuotaExceeded, match="at most 20 tokens"):
        registry.submit(num_items=1, parameters={"max_tokens": 1})
    registry.complete(registry.hold(first))

    registry.submit(num_items=1, parameters={"max_tokens": 3})
