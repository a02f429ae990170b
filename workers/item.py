"""One item of a claimed shard on its way through the engine: what it still waits for, what it cost, how it ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from models.claim import Claim, ClaimedItem
from models.record import ItemResult
from models.states import ItemStatus, JobKind
from workers.summary import Prompts, Style, Summary
from workers.tally import Tally
from workers.text import Text
from workers.wishes import Wishes, own_parameters
from workers.work import Generation, Limits, Output, Pass, Work


@dataclass(slots=True)
class Item:
    """An item being carried. `waiting` holds the passes in flight by request id; `result` is set once it ended.

    What is to be done for it is known once it has begun: `work`, `wishes`, and `place`, which keys its noise beside the
    seed: its index in the job (of a retry: in the first one), or 0 where it brings a seed of its own. So one request
    with one seed says the same wherever and however often it is sent.
    """

    claimed: ClaimedItem
    work: Work = field(init=False)
    wishes: Wishes = field(init=False)
    place: int = field(init=False)
    waiting: dict[str, Pass] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    was_admitted: bool = False
    result: ItemResult | None = None

    @property
    def index(self) -> int:
        return self.claimed.index

    def begin(self, make: Callable[[ClaimedItem], Work], wishes: Wishes) -> Sequence[Pass]:
        """Its first passes; `wishes` are the job's, of which its own take precedence.

        Raises:
            TextError: the item can never run.
        """
        own = own_parameters(self.claimed.input)
        self.place = 0 if "seed" in own else int(self.claimed.input.get("place", self.index))
        self.wishes = wishes.with_own(own)
        self.work = make(self.claimed)
        return self.work.begin()

    def succeed(self) -> None:
        """End it with what its work gave: the first choice, and all of them where there are several."""
        outputs = self.work.result
        if len(outputs) == 1:
            self._end(ItemStatus.SUCCEEDED, **_said(outputs[0]))
        elif outputs:
            choices = [{"index": index, **_said(output)} for index, output in enumerate(outputs)]
            first = {name: value for name, value in _said(outputs[0]).items() if name != "logprobs"}
            self._end(ItemStatus.SUCCEEDED, **first, choices=choices)

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


def _said(output: Output) -> dict[str, Any]:
    """An output as it is stored."""
    logprobs = None if output.logprobs is None else {"content": output.logprobs}
    return {"output": output.text, "finish_reason": output.finish_reason.value, "logprobs": logprobs}


def workshop(claim: Claim, text: Text, context: int) -> Callable[[ClaimedItem], Work]:
    """What makes the work of each item of a shard; whatever they share is made once, with the first of them.

    What it makes them of comes from outside, so it may raise anything, and a TextError where an item can never run.
    """
    if claim.kind is not JobKind.SUMMARIZE:
        return lambda item: _generation(claim.parameters | own_parameters(item.input), item, text, context)

    @cache
    def shared() -> tuple[Limits, Prompts]:
        limits = Limits(context=context, max_tokens=int(claim.parameters["max_tokens"]))
        style = Style(claim.options.get("style") or Style.PARAGRAPH)
        return limits, Prompts.of(text, limits, style, claim.options.get("max_words"))

    return lambda item: Summary(item.input["document"], text, *shared())


def _generation(parameters: dict[str, Any], item: ClaimedItem, text: Text, context: int) -> Generation:
    fills = bool(parameters.get("fill_context"))
    limits = Limits(context=context, max_tokens=int(parameters["max_tokens"]), gives_way=fills)
    return Generation(item.input, text, limits, int(parameters.get("n") or 1))
