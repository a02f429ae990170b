"""The Celery application that nodes, beat and Flower load (`celery -A workers.app ...`). Configuration only.

Tasks are added by `--include`: `workers.control` and `workers.webhooks` on a control node, `workers.shards` on those of
a device.
"""

from typing import Any

from celery.signals import setup_logging

from workers.logs import configure
from workers.queues import CONTROL, NIGHTS_TASK, SWEEP_TASK, connect
from workers.settings import WorkerSettings

NIGHTS_S = 30.0  # between two looks at the schedules: as late as a search may start

settings = WorkerSettings.from_env()

app = connect(settings.redis_url)
app.conf.update(
    beat_schedule={
        "sweep": {"task": SWEEP_TASK, "schedule": settings.sweep_s, "options": {"queue": CONTROL}},
        "nights": {"task": NIGHTS_TASK, "schedule": NIGHTS_S, "options": {"queue": CONTROL}},
    },
    # The schedule is two lines and lives above; nothing is worth keeping in a file between starts.
    beat_scheduler="workers.beat:SteadyScheduler",
    beat_max_loop_interval=5,
)


@setup_logging.connect  # type: ignore[untyped-decorator]
def log_alike(**_: Any) -> None:
    """Celery's processes log as all others do; takes effect when one of them sets up its logging."""
    configure(settings.log_level)
