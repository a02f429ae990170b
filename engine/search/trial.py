"""What a search knows of the candidates it has scored, and the seam to whoever keeps that and proposes more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from engine.skipset import SkipSet


class Source(StrEnum):
    """Where a candidate came from."""

    EMPTY = "empty"
    INCUMBENT = "incumbent"
    PUBLISHED = "published"
    LEAVE_ONE_OUT = "leave_one_out"
    PAIR = "pair"
    GREEDY = "greedy"
    REFINEMENT = "refinement"
    SAMPLER = "sampler"


@dataclass(frozen=True, slots=True)
class Trial:
    """A scored candidate.

    ``speed``: expected tokens per second over those of plain decoding, at the best draft length. ``spread``: its
    standard error over prompts. ``acceptance``: of the first draft of a round. ``loss``: share of wrong first drafts,
    with their surprise as tie-break. ``prompts``: how many were scored.
    """

    skip_set: SkipSet
    source: Source
    speed: float
    spread: float
    acceptance: float
    loss: float
    draft_length: int
    prompts: int


@dataclass(frozen=True, slots=True)
class Work:
    """A set for a helper to score, on the first ``prompts`` prompts."""

    skip_set: SkipSet
    source: Source
    prompts: int


class Notebook(Protocol):
    """Keeps the trials of a search and proposes more; a search and its helpers share one.

    Nothing here waits: what is not there yet is asked for again after the next unit of other work.
    """

    @property
    def can_propose(self) -> bool:
        """Whether proposals come at all."""
        ...

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        """The trial of a skip set on so many prompts, by whoever scored it."""
        ...

    def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
        """Take a skip set on, to score it on so many prompts; False while somebody else has it, where he has scored it
        since, or until that is known.
        """
        ...

    def record(self, trial: Trial) -> None:
        """Enter the trial of a skip set that was claimed."""
        ...

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        """A set worth scoring, made of ``free`` units; None when there is none yet."""
        ...

    def plan(self, skip_sets: Sequence[SkipSet], source: Source, prompts: int) -> None:
        """Say what will probably be scored next, in place of what was said before. Helpers begin with the last."""
        ...

    def help(self) -> Work | None:
        """Something of the plan that nobody has, claimed for the helper that asks; None when there is nothing yet."""
        ...
