"""From the registry's views of searches, skip sets and schedules to answers."""

from __future__ import annotations

from api.schemas.found import (
    ActivationAnswer,
    BudgetAnswer,
    FireAnswer,
    FullSearchAnswer,
    ScheduleAnswer,
    SearchAnswer,
    SkipSetAnswer,
    TrialAnswer,
)
from models.catalog import SkipSetView
from models.findings import Finding, TrialView
from models.places import ActivationView
from models.schedules import FireView, ScheduleView


def search_answer(view: Finding) -> SearchAnswer:
    """A search, without its evidence."""
    return SearchAnswer.model_validate(view)


def full_search_answer(view: Finding) -> FullSearchAnswer:
    """A search with its evidence."""
    return FullSearchAnswer.model_validate(view)


def trial_answer(view: TrialView) -> TrialAnswer:
    """A trial."""
    return TrialAnswer.model_validate(view)


def skip_set_answer(view: SkipSetView) -> SkipSetAnswer:
    """A skip set."""
    return SkipSetAnswer.model_validate(view)


def activation_answer(view: ActivationView) -> ActivationAnswer:
    """A change of a place."""
    return ActivationAnswer.model_validate(view)


def fire_answer(view: FireView) -> FireAnswer:
    """A night."""
    return FireAnswer.model_validate(view)


def schedule_answer(view: ScheduleView) -> ScheduleAnswer:
    """A schedule, its settings beside the rest."""
    given = view.settings
    return ScheduleAnswer(
        id=view.id,
        model=view.model,
        cron=given.cron,
        timezone=given.timezone,
        budget=BudgetAnswer(trials=given.max_trials, seconds=given.max_seconds),
        window_s=given.window_s,
        max_age_days=given.max_age_days,
        batch_class=given.batch_class,
        sampler=given.sampler,
        promote=given.promotes,
        calibration=given.calibration.value,
        is_paused=given.is_paused,
        created_at=view.created_at,
        updated_at=view.updated_at,
        next_fire_at=view.next_fire_at,
    )
