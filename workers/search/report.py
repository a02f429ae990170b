"""What is kept of a search beside its trials: the set it found, what was measured, and what its picture is drawn from.

Plain JSON, no network.
"""

from engine.search.finalists import Contender, Finalist, Measurement
from engine.search.meter import Phase
from engine.search.run import Run
from engine.skipset import SkipSet
from workers.wire.searches import Json, SearchEnd


def end_of(search_id: str, run: Run) -> SearchEnd:
    """The end of a search that has its verdict."""
    verdict = run.verdict
    if verdict is None:
        raise ValueError("the search has no verdict yet")
    found = verdict.finalist
    return SearchEnd(
        search_id,
        verdict.outcome.value,
        None if found is None else _found(found),
        {"turns": [_measured(one, run.layers) for one in verdict.measurements]},
        {
            "layers": run.layers,
            "losses": _losses(run),
            "skipped": _layers(found.skip_set if found is not None else SkipSet()),
            "finalists": [_finalist(one, run.layers) for one in verdict.finalists],
            "measurements": [_measured(one, run.layers) for one in verdict.measurements],
            "outcome": verdict.outcome.value,
            "device_seconds": seconds_of(run.meter.seconds),
        },
    )


def seconds_of(seconds: dict[Phase, float]) -> Json:
    return {phase.value: round(value, 4) for phase, value in seconds.items()}


def _losses(run: Run) -> Json:
    """How many first drafts each sub-layer costs when it alone is skipped; None for one that was not tried alone."""
    alone = {trial.skip_set: trial.loss for trial in run.trials if len(trial.skip_set) == 1}
    return {
        "attention": [alone.get(SkipSet.of([layer])) for layer in range(run.layers)],
        "mlp": [alone.get(SkipSet.of((), [layer])) for layer in range(run.layers)],
    }


def _layers(skip_set: SkipSet) -> Json:
    return {"attention": sorted(skip_set.attention), "mlp": sorted(skip_set.mlp)}


def _found(finalist: Finalist) -> Json:
    reach = finalist.plan.reach
    return {
        **_layers(finalist.skip_set),
        "draft_length": reach.most,
        "threshold": reach.threshold or None,
        "estimates": {
            "speed": finalist.plan.speed,
            "acceptance": finalist.depths[0] if finalist.depths else None,
            "depths": list(finalist.depths),
            "draft_share": finalist.share,
        },
    }


def _finalist(finalist: Finalist, layers: int) -> Json:
    reach = finalist.plan.reach
    return {
        "bits": finalist.skip_set.bits(layers),
        "draft_length": reach.most,
        "threshold": reach.threshold or None,
        "speed": finalist.plan.speed,
        "depths": list(finalist.depths),
    }


def _measured(one: Measurement, layers: int) -> Json:
    return {"drafter": one.contender.drafter.value, "bits": _bits(one.contender, layers), "speeds": list(one.speeds)}


def _bits(contender: Contender, layers: int) -> str | None:
    return None if contender.skip_set is None else contender.skip_set.bits(layers)
