"""The only module of the service that reads the environment, once, at start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from api.errors import BadSetting

MEBIBYTE = 1024 * 1024
METERS = "PROMETHEUS_MULTIPROC_DIR"
LEVELS = ("debug", "info", "warning", "error")
RATE = re.compile(r"[1-9][0-9]* per (second|minute|hour|day)")


class ServerSettings(TypedDict):
    """What `deploy/gunicorn.conf.py` needs: address, processes, request threads of each, what is worth a line."""

    bind: str
    num_workers: int
    num_threads: int
    log_level: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What one API process runs with. Sizes are bytes, times are seconds."""

    database_url: str = field(repr=False)  # holds a password
    redis_url: str = field(repr=False)
    home: Path | None = None  # where workers of this machine keep what they made of models
    model_roots: tuple[Path, ...] = ()
    max_body_bytes: int = 16 * MEBIBYTE
    max_stream_bytes: int = 200 * MEBIBYTE
    max_inputs: int = 50_000
    chat_tokens: int | None = None  # of a chat that does not say; None is until the context ends
    bind: str = "127.0.0.1:8000"
    num_workers: int = 1
    num_threads: int = 32
    start_wait_s: float = 30.0
    metrics_open: bool = False  # whoever reaches the API may scrape it
    metrics_folder: Path | None = None  # where several processes count together; of the client library, not ours
    log_level: str = "info"
    rate_limit: str = ""  # of each key, as in "600 per minute"; empty is none

    @property
    def num_waiters(self) -> int:
        """How many long polls and streams one process serves at once: half its request threads."""
        return max(1, self.num_threads // 2)

    @property
    def num_readers(self) -> int:
        """How many long bodies one process reads at once: by a quarter of its request threads."""
        return max(1, self.num_threads // 4)

    @property
    def num_checkers(self) -> int:
        """How many inputs of batches one process checks at once: that is work, which all its threads share."""
        return max(1, self.num_threads // 16)

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read and check the environment; `BadSetting` names the variable at fault."""
        return cls(
            database_url=_required(env, "SKIM_DATABASE_URL"),
            redis_url=_required(env, "SKIM_REDIS_URL"),
            home=_home(env),
            model_roots=_roots(env),
            max_body_bytes=_number(env, "SKIM_MAX_BODY_MB", 16) * MEBIBYTE,
            max_stream_bytes=_number(env, "SKIM_MAX_STREAM_MB", 200) * MEBIBYTE,
            max_inputs=_number(env, "SKIM_MAX_INPUTS", 50_000),
            metrics_open=_is_yes(env, "SKIM_METRICS_OPEN"),
            metrics_folder=Path(env[METERS]) if env.get(METERS) else None,
            chat_tokens=_optional(env, "SKIM_CHAT_TOKENS"),
            rate_limit=_rate(env),
            start_wait_s=float(_number(env, "SKIM_START_WAIT_S", 30)),
            **server_settings(env),
        )


def server_settings(env: Mapping[str, str] = os.environ) -> ServerSettings:
    """The part the WSGI server needs before any application is loaded."""
    return ServerSettings(
        bind=env.get("SKIM_API_BIND") or "127.0.0.1:8000",
        num_workers=_number(env, "SKIM_API_WORKERS", 1),
        num_threads=_number(env, "SKIM_API_THREADS", 32),
        log_level=_level(env),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise BadSetting(name, "is not set")
    return value


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise BadSetting(name, f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _is_yes(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower() or "no"
    if text not in ("yes", "no"):
        raise BadSetting(name, f"must be yes or no, not {text!r}")
    return text == "yes"


def _level(env: Mapping[str, str]) -> str:
    text = env.get("SKIM_LOG_LEVEL", "").strip().lower() or "info"
    if text not in LEVELS:
        raise BadSetting("SKIM_LOG_LEVEL", f"must be one of {', '.join(LEVELS)}, not {text!r}")
    return text


def _optional(env: Mapping[str, str], name: str) -> int | None:
    return _number(env, name, 0) or None


def _rate(env: Mapping[str, str]) -> str:
    text = env.get("SKIM_RATE_LIMIT", "").strip()
    if text and not RATE.fullmatch(text):
        raise BadSetting("SKIM_RATE_LIMIT", f"must be like `600 per minute`, not {text!r}")
    return text


def _home(env: Mapping[str, str]) -> Path | None:
    text = env.get("SKIM_HOME", "").strip()
    return Path(text).resolve() if text else None


def _roots(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Folders that local model sources must lie in: `SKIM_MODEL_ROOTS`, else `SKIM_HOME/models`."""
    text = env.get("SKIM_MODEL_ROOTS", "").strip()
    if not text:
        home = _home(env)
        return () if home is None else (home / "models",)
    return tuple(Path(part).resolve() for part in text.split(os.pathsep) if part)
