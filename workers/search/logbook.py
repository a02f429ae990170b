"""What a node writes in the registry about a search: how far it is, what it tried, what it came to."""

import time
from typing import Any

from models.record import ItemResult
from models.searches import NewTrial, SearchProgress, SearchView
from models.settle import Found, SearchVerdict
from models.states import ItemStatus, SearchOutcome, SearchPhase
from workers.ledger import Ledger
from workers.tally import Tally
from workers.wire.searches import Json, SearchEnd, SearchNews

WRITE_S = 1.0  # between two writes of news; trials are written as they come


class Logbook:
    """Fenced as the ledger is: everything raises LeaseLost once the shard is another's.

    `weights` is a word for the weights that are loaded.
    """

    def __init__(self, ledger: Ledger, view: SearchView, weights: str) -> None:
        self._ledger, self._view, self._weights = ledger, view, weights
        self._trials: list[NewTrial] = []
        self._news: SearchNews | None = None
        self._wrote_at = 0.0

    def admit(self) -> None:
        """The search begins, or goes on: an attempt of its item."""
        self._ledger.note([0], [])

    def enter(self, entry: Json) -> None:
        """Take an entry of the notebook; scored trials are kept."""
        if entry["do"] == "record":
            self._trials.append(NewTrial(**{name: entry[name] for name in NewTrial.__slots__}))

    def note(self, news: SearchNews) -> None:
        self._news = news

    def write(self) -> None:
        """Write what is new."""
        is_due = time.monotonic() - self._wrote_at > WRITE_S
        news = self._news if is_due else None
        if self._trials or news is not None:
            self._ledger.note_search(None if news is None else self._progress(news), self._trials)
            self._trials = []
        if news is not None:
            self._wrote_at, self._news = time.monotonic(), None

    def settle(self, end: SearchEnd) -> None:
        """Write the verdict and end the item, at once.

        Raises:
            ModelChanged: what was found is of no use any more.
        """
        self._wrote_at = 0.0
        self.write()
        active = self._view.incumbent
        verdict = SearchVerdict(
            SearchOutcome(end.outcome),
            None if end.finalist is None else _found(end.finalist),
            None if active is None else active.id,
            end.measurements,
            end.report,
            self._weights,
        )
        self._ledger.settle(verdict, _result(ItemStatus.SUCCEEDED, output=_summary(end)))

    def fail(self, code: str, message: str) -> None:
        self.fail_item(self._ledger, code, message)

    @staticmethod
    def fail_item(ledger: Ledger, code: str, message: str) -> None:
        """End the item of a search that cannot go on, or even begin."""
        ledger.note([], [_result(ItemStatus.FAILED, error={"code": code, "message": message})])

    def stop(self, status: ItemStatus) -> None:
        """End it as cancelled or expired."""
        self._ledger.note([], [_result(status)])

    def _progress(self, news: SearchNews) -> SearchProgress:
        return SearchProgress(
            SearchPhase(news.stage),
            news.num_trials,
            news.best_speed,
            news.best_bits,
            news.device_seconds,
            self._weights,
        )


def _result(status: ItemStatus, **said: Any) -> ItemResult:
    cost = Tally()
    known: dict[str, Any] = {"output": None, "finish_reason": None, "error": None, **said}
    return ItemResult(index=0, status=status, usage=cost.usage, decoding=cost.decoding, **known)


def _found(finalist: Json) -> Found:
    return Found(**{**finalist, "attention": tuple(finalist["attention"]), "mlp": tuple(finalist["mlp"])})


def _summary(end: SearchEnd) -> str:
    """One line for people."""
    if end.finalist is None:
        return "plain decoding is best: no skip set beat it by more than the noise"
    found = end.finalist
    num = len(found["attention"]) + len(found["mlp"])
    said = f"skips {num} of {2 * end.report['layers']} sub-layers, {found['draft_length']} drafts"
    expected = f"expected {found['estimates']['speed']:.2f} times as fast as plain decoding"
    meaning = {"promoted": "a new set", "kept": "the active set stays", "lookup": "lookup beats the best set"}
    return f"{meaning[end.outcome]}: {said}, {expected}"
