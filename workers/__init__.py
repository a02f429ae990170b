"""The device side of Skim: Celery application, tasks, and the runtime that joins the registry and the engine."""
