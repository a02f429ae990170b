"""Fault points: named places between two steps of the work at which a test may end or stop the process.

They do nothing unless `SKIM_FAULTS` names a folder when the process starts. Then a file there, named like a point, is
an order to the first process that comes by: it renames the file, adding its process id, and sends itself the signal
that the file names. An empty order only notes that the point was reached.
"""

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final


class Point(StrEnum):
    """Every place. `written` is before the commit and `committed` after it.

    What is recorded of items is one statement, committed as it is written: there is nothing between `record.ready` and
    `record.committed`.
    """

    SUBMIT_JOB = "submit.job"
    SUBMIT_ITEMS = "submit.items"
    SUBMIT_WRITTEN = "submit.written"
    RING_ASKED = "ring.asked"
    RING_WRITTEN = "ring.written"
    RING_COMMITTED = "ring.committed"
    RING_SENT = "ring.sent"
    CLAIM_HEARD = "claim.heard"
    CLAIM_SHARD = "claim.shard"
    CLAIM_WRITTEN = "claim.written"
    CLAIM_COMMITTED = "claim.committed"
    RECORD_READY = "record.ready"
    RECORD_COMMITTED = "record.committed"
    FINISH_READY = "finish.ready"
    FINISH_SHARD = "finish.shard"
    FINISH_WRITTEN = "finish.written"
    FINISH_COMMITTED = "finish.committed"
    RELEASE_WRITTEN = "release.written"
    RELEASE_COMMITTED = "release.committed"
    SWEEP_REQUEUED = "sweep.requeued"
    SWEEP_COMMITTED = "sweep.committed"
    DELIVER_TAKEN = "deliver.taken"
    DELIVER_SENT = "deliver.sent"
    DELIVER_COMMITTED = "deliver.committed"


Reach = Callable[[Point], None]


def points(folder: str) -> Reach:
    """What happens at a point: nothing without a folder, else what the order there says."""
    return Orders(Path(folder)).obey if folder else _pass


class Orders:
    """A folder of orders, each obeyed once, by whichever process renames it first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def obey(self, point: Point) -> None:
        """Do what is ordered for the point, if anything is."""
        order = self._folder / point
        taken = order.with_name(f"{point}.{os.getpid()}")
        try:
            order.rename(taken)
        except FileNotFoundError:
            return
        name = taken.read_text()
        if name:
            signal.raise_signal(signal.Signals[name])  # to this thread: others would let it run on for a moment


def _pass(_: Point) -> None:
    """Go on."""


reach: Final[Reach] = points(os.environ.get("SKIM_FAULTS", ""))
