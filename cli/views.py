"""Jobs and items as the command line reads them out of the API's JSON; the document itself stays at hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]

OVER = frozenset({"succeeded", "failed", "cancelled", "expired"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it was when asked for."""

    body: Json

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.body["id"])

    @property
    def status(self) -> str:
        """The job's status."""
        return str(self.body["status"])

    @property
    def is_over(self) -> bool:
        """Whether nothing about the job will change any more."""
        return self.status in OVER

    @property
    def num_items(self) -> int:
        """How many items it has."""
        return int(self.body["counts"]["total"])

    @property
    def num_done(self) -> int:
        """How many of them ended, however they ended."""
        return sum(int(self.body["counts"][status]) for status in OVER)

    @property
    def search(self) -> Json | None:
        """How far a search is and what it found; None for other jobs."""
        found: Json | None = self.body.get("search")
        return found

    @property
    def progress(self) -> tuple[int, int]:
        """(done, all): trials of a search, whose budget need not be used up, and which helpers may exceed; items of
        anything else.
        """
        if self.search is None:
            return self.num_done, self.num_items
        trials = int(self.search["num_trials"])
        return trials, trials if self.is_over else max(trials, int(self.search["max_trials"]))

    @property
    def num_failed(self) -> int:
        """How many of them failed."""
        return int(self.body["counts"]["failed"])

    @property
    def has_no_worker(self) -> bool:
        """Whether it waits for a model that no live worker serves."""
        return not self.is_over and int(self.body["queue"]["workers"]) == 0

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return int((self.body["usage"] or {}).get("completion_tokens") or 0)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds from the first claim to the end, by the database's clock; None while it runs."""
        started, finished = self.body["started_at"], self.body["finished_at"]
        if not started or not finished:
            return None
        return (_moment(finished) - _moment(started)).total_seconds()

    @property
    def tokens_per_second(self) -> float | None:
        """Completion tokens over `elapsed_s`."""
        elapsed_s = self.elapsed_s
        return self.completion_tokens / elapsed_s if elapsed_s else None

    @property
    def decoding(self) -> Json:
        """What was asked of the decoder, and measured."""
        return dict(self.body["decoding"] or {})


@dataclass(frozen=True, slots=True)
class Item:
    """One item as it was when asked for."""

    body: Json

    @property
    def name(self) -> str:
        """Its custom id, else its index."""
        return str(self.body["custom_id"] or self.body["index"])

    @property
    def text(self) -> str:
        """Its output, or why there is none."""
        if self.body["output"] is not None:
            return str(self.body["output"])
        error = self.body["error"]
        return f"[{self.body['status']}] {error['message'] if error else ''}".rstrip()

    @property
    def texts(self) -> dict[str, str]:
        """What to print under which name: its text, or that of every choice."""
        choices = self.body.get("choices") or []
        return {f"{self.name} [{one['index']}]": str(one["output"]) for one in choices} or {self.name: self.text}

    @property
    def is_good(self) -> bool:
        """Whether it has an output."""
        return bool(self.body["status"] == "succeeded")

    @property
    def completion_tokens(self) -> int:
        """Tokens generated for it, all passes of a summary included."""
        return int((self.body["usage"] or {}).get("completion_tokens") or 0)

    @property
    def decoding(self) -> Json:
        """How it was decoded."""
        return dict(self.body["decoding"] or {})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
