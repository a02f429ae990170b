"""Owners of trials: a claimed shard by its name in the study, from which others can tell whether it is still held."""

from dataclasses import dataclass
from typing import Self

from models.claim import Claim
from models.shard import ShardRef


@dataclass(frozen=True, slots=True)
class Owner:
    """Whoever holds a shard of a search at an epoch."""

    ref: ShardRef
    epoch: int

    @classmethod
    def of(cls, claimed: Claim) -> Self:
        return cls(ShardRef(claimed.job_id, claimed.number), claimed.epoch)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Raises ValueError when it is none's name."""
        job_id, number, epoch = name.split("/")
        return cls(ShardRef(job_id, int(number)), int(epoch))

    def __str__(self) -> str:
        return f"{self.ref.job_id}/{self.ref.number}/{self.epoch}"
