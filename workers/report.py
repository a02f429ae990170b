"""Tells of a shard on its way, in counters, spans and logs: what became of its items and of itself.

Texts are never told, and no label names a tenant or a job.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import structlog

from models.claim import Claim
from models.record import ItemResult
from models.states import ItemStatus
from workers import meters
from workers.queues.origin import note_span

log = structlog.get_logger(__name__)

STAGES: Final = ("queue", "prefill", "decode")


class Report:
    """What there is to say of one claimed shard."""

    def __init__(self, claim: Claim) -> None:
        self._queue = claim.model, claim.lane.value
        self._began_ns = time.time_ns()
        if claim.is_takeover:
            meters.LEASE_EXPIRIES.inc()
            log.warning("shard taken over from a holder whose lease ran out")
        if claim.num_lost:
            meters.ITEMS_ENDED.labels(*self._queue, ItemStatus.FAILED.value).inc(claim.num_lost)
            log.warning("items lost their last engine", items=claim.num_lost)

    def tell_end(self, result: ItemResult) -> None:
        """An item has ended, and that is written."""
        meters.ITEMS_ENDED.labels(*self._queue, result.status.value).inc()
        usage, decoding = result.usage or {}, result.decoding or {}
        self._count(usage, decoding)
        is_good = result.status is not ItemStatus.FAILED
        if is_good:
            log.debug("item ended", index=result.index, status=result.status.value)
        else:
            log.warning("item failed", index=result.index, code=(result.error or {}).get("code"))
        self._span(result, usage, decoding)

    def tell_outcome(self, outcome: str) -> None:
        """The shard was carried as far as it goes."""
        meters.SHARDS.labels(*self._queue, outcome).inc()

    def tell_conflict(self) -> None:
        """Somebody else holds the shard by now."""
        meters.EPOCH_CONFLICTS.labels(*self._queue).inc()

    def _span(self, result: ItemResult, usage: Mapping[str, int], decoding: Mapping[str, Any]) -> None:
        """The item's time in the engine, as far as it is known, up to now."""
        end_ns = time.time_ns()
        whole_s = sum(float(decoding.get(f"{stage}_s") or 0) for stage in STAGES)
        attributes = {"index": result.index, "status": result.status.value, "drafter": str(decoding.get("drafter"))}
        costs = {name: int(decoding.get(name) or 0) for name in ("verifies", "drafted", "accepted")}
        start_ns = max(self._began_ns, end_ns - int(whole_s * 1e9))
        is_good = result.status is not ItemStatus.FAILED
        note_span("item", start_ns, end_ns, {**attributes, **usage, **costs}, is_good=is_good)

    def _count(self, usage: Mapping[str, int], decoding: Mapping[str, Any]) -> None:
        model, _ = self._queue
        for kind in ("prompt", "completion"):
            meters.TOKENS.labels(*self._queue, kind).inc(usage.get(f"{kind}_tokens") or 0)
        drafter = str(decoding.get("drafter"))
        meters.VERIFIES.labels(model, drafter).inc(decoding.get("verifies") or 0)
        meters.DRAFTED.labels(model, drafter).inc(decoding.get("drafted") or 0)
        meters.ACCEPTED.labels(model, drafter).inc(decoding.get("accepted") or 0)
        if decoding.get("verifies"):
            for stage in STAGES:
                meters.ITEM_SECONDS.labels(*self._queue, stage).observe(decoding.get(f"{stage}_s") or 0)
