"""The Celery application that nodes, beat and Flower load (`celery -A workers.app ...`). Configuration only.

Tasks are added by `--include`: `workers.control` on a control node, `workers.shards` on a device's nodes.
"""

from workers.logs import install
from workers.queues import CONTROL, SWEEP_TASK, connect
from workers.settings import WorkerSettings

settings = WorkerSettings.from_env()

app = connect(settings.redis_url)
app.conf.update(
    beat_schedule={
        "sweep": {"task": SWEEP_TASK, "schedule": settings.sweep_s, "options": {"queue": CONTROL}},
    },
    # The schedule is one line and lives above; nothing is worth keeping in a file between starts.
    beat_max_loop_interval=5,
)
install(settings.log_level)
