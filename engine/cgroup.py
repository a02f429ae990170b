"""What the control groups of a process leave it of the machine's memory: in a container they decide.

Linux, version 2 of control groups and version 1. Knows files, not processes or networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a group may have in all, and of these may still take."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class _Files:
    """How a version calls them; ``cache`` is the entry of ``memory.stat`` for pages of files that nobody misses."""

    most: str
    used: str
    cache: str


_VERSION_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Files("memory.max", "memory.current", "inactive_file")


def rooms(root: Path, membership: str) -> Iterator[Room]:
    """The room of every group with a limit that a process is in, those around its own as well.

    Args:
        root: where the groups are mounted, ``/sys/fs/cgroup``
        membership: what ``/proc/<pid>/cgroup`` says
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            base, files = root / "memory", _VERSION_1
        elif not controllers:
            base, files = root, _VERSION_2
        else:
            continue
        for folder in _upwards(base, path):
            room = _room(folder, files)
            if room is not None:
                yield room


def _upwards(base: Path, path: str) -> Iterator[Path]:
    """The group's folder and those around it; a path that was named from outside a container ends in its root."""
    here = base / path.strip("/")
    yield from (folder for folder in (here, *here.parents) if folder.is_relative_to(base) and folder.is_dir())


def _room(folder: Path, files: _Files) -> Room | None:
    """None where there is no limit."""
    try:
        most, used = (int((folder / name).read_text()) for name in (files.most, files.used))
        words = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # ValueError: "max"
        return None
    cache = next((int(size) for name, size in words if name == files.cache), 0)
    return Room(most, max(0, most - used + cache))
