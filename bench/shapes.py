"""The operating points at which planted networks are run: shape, skip set, target acceptance."""

from dataclasses import dataclass, replace

from transformers import LlamaConfig

from bench.weights import shape
from engine.skipset import SkipSet


@dataclass(frozen=True, slots=True)
class Point:
    """A shape with the skip set to plant in it, the acceptance to reach, and what it stands for."""

    config: LlamaConfig
    skip_set: SkipSet
    acceptance: float
    about: str


def indices(text: str) -> list[int]:
    """Layer indices from single ones and ranges with both ends: ``3 5-7`` is 3, 5, 6, 7."""
    ranges = [tuple(map(int, part.split("-"))) for part in text.split()]
    return [index for ends in ranges for index in range(ends[0], ends[-1] + 1)]


# The skip sets that Draft & Verify (arXiv 2309.08168) publishes for Llama-2-13B and Llama-2-70B.
_SET_13B = SkipSet.of(indices("3 5 6 8 10 11 14 15 18 22-31 33-37"), indices("6 9 10 11 15 24 25 27 28 35"))
_SET_70B = SkipSet.of(
    indices("10 11 13 14 16 18-22 25 27-31 35 41 43 45-58 60-63 65-70 74 75 78 79"),
    indices("2 4 9 10 13 14 16 20-22 24-29 31 34 37 41 47-50 53-55 57 58 60 62 63 66-68 70 76"),
)


def thinned(skip_set: SkipSet, layers: int, kept: int) -> SkipSet:
    """The set carried over from ``layers`` layers to ``kept`` evenly chosen ones of them."""
    chosen = [index * layers // kept for index in range(kept)]
    return SkipSet.of(
        (new for new, old in enumerate(chosen) if old in skip_set.attention),
        (new for new, old in enumerate(chosen) if old in skip_set.mlp),
    )


POINTS = {
    "small": Point(
        shape(24, 768, 2048, 12, 4, 8192),
        SkipSet.of(range(4, 20), range(7, 19)),
        0.979,
        "24 x 768, half of the layers' weight bytes skipped: for a CPU",
    ),
    "7b": Point(
        shape(32, 4096, 11008, 32, 32, 32000),
        thinned(_SET_13B, 40, 32),
        0.979,
        "Llama-2-7B shape, the published 13B set thinned to its layers",
    ),
    "13b": Point(shape(40, 5120, 13824, 40, 40, 32000), _SET_13B, 0.979, "Llama-2-13B shape and its published set"),
    "half": Point(
        shape(40, 8192, 28672, 64, 8, 32000),
        thinned(_SET_70B, 80, 40),
        0.979,
        "every other layer of the Llama-2-70B shape and of its published set: half of the weight bytes skipped",
    ),
}


def point(name: str, layers: int | None = None) -> Point:
    """A point by name, shrunk to ``layers`` layers if that is given.

    Raises: KeyError for a name that is none of ``POINTS``.
    """
    whole = POINTS[name]
    if layers is None:
        return whole
    config = LlamaConfig(**{**whole.config.to_dict(), "num_hidden_layers": layers})
    skip_set = thinned(whole.skip_set, int(whole.config.num_hidden_layers or 0), layers)
    return replace(whole, config=config, skip_set=skip_set)


def skipped_share(config: LlamaConfig, skip_set: SkipSet) -> float:
    """The share of the layers' weight bytes that a draft view does not read."""
    heads, kv_heads = int(config.num_attention_heads or 1), int(config.num_key_value_heads or 1)
    attention = 2 + 2 * kv_heads / heads  # in units of hidden squared
    mlp = 3 * int(config.intermediate_size or 0) / int(config.hidden_size or 1)
    skipped = len(skip_set.attention) * attention + len(skip_set.mlp) * mlp
    return skipped / (int(config.num_hidden_layers or 1) * (attention + mlp))
