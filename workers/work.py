"""What an item asks of the engine: passes, some of which come only after others have ended.

`Work` is what a shard drives, one object per item. It knows tokens and texts, no sockets, leases or registry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.request import FinishReason
from workers.errors import TextError
from workers.text import Text, Tokens


@dataclass(frozen=True, slots=True)
class Pass:
    """One sequence to decode for an item; `number` counts the item's passes, `choice` those that differ by seed alone.
    Both key the seed.
    """

    number: int
    prompt: Tokens
    max_tokens: int
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What a pass, and in the end an item, has to say; `logprobs` as the API shows them, where they were asked for."""

    text: str
    finish_reason: FinishReason
    logprobs: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long texts may get, in tokens: prompt and output together, and output alone.

    `gives_way`: `max_tokens` is not asked for, so it shrinks to what the prompt leaves of the context.
    """

    context: int
    max_tokens: int
    gives_way: bool = False

    def beside(self, num_prompt: int) -> int:
        """How long the output of such a prompt may get; 0 and less where there is no room for any."""
        return min(self.max_tokens, self.context - num_prompt) if self.gives_way else self.max_tokens


class Work(Protocol):
    """An item being worked on."""

    @property
    def result(self) -> Sequence[Output]:
        """The item's outputs, one a choice, once no pass is left to do; before that none."""
        ...

    def begin(self) -> Sequence[Pass]:
        """The first passes.

        Raises:
            TextError: the item can never run.
        """
        ...

    def take(self, one: Pass, output: Output) -> Sequence[Pass]:
        """Note what a pass gave; returns the passes that it made possible.

        Raises:
            TextError: the item cannot go on.
        """
        ...


class Generation:
    """A prompt or a conversation, continued in one pass a choice. The engine computes their common prompt once."""

    def __init__(self, item: Mapping[str, Any], text: Text, limits: Limits, num_choices: int = 1) -> None:
        self._item = item
        self._text = text
        self._limits = limits
        self._outputs: list[Output | None] = [None] * num_choices

    @property
    def result(self) -> Sequence[Output]:
        outputs = [output for output in self._outputs if output is not None]
        return outputs if len(outputs) == len(self._outputs) else ()

    def begin(self) -> Sequence[Pass]:
        messages = self._item.get("messages")
        prompt = self._text.prompt(self._item["prompt"]) if messages is None else self._text.chat(messages)
        check_fit(len(prompt), self._limits)
        max_tokens = self._limits.beside(len(prompt))
        return [Pass(0, prompt, max_tokens, choice) for choice in range(len(self._outputs))]

    def take(self, one: Pass, output: Output) -> Sequence[Pass]:
        self._outputs[one.choice] = output
        return []


def check_fit(num_prompt: int, limits: Limits) -> None:
    """Make sure that a prompt and its output fit the context.

    Raises:
        TextError: they do not, or there is no prompt; the message names the numbers.
    """
    if num_prompt == 0:
        raise TextError("the prompt has no tokens", code="empty_prompt")
    max_tokens = max(1, limits.beside(num_prompt))
    if num_prompt + max_tokens > limits.context:
        output = "an output" if limits.gives_way else f"max_tokens {max_tokens}"
        raise TextError(
            f"{num_prompt} prompt tokens and {output} exceed the context of {limits.context} tokens",
            code="context_length_exceeded",
        )
