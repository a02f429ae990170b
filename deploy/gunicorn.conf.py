"""gunicorn for the API: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`. Loopback unless told otherwise."""

from pathlib import Path

from api.settings import server_settings

MEMORY = "/dev/shm"  # noqa: S108
_settings = server_settings()

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
worker_tmp_dir = MEMORY if Path(MEMORY).is_dir() else None
accesslog = None
