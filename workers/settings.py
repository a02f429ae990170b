"""The environment of the worker's processes, read here and nowhere else."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from models.claim import MAX_LOSSES
from workers.errors import ConfigurationError
from workers.exporter import Bind

REDIS_URL = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Where a node belongs. Its supervisor says so in `SKIM_NODE`; nobody sets that by hand.

    `revision` and `dtype` are the model's, as registered when the worker started; `weights` is a word that tells its
    weights from others.
    """

    socket: Path
    model: str
    worker_id: str
    revision: str | None = None
    dtype: str = "auto"
    device_kind: str = "cpu"
    weights: str = ""

    @property
    def text(self) -> str:
        """The value of `SKIM_NODE`."""
        return json.dumps({**asdict(self), "socket": str(self.socket)})

    @classmethod
    def from_text(cls, text: str) -> "NodeSettings":
        fields = json.loads(text)
        return cls(**{**fields, "socket": Path(fields["socket"])})


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Everything that can be set from outside. Times in seconds; `node` is None outside a node."""

    database_url: str
    redis_url: str
    home: Path
    lease_s: float
    heartbeat_s: float
    sweep_s: float
    stall_s: float
    grace_s: float
    rows: int
    cpu_engines: int
    bulk_threads: int
    interactive_threads: int
    max_losses: int
    allows_private_webhooks: bool
    metrics: Bind | None
    log_level: str
    runtime: Path
    node: NodeSettings | None

    def __post_init__(self) -> None:
        if self.heartbeat_s * 2 > self.lease_s:
            raise ConfigurationError(
                f"SKIM_LEASE_S ({self.lease_s:g}) must be at least twice SKIM_HEARTBEAT_S ({self.heartbeat_s:g})"
            )

    def need_database(self) -> str:
        """The registry's address.

        Raises:
            ConfigurationError: it is not set. Beat and Flower do without one.
        """
        if not self.database_url:
            raise ConfigurationError("SKIM_DATABASE_URL is not set")
        return self.database_url

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "WorkerSettings":
        """Read the environment.

        Raises:
            ConfigurationError: a value that is no number or out of range; names the variable.
        """
        return cls(
            database_url=env.get("SKIM_DATABASE_URL", ""),
            redis_url=env.get("SKIM_REDIS_URL", REDIS_URL),
            home=Path(env.get("SKIM_HOME") or Path.home() / ".skim"),
            lease_s=_number(env, "SKIM_LEASE_S", 8),
            heartbeat_s=_number(env, "SKIM_HEARTBEAT_S", 2),
            sweep_s=_number(env, "SKIM_SWEEP_S", 2),
            stall_s=_number(env, "SKIM_STALL_S", 120),
            grace_s=_number(env, "SKIM_GRACE_S", 8),
            rows=_count(env, "SKIM_ROWS", 16),
            cpu_engines=_count(env, "SKIM_CPU_ENGINES", 1),
            bulk_threads=_count(env, "SKIM_BULK_THREADS", 4),
            interactive_threads=_count(env, "SKIM_INTERACTIVE_THREADS", 32),
            max_losses=_count(env, "SKIM_MAX_LOSSES", MAX_LOSSES),
            allows_private_webhooks=env.get("SKIM_PRIVATE_WEBHOOKS", "no").lower() in ("yes", "true", "1"),
            metrics=Bind.of(env.get("SKIM_METRICS_BIND", "")),
            log_level=env.get("SKIM_LOG_LEVEL", "info"),
            runtime=_runtime(env),
            node=NodeSettings.from_text(env["SKIM_NODE"]) if env.get("SKIM_NODE") else None,
        )


def _runtime(env: Mapping[str, str]) -> Path:
    """Where sockets go: the first folder whose name leaves enough of a socket's hundred bytes."""
    for folder in (env.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if folder and len(folder) < 60 and os.access(folder, os.W_OK):
            return Path(folder)
    return Path("/tmp")  # noqa: S108 - a private folder is made in it


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number of seconds, not {text!r}") from None
    if not 0 < value < 1e6:
        raise ConfigurationError(f"{name} must be above 0, not {text!r}")
    return value


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    try:
        value = int(text) if text else default
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}") from None
    if not 0 < value <= 4096:
        raise ConfigurationError(f"{name} must lie between 1 and 4096, not {text!r}")
    return value
