"""Device seconds of a search, by what they were spent on. Host time (proposals, simulation) is not counted here."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import perf_counter

import torch


class Phase(StrEnum):
    """What device seconds are spent on."""

    REFERENCES = "references"
    COSTS = "costs"
    SCORING = "scoring"
    RESCORING = "rescoring"
    TIMING = "timing"  # timed decoding of the finalists


class Meter:
    """Adds up device seconds; a pass counts until its device is done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = dict.fromkeys(Phase, 0.0)

    @property
    def search_s(self) -> float:
        """Everything but the timed confirmation."""
        return sum(seconds for phase, seconds in self.seconds.items() if phase is not Phase.TIMING)

    @contextmanager
    def on(self, phase: Phase) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:  # the last pass of a generator ends it
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds[phase] += perf_counter() - began
