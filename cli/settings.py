"""The environment of the command line, read once at start and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`None` means: as the running stack has it."""

    home: Path
    api_url: str | None
    api_key: str | None
    database_url: str | None
    redis_url: str | None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read SKIM_HOME, SKIM_API_URL, SKIM_API_KEY, SKIM_DATABASE_URL and SKIM_REDIS_URL."""
        home = env.get("SKIM_HOME")
        return cls(
            home=Path(home).expanduser().absolute() if home else default_home(env),
            api_url=env.get("SKIM_API_URL") or None,
            api_key=env.get("SKIM_API_KEY") or None,
            database_url=env.get("SKIM_DATABASE_URL") or None,
            redis_url=env.get("SKIM_REDIS_URL") or None,
        )


def default_home(env: Mapping[str, str]) -> Path:
    """Where state lives by default: for root a folder that the servers' user may enter, else the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/skim")
    data = env.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "skim"
