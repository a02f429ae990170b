"""What the nodes of devices and the control node count. Labels are bounded: a node knows one model.

Counters live as long as their process; those of a device's nodes lie in files that its supervisor adds up.
"""

from typing import Final

from prometheus_client import Counter, Histogram

SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Nodes
ITEMS_ENDED: Final = Counter("skim_items_ended", "Items that a worker ended", ["model", "lane", "status"])
TOKENS: Final = Counter("skim_tokens", "Tokens of items that ended", ["model", "lane", "kind"])
VERIFIES: Final = Counter("skim_verifies", "Passes of the full network over rows of ended items", ["model", "drafter"])
DRAFTED: Final = Counter("skim_drafted_tokens", "Tokens that were proposed", ["model", "drafter"])
ACCEPTED: Final = Counter("skim_accepted_tokens", "Proposed tokens that were kept", ["model", "drafter"])
ITEM_SECONDS: Final = Histogram(
    "skim_item_seconds", "Time of items in the engine, by stage", ["model", "lane", "stage"], buckets=SECONDS
)
SHARDS: Final = Counter("skim_shards_carried", "Claimed shards, by what became of them", ["model", "lane", "outcome"])
EPOCH_CONFLICTS: Final = Counter(
    "skim_epoch_conflicts", "Shards found to be another holder's: nothing was written", ["model", "lane"]
)
HEARTBEAT_FAILURES: Final = Counter("skim_heartbeat_failures", "Heartbeats that the registry did not take")
REGISTRY_RETRIES: Final = Counter("skim_registry_retries", "Writes of results that had to be tried again")

# Nodes and control
LEASE_EXPIRIES: Final = Counter("skim_lease_expiries", "Shards taken from a holder whose lease had run out")

# Control
SWEEPS: Final = Counter(
    "skim_sweeps", "Sweeps, by whether they were done, had failed, or found another one at it", ["outcome"]
)
SWEEP_SECONDS: Final = Histogram("skim_sweep_seconds", "Time of a sweep", buckets=SECONDS)
JOBS_EXPIRED: Final = Counter("skim_jobs_expired", "Jobs ended by the sweep because their deadline had passed")
WEBHOOKS: Final = Counter("skim_webhook_deliveries", "Webhooks that were sent, by how it went", ["outcome"])
