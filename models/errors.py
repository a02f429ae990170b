"""Everything the registry refuses.

RegistryError
├── NotFound              no such thing, or it belongs to another tenant
│   ├── JobNotFound
│   ├── ModelNotFound
│   ├── SkipSetNotFound
│   ├── KeyNotFound
│   ├── TenantNotFound
│   ├── FileNotFound
│   ├── BatchNotFound
│   └── DeliveryNotFound
├── Conflict              it exists, but not in a state that allows this
│   ├── ModelExists
│   ├── TenantExists
│   └── BatchEnded
├── IdempotencyMismatch   the key was used for another request
├── NoItems               a job without items
├── DuplicateCustomId     two items of a job with one custom id
├── UnstorableText        text that PostgreSQL cannot hold (NUL, lone surrogates)
├── QuotaExceeded         more unfinished work than the tenant may have
├── KeyExpired            an API key past its date
└── LeaseLost             the shard is somebody else's by now: write nothing more

Failures of the database itself stay SQLAlchemy's (`sqlalchemy.exc.DBAPIError`).
"""


class RegistryError(Exception):
    """Base of all; `str()` is a sentence for people."""


class NotFound(RegistryError):
    """No such thing, or it belongs to another tenant (which is not told)."""

    noun = "object"

    def __init__(self, name: str) -> None:
        super().__init__(f"no such {self.noun}: {name}")
        self.name = name


class JobNotFound(NotFound):
    """No job of this id belongs to the tenant."""

    noun = "job"


class ModelNotFound(NotFound):
    """No model is registered under this name."""

    noun = "model"


class SkipSetNotFound(NotFound):
    """No skip set of this id belongs to the model."""

    noun = "skip set"


class KeyNotFound(NotFound):
    """No API key of this id belongs to the tenant."""

    noun = "API key"


class FileNotFound(NotFound):
    """No file of this id belongs to the tenant, or it is past its date."""

    noun = "file"


class BatchNotFound(NotFound):
    """No batch of this id belongs to the tenant."""

    noun = "batch"


class DeliveryNotFound(NotFound):
    """No delivery of this id belongs to the job."""

    noun = "delivery"


class TenantNotFound(NotFound):
    """No tenant of this id, or none that the caller may see."""

    noun = "tenant"


class Conflict(RegistryError):
    """The thing is not in a state that allows this."""


class ModelExists(Conflict):
    """A model is registered under this name already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a model named {name} is registered already")
        self.name = name


class BatchEnded(Conflict):
    """A batch that has ended cannot be called off."""

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(f"batch {batch_id} cannot be cancelled: it is {status}")


class TenantExists(Conflict):
    """Another tenant has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a tenant named {name} exists already")
        self.name = name


class IdempotencyMismatch(RegistryError):
    """The idempotency key came with another request before."""

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key {key} was used for a different request")
        self.key = key


class NoItems(RegistryError):
    """A job needs at least one item."""

    def __init__(self) -> None:
        super().__init__("a job needs at least one item")


class DuplicateCustomId(RegistryError):
    """Custom ids tell the items of one job apart."""

    def __init__(self, custom_id: str) -> None:
        super().__init__(f"custom_id {custom_id} occurs more than once")
        self.custom_id = custom_id


class UnstorableText(RegistryError):
    """Text with NUL characters or lone surrogates; `index` is the item's, or None for the job itself."""

    def __init__(self, index: int | None) -> None:
        place = "the job" if index is None else f"item {index}"
        super().__init__(f"{place} contains characters that are not valid text (NUL or lone surrogates)")
        self.index = index


class QuotaExceeded(RegistryError):
    """The tenant would have more unfinished work than it may; `noun` says of what."""

    def __init__(self, limit: int, noun: str) -> None:
        super().__init__(f"the tenant may have at most {limit:,} {noun}")
        self.limit = limit


class KeyExpired(RegistryError):
    """The API key was good once."""


class LeaseLost(RegistryError):
    """The shard has another epoch, or nobody holds it: this holder's time is over."""

    def __init__(self, job_id: str, number: int, epoch: int) -> None:
        super().__init__(f"shard {job_id}/{number} is not held at epoch {epoch} any more")
        self.job_id = job_id
        self.number = number
        self.epoch = epoch
