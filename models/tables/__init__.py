"""The tables, one file an area. `Base.metadata` is the whole schema, triggers included."""

from models.tables.base import Base
from models.tables.catalog import Model, SkipSet, StepCosts
from models.tables.files import Batch, File, FileChunk
from models.tables.fleet import Worker
from models.tables.guards import GUARDS
from models.tables.tenants import ApiKey, Audit, IdempotencyKey, Tenant
from models.tables.webhooks import Delivery, Webhook
from models.tables.work import Item, Job, Shard

__all__ = [
    "GUARDS",
    "ApiKey",
    "Audit",
    "Base",
    "Batch",
    "Delivery",
    "File",
    "FileChunk",
    "IdempotencyKey",
    "Item",
    "Job",
    "Model",
    "Shard",
    "SkipSet",
    "StepCosts",
    "Tenant",
    "Webhook",
    "Worker",
]
