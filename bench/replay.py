"""What ``auto`` makes of texts that a network wrote, beside plain decoding and lookup, counted in step costs.

``python -m bench.replay --texts FILE.json --costs RESULT.json``: texts as ``bench.texts`` writes them, costs as a
result of ``bench.decoding compare`` holds them. Runs no network, so that a rule of the controller is judged in seconds;
skipping is left out, as what a skip set drafts is not in a text.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.counted import counted_s
from bench.report import Spread, save
from engine.control import Controller
from engine.costs import StepCosts
from engine.loop import Options
from engine.request import Drafter, Request
from engine.round import Drafters, RoundRecord, agreeing
from engine.row import Row

ARMS = (Drafter.PLAIN, Drafter.LOOKUP, Drafter.AUTO)
_NOTHING = -1  # no token: what follows the end of a text


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt and what a network wrote behind it, in token ids."""

    prompt: Sequence[int]
    output: Sequence[int]


def replay(texts: Sequence[Text], drafter: Drafter, batch: int, costs: StepCosts) -> float:
    """Seconds of step costs that a fresh engine of ``batch`` rows needs for the texts."""
    options = Options()
    padded = batch, options.padded_width
    drafters = Drafters(None, Controller(costs, options.width - 1, padded, can_skip=False), options.width - 1)
    waiting = [(_row(number, text, drafter), text) for number, text in enumerate(texts)]
    live: list[tuple[Row, Text]] = []
    records: list[RoundRecord] = []
    while live or waiting:
        taken = batch - len(live)
        live, waiting = live + waiting[:taken], waiting[taken:]
        records.append(_round(drafters, live))
        live = [(row, text) for row, text in live if row.finish_reason is None]
    return counted_s(records, costs)


def _row(number: int, text: Text, drafter: Drafter) -> Row:
    row = Row(Request(str(number), tuple(text.prompt), len(text.output), drafter=drafter), frozenset(), None)
    row.length = len(text.prompt) - 1
    return row


def _round(drafters: Drafters, live: Sequence[tuple[Row, Text]]) -> RoundRecord:
    """One round in which the full network picks what it wrote."""
    this = drafters.propose([row for row, _ in live], Options().length, is_padded=False)
    added = 0
    for index, ((row, text), draft) in enumerate(zip(live, this.drafted, strict=True)):
        picked = [*text.output[row.num_generated :], _NOTHING][: len(draft.tokens) + 1]
        accepted = agreeing(draft.tokens, picked)
        drafters.learn(this, index, picked, accepted)
        row.length += accepted + 1
        row.take(picked[: accepted + 1])
        added += accepted + 1
    drafters.settle(this, added)
    return this.record(added)


def compare(texts: Sequence[Text], batch: int, waves: int, costs: StepCosts, turns: int) -> dict[Drafter, Spread]:
    """Speed of each arm over plain decoding, of ``waves`` times ``batch`` texts drawn anew each turn."""
    ratios: dict[Drafter, list[float]] = defaultdict(list)
    for turn in range(turns):
        drawn = random.Random(turn).choices(texts, k=waves * batch)
        seconds = {drafter: replay(drawn, drafter, batch, costs) for drafter in ARMS}
        for drafter, took in seconds.items():
            ratios[drafter].append(seconds[Drafter.PLAIN] / took)
    return {drafter: Spread.of(values) for drafter, values in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--costs", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    costs = StepCosts.from_json({"draw": 0.0, **json.loads(arguments.costs.read_text())["costs"]})
    texts: dict[str, list[Text]] = defaultdict(list)
    for one in json.loads(arguments.texts.read_text()):
        texts[one["workload"]].append(Text(one["prompt"], one["output"][: arguments.max_tokens]))
    lines = ["| work | batch | texts | lookup / plain | auto / plain |", "|---|---|---|---|---|"]
    for workload, those in texts.items():
        for batch in (1, 2, 4, 8, 16):
            for waves in (1, 2):
                told = compare(those, batch, waves, costs, arguments.turns)
                cells = f"{waves * batch} | {told[Drafter.LOOKUP]} | {told[Drafter.AUTO]}"
                lines.append(f"| {workload} | {batch} | {cells} |")
    table = "\n".join(lines)
    print(table, save("replay", {"table": lines}, table), sep="\n")


if __name__ == "__main__":
    main()
