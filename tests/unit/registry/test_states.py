"""States and moves, as far as they can be told without a database."""

from itertools import product

import pytest

from models.ending import verdict
from models.ids import ALPHABET, new_id
from models.states import ItemStatus, JobStatus, ShardStatus, Status, can_move, is_terminal
from models.tally import Counts

KINDS: tuple[type[Status], ...] = (JobStatus, ItemStatus, ShardStatus)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leaves_a_terminal_state(kind: type[Status]) -> None:
    states: list[Status] = list(kind)
    for old, new in product(states, states):
        if is_terminal(old):
            assert can_move(old, new) is (old is new)


@pytest.mark.parametrize("kind", KINDS)
def test_every_terminal_state_can_be_reached(kind: type[Status]) -> None:
    reached = {kind("queued")}
    for _ in kind:
        reached |= {new for old in reached for new in kind if can_move(old, new)}
    assert reached == set(kind)


def test_a_job_never_waits_again() -> None:
    assert not can_move(JobStatus.RUNNING, JobStatus.QUEUED)
    assert can_move(ItemStatus.RUNNING, ItemStatus.QUEUED)
    assert can_move(ShardStatus.RUNNING, ShardStatus.QUEUED)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        (Counts(total=2, succeeded=2), JobStatus.SUCCEEDED),
        (Counts(total=2, succeeded=1, failed=1), JobStatus.SUCCEEDED),
        (Counts(total=2, failed=2), JobStatus.FAILED),
        (Counts(total=2, failed=1, expired=1), JobStatus.EXPIRED),
        (Counts(total=3, succeeded=1, expired=1, cancelled=1), JobStatus.CANCELLED),
    ],
)
def test_what_a_job_has_become(counts: Counts, status: JobStatus) -> None:
    assert verdict(counts) is status


def test_ids_sort_by_the_time_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for milliseconds in (0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1):
        monkeypatch.setattr("time.time_ns", lambda ms=milliseconds: ms * 1_000_000)
        ids.append(new_id("job"))

    assert ids == sorted(ids)
    assert {len(made) for made in ids} == {30}
    assert set("".join(ids)) <= set(ALPHABET) | set("job_")


def test_ids_differ() -> None:
    assert len({new_id("job") for _ in range(10_000)}) == 10_000
