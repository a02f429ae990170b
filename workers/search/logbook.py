"""What a node writes in the registry about a search: how far it is, what it tried, what it came to."""

import time
from typing import Any

from models.record import ItemResult
from models.searches import NewTrial, SearchProgress, SearchView
from models.settle import Found, SearchVerdict
from models.sharing import LEAD, LeadView
from models.states import ItemStatus, SearchOutcome, SearchPhase
from workers.ledger import Ledger
from workers.tally import Tally
from workers.wire.searches import Json, SearchEnd, SearchNews

WRITE_S = 1.0  # between two writes of news; trials are written as they come


class Logbook:
    """Fenced as the ledger is: everything raises LeaseLost once the shard is another's.

    `weights` is a word for the weights that are loaded; `index` is that of the item: 0 leads, others help.
    """

    def __init__(self, ledger: Ledger, view: SearchView, weights: str, index: int = LEAD) -> None:
        self._ledger, self._view, self._weights, self._index = ledger, view, weights, index
        self.num_scored = 0
        self._trials: list[NewTrial] = []
        self._news: SearchNews | None = None
        self._wrote_at = 0.0

    def admit(self) -> None:
        """The search begins, or goes on: an attempt of its item."""
        self._ledger.note([self._index], [])

    def enter(self, entry: Json) -> None:
        """Take an entry of the notebook; scored trials are kept."""
        if entry["do"] == "record":
            self.num_scored += 1
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
        self._ledger.settle(verdict, _result(self._index, ItemStatus.SUCCEEDED, output=_summary(end)))

    def fail(self, code: str, message: str) -> None:
        self.fail_item(self._ledger, self._index, code, message)

    @staticmethod
    def fail_item(ledger: Ledger, index: int, code: str, message: str) -> None:
        """End the item of a search that cannot go on, or even begin."""
        ledger.note([], [_result(index, ItemStatus.FAILED, error={"code": code, "message": message})])

    def find_lead(self) -> LeadView:
        return self._ledger.find_lead()

    def follow(self, lead: LeadView) -> None:
        self.follow_item(self._ledger, self._index, lead, self.num_scored)

    @staticmethod
    def follow_item(ledger: Ledger, index: int, lead: LeadView, num_scored: int = 0) -> None:
        """End the item of a helper as that of the lead has ended."""
        output = f"helped: scored {num_scored} sets" if lead.status is ItemStatus.SUCCEEDED else None
        ledger.note([], [_result(index, lead.status, output=output, error=lead.error)])

    def stop(self, status: ItemStatus) -> None:
        """End it as cancelled or expired."""
        self._ledger.note([], [_result(self._index, status)])

    def _progress(self, news: SearchNews) -> SearchProgress:
        if self._index != LEAD:
            return SearchProgress(device_seconds=self._help_s(news), weights=self._weights)
        return SearchProgress(
            SearchPhase(news.stage),
            news.num_trials,
            news.best_speed,
            news.best_bits,
            news.device_seconds,
            self._weights,
        )

    def _help_s(self, news: SearchNews) -> Json:
        """What helping took, all kinds of work together, with what it took before it was interrupted."""
        name = f"helper_{self._index}"
        return {name: round(self._view.device_seconds.get(name, 0.0) + sum(news.device_seconds.values()), 4)}


def _result(index: int, status: ItemStatus, **said: Any) -> ItemResult:
    cost = Tally()
    known: dict[str, Any] = {"output": None, "finish_reason": None, "error": None, **said}
    return ItemResult(index=index, status=status, usage=cost.usage, decoding=cost.decoding, **known)


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
