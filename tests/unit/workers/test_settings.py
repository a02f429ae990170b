"""The environment of the worker's processes."""

import pytest

from workers.errors import ConfigurationError
from workers.settings import WorkerSettings


def test_everything_has_a_default() -> None:
    settings = WorkerSettings.from_env({})

    assert (settings.lease_s, settings.heartbeat_s, settings.sweep_s, settings.stall_s) == (8, 2, 2, 120)
    assert settings.redis_url.startswith("redis://")


@pytest.mark.parametrize(
    ("name", "value"),
    [("SKIM_LEASE_S", "soon"), ("SKIM_GRACE_S", "0"), ("SKIM_ROWS", "1.5"), ("SKIM_BULK_THREADS", "-1")],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WorkerSettings.from_env({name: value})


def test_a_lease_must_outlast_two_heartbeats() -> None:
    with pytest.raises(ConfigurationError, match="SKIM_HEARTBEAT_S"):
        WorkerSettings.from_env({"SKIM_LEASE_S": "3", "SKIM_HEARTBEAT_S": "2"})
