"""What is told of an item that has ended: a span of its time in the engine, and its tokens in the counters."""

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import REGISTRY

from models.claim import Claim
from models.record import ItemResult
from models.states import ItemStatus, JobKind, Lane
from workers.queues import Origin
from workers.queues.origin import span
from workers.report import Report

CLAIM = Claim("job_1", 0, 1, "ten_a", JobKind.GENERATE, "told", Lane.BULK, {}, {}, {}, (), None)
USAGE = {"prompt_tokens": 7, "completion_tokens": 30}
STAGES = {"queue_s": 0.25, "prefill_s": 0.5, "decode_s": 1.25}
COSTS = {"drafter": "lookup", "verifies": 12, "drafted": 40, "accepted": 18, **STAGES}


def ended(status: ItemStatus, index: int = 3) -> ItemResult:
    error = {"code": "internal_error", "message": "no"} if status is ItemStatus.FAILED else None
    return ItemResult(index, status, "text", "stop", usage=USAGE, decoding=COSTS, error=error)


@pytest.mark.parametrize(("status", "is_good"), [(ItemStatus.SUCCEEDED, True), (ItemStatus.FAILED, False)])
def test_an_item_is_a_span_of_its_shards(exporter: InMemorySpanExporter, status: ItemStatus, *, is_good: bool) -> None:
    with span("shard", Origin(), {"job": "job_1"}):
        Report(CLAIM).tell_end(ended(status))

    item, shard = exporter.get_finished_spans()
    assert item.name == "item" and item.parent is not None and shard.context is not None
    assert item.parent.span_id == shard.context.span_id
    assert dict(item.attributes or {}) == {
        "skim.index": 3,
        "skim.status": status.value,
        "skim.drafter": "lookup",
        "skim.prompt_tokens": 7,
        "skim.completion_tokens": 30,
        "skim.verifies": 12,
        "skim.drafted": 40,
        "skim.accepted": 18,
    }
    assert item.start_time is not None and shard.start_time is not None
    assert item.start_time >= shard.start_time  # not before it was claimed, whatever the engine says
    assert (item.status.status_code is StatusCode.ERROR) is not is_good


def test_tokens_and_passes_are_counted() -> None:
    queue = {"model": "told", "lane": "bulk"}
    drafting = {"model": "told", "drafter": "lookup"}
    expected = [
        ("skim_items_ended_total", queue | {"status": "succeeded"}, 1),
        ("skim_tokens_total", queue | {"kind": "prompt"}, 7),
        ("skim_tokens_total", queue | {"kind": "completion"}, 30),
        ("skim_verifies_total", drafting, 12),
        ("skim_drafted_tokens_total", drafting, 40),
        ("skim_accepted_tokens_total", drafting, 18),
        ("skim_item_seconds_sum", queue | {"stage": "decode"}, 1.25),
    ]
    before = [read(name, labels) for name, labels, _ in expected]

    Report(CLAIM).tell_end(ended(ItemStatus.SUCCEEDED))

    after = [read(name, labels) for name, labels, _ in expected]
    assert [new - old for new, old in zip(after, before, strict=True)] == [num for _, _, num in expected]


def read(name: str, labels: dict[str, str]) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
