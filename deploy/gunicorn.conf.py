"""gunicorn for the API: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`. Loopback unless told otherwise."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from api.settings import METERS, server_settings

MEMORY = "/dev/shm"  # noqa: S108
_memory = MEMORY if Path(MEMORY).is_dir() else None
_settings = server_settings()

# The processes count into files of this folder, and any of them answers for all. Said before one is forked: the client
# library looks at it when it is imported. A reload keeps the folder.
if METERS not in os.environ:
    os.environ[METERS] = tempfile.mkdtemp(prefix="skim-api-", dir=_memory)

bind = _settings["bind"]
workers = _settings["num_workers"]
threads = _settings["num_threads"]
worker_class = "api.server.TimedWorker"
# The application is loaded in each process, after the fork: connections and threads do not survive one.
preload_app = False
# Seconds. The application waits up to SKIM_START_WAIT_S for the database before a process reports alive.
timeout = 120
graceful_timeout = 35  # the longest long poll
keepalive = 20
# Connections beyond the threads are kept open and idle, none of them holding a thread.
worker_connections = 1000
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
# No management socket: signals are enough.
control_socket_disable = True
# Heartbeat files on a disk can stall a process for seconds.
worker_tmp_dir = _memory
# The application tells of every request itself, by route and with its ids: never by its whole address, in which a
# client may have put anything. gunicorn would log it all the same once logging is configured.
accesslog = None
_level = _settings["log_level"].upper()
_logger = {"level": _level, "handlers": ["stderr"], "propagate": False}
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "workers.logs.formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "root": _logger,
    "loggers": {
        "gunicorn.error": {
            **_logger,
            "level": "INFO" if _level == "DEBUG" else _level,
        },  # at DEBUG it has addresses, too
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}


def child_exit(_server: Any, worker: Any) -> None:
    """A process has ended: what it counted stays, what it alone was is forgotten."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - after METERS is set

    mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """The master ends, and the counters with it."""
    shutil.rmtree(os.environ[METERS], ignore_errors=True)
