"""Who was started: a small JSON file a process, naming it by (pid, create time): a reused pid is no match."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Record:
    """A process that was started: `create_time` is the kernel's, `starts` counts since the stack came up."""

    pid: int
    create_time: float
    starts: int = 1
    started_at: float = 0.0

    def process(self) -> psutil.Process | None:
        """The process if it still lives (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def record_start(path: Path, pid: int) -> Record:
    """Write that `pid` was started as what `path` is named after; a restart raises the count."""
    earlier = read_record(path)
    record = Record(
        pid=pid,
        create_time=psutil.Process(pid).create_time(),
        starts=earlier.starts + 1 if earlier else 1,
        started_at=time.time(),
    )
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)))
    partial.rename(path)
    return record


def read_record(path: Path) -> Record | None:
    """The record at `path`, or None where there is none that can be read."""
    try:
        fields = json.loads(path.read_text())
        return Record(**fields)
    except (OSError, ValueError, TypeError):
        return None
