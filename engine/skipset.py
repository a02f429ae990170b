"""The skip set: which attention and MLP sub-layers a draft leaves out. A value; knows no network."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from engine.errors import BadRequest


@dataclass(frozen=True, slots=True)
class SkipSet:
    """Indices of the layers whose attention, and of those whose MLP, are skipped while drafting."""

    attention: frozenset[int] = frozenset()
    mlp: frozenset[int] = frozenset()

    @classmethod
    def of(cls, attention: Iterable[int] = (), mlp: Iterable[int] = ()) -> Self:
        return cls(frozenset(attention), frozenset(mlp))

    @classmethod
    def from_bits(cls, bits: str) -> Self:
        """Read 2L characters of 0 and 1: L for attention, then L for the MLPs; 1 is skipped.

        Raises: BadRequest when the text has another form.
        """
        if len(bits) % 2 or set(bits) - {"0", "1"}:
            raise BadRequest("a skip set is an even number of 0s and 1s", parameter="skip_set")
        half = len(bits) // 2
        skipped = [index for index, bit in enumerate(bits) if bit == "1"]
        return cls.of((i for i in skipped if i < half), (i - half for i in skipped if i >= half))

    @classmethod
    def starting(cls, layers: int) -> Self:
        """A set to draft with before any search: every third layer of the middle, both halves.

        First and last layers are kept: they are the costly ones to lose (Draft & Verify, figure 5 of arXiv 2309.08168).
        """
        middle = range(layers // 4 + 1, layers - max(1, layers // 6), 3)
        return cls.of(middle, middle)

    def bits(self, layers: int) -> str:
        """The inverse of ``from_bits`` for a network of ``layers`` layers."""
        halves = (self.attention, self.mlp)
        return "".join("1" if layer in half else "0" for half in halves for layer in range(layers))

    def check(self, layers: int) -> None:
        """Raises BadRequest when a skipped sub-layer does not exist in a network of ``layers`` layers."""
        beyond = sorted(layer for layer in self.attention | self.mlp if not 0 <= layer < layers)
        if beyond:
            raise BadRequest(f"the network has {layers} layers; the skip set names {beyond}", parameter="skip_set")

    def __len__(self) -> int:
        return len(self.attention) + len(self.mlp)
