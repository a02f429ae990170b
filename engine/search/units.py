"""What a search moves in and out of a skip set: single sub-layers, and pairs of them. Set algebra; no torch here."""

from collections.abc import Iterable, Sequence

from engine.skipset import SkipSet


def union(sets: Iterable[SkipSet]) -> SkipSet:
    """Everything that any of the sets skips."""
    listed = list(sets)
    return SkipSet.of(
        (layer for one in listed for layer in one.attention), (layer for one in listed for layer in one.mlp)
    )


def without(whole: SkipSet, part: SkipSet) -> SkipSet:
    return SkipSet(whole.attention - part.attention, whole.mlp - part.mlp)


def contains(whole: SkipSet, part: SkipSet) -> bool:
    return part.attention <= whole.attention and part.mlp <= whole.mlp


def meets(one: SkipSet, other: SkipSet) -> bool:
    return bool(one.attention & other.attention or one.mlp & other.mlp)


def singles(layers: int) -> list[SkipSet]:
    """Every sub-layer: attentions, then MLPs."""
    return [*(SkipSet.of([layer]) for layer in range(layers)), *(SkipSet.of((), [layer]) for layer in range(layers))]


def disjoint(pairs: Sequence[SkipSet]) -> list[SkipSet]:
    """The first pairs that have no sub-layer in common."""
    chosen: list[SkipSet] = []
    for pair in pairs:
        if not any(meets(pair, other) for other in chosen):
            chosen.append(pair)
    return chosen
