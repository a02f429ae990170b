"""Time to first token and between tokens of interactive requests while bulk work fills the batch.

Bulk rows keep every slot busy; an interactive request arrives whenever the one before it has ended and a few rounds
have passed. Times are taken at the events of the engine's own loop, so a queue in front of it is not counted.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.workloads import Work
from engine.loop import Engine
from engine.request import Admitted, Drafter, Failed, Finished, Progress, Request

_PAUSE = 4  # rounds between the end of one interactive request and the next


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds."""

    n: int
    p50: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        return cls(len(values), float(np.quantile(values, 0.5)), float(np.quantile(values, 0.99)))

    def __str__(self) -> str:
        return f"{1e3 * self.p50:.0f} / {1e3 * self.p99:.0f} (n={self.n})"


@dataclass(slots=True)
class Latency:
    """What was seen: seconds to the first token and between the events that brought tokens."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)

    def table(self) -> str:
        head = "| interactive requests under bulk load | p50 / p99, ms |\n|---|---|\n"
        first, between = Quantiles.of(self.first), Quantiles.of(self.between)
        return head + f"| time to first token | {first} |\n| between tokens | {between} |"


def measure(engine: Engine, bulk: Work, asked: Work) -> Latency:
    """Run the interactive requests one after the other above the bulk work, repeated as often as needed."""
    seen, pause, submitted = Latency(), 0, 0
    waiting = [
        Request(f"ask {number}", prompt, asked.max_tokens, interactive=True, stream=True, drafter=Drafter.AUTO)
        for number, prompt in enumerate(asked.prompts)
    ]
    current: str | None = None
    last = began = 0.0
    while waiting or current is not None:
        while engine.num_waiting < 2:
            prompt = bulk.prompts[submitted % len(bulk.prompts)]
            engine.submit(Request(f"bulk {submitted}", prompt, bulk.max_tokens))
            submitted += 1
        if current is None and pause <= 0:
            request = waiting.pop(0)
            current, began, last = request.id, time.perf_counter(), 0.0
            engine.submit(request)
        for event in engine.step():
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Admitted) or event.id != current:
                continue
            now = time.perf_counter()
            if isinstance(event, Progress):
                if last:
                    seen.between.append(now - last)
                else:
                    seen.first.append(now - began)
                last = now
            elif isinstance(event, Finished):
                current, pause = None, _PAUSE
        pause -= 1
    return seen
