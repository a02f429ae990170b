"""The demo model in float32: texts are transformers' but for near ties, and exactly the same in reproducible mode."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from bench.ties import Reference, noise_between, picks_of, refer
from engine.load import Loaded
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.comparison import Comparison
from tests.tools.decoding import run
from tests.tools.generating import generate

pytestmark = pytest.mark.demo

LOG = logging.getLogger(__name__)
SAMPLES = Path(__file__).parents[3] / "samples"
DOCUMENTS = ("swifts", "composting", "drinking-water", "heat-pump-guide", "meeting-minutes", "titration-protocol")
PROMPT = 64  # tokens
TOKENS = 32
SKIPPED = SkipSet.of([6, 11], [9, 14])


@dataclass(frozen=True)
class Texts:
    """Requests, what the stock network writes for them, and how much it disagrees with itself at another shape."""

    requests: tuple[Request, ...]
    references: dict[str, Reference]
    noise: float


@pytest.fixture(scope="module")
def requests(demo: Loaded) -> tuple[Request, ...]:
    """Every second document greedy, the others sampled."""
    samplings = [Sampling(), Sampling(0.8, top_p=0.95, seed=1), Sampling(), Sampling(1.0, top_k=40, seed=2)]
    asked = []
    for number, name in enumerate(DOCUMENTS):
        tokens = demo.tokenizer.encode((SAMPLES / f"{name}.md").read_text())
        prompt = tuple(tokens[: PROMPT - 5 * number])  # ragged
        asked.append(Request(name, prompt, TOKENS, samplings[number % len(samplings)]))
    return tuple(asked)


@pytest.fixture(scope="module")
def texts(stock: PreTrainedModel, demo: Loaded, requests: tuple[Request, ...]) -> Texts:
    references = {request.id: refer(stock, request, demo.eos) for request in requests}
    noise = max(noise_between(stock, request, references[request.id]) for request in requests)
    return Texts(requests, references, noise)


def test_the_noise_is_that_of_rounding(texts: Texts) -> None:
    assert 1e-7 < texts.noise < 1e-3


def test_the_reference_is_what_transformers_generates(stock: PreTrainedModel, demo: Loaded, texts: Texts) -> None:
    comparison = Comparison(texts.noise)
    for request in texts.requests:
        if not request.sampling.is_greedy:
            continue
        picks = generate(stock, request.prompt, TOKENS, demo.eos)
        comparison.take(request, texts.references[request.id], picks)
    comparison.check()


@pytest.mark.parametrize(
    ("rows", "drafter"),
    [
        (1, Drafter.AUTO),
        (3, Drafter.LOOKUP),
        (4, Drafter.SKIP),
        (8, Drafter.PLAIN),
        (8, Drafter.SKIP),
        (8, Drafter.AUTO),
    ],
)
def test_texts_part_at_near_ties_only(demo: Loaded, texts: Texts, rows: int, drafter: Drafter) -> None:
    engine = Engine(demo.network, Options(rows=rows, length=160), eos=demo.eos, skip_set=SKIPPED)
    comparison = Comparison(texts.noise)

    outcome = run(engine, [replace(request, drafter=drafter) for request in texts.requests])

    for request in texts.requests:
        picks = picks_of(outcome.finished[request.id], demo.eos)
        comparison.take(request, texts.references[request.id], picks)
    LOG.info("noise %.1e, %d tokens, near ties %s", texts.noise, comparison.tokens, comparison.near_ties)
    comparison.check()


@dataclass(frozen=True)
class Company:
    """Who shares the batch with the reproducible requests, and what drafts."""

    together: int
    drafter: Drafter
    mates: Drafter | None = None


@pytest.mark.parametrize(
    "company",
    [
        Company(4, Drafter.PLAIN),
        Company(4, Drafter.SKIP),
        Company(3, Drafter.LOOKUP, mates=Drafter.SKIP),
        Company(1, Drafter.AUTO, mates=Drafter.LOOKUP),
    ],
    ids=["together", "skip", "lookup among skip", "one among lookup"],
)
def test_reproducible_texts_depend_on_nothing_else(
    demo: Loaded, requests: tuple[Request, ...], alone: dict[str, tuple[int, ...]], company: Company
) -> None:
    exact = [replace(one, drafter=company.drafter, reproducible=True) for one in steady(requests)][: company.together]
    mates = [replace(one, id=f"mate {one.id}", drafter=company.mates) for one in requests[4:] if company.mates]
    arrivals = {one.id: 3 * number for number, one in enumerate([*mates, *exact])}

    outcome = run(padded_engine(demo), [*exact, *mates], arrivals=arrivals)

    assert {one.id: outcome.tokens[one.id] for one in exact} == {one.id: alone[one.id] for one in exact}


def steady(requests: tuple[Request, ...]) -> list[Request]:
    """Shorter and hotter than the others: greedy and sampled, all of them with room to go wrong."""
    return [replace(one, max_tokens=12, sampling=replace(one.sampling, seed=3)) for one in requests[:4]]


def padded_engine(demo: Loaded) -> Engine:
    options = Options(rows=5, length=80, prefill_tokens=40, width=4)
    return Engine(demo.network, options, eos=demo.eos, skip_set=SKIPPED)


@pytest.fixture(scope="module")
def alone(demo: Loaded, requests: tuple[Request, ...]) -> dict[str, tuple[int, ...]]:
    """Each request decoded plain, with nobody else in the engine."""
    engine = padded_engine(demo)
    texts: dict[str, tuple[int, ...]] = {}
    for request in steady(requests):
        texts |= run(engine, [replace(request, drafter=Drafter.PLAIN, reproducible=True)]).tokens
    return texts
