"""Jobs, shards and items as the model test thinks of them: what the moves do, without any database."""

from dataclasses import dataclass

OPEN = ("queued", "running")


@dataclass
class Item:
    """One input."""

    status: str = "queued"
    attempts: int = 0
    output: str | None = None

    def end(self, status: str, output: str | None = None) -> None:
        if self.status in OPEN:
            self.status, self.output = status, output


@dataclass
class Shard:
    """What one worker holds at a time; `has_lapsed` says that its lease is over."""

    items: list[Item]
    status: str = "queued"
    epoch: int = 0
    has_lapsed: bool = False

    @property
    def is_free(self) -> bool:
        return self.status == "queued" or (self.status == "running" and self.has_lapsed)

    def is_held(self, epoch: int) -> bool:
        return self.status == "running" and self.epoch == epoch

    def requeue(self) -> None:
        self.status, self.epoch, self.has_lapsed = "queued", self.epoch + 1, False


@dataclass
class Job:
    """All of it, and what was asked of it."""

    shards: list[Shard]
    status: str = "queued"
    is_cancelling: bool = False
    is_overdue: bool = False

    @property
    def items(self) -> list[Item]:
        return [item for shard in self.shards for item in shard.items]

    @property
    def may_be_claimed(self) -> bool:
        return self.status in OPEN and not self.is_cancelling and not self.is_overdue

    def withdraw(self, status: str) -> None:
        """End what nobody holds."""
        for shard in self.shards:
            if shard.status == "queued":
                shard.status = status
                for item in shard.items:
                    item.end(status)

    def end(self) -> None:
        """End it if nothing is open."""
        if self.status in OPEN and not any(shard.status in OPEN for shard in self.shards):
            said = {item.status for item in self.items}
            first = next((one for one in ("cancelled", "expired", "succeeded") if one in said), "failed")
            self.status = first
