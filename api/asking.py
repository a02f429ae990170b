"""What the bodies of OpenAI's completion routes ask for, in the terms of jobs and items."""

from __future__ import annotations

import secrets
from typing import Any, Final

from api.errors import InvalidFields
from api.lengths import Lengths
from api.schemas.completions import AnyBody, ChatBody
from api.schemas.fields import MAX_SEED
from models.catalog import ModelView
from models.items import MAX_LOGPROBS, num_logprobs_of

# OpenAI's own. A chat that does not say goes on until the model ends it, or the context.
TEXT_TOKENS: Final = 16

DECODING: Final = {"drafter": "auto", "reproducible": False}

# Fields of the bodies that jobs know by the same name.
SAME: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "n",
)


def defaults(model: ModelView, *, is_chat: bool, chat_tokens: int | None) -> dict[str, Any]:
    """What applies where a body says nothing; the seed is drawn here.

    `chat_tokens` bounds chats that do not say how long. With `fill_context` the output has what the prompt leaves of
    the context, so `max_tokens` is only the most that can become of it.
    """
    most = model.context_length
    return {
        "max_tokens": min(chat_tokens or most, most) if is_chat else min(TEXT_TOKENS, most // 2),
        "fill_context": is_chat,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": secrets.randbits(63),
        "stop": [],
        "n": 1,
        "logprobs": None,
    }


def parameters(body: AnyBody, model: ModelView, chat_tokens: int | None = None) -> dict[str, Any]:
    """All that applies to a body; `chat_tokens` as above."""
    applied = defaults(model, is_chat=isinstance(body, ChatBody), chat_tokens=chat_tokens) | given(body)
    if body.length is not None:
        return applied | {"fill_context": False}
    if applied["fill_context"] and body.num_top is not None:
        room = MAX_LOGPROBS // num_logprobs_of(1, applied["n"], body.num_top)
        return applied | {"max_tokens": min(applied["max_tokens"], room)}
    return applied


def given(body: AnyBody) -> dict[str, Any]:
    """The parameters that a body names. A negative seed is as good as any other."""
    named = {name: getattr(body, name) for name in SAME}
    named |= {"max_tokens": body.length, "logprobs": body.num_top}
    named |= {"seed": None if body.seed is None else body.seed & MAX_SEED}
    return {name: value for name, value in named.items() if value is not None}


def check_lengths(body: AnyBody, model: ModelView, lengths: Lengths, *, prefix: str = "") -> None:
    """Raise TooLong for a prompt that cannot fit, with what was asked for or a single token."""
    for given_input in body.inputs():
        lengths.check(model, given_input, _least(body, model), prefix=prefix)


def _least(body: AnyBody, model: ModelView) -> int:
    """The room that an answer needs: of a chat that does not say any will do."""
    applied = parameters(body, model)
    return 1 if applied["fill_context"] else int(applied["max_tokens"])


def check(body: AnyBody, model: ModelView, chat_tokens: int | None = None, *, prefix: str = "") -> None:
    """Raise InvalidFields for what this model cannot do; `prefix` is put before the names of fields."""
    if isinstance(body, ChatBody) and not model.has_chat_template:
        raise InvalidFields.of(f"{prefix}messages", f"{model.name} has no chat template; use /v1/completions")
    applied = parameters(body, model, chat_tokens)
    num_tokens = applied["max_tokens"]
    if num_tokens >= model.context_length and not applied["fill_context"]:
        field = "max_completion_tokens" if isinstance(body, ChatBody) and body.max_completion_tokens else "max_tokens"
        message = f"{num_tokens} tokens do not fit the context of {model.name}, which is {model.context_length}"
        raise InvalidFields.of(f"{prefix}{field}", message)
    if (body.min_tokens or 0) > num_tokens:
        raise InvalidFields.of(f"{prefix}min_tokens", f"{body.min_tokens} is more than the {num_tokens} tokens at most")
    if body.num_top is not None:
        num = num_logprobs_of(num_tokens, applied["n"], body.num_top) * len(body.inputs())
        if num > MAX_LOGPROBS:
            raise InvalidFields.of(f"{prefix}logprobs", f"{num:,} log-probabilities; at most {MAX_LOGPROBS:,} are kept")
