"""Skip sets that others found, as first guesses for networks of the same shape and family.

Draft & Verify (Zhang et al., arXiv 2309.08168), appendix: sub-layers skipped in Llama-2 and CodeLlama networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedModel

from engine.skipset import SkipSet


@dataclass(frozen=True, slots=True)
class Published:
    """A set and the sizes of the network it was found for."""

    name: str
    layers: int
    hidden: int
    skip_set: SkipSet


def _read(text: str) -> Iterator[int]:
    """Indices and inclusive ranges, as papers print them."""
    for part in text.split():
        low, _, high = part.partition("-")
        yield from range(int(low), int(high or low) + 1)


def _of(attention: str, mlp: str) -> SkipSet:
    return SkipSet.of(_read(attention), _read(mlp))


PUBLISHED = (
    Published("Llama-2-13B", 40, 5120, _of("3 5 6 8 10 11 14 15 18 22-31 33-37", "6 9 10 11 15 24 25 27 28 35")),
    Published("Llama-2-13B-chat", 40, 5120, _of("7-11 14 15 18 22 23 24 26-38", "7 10 11 14 27 30 32 33 37 38")),
    Published(
        "CodeLlama-13B",
        40,
        5120,
        _of("5 6 9 10 11 14 15 16 21 23 24 26-32 34-37", "10 11 12 14 15 25 26 27 30 32 33 34"),
    ),
    Published(
        "Llama-2-70B",
        80,
        8192,
        _of(
            "10 11 13 14 16 18-22 25 27-31 35 41 43 45-58 60-63 65-70 74 75 78 79",
            "2 4 9 10 13 14 16 20 21 22 24-29 31 34 37 41 47-50 53-55 57 58 60 62 63 66 67 68 70 76",
        ),
    ),
)


def published_for(network: PreTrainedModel) -> list[SkipSet]:
    """Sets found for networks of this depth and width; none for any other shape or family."""
    config = network.config
    sizes = (config.num_hidden_layers, config.hidden_size)
    if config.model_type != "llama":
        return []
    return [one.skip_set for one in PUBLISHED if (one.layers, one.hidden) == sizes]
