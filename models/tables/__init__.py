"""The tables, one file an area. `Base.metadata` is the whole schema, triggers included."""

from models.tables.base import Base
from models.tables.catalog import Model, SkipSet, StepCosts
from models.tables.fleet import Worker
from models.tables.guards import GUARDS
from models.tables.tenants import ApiKey, IdempotencyKey, Tenant
from models.tables.work import Item, Job, Shard

__all__ = [
    "GUARDS",
    "ApiKey",
    "Base",
    "IdempotencyKey",
    "Item",
    "Job",
    "Model",
    "Shard",
    "SkipSet",
    "StepCosts",
    "Tenant",
    "Worker",
]
