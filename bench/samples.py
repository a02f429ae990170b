"""What a stack takes at a moment: memory, descriptors and threads of its processes, rows and sizes of its tables, keys.

Knows which processes a stack has and how to look at its servers; judges nothing.
"""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
from redis import Redis
from sqlalchemy import text

from bench.stack import SKIM, Stack
from models.database import Database, connect

MIB: Final = 2.0**20
NAME: Final = "bench-samples"

TABLES: Final = text("""
SELECT relname, pg_total_relation_size(relid) AS size FROM pg_stat_user_tables WHERE schemaname = 'public'
""")
CONNECTIONS: Final = text("""
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> :name
""")
NEWS: Final = text("SELECT pg_notification_queue_usage()")
OPEN: Final = text("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')")


class Probe:
    """Looks at one stack. `values` maps names of series to numbers: `api, RSS`, `rows of jobs`, ..."""

    def __init__(self, stack: Stack) -> None:
        self._home = stack.home
        environment = psutil.Process().environ() | {"SKIM_HOME": str(stack.home)}
        found = subprocess.run([SKIM, "status", "--json"], check=True, env=environment, capture_output=True, text=True)
        status: Any = json.loads(found.stdout)
        self._pids = {one["name"]: int(one["pid"]) for one in status["processes"]}
        self.database: Database = connect(status["database_url"], pool_size=2, application_name=NAME)
        url = status["redis_url"].replace("redis+socket://", "unix://", 1)
        self._redis = Redis.from_url(url, protocol=2)

    def values(self, *, is_quiet: bool) -> dict[str, float]:
        """Everything; what takes longer only at quiet moments."""
        return {**self._processes(), **self._tables(), **self._broker(is_quiet=is_quiet), **self._files()}

    def num_open(self) -> int:
        """Jobs that have not ended."""
        with self.database.session() as session:
            return int(session.execute(OPEN).scalar_one())

    def close(self) -> None:
        """Disconnect."""
        self.database.close()
        self._redis.close()

    def _processes(self) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for group, process in self._members():
            try:
                memory = process.memory_full_info()
                sums[f"{group}, processes"] += 1
                sums[f"{group}, RSS"] += memory.rss / MIB
                sums[f"{group}, USS"] += memory.uss / MIB
                sums[f"{group}, descriptors"] += process.num_fds()
                sums[f"{group}, threads"] += process.num_threads()
            except psutil.NoSuchProcess:
                continue
        return dict(sums)

    def _members(self) -> Iterator[tuple[str, psutil.Process]]:
        for name, pid in self._pids.items():
            leader = psutil.Process(pid)
            yield name, leader
            for child in leader.children(recursive=True):
                yield _part(name, child), child

    def _tables(self) -> dict[str, float]:
        with self.database.session() as session:
            sizes = {row.relname: row.size for row in session.execute(TABLES)}
            rows = {
                f"rows of {name}": float(session.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one())  # noqa: S608
                for name in sizes
            }
            connections = float(session.execute(CONNECTIONS, {"name": NAME}).scalar_one())
            news = float(session.execute(NEWS).scalar_one())
        sized = {f"size of {name}": size / MIB for name, size in sizes.items()}
        return {**rows, **sized, "postgres, connections": connections, "postgres, news waiting": news}

    def _broker(self, *, is_quiet: bool) -> dict[str, float]:
        info: Any = self._redis.info()
        found = {
            "redis, used memory": info["used_memory"] / MIB,
            "redis, keys": float(info.get("db0", {}).get("keys", 0)),
            "redis, clients": float(info["connected_clients"]),
        }
        if is_quiet:
            kept = [key for key in self._redis.scan_iter(count=1000) if self._redis.ttl(key) == -1]
            found["redis, keys that stay"] = float(len(kept))
        return found

    def _files(self) -> dict[str, float]:
        folders = {"log": self._home / "log", "run": self._home / "run"}
        return {f"files in {name}, MiB": _size(folder) for name, folder in folders.items()}


def _part(name: str, process: psutil.Process) -> str:
    """Which part of a worker a child of it is; other programs are one with their children."""
    if not name.startswith("worker"):
        return name
    words = " ".join(process.cmdline())
    for lane in ("interactive", "bulk"):
        if f"{lane}.{name}@" in words:
            return f"{lane} node"
    return "engine"


def _size(folder: Path) -> float:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) / MIB
