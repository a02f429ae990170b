"""How far a search is."""

from enum import StrEnum


class Stage(StrEnum):
    """What a search is doing."""

    REFERENCES = "references"  # the full network writes
    WARM = "warm"  # one left out, pairs, the greedy frontier
    CLIMBING = "climbing"
    PROPOSING = "proposing"  # the sampler's turn
    CONFIRMING = "confirming"  # exact tables and timing of the finalists
