"""The routes, one file a resource; each view reads as: check, one registry call, answer."""

from collections.abc import Sequence

from apiflask import APIBlueprint

from api.routes import (
    audit,
    batches,
    completions,
    events,
    files,
    health,
    items,
    jobs,
    keys,
    metrics,
    models,
    tenants,
    webhooks,
    workers,
)


def blueprints() -> Sequence[APIBlueprint]:
    """Everything the application serves."""
    return (
        jobs.routes,
        items.routes,
        events.routes,
        files.routes,
        batches.routes,
        completions.routes,
        models.routes,
        workers.routes,
        webhooks.routes,
        keys.routes,
        tenants.routes,
        audit.routes,
        health.routes,
        metrics.routes,
    )
