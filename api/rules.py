"""Rules that a schema cannot say: what fits the model, what this version serves, what may not occur twice."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from api.errors import Fault, InvalidFields
from api.lengths import Lengths
from api.schemas.inputs import AnyHead, AnyInput, GenerateInput, SummarizeHead
from models.catalog import ModelView
from models.items import MAX_LOGPROBS, num_logprobs_of

DEFAULT_MAX_TOKENS: Final = 256
DEFAULT_MAX_WORDS: Final = {"paragraph": 120, "bullets": 120, "headline": 15}
TOKENS_PER_WORD: Final = 2  # generous: English prose needs about 1.4, other scripts more


def check_head(head: AnyHead, model: ModelView) -> None:
    """Raise InvalidFields or NotAvailable for a job that this model or version cannot run."""
    if head.webhook_url is not None:
        _check_webhook(head.webhook_url)
    field = "parameters.max_tokens"
    if isinstance(head, SummarizeHead) and head.parameters.max_tokens is None:
        field = "max_words"
    num_tokens = max_tokens(head, model)
    if num_tokens >= model.context_length:
        raise InvalidFields.of(
            field, f"{num_tokens} tokens do not fit the context of {model.name}, which is {model.context_length}"
        )
    faults = list(_contradictions(head, num_tokens))
    if faults:
        raise InvalidFields(faults)


def _check_webhook(url: str) -> None:
    """Where the name leads is looked at when something is sent there."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:  # a port or an IPv6 address that is none
        is_good = False
    if not is_good or parts.username is not None or " " in url:
        raise InvalidFields.of("webhook_url", "must be an http or https address without a user")


def _contradictions(head: AnyHead, num_tokens: int) -> Iterator[Fault]:
    """Parameters that are fine alone and make no sense together. What is merely without effect is let be."""
    given = head.parameters
    if given.min_tokens > num_tokens:
        yield Fault("parameters.min_tokens", f"{given.min_tokens} is more than max_tokens, which is {num_tokens}")
    if isinstance(head, SummarizeHead):
        if given.n > 1:
            yield Fault("parameters.n", "a summary is one text; several choices are for generate jobs")
        if given.logprobs is not None:
            yield Fault("parameters.logprobs", "log-probabilities are for generate jobs")
    elif given.logprobs is not None:
        num = num_logprobs_of(num_tokens, given.n, given.logprobs)
        if num > MAX_LOGPROBS:
            message = f"max_tokens x n x (logprobs + 1) is {num:,}; an item has room for {MAX_LOGPROBS:,}"
            yield Fault("parameters.logprobs", message)


def max_tokens(head: AnyHead, model: ModelView) -> int:
    """What was asked for; else by the length of the summary; else 256, or half of a context that is shorter."""
    if head.parameters.max_tokens is not None:
        return head.parameters.max_tokens
    if isinstance(head, SummarizeHead):
        if head.max_words is not None:
            return head.max_words * TOKENS_PER_WORD
        return min(DEFAULT_MAX_WORDS[head.style] * TOKENS_PER_WORD, model.context_length // 2)
    return min(DEFAULT_MAX_TOKENS, model.context_length // 2)


def parameters(head: AnyHead, model: ModelView) -> dict[str, Any]:
    """The parameters as they will be applied: a missing seed is drawn here."""
    seed = head.parameters.seed
    applied = {"max_tokens": max_tokens(head, model), "seed": secrets.randbits(63) if seed is None else seed}
    return head.parameters.model_dump() | applied


def options(head: AnyHead) -> dict[str, Any]:
    """What only summaries have."""
    if not isinstance(head, SummarizeHead):
        return {}
    return {"style": head.style, "max_words": head.max_words or DEFAULT_MAX_WORDS[head.style]}


class InputRules:
    """Checks the inputs of one job in their order."""

    def __init__(self, head: AnyHead, model: ModelView, lengths: Lengths) -> None:
        self._model = model
        self._max_tokens = max_tokens(head, model)
        self._lengths = lengths
        self._seen: dict[str, int] = {}

    def check(self, given: AnyInput, index: int, line: int | None = None) -> None:
        """Raise InvalidFields; `line` for JSON Lines, where a field's path starts at the line's own object."""
        prefix = f"inputs[{index}]." if line is None else ""
        if isinstance(given, GenerateInput) and given.messages and not self._model.has_chat_template:
            message = f"{self._model.name} has no chat template; send a prompt"
            raise InvalidFields.of(f"{prefix}messages", message, line)
        if isinstance(given, GenerateInput):
            said = given.model_dump(include={"prompt", "messages"}, exclude_none=True)
            self._lengths.check(self._model, said, self._max_tokens, prefix=prefix, line=line)
        if given.custom_id is not None:
            first = self._seen.setdefault(given.custom_id, index)
            if first != index:
                message = f"the same as that of input {first}"
                raise InvalidFields.of(f"{prefix}custom_id", message, line)
