"""What a running search costs interactive requests: their latency with and without one, in turn, on a real engine.

``python -m bench.searching --model FOLDER --documents FILE.jsonl`` starts ``python -m workers.serve`` and asks it for
summaries as an interactive client would: at random moments that are the same in both arms. In every second block a
search runs beside them; it goes on where the block before it was cut. Less than five minutes with the defaults.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from bench.bulk import TEXT, read_documents
from bench.report import Spread, save

PATIENCE_S = 120
CALIBRATION = 8  # documents of the search; the requests get the others


@dataclass(slots=True)
class Arm:
    """Latencies in seconds from submit to the last token, by block; trials that the search scored meanwhile."""

    name: str
    blocks: list[list[float]] = field(default_factory=list)
    trials: int = 0

    def quantile(self, share: float) -> float:
        return float(np.quantile([one for block in self.blocks for one in block], share))


class Seeker:
    """A search that is started and stopped, and confirms its own records."""

    def __init__(self, link: Any, prompts: Sequence[Sequence[int]], layers: int, tokens: int) -> None:
        from engine.request import Request  # noqa: PLC0415

        requests = [Request(str(number), tuple(prompt), tokens) for number, prompt in enumerate(prompts)]
        held_out = requests[1::3]
        self._link, self._layers = link, layers
        self._parts = tuple(one for one in requests if one not in held_out), tuple(held_out)
        self._num = 0
        self.trials: list[Any] = []
        self.ends: list[Any] = []

    def start(self) -> None:
        from workers.wire.searches import SearchOrder  # noqa: PLC0415  a part of the service, which no other bench needs

        self._num += 1
        known = tuple(self.trials)
        name = f"search-{self._num}"
        order = SearchOrder(name, self._layers, *self._parts, "1", 2000, None, None, {}, known, False)
        self._link.search(order, self._hear)

    def stop(self) -> None:
        self._link.stop_search(f"search-{self._num}")

    def _hear(self, event: Any) -> None:
        from workers.wire.searches import SearchEntry, parse_trial  # noqa: PLC0415

        if not isinstance(event, SearchEntry):
            self.ends.append(event)
        elif event.entry["do"] == "record":
            self.trials.append(parse_trial(event.entry))
            self._link.answer(event.id, {"do": "noted"})


@contextmanager
def engine(arguments: argparse.Namespace, folder: Path) -> Iterator[Any]:
    """An engine process and the link to it."""
    from workers.wire import Link  # noqa: PLC0415

    options = {
        "--socket": folder / "engine.sock",
        "--source": arguments.model,
        "--rows": 8,
        "--length": arguments.length,
        "--threads": arguments.threads,
        "--home": arguments.home or folder,
        "--costs": folder / "costs.json",
    }
    words = [str(word) for option in options.items() for word in option]
    process = subprocess.Popen([sys.executable, "-m", "workers.serve", *words])
    link = Link(folder / "engine.sock")
    try:
        if link.wait(PATIENCE_S) is None:
            raise SystemExit("the engine did not start")
        yield link
    finally:
        link.close()
        process.terminate()
        process.wait(30)


def block(link: Any, prompts: Sequence[Sequence[int]], tokens: int, gap_s: float, seed: int) -> list[float]:
    """Ask for one summary of each prompt at moments that the seed decides; the seconds that each took."""
    from engine.request import Admitted, Progress, Request  # noqa: PLC0415

    dice, inbox = random.Random(seed), SimpleQueue[tuple[str, float]]()
    began: dict[str, float] = {}

    def hear(event: Any) -> None:
        if not isinstance(event, Admitted | Progress):
            inbox.put((event.id, time.perf_counter()))

    for number, prompt in enumerate(prompts):
        time.sleep(dice.expovariate(1 / gap_s))
        name = f"{seed}.{time.monotonic_ns()}.{number}"
        began[name] = time.perf_counter()
        link.submit(Request(name, tuple(prompt), tokens, interactive=True), hear)
    ended = [inbox.get(timeout=PATIENCE_S) for _ in prompts]
    return [at - began[name] for name, at in ended]


def measure(link: Any, prompts: Sequence[Sequence[int]], layers: int, arguments: argparse.Namespace) -> list[Arm]:
    """Blocks with and without a search, in turn."""
    idle, busy = Arm("alone"), Arm("beside a search")
    seeker = Seeker(link, prompts[:CALIBRATION], layers, 64)
    asked = prompts[CALIBRATION:]
    block(link, asked[:2], arguments.tokens, 0.1, 0)
    for turn in range(arguments.turns):
        for arm in (idle, busy) if turn % 2 else (busy, idle):
            if arm is busy:
                seeker.start()
            arm.blocks.append(block(link, asked, arguments.tokens, arguments.gap, turn))
            if arm is busy:
                seeker.stop()
    busy.trials = len(seeker.trials)
    return [idle, busy]


def table(arms: Sequence[Arm]) -> str:
    idle, busy = arms
    lines = ["| requests | p50 s | p95 s | p95 by block | trials scored |", "|---|---|---|---|---|"]
    for arm in arms:
        blocks = Spread.of([float(np.quantile(one, 0.95)) for one in arm.blocks])
        lines.append(f"| {arm.name} | {arm.quantile(0.5):.2f} | {arm.quantile(0.95):.2f} | {blocks} | {arm.trials} |")
    ratios = [busy.quantile(share) / idle.quantile(share) for share in (0.5, 0.95)]
    return "\n".join([*lines, "", f"Ratio: p50 {ratios[0]:.2f}, p95 {ratios[1]:.2f}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder or hub id")
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--layers", type=int, default=30, help="of the model")
    parser.add_argument("--home", type=Path, help="where converted weights lie")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=16, help="a block")
    parser.add_argument("--turns", type=int, default=3, help="blocks of each arm")
    parser.add_argument("--gap", type=float, default=2.0, help="mean seconds between requests")
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()
    from workers.text import Text  # noqa: PLC0415

    documents = read_documents(arguments.documents, CALIBRATION + arguments.requests, 150)
    with tempfile.TemporaryDirectory() as folder, engine(arguments, Path(folder)) as link:
        text = Text(Path(link.hello.folder))
        prompts = [text.chat([{"role": "user", "content": TEXT.format(document=one)}]) for one in documents]
        arms = measure(link, prompts, arguments.layers, arguments)
    results = {arm.name: {"blocks": arm.blocks, "trials": arm.trials} for arm in arms}
    print(table(arms))
    print(save("searching", results, table(arms)))


if __name__ == "__main__":
    main()
