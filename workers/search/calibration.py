"""Calibration: the prompts of a search as requests, some to score on and others to confirm with."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.request import Request
from workers.errors import TextError
from workers.text import Text

_EVERY = 3  # of the prompts, one is held out


def calibration_of(
    prompts: Sequence[Mapping[str, Any]], text: Text, *, max_tokens: int, context: int
) -> tuple[tuple[Request, ...], tuple[Request, ...]]:
    """Requests to score on, and requests held out. Every third prompt is, so that both are of all kinds.

    Scoring needs room for each text and for drafts behind it.

    Raises:
        TextError: too few prompts, or one that can never be decoded; the message names its index.
    """
    if len(prompts) < 2:
        raise TextError("a search needs at least two prompts: one to score on, one to confirm with", code="few_prompts")
    requests = [_request(index, one, text, max_tokens, context) for index, one in enumerate(prompts)]
    held_out = requests[1::_EVERY]
    return tuple(one for one in requests if one not in held_out), tuple(held_out)


def _request(index: int, given: Mapping[str, Any], text: Text, max_tokens: int, context: int) -> Request:
    messages = given.get("messages")
    prompt = text.prompt(given["prompt"]) if messages is None else text.chat(messages)
    if not prompt:
        raise TextError(f"calibration prompt {index} has no tokens", code="empty_prompt")
    if len(prompt) + 2 * max_tokens > context:
        raise TextError(
            f"calibration prompt {index}: {len(prompt)} tokens and twice {max_tokens} more exceed the context of"
            f" {context} tokens",
            code="context_length_exceeded",
        )
    return Request(str(index), prompt, max_tokens)
