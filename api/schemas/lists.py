"""The pages, named: a generic class has no name that OpenAPI could print."""

from api.schemas.answers import (
    AuditAnswer,
    DeliveryAnswer,
    ItemAnswer,
    JobAnswer,
    KeyAnswer,
    ModelAnswer,
    SkipSetAnswer,
    TenantAnswer,
    WorkerAnswer,
)
from api.schemas.pages import Page


class JobPage(Page[JobAnswer]):
    """Jobs, newest first."""


class ItemPage(Page[ItemAnswer]):
    """Items by index."""


class ModelPage(Page[ModelAnswer]):
    """Models by name."""


class SkipSetPage(Page[SkipSetAnswer]):
    """Skip sets of one model."""


class WorkerPage(Page[WorkerAnswer]):
    """Workers."""


class DeliveryPage(Page[DeliveryAnswer]):
    """Deliveries of one job, newest first."""


class TenantPage(Page[TenantAnswer]):
    """Tenants, newest first."""


class AuditPage(Page[AuditAnswer]):
    """Entries of the audit, newest first."""


class KeyPage(Page[KeyAnswer]):
    """API keys."""
