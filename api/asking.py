"""What the bodies of OpenAI's completion routes ask for, in the terms of jobs and items."""

from __future__ import annotations

import secrets
from typing import Any, Final

from api.errors import InvalidFields
from api.schemas.completions import AnyBody, ChatBody
from api.schemas.fields import MAX_SEED
from models.catalog import ModelView

# OpenAI's own, but for the length of a chat: theirs is the rest of the context, which a small model fills with noise.
CHAT_TOKENS: Final = 256
TEXT_TOKENS: Final = 16

DECODING: Final = {"drafter": "auto", "reproducible": False}


def defaults(model: ModelView, *, is_chat: bool) -> dict[str, Any]:
    """The parameters of a job whose items say nothing else; the seed is drawn here."""
    return {
        "max_tokens": min(CHAT_TOKENS if is_chat else TEXT_TOKENS, model.context_length // 2),
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": secrets.randbits(63),
        "stop": [],
    }


def given(body: AnyBody) -> dict[str, Any]:
    """The parameters that a body names. A negative seed is as good as any other."""
    named = {
        "max_tokens": body.length,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "seed": None if body.seed is None else body.seed & MAX_SEED,
        "stop": body.stop,
    }
    return {name: value for name, value in named.items() if value is not None}


def check(body: AnyBody, model: ModelView, *, prefix: str = "") -> None:
    """Raise InvalidFields for what this model cannot do; `prefix` is put before the names of fields."""
    if body.length is not None and body.length >= model.context_length:
        field = "max_completion_tokens" if isinstance(body, ChatBody) and body.max_completion_tokens else "max_tokens"
        message = f"{body.length} tokens do not fit the context of {model.name}, which is {model.context_length}"
        raise InvalidFields.of(f"{prefix}{field}", message)
    if isinstance(body, ChatBody) and not model.has_chat_template:
        raise InvalidFields.of(f"{prefix}messages", f"{model.name} has no chat template; use /v1/completions")
