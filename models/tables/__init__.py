"""The tables, one file an area. `Base.metadata` is the whole schema, triggers included."""

from models.tables.base import Base
from models.tables.catalog import Model, SkipSet, StepCosts
from models.tables.files import Batch, File, FileChunk
from models.tables.fleet import Worker
from models.tables.guards import GUARDS
from models.tables.searches import Acceptance, Activation, Fire, Schedule, Search, Trial
from models.tables.tenants import ApiKey, Audit, IdempotencyKey, Tenant
from models.tables.webhooks import Delivery, Webhook
from models.tables.work import Item, Job, Shard

__all__ = [
    "GUARDS",
    "Acceptance",
    "Activation",
    "ApiKey",
    "Audit",
    "Base",
    "Batch",
    "Delivery",
    "File",
    "FileChunk",
    "Fire",
    "IdempotencyKey",
    "Item",
    "Job",
    "Model",
    "Schedule",
    "Search",
    "Shard",
    "SkipSet",
    "StepCosts",
    "Tenant",
    "Trial",
    "Webhook",
    "Worker",
]
