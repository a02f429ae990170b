"""One item of a claimed shard on its way through the engine: what it still waits for, what it cost, how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from models.claim import Claim, ClaimedItem
from models.record import ItemResult
from models.states import ItemStatus, JobKind
from workers.summary import Prompts, Style, Summary
from workers.tally import Tally
from workers.text import Text
from workers.work import Generation, Limits, Work


@dataclass(slots=True)
class Item:
    """An item being carried. `waiting` holds the request ids of passes in flight; `result` is set once it ended."""

    index: int
    is_suspect: bool
    work: Work
    waiting: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    was_admitted: bool = False
    result: ItemResult | None = None

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


def workshop(claim: Claim, text: Text, context: int) -> Callable[[ClaimedItem], Work]:
    """What makes the work of each item of a shard; whatever they share is made once, here."""
    limits = Limits(context=context, max_tokens=int(claim.parameters["max_tokens"]))
    if claim.kind is not JobKind.SUMMARIZE:
        return lambda item: Generation(item.input, text, limits)
    style = Style(claim.options.get("style") or Style.PARAGRAPH)
    prompts = Prompts.of(text, limits, style, claim.options.get("max_words"))
    return lambda item: Summary(item.input["document"], text, limits, prompts)
