"""What a device runs: the command lines and environments of its engine and its two nodes."""

import os
from dataclasses import dataclass
from pathlib import Path

from models.catalog import ModelView
from models.states import Lane
from workers.device.hardware import Device, count_cores
from workers.device.identity import weights_of
from workers.device.tether import tied
from workers.queues import queue_of
from workers.settings import NodeSettings, WorkerSettings

ENGINE = "workers.serve"
CUDA_THREADS = 4
METERS = "PROMETHEUS_MULTIPROC_DIR"  # makes the client library of a process count in files there


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before the first process starts. `engine` is the module that serves the socket."""

    worker_id: str
    name: str
    model: ModelView
    device: Device
    rows: int
    threads: int | None
    socket: Path
    settings: WorkerSettings
    engine: str = ENGINE

    @property
    def num_threads(self) -> int:
        """Threads of the engine: the cores, shared by the engines of this machine where they compute on them."""
        if self.threads is not None:
            return self.threads
        if self.device.kind == "cuda":
            return min(CUDA_THREADS, count_cores())
        return max(1, count_cores() // self.settings.cpu_engines)

    @property
    def costs(self) -> Path:
        """Where step costs lie that the engine need not measure: beside the socket, where only this user may look."""
        return self.socket.with_name("costs.json")

    @property
    def meters(self) -> Path | None:
        """Where the nodes count, if anybody wants to know: beside the socket, so that a new worker starts from zero."""
        return self.socket.with_name("meters") if self.settings.metrics else None

    def engine_command(self) -> list[str]:
        options = {
            "--socket": str(self.socket),
            "--source": self.model.source,
            "--revision": self.model.revision or "",
            "--dtype": self.model.dtype,
            "--device": self.device.inner_name,
            "--rows": str(self.rows),
            "--length": str(self.model.context_length),
            "--threads": str(self.num_threads),
            "--home": str(self.settings.home),
            "--costs": str(self.costs),
            "--log-level": self.settings.log_level,
        }
        return tied(self.engine, [word for option in options.items() for word in option])

    def engine_environment(self) -> dict[str, str]:
        return {**os.environ, **self.device.environment(self.num_threads)}

    def node_command(self, lane: Lane) -> list[str]:
        threads = self.settings.interactive_threads if lane is Lane.INTERACTIVE else self.settings.bulk_threads
        options = ["--pool", "threads", "--concurrency", str(threads), "--include", "workers.shards"]
        options += ["--queues", ",".join(self._queues(lane))]
        options += ["--hostname", f"{lane.value}.{self.name}@%h", "--without-gossip", "--without-mingle"]
        options += ["--heartbeat-interval", "10"]  # seconds between events for Flower
        options += ["--loglevel", self.settings.log_level]
        return tied("celery", ["--app", "workers.app", "--quiet", "worker", *options])

    @property
    def _place(self) -> NodeSettings:
        model = self.model
        return NodeSettings(
            self.socket,
            model.name,
            self.worker_id,
            model.revision,
            model.dtype,
            self.device.kind,
            weights_of(model.source, model.revision),
        )

    def _queues(self, lane: Lane) -> list[str]:
        """Searches come to the node of bulk work: they hold one of its threads, and no interactive one."""
        lanes = [lane, Lane.SEARCH] if lane is Lane.BULK else [lane]
        return [queue_of(self.model.name, one, self.device.kind).name for one in lanes]

    def node_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **({METERS: str(self.meters)} if self.meters else {}),
            "SKIM_NODE": self._place.text,
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # Said before logging is set up, and meant for those who accept pickle.
            "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
        }
