"""How well looked-up drafts do on real texts: match lengths, and which earlier occurrence to follow. Runs no network.

``python -m bench.lookup --texts FILE.json``: a list of {"workload", "prompt", "output"} in token ids, as a full network
wrote them. At every position the drafts are held against what came. "A verify" counts the tokens of a decode that
verifies 5 drafts wherever a policy has any.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import save
from engine.draft.lookup import SuffixIndex
from engine.round import agreeing

DRAFTS = 5
LENGTHS = (1, 2, 3, 4, 5, 7, 10, 16)  # the least match length of each line of the second table


def places(text: list[int], length: int) -> list[int]:
    """The indices that follow the earlier occurrences of the last ``length`` tokens."""
    suffix = text[len(text) - length :]
    return [i for i in range(length, len(text)) if text[i - 1] == suffix[-1] and text[i - length : i] == suffix]


def follow(text: list[int], place: int) -> list[int]:
    grown = list(text)
    for step in range(DRAFTS):
        grown.append(grown[place + step])
    return grown[len(text) :]


def majority(text: list[int], length: int) -> list[int]:
    """Token by token the commonest continuation of the match and the drafts so far; of equals the newest."""
    grown, left = list(text), places(text, length)
    for _ in range(DRAFTS):
        counts = Counter(grown[place] for place in left)
        token = max(counts, key=lambda one: (counts[one], max(place for place in left if grown[place] == one)))
        left = [place + 1 for place in left if grown[place] == token]
        grown.append(token)
    return grown[len(text) :]


def recent(text: list[int], length: int) -> list[int]:
    return follow(text, places(text, length)[-1])


POLICIES: dict[str, tuple[int, Callable[[list[int], int], list[int]]]] = {  # shortest match, drafts for a match length
    "runs of 2 to 6, most recent": (2, lambda text, length: recent(text, min(length, 6))),
    "from 3, most recent": (3, recent),
    "from 2, most recent": (2, recent),
    "from 1, most recent": (1, recent),
    "from 1, earliest": (1, lambda text, length: follow(text, places(text, length)[0])),
    "from 1, most frequent": (1, majority),
}


@dataclass(slots=True)
class Tally:
    """What became of the drafts at every position, and where a decode that drafts would have verified."""

    positions: int = 0
    verifies: int = 0
    next_verify: int = 0
    accepted: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # by match length

    def add(self, position: int, length: int, accepted: int) -> None:
        self.positions += 1
        if length:
            self.accepted[max(least for least in LENGTHS if least <= length)].append(accepted)
        if position == self.next_verify:
            self.verifies += 1
            self.next_verify += accepted + 1


def replay(prompt: Sequence[int], output: Sequence[int], tallies: dict[str, Tally]) -> None:
    """Hold each policy's drafts against one text."""
    text, index = list(prompt), SuffixIndex(prompt)
    for tally in tallies.values():
        tally.next_verify = 0
    for position, token in enumerate(output):
        match = index.match()
        for name, (shortest, draft) in POLICIES.items():
            length = match.length if match and match.length >= shortest else 0
            drafts = draft(text, length) if length else []
            tallies[name].add(position, length, agreeing(drafts, output[position : position + DRAFTS]) if drafts else 0)
        text.append(token)
        index.push(token)


def summary(tally: Tally) -> dict[str, Any]:
    offers = [accepted for several in tally.accepted.values() for accepted in several]
    return {
        "tokens_per_verify": tally.positions / tally.verifies,
        "offered": len(offers) / tally.positions,
        "first_right": sum(one > 0 for one in offers) / max(1, len(offers)),
        "by_length": {
            least: {
                "n": len(several),
                "first_right": sum(one > 0 for one in several) / len(several),
                "each_right": sum(several) / sum(min(one + 1, DRAFTS) for one in several),
                "accepted": sum(several) / len(several),
            }
            for least, several in sorted(tally.accepted.items())
        },
    }


def tables(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| workload | policy | tokens a verify | offered | first draft right |", "|---|---|---|---|---|"]
    for workload, policies in results.items():
        for name, one in policies.items():
            rates = f"{one['tokens_per_verify']:.2f} | {one['offered']:.2f} | {one['first_right']:.2f}"
            lines.append(f"| {workload} | {name} | {rates} |")
    lines += ["", "| workload | match length from | n | first right | each right | accepted of 5 |", "|---" * 6 + "|"]
    for workload, policies in results.items():
        for least, one in policies["from 1, most recent"]["by_length"].items():
            rates = f"{one['first_right']:.2f} | {one['each_right']:.2f} | {one['accepted']:.2f}"
            lines.append(f"| {workload} | {least} | {one['n']} | {rates} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    tallies: dict[str, dict[str, Tally]] = defaultdict(lambda: {name: Tally() for name in POLICIES})
    for text in json.loads(parser.parse_args().texts.read_text()):
        replay(text["prompt"], text["output"], tallies[text["workload"]])
    results = {workload: {name: summary(one) for name, one in by.items()} for workload, by in tallies.items()}
    print(tables(results))
    print(save("lookup", {"workloads": results}, tables(results)))


if __name__ == "__main__":
    main()
