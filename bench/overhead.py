"""What the service costs over the bare engine on many short items: both in turn, the same prompts, the same rows.

``python -m bench.overhead --documents FILE.jsonl`` starts a stack of its own and an engine in this process, lets either
decode all items, in turn, and stops the stack. Greedy; every item is a few words of a document. Both decode plain, so
that the engine does the same rounds in both. Where it shares its cores, what the service's other processes compute is
time that the engine does not have: it is counted too.
"""

import argparse
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.bulk import Service, encode, load_demo, run_engine, timed
from bench.report import Spread, save
from bench.stack import running
from engine.load import Loaded
from engine.loop import Engine, Options
from engine.request import Drafter


def read_items(path: Path, count: int, words: int) -> list[str]:
    """Pieces of so many words, from the start of the documents on."""
    pieces: list[str] = []
    for line in path.read_text().splitlines():
        text = json.loads(line)["document"].split()
        pieces += [" ".join(text[first : first + words]) for first in range(0, len(text), words)]
        if len(pieces) >= count:
            break
    return pieces[:count]


def others_s(home: Path) -> float:
    """Processor seconds so far of all processes of the stack but the engine, those of Postgres and Redis included."""
    found: set[psutil.Process] = set()
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.environ().get("SKIM_HOME") == str(home) or any(str(home) in word for word in one.cmdline()):
                found |= {one, *one.children(recursive=True)}
    return sum(map(_computed_s, found))


def _computed_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return 0.0 if "workers.serve" in process.cmdline() else float(times.user + times.system)
    return 0.0


def measure(arguments: argparse.Namespace, loaded: Loaded, service: Service) -> dict[str, Any]:
    """Both arms in turn, the other one first in every second round."""
    items = read_items(arguments.documents, arguments.count, arguments.words)
    prompts = encode(loaded.tokenizer, items)
    options = Options(rows=arguments.rows)
    engine = Engine(loaded.network, options, eos=loaded.eos, decode=loaded.decode, is_measured=True)
    run_engine(engine, prompts[:64], arguments.max_tokens, Drafter.PLAIN)
    service.submit(items[:64], arguments.max_tokens, Drafter.PLAIN)
    seconds: dict[str, list[float]] = {"engine": [], "service": []}
    others: list[float] = []
    texts: dict[str, list[str]] = {}
    for number in range(arguments.rounds):
        for arm in ("engine", "service") if number % 2 == 0 else ("service", "engine"):
            if arm == "engine":
                took, tokens = timed(lambda: run_engine(engine, prompts, arguments.max_tokens, Drafter.PLAIN))
                texts[arm] = [loaded.decode(one) for one in tokens]
            else:
                before = others_s(service.stack.home)
                took, texts[arm] = timed(lambda: service.submit(items, arguments.max_tokens, Drafter.PLAIN))
                others.append((others_s(service.stack.home) - before) / took / (os.cpu_count() or 1))
            seconds[arm].append(took)
    return {
        "items": len(items),
        "prompt_tokens": sum(map(len, prompts)),
        "max_tokens": arguments.max_tokens,
        "seconds": {arm: Spread.of(values) for arm, values in seconds.items()},
        "others": Spread.of(others),
        "overhead": Spread.of(_overheads(seconds)),
        "each": seconds,
        "equal_texts": sum(a == b for a, b in zip(texts["engine"], texts["service"], strict=True)),
    }


def _overheads(seconds: dict[str, list[float]]) -> Sequence[float]:
    return [service / engine - 1 for engine, service in zip(seconds["engine"], seconds["service"], strict=True)]


def table(results: dict[str, Any]) -> str:
    """Seconds of both, and the difference."""
    lines = ["| arm | seconds for all items |", "|---|---|"]
    lines += [f"| {arm} | {spread} |" for arm, spread in results["seconds"].items()]
    lines.append(
        f"\n{results['items']} items, {results['prompt_tokens']} prompt tokens, up to {results['max_tokens']} new ones"
        f" each: the service takes {results['overhead']} longer (1 = 100 %). {results['equal_texts']} texts are equal."
    )
    lines.append(f"Share of all cores' time that other processes than the engine computed: {results['others']}.")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, required=True, help="JSON Lines with a member `document`")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--max-tokens", type=int, default=4)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, load_demo(stack), Service(stack))
    print(table(results))
    print(save("overhead", results, table(results)))


if __name__ == "__main__":
    main()
