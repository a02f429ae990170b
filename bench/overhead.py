"""What the service costs over the bare engine on many items: the same prompts and rows, in short turns.

``python -m bench.overhead --documents FILE.jsonl`` starts a stack of its own and an engine in this process, lets either
decode the items piece by piece, the other one first in every second piece, and stops the stack. Short turns, since arms
of minutes differ by what the machine does meanwhile. While the bare engine works, all processes of the stack stand
still: what they compute when idle is a cost of the service too. Greedy; every item is some words of a document. Both
decode plain, so that the engine does the same rounds in both.

Beside the clock it counts what the kernel knows: the processor time of the stack's other processes, and how long the
engine's threads were ready to run and had no core.
"""

import argparse
import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.bulk import Service, Tokens, encode, load_demo, run_engine
from bench.report import Spread, save
from bench.stack import running
from engine.load import Loaded
from engine.loop import Engine, Options
from engine.request import Drafter

ENGINE = "workers.serve"  # a word of the command line of the process that holds the network
SETTLE_S = 3.0  # after the stack may go on, before it is asked for anything


def read_items(path: Path, count: int, words: int) -> list[str]:
    """Pieces of so many words, from the start of the documents on."""
    pieces: list[str] = []
    for line in path.read_text().splitlines():
        text = json.loads(line)["document"].split()
        pieces += [" ".join(text[first : first + words]) for first in range(0, len(text), words)]
        if len(pieces) >= count:
            break
    return pieces[:count]


class Processes:
    """Those of a stack, Postgres and Redis included."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def engine(self) -> psutil.Process:
        """The one that decodes."""
        return next(one for one in self._all() if _is_engine(one))

    def others_s(self) -> float:
        """Processor seconds so far of all but the engine."""
        return sum(_computed_s(one) for one in self._all() if not _is_engine(one))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """All of them, for as long; whoever watches another one goes on after it, or would take it for dead."""
        found = sorted(self._all(), key=lambda one: len(one.parents()))
        engine = self.engine().pid
        _tell(found, signal.SIGSTOP)
        try:
            yield
        finally:
            for depth in sorted({len(one.parents()) for one in found}, reverse=True):
                _tell([one for one in found if len(one.parents()) == depth], signal.SIGCONT)
                time.sleep(1)
        time.sleep(SETTLE_S)
        if self.engine().pid != engine:
            raise RuntimeError("the engine was started anew after it had stood still")

    def _all(self) -> set[psutil.Process]:
        found: set[psutil.Process] = set()
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.environ().get("SKIM_HOME") == str(self.home) or any(str(self.home) in w for w in one.cmdline()):
                    found |= {one, *one.children(recursive=True)}
        return found


def _tell(processes: Sequence[psutil.Process], what: signal.Signals) -> None:
    for one in processes:
        with suppress(psutil.Error):
            one.send_signal(what)


def _is_engine(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return ENGINE in process.cmdline()
    return False


def _computed_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def waited_s(pid: int) -> float:
    """Seconds so far that threads of a process were ready to run and had no core (the kernel's ``schedstat``)."""
    waits = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            waits += int((task / "schedstat").read_text().split()[1])
    return waits / 1e9


@dataclass(frozen=True, slots=True)
class Turn:
    """One arm's piece: its texts, how long it took, how long the engine's threads waited, what the others computed."""

    texts: list[str]
    seconds: float
    waited_s: float
    others_s: float


class Arms:
    """Both ways to decode a piece."""

    def __init__(self, arguments: argparse.Namespace, loaded: Loaded, service: Service) -> None:
        options = Options(rows=arguments.rows)
        self.engine = Engine(loaded.network, options, eos=loaded.eos, decode=loaded.decode, is_measured=True)
        self.loaded, self.service, self.max_tokens = loaded, service, arguments.max_tokens
        self.processes = Processes(service.stack.home)

    def decode(self, arm: str, items: Sequence[str], prompts: Tokens) -> Turn:
        """A piece through "engine" or "service"."""
        if arm == "service":
            return self._timed(
                self.processes.engine(), lambda: self.service.submit(items, self.max_tokens, Drafter.PLAIN)
            )
        with self.processes.standing_still():
            return self._timed(psutil.Process(), lambda: self._bare(prompts))

    def _bare(self, prompts: Tokens) -> list[str]:
        tokens = run_engine(self.engine, prompts, self.max_tokens, Drafter.PLAIN)
        return [self.loaded.decode(one) for one in tokens]

    def _timed(self, engine: psutil.Process, work: Any) -> Turn:
        waited, others = waited_s(engine.pid), self.processes.others_s()
        began = time.perf_counter()
        texts = work()
        seconds = time.perf_counter() - began
        return Turn(texts, seconds, waited_s(engine.pid) - waited, self.processes.others_s() - others)


def measure(arguments: argparse.Namespace, loaded: Loaded, service: Service) -> dict[str, Any]:
    """Both arms in turn, piece by piece."""
    items = read_items(arguments.documents, arguments.count, arguments.words)
    prompts = encode(loaded.tokenizer, items)
    arms = Arms(arguments, loaded, service)
    turns: dict[str, list[Turn]] = {"engine": [], "service": []}
    for arm in turns:
        arms.decode(arm, items[: 4 * arguments.rows], prompts[: 4 * arguments.rows])
    size = -(-len(items) // arguments.pieces)
    for number, first in enumerate(range(0, len(items), size)):
        piece = slice(first, first + size)
        for arm in ("engine", "service") if number % 2 == 0 else ("service", "engine"):
            turns[arm].append(arms.decode(arm, items[piece], prompts[piece]))
        print(*(f"{arm} {turns[arm][-1].seconds:.1f} s" for arm in turns), flush=True)
    return {
        "items": len(items),
        "prompt_tokens": sum(map(len, prompts)),
        "max_tokens": arguments.max_tokens,
        "pieces": len(turns["engine"]),
        "seconds": {arm: sum(turn.seconds for turn in those) for arm, those in turns.items()},
        "waited": {arm: Spread.of([turn.waited_s / turn.seconds for turn in those]) for arm, those in turns.items()},
        "others": Spread.of([turn.others_s / turn.seconds for turn in turns["service"]]),
        "overhead": Spread.of([b.seconds / a.seconds - 1 for a, b in zip(*turns.values(), strict=True)]),
        "each": {arm: [turn.seconds for turn in those] for arm, those in turns.items()},
        "equal_texts": sum(
            one == other
            for a, b in zip(*turns.values(), strict=True)
            for one, other in zip(a.texts, b.texts, strict=True)
        ),
    }


def table(results: dict[str, Any]) -> str:
    """Seconds of both, and the difference."""
    lines = ["| arm | seconds for all items | of which threads of its engine lacked a core |", "|---|---|---|"]
    lines += [f"| {arm} | {took:.1f} | {results['waited'][arm]:.3f} |" for arm, took in results["seconds"].items()]
    whole = results["seconds"]["service"] / results["seconds"]["engine"] - 1
    lines.append(
        f"\n{results['items']} items, {results['prompt_tokens']} prompt tokens, up to {results['max_tokens']} new ones"
        f" each, in {results['pieces']} pieces: the service takes {100 * whole:.1f} % longer in all, and piece by piece"
        f" {results['overhead']:.3f} of the bare engine's time. {results['equal_texts']} texts are equal."
    )
    lines.append(f"Cores that other processes of the service than the engine keep busy: {results['others']:.3f}.")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--words", type=int, default=48)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--pieces", type=int, default=10, help="each of them is a job of its own")
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, load_demo(stack), Service(stack))
    print(table(results))
    print(save("overhead", results, table(results)))


if __name__ == "__main__":
    main()
