"""A schedule to begin with."""

from models.schedules import ScheduleSettings
from models.states import Calibration

SCHEDULE = ScheduleSettings(
    cron="30 2 * * *",
    timezone="Europe/Berlin",
    max_trials=40,
    max_seconds=600.0,
    window_s=4 * 3600,
    max_age_days=7,
    batch_class="1",
    sampler="gp",
    promotes=True,
    calibration=Calibration.BUILTIN,
    is_paused=False,
)
