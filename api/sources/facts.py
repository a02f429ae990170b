"""What the registry wants to know of a source, read from a Hugging Face configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.errors import UnusableSource

CAUSAL: Final = "ForCausalLM"
# GPT-2's own class kept an older name for the same thing.
ALSO_CAUSAL: Final = frozenset({"GPT2LMHeadModel"})
# Families call the same numbers differently.
CONTEXT: Final = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length")
LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


@dataclass(frozen=True, slots=True)
class Facts:
    """A source that can be served. `revision` is a commit for hub ids, so that later pushes change nothing."""

    architecture: str
    context_length: int
    num_layers: int
    has_chat_template: bool
    revision: str | None = None


def facts_of(config: Mapping[str, Any], *, has_chat_template: bool, revision: str | None = None) -> Facts:
    """Read a `config.json`.

    Raises:
        UnusableSource: not a causal language model, or sizes that are missing.
    """
    named = config.get("architectures")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    causal = [name for name in names if name.endswith(CAUSAL) or name in ALSO_CAUSAL]
    if not causal:
        raise UnusableSource(f"not a causal language model: architectures is {', '.join(names) or 'missing'}")
    return Facts(
        architecture=causal[0],
        context_length=_first(config, CONTEXT, "a context length"),
        num_layers=_first(config, LAYERS, "a number of layers"),
        has_chat_template=has_chat_template,
        revision=revision,
    )


def _first(config: Mapping[str, Any], names: tuple[str, ...], what: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise UnusableSource(f"config.json does not give {what} ({' or '.join(names[:2])})")
