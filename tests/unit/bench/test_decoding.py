"""The harness from end to end on a tiny planted network: arms in turn, verdicts, claims, tables, step costs, memory."""

import json
from argparse import Namespace
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaForCausalLM

from bench import claims, compare, memory, operating
from bench.arms import OURS, Ours, Written, requests, slots_for
from bench.bound import Bound
from bench.counted import counted_s, least
from bench.decoding import parser
from bench.equality import Judge, Texts, Verdict
from bench.memory import stacked
from bench.peers import sequential
from bench.report import Spread
from bench.roofline import Device, roofline
from bench.setting import loaded_setting
from bench.shapes import Point
from bench.steps import measure
from bench.turns import in_turn
from bench.weights import shape
from bench.workloads import Work
from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.costs import Grid, StepCosts
from engine.request import Drafter, Request
from engine.round import RoundRecord
from engine.row import Row
from engine.skipset import SkipSet
from tests.tools.networks import tiny
from tests.unit.engine.test_load import saved

WORK = Work(((1, 2, 3, 1, 2, 3), (9, 8, 7, 6)), 12)
WIDE = Spread.of([1.0])
POINT = Point(shape(4, 64, 96, 4, 2, 256), SkipSet.of([1, 2], [2]), 0.9, "tiny")


def line(arm: str, decode_s: list[float], *, whole_s: float = 0.0, over_plain: float | None = None) -> compare.Line:
    """What an arm did on one piece of work; each turn took ``whole_s`` more than its decoding."""
    whole = tuple(whole_s + one for one in decode_s)
    decode = None if over_plain is None else Spread.of([over_plain])
    nothing = Verdict(0, 0, 0, 0)
    return compare.Line(
        "free", 1, arm, whole, tuple(decode_s), WIDE, whole_s, 1.0, None, decode, None, 1.0, None, None, 0, nothing
    )


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
    assert operating.table(outcome).count("\n") == 5 + 2 * len(operating.warnings(outcome))
    assert compare.table(outcome.lines).count("\n") == 1 + len(outcome.lines)
    assert json.loads(json.dumps(asdict(outcome)))["about"] == "tiny"


def test_gains_beyond_the_bound_are_warned_of() -> None:
    skip = line("skip", [5.0, 5.0], over_plain=1.3)
    steps = measure(tiny(2), SkipSet.of([1]), 1, span=16, rounds=1, widths=(1, 2, 6))
    outcome = operating.Outcome(
        "", 2, 0.5, 1.0, 0.9, 1.0, [line("plain", [5.0], over_plain=9.0), skip], [steps], [Bound(1.25, 3)], [WIDE]
    )

    assert operating.warnings(outcome) == ["skip at batch 1 gained 1.30, more than the bound S of 1.25"]
    assert operating.table(outcome).endswith(f"Warning: {operating.warnings(outcome)[0]}")
    assert operating.warnings(replace(outcome, bounds=[Bound(1.31, 3)])) == []


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


def test_claims_are_of_decoding_and_the_best_fixed_choice_may_be_a_length() -> None:
    """Prefill of ten seconds, the same for all, would hide a third of what is lost."""
    lines = [
        line("plain", [3.0, 3.0, 3.0], whole_s=10.0),
        line("lookup", [2.5, 2.5, 2.5], whole_s=10.0),
        line("lookup-5", [2.0, 2.0, 2.0], whole_s=10.0),
        line("auto", [3.0, 4.0, 5.0], whole_s=10.0),
    ]

    (claim,) = claims.claims(lines)

    assert claim.best == "lookup-5"
    assert (claim.over_best, claim.over_plain) == (Spread.of([2 / 3, 0.5, 0.4]), Spread.of([1.0, 0.75, 0.6]))
    assert claim.whole_over_best == Spread.of([12 / 13, 12 / 14, 12 / 15])
    assert claim.whole_over_plain == Spread.of([1.0, 13 / 14, 13 / 15])
    assert claims.table([claim]).splitlines()[2].startswith("| free | 1 | lookup-5 | 0.500 (0.400 to 0.667, n=3) |")


def stock() -> LlamaForCausalLM:
    network = deepcopy(tiny(2, dtype=torch.float32, seed=1))
    network.set_attn_implementation("sdpa")  # whoever ran before may have adopted the shared one
    return network


def standard(network: LlamaForCausalLM, reference: Texts, work: Work = WORK) -> compare.Standard:
    return compare.Standard(Judge(network, requests(work), work.eos), lambda: reference, StepCosts.assumed())


def test_the_texts_of_every_turn_are_judged() -> None:
    network = stock()
    right = sequential(network)(WORK).texts
    wrong = [[*right[0][:3], (right[0][3] + 1) % 61, *right[0][4:]], right[1]]
    texts = iter([*[right] * 5, wrong, right])  # the warm-up, three short runs for the prefill, three turns

    def arm(work: Work) -> Written:
        return Written([text[: work.max_tokens] for text in next(texts)[: len(work.prompts)]])

    (one,) = compare.compare("free", 1, WORK, {"peer": arm}, standard(network, right), 3)

    assert (one.verdict.equal, one.verdict.near_ties + one.verdict.beyond_noise) == (5, 1)


def test_texts_are_held_against_generate_where_no_arm_of_it_runs() -> None:
    network = stock()
    other = [[0] * WORK.max_tokens] * 2
    arms = {"plain": sequential(network), "generate": sequential(network)}

    with_arm = compare.compare("free", 1, WORK, arms, standard(network, other), 1)
    without = compare.compare("free", 1, WORK, {"plain": arms["plain"]}, standard(network, other), 1)

    assert [one.verdict.equal for one in with_arm] == [2, 2]
    assert [one.verdict.equal for one in without] == [0]


def test_our_arms_time_their_rounds_and_some_draft_a_fixed_length() -> None:
    skip_set = SkipSet.of([1])
    arms = Ours(tiny(3), skip_set, StepCosts.assumed(), length=64).arms(2)
    written = {name: arm(WORK) for name, arm in arms.items()}

    assert list(arms) == list(OURS)
    assert len({tuple(map(tuple, one.texts)) for one in written.values()}) == 1
    assert all(one.decode_s is not None and one.decode_s > 0 for one in written.values())
    assert written["skip-5"].rounds[0].draft_widths == (1,) * 5
    assert max(one.width for one in written["lookup-5"].rounds) == 6
    assert list(Ours(tiny(3), None, StepCosts.assumed()).arms(1, ["auto", "skip-5", "lookup-5"])) == [
        "lookup-5",
        "auto",
    ]


def test_decoding_is_timed_apart_from_prefill() -> None:
    """A long prompt and two tokens: nearly all of the time is prefill."""
    long = Work((tuple(number % 61 for number in range(900)),), 2)
    arms = Ours(tiny(3), None, StepCosts.assumed()).arms(1, ["plain"])

    (one,) = compare.compare("free", 1, long, arms, standard(stock(), [[0, 0]], long), 2)

    assert sum(one.decode_s) < 0.5 * sum(one.seconds)
    assert one.prefill_s > 0.5 * min(one.seconds)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_int8_is_held_against_the_quantised_network(temperature: float, tmp_path: Path) -> None:
    setting = loaded_setting(Path(saved("llama", tmp_path / "model")), tmp_path, dtype="int8", most_rows=1)
    work = replace(WORK, temperature=temperature)

    standard_ = setting.standard(work)
    texts = setting.ours.arms(1, ["plain"])["plain"](work).texts

    assert not any(isinstance(module, nn.Linear) for module in setting.stock.modules())
    assert standard_.judge.judge(standard_.reference(), texts) == Verdict(2, 0, 0, 2 * WORK.max_tokens)
    floor = roofline(setting.stock, Device(1e9, 1e12), measure(setting.network, None, 1, 16, 1, (1,)))
    assert floor.weight_bytes == 61 * 32 + 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
