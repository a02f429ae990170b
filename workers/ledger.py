"""What a node writes about one shard, each write fenced by its epoch and repeated while the database is away."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.claim import Claim
from models.database import Database, is_outage
from models.faults import Point, reach
from models.finish import finish, release
from models.record import ItemResult, record
from models.searches import NewTrial, SearchProgress, note_search, note_trials
from models.settle import SearchVerdict, settle_search
from models.shard import ShardRef
from models.sharing import LeadView, find_lead
from workers.meters import REGISTRY_RETRIES

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

RETRY_S = 0.5
PATIENCE_S = 30.0  # far beyond a lease: by then the sweep has given the shard to somebody else


class Ledger:
    """The registry, seen from one claimed shard. Every method raises LeaseLost when the shard is another's by now.

    `tell` is told of every result that is written.
    """

    def __init__(self, database: Database, claim: Claim, tell: Callable[[ItemResult], None] | None = None) -> None:
        self._database = database
        self._tell = tell
        self._ref = ShardRef(claim.job_id, claim.number)
        self._epoch = claim.epoch

    def note(self, admitted: Sequence[int], results: Sequence[ItemResult]) -> None:
        """Write admissions and results, one of them at least. Safe to repeat: what is terminal counts as written."""

        def write(session: Session) -> None:
            record(session, self._ref, self._epoch, results, admitted=admitted)

        if results:
            reach(Point.RECORD_READY)
        self._persist(write, self._database.statement)
        if results:
            reach(Point.RECORD_COMMITTED)
        if self._tell is not None:
            for result in results:
                self._tell(result)

    def note_search(self, progress: SearchProgress | None, trials: Sequence[NewTrial]) -> None:
        """Write how far a search is, and what it scored. Safe to repeat.

        Raises:
            ModelChanged: the search began with other weights.
        """

        def write(session: Session) -> None:
            if trials:
                note_trials(session, self._ref, self._epoch, trials)
            if progress is not None:
                note_search(session, self._ref, self._epoch, progress)

        self._persist(write)

    def find_lead(self) -> LeadView:
        """Who leads the search that this shard helps."""
        return self._persist(lambda session: find_lead(session, self._ref.job_id))

    def settle(self, verdict: SearchVerdict, result: ItemResult) -> None:
        """Act on a search's verdict and end its item, both or neither.

        Raises:
            ModelChanged: what was found is of no use any more.
        """

        def write(session: Session) -> None:
            settle_search(session, self._ref, self._epoch, verdict)
            record(session, self._ref, self._epoch, [result])

        self._persist(write)
        if self._tell is not None:
            self._tell(result)

    def finish(self) -> bool:
        """End the shard, and its job if this was the last; True when the job ended."""
        reach(Point.FINISH_READY)
        is_over = self._persist(lambda session: finish(session, self._ref, self._epoch))
        reach(Point.FINISH_COMMITTED)
        return is_over

    def release(self, *, is_lost: bool) -> None:
        """Give the shard back. `is_lost`: the engine died under it, so what it had admitted is suspect."""
        self._persist(lambda session: release(session, self._ref, self._epoch, lost=is_lost))
        reach(Point.RELEASE_COMMITTED)

    def _persist(
        self, write: Callable[[Session], Result], begin: Callable[[], AbstractContextManager[Session]] | None = None
    ) -> Result:
        begin = begin or self._database.session
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                with begin() as session:
                    return write(session)
            except SQLAlchemyError as error:
                if not is_outage(error) or time.monotonic() > give_up_at:
                    raise
                REGISTRY_RETRIES.inc()
                log.warning("registry unreachable, trying again", reason=type(error).__name__)
                time.sleep(RETRY_S)
