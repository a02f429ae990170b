"""A worker without a model: takes every shard there is, at once, and says the same to all of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text

from models.claim import Claim, ClaimedItem, claim
from models.database import Database
from models.errors import LeaseLost
from models.finish import finish
from models.record import ItemResult, record
from models.searches import NewTrial, SearchProgress, note_search, note_trials
from models.settle import Found, SearchVerdict, settle_search
from models.shard import ShardRef
from models.states import ItemStatus, JobKind, SearchOutcome, SearchPhase

LOOK_S = 0.02
WAITING = text("SELECT job_id, number FROM shards WHERE status = 'queued' ORDER BY job_id LIMIT 20")
SAID = "Nothing of note."
TOKEN = {"token": "N", "logprob": -0.5, "bytes": [78], "top_logprobs": []}
TRIAL = NewTrial("01000100", "greedy", 4, 1.25, 0.01, 0.8, 0.2, 4, 1.5)
FOUND = Found((1,), (1,), 4, None)


@contextmanager
def playing(database: Database, said: str = SAID) -> Iterator[None]:
    """Have all jobs done for the length of the block; `said` is what comes out."""
    is_over = threading.Event()
    player = threading.Thread(target=_play, args=(database, is_over, said), name="player")
    player.start()
    try:
        yield
    finally:
        is_over.set()
        player.join()


def _play(database: Database, is_over: threading.Event, said: str) -> None:
    while not is_over.wait(LOOK_S):
        with database.session() as session:
            found = list(session.execute(WAITING))
        for job_id, number in found:
            _carry(database, job_id, number, said)


def _carry(database: Database, job_id: str, number: int, said: str) -> None:
    with database.session() as session:
        claimed = claim(session, job_id, number, "w_play", lease_s=60)
    if claimed is None:
        return
    held = ShardRef(job_id, number), claimed.epoch
    try:
        with database.session() as session:
            record(session, *held, [], admitted=[item.index for item in claimed.items])
        with database.session() as session:
            if claimed.kind is JobKind.SEARCH:
                note_search(session, *held, SearchProgress(SearchPhase.WARM, 1, TRIAL.speed, TRIAL.bits, {}))
                note_trials(session, *held, [TRIAL])
                verdict = SearchVerdict(SearchOutcome.PROMOTED, FOUND, None, report={"layers": 4})
                settle_search(session, *held, verdict)
            record(session, *held, [_result(claimed, item, said) for item in claimed.items])
        with database.session() as session:
            finish(session, *held)
    except LeaseLost:  # cancelled or erased meanwhile
        return


def _result(claimed: Claim, item: ClaimedItem, said: str) -> ItemResult:
    """What a worker would write, in the shape that was asked for."""
    if claimed.kind is JobKind.SEARCH:
        return ItemResult(item.index, ItemStatus.SUCCEEDED, None, None, None, None, None)
    given = claimed.parameters | item.input.get("parameters", {})
    logprobs = None if given.get("logprobs") is None else {"content": [TOKEN]}
    num = given.get("n") or 1
    choices: list[dict[str, Any]] = [
        {"index": index, "output": said, "finish_reason": "stop", "logprobs": logprobs} for index in range(num)
    ]
    return ItemResult(
        index=item.index,
        status=ItemStatus.SUCCEEDED,
        output=said,
        finish_reason="stop",
        usage={"prompt_tokens": 3, "completion_tokens": num},
        decoding={"drafter": "plain", "skip_set_id": None, "verifies": num, "drafted": 0, "accepted": 0},
        error=None,
        choices=choices if num > 1 else None,
        logprobs=logprobs if num == 1 else None,
    )
