"""What the bodies of OpenAI's completion routes ask for, in the terms of jobs and items."""

from __future__ import annotations

import secrets
from typing import Any, Final

from api.errors import InvalidFields
from api.schemas.completions import AnyBody, ChatBody
from api.schemas.fields import MAX_SEED
from models.catalog import ModelView
from models.items import MAX_LOGPROBS, num_logprobs_of

# OpenAI's own, but for the length of a chat: theirs is the rest of the context, which a small model fills with noise.
CHAT_TOKENS: Final = 256
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


def defaults(model: ModelView, *, is_chat: bool) -> dict[str, Any]:
    """What applies where a body says nothing; the seed is drawn here."""
    return {
        "max_tokens": min(CHAT_TOKENS if is_chat else TEXT_TOKENS, model.context_length // 2),
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": secrets.randbits(63),
        "stop": [],
        "n": 1,
        "logprobs": None,
    }


def parameters(body: AnyBody, model: ModelView) -> dict[str, Any]:
    """All that applies to a body."""
    return defaults(model, is_chat=isinstance(body, ChatBody)) | given(body)


def given(body: AnyBody) -> dict[str, Any]:
    """The parameters that a body names. A negative seed is as good as any other."""
    named = {name: getattr(body, name) for name in SAME}
    named |= {"max_tokens": body.length, "logprobs": body.num_top}
    named |= {"seed": None if body.seed is None else body.seed & MAX_SEED}
    return {name: value for name, value in named.items() if value is not None}


def check(body: AnyBody, model: ModelView, *, prefix: str = "") -> None:
    """Raise InvalidFields for what this model cannot do; `prefix` is put before the names of fields."""
    if isinstance(body, ChatBody) and not model.has_chat_template:
        raise InvalidFields.of(f"{prefix}messages", f"{model.name} has no chat template; use /v1/completions")
    applied = parameters(body, model)
    num_tokens = applied["max_tokens"]
    if num_tokens >= model.context_length:
        field = "max_completion_tokens" if isinstance(body, ChatBody) and body.max_completion_tokens else "max_tokens"
        message = f"{num_tokens} tokens do not fit the context of {model.name}, which is {model.context_length}"
        raise InvalidFields.of(f"{prefix}{field}", message)
    if (body.min_tokens or 0) > num_tokens:
        raise InvalidFields.of(f"{prefix}min_tokens", f"{body.min_tokens} is more than the {num_tokens} tokens at most")
    if body.num_top is not None:
        num = num_logprobs_of(num_tokens, applied["n"], body.num_top) * len(body.inputs())
        if num > MAX_LOGPROBS:
            raise InvalidFields.of(f"{prefix}logprobs", f"{num:,} log-probabilities; at most {MAX_LOGPROBS:,} are kept")
