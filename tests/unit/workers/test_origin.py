"""Trace contexts as W3C has them: what is one is kept, what is none is left out. Spans, where they are installed."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from workers.queues import Origin
from workers.queues.origin import note_span, span

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


def test_a_trace_context_is_kept_and_told() -> None:
    origin = Origin.of("req_1", {"traceparent": GOOD, "tracestate": "a=1,b=2"})

    assert origin == Origin("req_1", GOOD, "a=1,b=2")
    assert origin.names == {"request": "req_1", "trace": TRACE}
    assert Origin.stored(origin.fields) == origin


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\nX-Other: 1",
    ],
)
def test_what_is_no_trace_context_is_left_out(header: str) -> None:
    assert Origin.of("req_1", {"traceparent": header, "tracestate": "a=1"}) == Origin("req_1")


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    assert Origin.of(None, {"traceparent": f"01-{TRACE}-{PARENT}-01-more"}) == Origin(None, GOOD)


def test_a_state_too_long_is_dropped_alone() -> None:
    assert Origin.of(None, {"traceparent": GOOD, "tracestate": "a" * 513}) == Origin(None, GOOD)


def test_whatever_is_stored_can_be_read() -> None:
    assert Origin.stored({"request": 7, "traceparent": None, "more": "x"}) == Origin()


def test_spans_of_items_belong_to_the_clients_trace(exporter: InMemorySpanExporter) -> None:
    with span("shard", Origin.of("req_1", {"traceparent": GOOD}), {"job": "job_1"}):
        assert Origin.of(None, {}).names == {"trace": TRACE}  # work that is submitted meanwhile belongs to it, too
        note_span("item", 5, 9, {"index": 3}, is_good=False)

    item, shard = exporter.get_finished_spans()
    assert item.parent is not None and shard.parent is not None
    assert f"{shard.context.trace_id:032x}" == f"{item.context.trace_id:032x}" == TRACE
    assert f"{shard.parent.span_id:016x}" == PARENT
    assert item.parent.span_id == shard.context.span_id
    assert (item.start_time, item.end_time, dict(item.attributes or {})) == (5, 9, {"skim.index": 3})
    assert item.status.status_code is trace.StatusCode.ERROR


def test_without_the_package_nothing_is_imported_and_nothing_fails() -> None:
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'opentelemetry':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from workers.queues.origin import Origin, note_span, span
with span('shard', Origin.of('r', {'traceparent': sys.argv[1]}), {}):
    note_span('item', 1, 2, {})
print(Origin.of('r', {'traceparent': sys.argv[1]}).names, [name for name in sys.modules if 'opentelemetry' in name])
"""
    done = subprocess.run([sys.executable, "-c", code, GOOD], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == f"{{'request': 'r', 'trace': '{TRACE}'}} []"
