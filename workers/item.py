"""One item of a claimed shard on its way through the engine: what it still waits for, what it cost, how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from models.claim import Claim, ClaimedItem
from models.record import ItemResult
from models.states import ItemStatus, JobKind
from workers.summary import Prompts, Style, Summary
from workers.tally import Tally
from workers.text import Text
from workers.work import Generation, Limits, Work


@dataclass(slots=True)
class Item:
    """An item being carried. `waiting` holds the request ids of passes in flight; `result` is set once it ended.

    `place` keys its noise beside the seed: its index in the job, or 0 where it brings a seed of its own, so that one
    request with one seed says the same wherever it is sent.
    """

    index: int
    is_suspect: bool
    work: Work
    parameters: Mapping[str, Any] = field(default_factory=dict)
    place: int = 0
    waiting: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    was_admitted: bool = False
    result: ItemResult | None = None

    @classmethod
    def of(cls, claim: Claim, claimed: ClaimedItem, work: Work) -> Self:
        """A claimed item, about to be carried."""
        place = 0 if "seed" in claimed.input.get("parameters", ()) else claimed.index
        return cls(claimed.index, claimed.suspect, work, parameters_of(claim, claimed), place)

    def succeed(self) -> None:
        """End it with what its work gave."""
        output = self.work.result
        if output is not None:
            self._end(ItemStatus.SUCCEEDED, output=output.text, finish_reason=output.finish_reason.value)

    def fail(self, code: str, message: str) -> None:
        self._end(ItemStatus.FAILED, error={"code": code, "message": message})

    def stop(self, status: ItemStatus) -> None:
        """End it as cancelled or expired."""
        self._end(status)

    def _end(self, status: ItemStatus, **said: Any) -> None:
        known: dict[str, Any] = {"output": None, "finish_reason": None, "error": None, **said}
        self.result = ItemResult(
            index=self.index, status=status, usage=self.tally.usage, decoding=self.tally.decoding, **known
        )


def parameters_of(claim: Claim, item: ClaimedItem) -> dict[str, Any]:
    """How an item is decoded: by what the job says, and what its own input says otherwise."""
    return {**claim.parameters, **item.input.get("parameters", {})}


def workshop(claim: Claim, text: Text, context: int) -> Callable[[ClaimedItem], Work]:
    """What makes the work of each item of a shard; whatever they share is made once, here."""

    def limits_of(parameters: Mapping[str, Any]) -> Limits:
        return Limits(context=context, max_tokens=int(parameters["max_tokens"]))

    if claim.kind is not JobKind.SUMMARIZE:
        return lambda item: Generation(item.input, text, limits_of(parameters_of(claim, item)))
    limits = limits_of(claim.parameters)
    style = Style(claim.options.get("style") or Style.PARAGRAPH)
    prompts = Prompts.of(text, limits, style, claim.options.get("max_words"))
    return lambda item: Summary(item.input["document"], text, limits, prompts)
