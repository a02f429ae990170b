"""Texts held against their references by the near-tie rule; a difference beyond it fails the test."""

from dataclasses import dataclass, field

from bench.ties import Reference, is_near_tie
from engine.request import Request

MOST = 5_000  # one near tie in so many tokens is plausible, more are not


@dataclass(slots=True)
class Comparison:
    """Texts held against their references; counts tokens and the near ties at which texts parted."""

    noise: float
    tokens: int = 0
    near_ties: set[tuple[str, int]] = field(default_factory=set)

    def take(self, request: Request, reference: Reference, picks: tuple[int, ...]) -> None:
        """Compare one text up to its first difference.

        Raises: AssertionError when that is no near tie.
        """
        pairs = list(zip(reference.picks, picks, strict=False))
        parting = next((at for at, (wanted, got) in enumerate(pairs) if wanted != got), None)
        self.tokens += len(pairs) if parting is None else parting + 1
        if parting is None:
            assert len(reference.picks) == len(picks), f"{request.id}: {len(picks)} tokens"
            return
        logits, position = reference.logits[parting], len(request.prompt) + parting
        assert is_near_tie(logits, request.sampling, position, pairs[parting], self.noise), (
            f"{request.id} parts from the reference at token {parting} ({pairs[parting]}) without a near tie;"
            f" logits {logits[list(pairs[parting])]}, noise {self.noise}"
        )
        self.near_ties.add((request.id, parting))

    def check(self) -> None:
        """Raises AssertionError when near ties are more than chance explains."""
        assert len(self.near_ties) <= max(1.0, self.tokens / MOST), f"{self.near_ties} in {self.tokens} tokens"
