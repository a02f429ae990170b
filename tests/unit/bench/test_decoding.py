"""The harness from end to end on a tiny planted network: arms in turn, verdicts, claims, tables, step costs, memory."""

import json
from argparse import Namespace
from dataclasses import asdict

import pytest
import torch

from bench import claims, compare, memory, operating
from bench.arms import slots_for
from bench.counted import counted_s, least
from bench.decoding import parser
from bench.memory import stacked
from bench.roofline import Device, roofline
from bench.shapes import Point
from bench.steps import measure
from bench.turns import in_turn
from bench.weights import shape
from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.costs import Grid, StepCosts
from engine.request import Drafter, Request
from engine.round import RoundRecord
from engine.row import Row
from engine.skipset import SkipSet
from tests.tools.networks import tiny

POINT = Point(shape(4, 64, 96, 4, 2, 256), SkipSet.of([1, 2], [2]), 0.9, "tiny")


def test_an_operating_point_from_end_to_end() -> None:
    outcome = operating.operate(POINT, [1, 2], items=2, max_tokens=6, rounds=2, dtype=torch.float32, device="cpu")

    assert {line.arm for line in outcome.lines} == set(operating.ARMS)
    assert all(line.verdict.beyond_noise == 0 for line in outcome.lines)
    assert all(str(line.over_plain) == "1.00 (1.00 to 1.00, n=2)" for line in outcome.lines if line.arm == "plain")
    skip = next(line for line in outcome.lines if line.arm == "skip")
    assert skip.drafted > 0
    assert skip.counted_over_plain is not None
    assert [(claim.batch, claim.over_best.n, claim.over_plain.n) for claim in claims.claims(outcome.lines)] == [
        (1, 2, 2),
        (2, 2, 2),
    ]
    assert operating.table(outcome).count("\n") == 5
    assert compare.table(outcome.lines).count("\n") == 1 + len(outcome.lines)
    assert json.loads(json.dumps(asdict(outcome)))["about"] == "tiny"


def test_turns_reverse_every_other_round() -> None:
    order: list[str] = []
    in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_an_engine_for_a_batch_decodes_that_many_bulk_rows() -> None:
    network = tiny(1)
    for batch in (1, 2, 4, 8, 16):
        cache = SlotCache(CacheShape.of(network, slots_for(batch), 8), network.dtype, network.device)
        rows = Batch(cache)
        for number in range(2 * batch):
            rows.enqueue(Row(Request(str(number), (1,), 1), frozenset(), None))
        assert len(rows.admit()) == batch


def test_counted_costs_price_drafts_and_verify() -> None:
    verify = Grid((1, 2), (1, 3), ((1.0, 2.0), (2.0, 4.0)))
    draft = Grid((1, 2), (1, 3), ((0.5, 0.7), (0.6, 0.8)))
    rounds = [RoundRecord(2, Drafter.SKIP, (1, 1), 3, 5), RoundRecord(1, Drafter.PLAIN, (), 1, 1)]
    assert counted_s(rounds, StepCosts(verify, draft)) == 4.0 + 2 * 0.6 + 1.0


def test_the_least_of_measured_costs() -> None:
    first, second = (StepCosts(Grid((1,), (1, 2), (line,))) for line in ((1.0, 4.0), (2.0, 3.0)))
    assert least([first, second]).verify.seconds == ((1.0, 3.0),)


def test_a_step_is_measured_and_held_against_its_floor() -> None:
    network = stacked(POINT.config, torch.float32, "cpu")
    steps = measure(network, POINT.skip_set, 2, span=32, rounds=2, widths=(1, 2))
    floor = roofline(tiny(1), Device(1e9, 1e12), steps)

    assert steps.over_plain[1].median == 1.0
    assert steps.bound(0.9).speedup >= 1.0
    head, layer = 61 * 32, 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48
    cached = 2 * 32 * 2 * 8 * 2  # rows, span, kv heads, head dim, keys and values
    assert floor.floor_s == 8 * (head + layer + cached) / 1e9


def test_the_command_line_takes_parts() -> None:
    given = ["compare", "--model", "m", "--batches", "1,4", "--workloads", "free,code", "--arms", "plain,generate"]
    arguments = parser().parse_args(given)
    assert (arguments.batches, arguments.workloads, arguments.arms) == ([1, 4], ["free", "code"], ["plain", "generate"])


@pytest.mark.parametrize(
    ("arm", "width"), [("plain", 1), ("skip", 16), ("lookup", 16), ("cascade", 16), ("cascade-drawn", 16)]
)
def test_memory_is_measured_at_the_width_that_is_served(arm: str, width: int) -> None:
    shape_ = {"shape": "small", "layers": 2, "rows": 2, "max_tokens": 18, "dtype": "float32", "device": "cpu"}

    peak = memory.measure(Namespace(arm=arm, **shape_))

    assert peak.logits_bytes == 2 * width * 8192 * 4
    assert peak.peak_bytes > peak.logits_bytes


def test_peaks_are_held_against_plain_decoding_at_the_same_temperature() -> None:
    sizes = {"plain": 100, "skip": 101, "plain-drawn": 200, "cascade-drawn": 206}

    table = memory.table({arm: memory.Peak(size * 2**20, 0, 3) for arm, size in sizes.items()})

    assert [line.split(" | ")[2] for line in table.splitlines()[2:6]] == ["+0.00%", "+1.00%", "+0.00%", "+3.00%"]
    assert table.endswith("Graph pool 0: nothing is captured.")
