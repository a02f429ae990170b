"""`skim demo`: the whole path on the bundled documents, and what drafting and batching gain over plain decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli.client import Client
from cli.documents import read_inputs
from cli.errors import StackError
from cli.progress import check_outcome, watch
from cli.session import Session, session
from cli.signals import interruptible, uninterrupted
from cli.stack import demo_model
from cli.stack.down import take_down
from cli.stack.plan import Options
from cli.stack.ports import free_ports, is_free
from cli.stack.ready import await_workers
from cli.stack.up import Stack, bring_up
from cli.tables import number, percent, table
from cli.views import Item, Job, Json

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
HEAD: Json = {"kind": "summarize", "model": demo_model.NAME, "style": "paragraph", "max_words": 40}
NUM_COMPARED = 4
PORTS = (8000, 5555)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same documents in one bulk job, and one after another with plain decoding."""

    bulk: Job
    items: tuple[Item, ...]
    plain: tuple[Job, ...]
    num_same: int

    @property
    def plain_tokens_per_second(self) -> float | None:
        """Tokens of the plain jobs over the seconds each ran, added up."""
        seconds = sum(job.elapsed_s or 0 for job in self.plain)
        return sum(job.completion_tokens for job in self.plain) / seconds if seconds else None

    @property
    def gain(self) -> float | None:
        """How many times the plain throughput the bulk job reached."""
        bulk, plain = self.bulk.tokens_per_second, self.plain_tokens_per_second
        return bulk / plain if bulk and plain else None


def demo(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures and summaries as JSON.")] = False,
) -> None:
    """Summarise the bundled documents on the real stack, compare with plain decoding, stop what was started."""
    here = session(context)
    _, inputs = read_inputs([str(SAMPLES)], "summarize", typer.get_binary_stream("stdin"))
    for one in inputs:
        one["custom_id"] = Path(one["custom_id"]).stem
    with interruptible(), _stack(here) as stack, stack.client() as client:
        comparison = _run(here, client, stack, inputs)
        _print(here, comparison, inputs, as_json=as_json)
    check_outcome(comparison.bulk)


@contextmanager
def _stack(here: Session) -> Iterator[Stack]:
    """The running stack, or one that ends with the block."""
    ports = [port if is_free(port) else free_ports(port, besides=frozenset(PORTS))[0] for port in PORTS]
    options = Options(port=ports[0], flower_port=ports[1], num_workers=1, model=demo_model.NAME)
    stack = bring_up(here.home, here.settings, options, here.steps, detach=False)
    try:
        if stack.was_running:
            here.steps.say("using the running stack")
            _need_demo_model(stack)
        elif tuple(ports) != PORTS:
            here.steps.say(f"the usual ports are taken, using {ports[0]} and {ports[1]}")
        yield stack
    finally:
        if not stack.was_running:
            with uninterrupted(), here.home.lock():
                take_down(here.home, here.steps)


def _need_demo_model(stack: Stack) -> None:
    if stack.state.model != demo_model.NAME or not stack.state.num_workers:
        raise StackError(f"the running stack does not serve {demo_model.NAME}: `skim down` first")


def _run(here: Session, client: Client, stack: Stack, inputs: list[Json]) -> Comparison:
    job = client.submit({**HEAD, "priority": "bulk"}, inputs)
    with here.steps.step("Waiting for the worker to load the model", "Worker ready"):
        await_workers(here.home, client, stack.state)
    bulk = watch(client, job.id, here.err, f"Summarising {len(inputs)} documents")
    items = tuple(client.items(job.id))
    plain, num_same = [], 0
    for number_, one in enumerate(_shortest(inputs), start=1):
        head = {**HEAD, "decoding": {"drafter": "plain"}, "parameters": bulk.body["parameters"]}
        alone = client.submit(head, [one])
        plain.append(watch(client, alone.id, here.err, f"Plain decoding, document {number_} of {NUM_COMPARED}"))
        text = next(client.items(alone.id)).text
        num_same += any(item.name == one["custom_id"] and item.text == text for item in items)
    return Comparison(bulk, items, tuple(plain), num_same)


def _shortest(inputs: list[Json]) -> list[Json]:
    """Some middling documents to compare on: the longest is summarised in parts, which is no single decode."""
    ranked = sorted(inputs, key=lambda one: len(one["document"]))
    middle = max(0, len(ranked) // 2 - NUM_COMPARED // 2)
    return ranked[middle : middle + NUM_COMPARED]


def _print(here: Session, comparison: Comparison, inputs: list[Json], *, as_json: bool) -> None:
    if as_json:
        here.print_json(_document(comparison))
        return
    words = {one["custom_id"]: len(one["document"].split()) for one in inputs}
    columns = ("document", "words", "tokens/s", "tokens/verify", "accepted", "drafter", "summary")
    here.out.print(table(columns, (_row(item, words.get(item.name, 0)) for item in comparison.items)))
    here.out.print()
    bulk, decoding = comparison.bulk, comparison.bulk.decoding
    summary = (
        ("bulk job", number(bulk.tokens_per_second, 1), number(decoding.get("tokens_per_verify"), 2),
         percent(decoding.get("acceptance_rate")), str(decoding.get("drafter") or "")),
        ("plain, one at a time", number(comparison.plain_tokens_per_second, 1), "1.00", "", "plain"),
    )  # fmt: skip
    here.out.print(table(("throughput", "tokens/s", "tokens/verify", "accepted", "drafter"), summary))
    same = f"{comparison.num_same} of {len(comparison.plain)} texts are the same to the letter"
    gain = number(comparison.gain, 2)
    here.out.print(f"\nThe bulk job ran at {gain} times the throughput of plain decoding; {same}.", highlight=False)


def _row(item: Item, num_words: int) -> tuple[str, ...]:
    decoding = item.decoding
    return (
        escape(item.name),
        str(num_words),
        number(decoding.get("tokens_per_second"), 1),
        number(decoding.get("tokens_per_verify"), 2),
        percent(decoding.get("acceptance_rate")),
        str(decoding.get("drafter") or ""),
        escape(" ".join(item.text.split())),
    )


def _document(comparison: Comparison) -> Json:
    return {
        "job": comparison.bulk.body,
        "items": [item.body for item in comparison.items],
        "plain": [job.body for job in comparison.plain],
        "tokens_per_second": comparison.bulk.tokens_per_second,
        "plain_tokens_per_second": comparison.plain_tokens_per_second,
        "gain": comparison.gain,
        "num_same": comparison.num_same,
    }
