"""A stand-in for workers: claims a job's shards and records made-up outputs, statement by statement as a node does.

``python -m bench.standin URL RATE JOB...`` ends items of these jobs in turn, so many a second in all, until its input
is closed. Says ``running`` once it holds a shard of each, and in the end how many items it ended. It decodes nothing,
so what it costs is the registry's part of work that goes on.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle
from typing import Final

from models.claim import Claim, ClaimedItem, claim
from models.database import Database, connect
from models.finish import finish
from models.record import ItemResult, record
from models.shard import ShardRef
from models.states import ItemStatus

LEASE_S: Final = 3600.0  # nobody renews it
OUTPUT: Final = "A summary that nobody has written. " * 10  # about 350 characters
USAGE: Final = {"prompt_tokens": 100, "completion_tokens": 64}
DECODING: Final = {"drafter": "plain", "skip_set_id": None, "verifies": 64, "drafted": 0, "accepted": 0}


def main() -> None:
    """The command."""
    url, rate, *job_ids = sys.argv[1:]
    database, is_over = connect(url, application_name="bench-standin"), threading.Event()
    threading.Thread(target=_await_end, args=(is_over,), daemon=True).start()
    jobs = [_ends(database, job_id) for job_id in job_ids]
    for job in jobs:
        next(job)
    print("running", flush=True)
    began, num = time.monotonic(), 0
    for num, job in enumerate(cycle(jobs), 1):
        next(job)  # a job that is over before we are is a fault of who called
        if is_over.wait(max(0.0, began + num / float(rate) - time.monotonic())):
            break
    print(num / (time.monotonic() - began))


@contextmanager
def recording(url: str, rate: float, job_ids: Sequence[str]) -> Iterator[list[float]]:
    """Have items of these jobs end from a process of its own; afterwards the list has how many a second it was.

    Raises RuntimeError when it came to the end of a job before the block did.
    """
    command = [sys.executable, "-m", "bench.standin", url, str(rate), *job_ids]
    rates: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "running\n":
            raise RuntimeError("the stand-in did not come to hold its shards")
        yield rates
        said, _ = process.communicate("")
    if process.returncode:
        raise RuntimeError("the stand-in came to the end of a job")
    rates.append(float(said))


def end_all(database: Database, job_id: str) -> None:
    """End all items of a job, a shard in one statement, and so the job."""
    for claimed in _shards(database, job_id):
        with database.statement() as session:
            record(session, _ref(claimed), claimed.epoch, [_result(item) for item in claimed.items])
        _finish(database, claimed)


def _await_end(is_over: threading.Event) -> None:
    sys.stdin.read()
    is_over.set()


def _ends(database: Database, job_id: str) -> Iterator[None]:
    """Claim, then end one item whenever asked; each one's result is written with the next one's admission."""
    for claimed in _shards(database, job_id):
        ref, items = _ref(claimed), claimed.items
        with database.statement() as session:
            record(session, ref, claimed.epoch, [], admitted=[items[0].index])
        for place, item in enumerate(items):
            yield
            admitted = [one.index for one in items[place + 1 : place + 2]]
            with database.statement() as session:
                record(session, ref, claimed.epoch, [_result(item)], admitted=admitted)
        _finish(database, claimed)


def _shards(database: Database, job_id: str) -> Iterator[Claim]:
    for number in count():
        with database.session() as session:
            claimed = claim(session, job_id, number, "bench-standin", lease_s=LEASE_S)
        if claimed is None:
            return
        yield claimed


def _finish(database: Database, claimed: Claim) -> None:
    with database.session() as session:
        finish(session, _ref(claimed), claimed.epoch)


def _ref(claimed: Claim) -> ShardRef:
    return ShardRef(claimed.job_id, claimed.number)


def _result(item: ClaimedItem) -> ItemResult:
    return ItemResult(item.index, ItemStatus.SUCCEEDED, OUTPUT, "stop", USAGE, DECODING, None)


if __name__ == "__main__":
    main()
