"""The demo model with 8-bit weights: its texts are those of the quantised network, as transformers runs it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.ties import noise_between, picks_of, refer
from engine.load import Loaded, load
from engine.loop import Engine, Options
from engine.quantised import is_exact_here
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.comparison import Comparison
from tests.tools.decoding import run
from tests.tools.generating import generate

pytestmark = [
    pytest.mark.demo,
    pytest.mark.skipif(not is_exact_here(), reason="this processor saturates products of bytes"),
]

SAMPLES = Path(__file__).parents[3] / "samples"
SKIPPED = SkipSet.of([6, 11], [9, 14])
TOKENS = 16


@pytest.fixture(scope="module")
def folder(demo_folder: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return str(demo_folder), tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def untouched(folder: tuple[str, Path]) -> Loaded:
    """The quantised network with transformers' own attention, as no engine has adopted it."""
    return load(folder[0], home=folder[1], dtype="int8")


@pytest.fixture(scope="module")
def served(folder: tuple[str, Path]) -> Loaded:
    return load(folder[0], home=folder[1], dtype="int8")


@pytest.fixture(scope="module")
def requests(served: Loaded) -> list[Request]:
    """One greedy, one sampled, one greedy."""
    samplings = [Sampling(), Sampling(0.8, top_p=0.95, seed=1), Sampling()]
    texts = [(SAMPLES / f"{name}.md").read_text() for name in ("swifts", "composting", "drinking-water")]
    return [
        Request(str(number), tuple(served.tokenizer.encode(text)[: 50 - 7 * number]), TOKENS, sampling)
        for number, (text, sampling) in enumerate(zip(texts, samplings, strict=True))
    ]


def test_texts_part_from_transformers_at_near_ties_only(
    untouched: Loaded, served: Loaded, requests: list[Request]
) -> None:
    references = {one.id: refer(untouched.network, one, served.eos) for one in requests}
    noise = max(noise_between(untouched.network, one, references[one.id]) for one in requests)
    comparison = Comparison(noise)
    greedy = generate(untouched.network, requests[0].prompt, TOKENS, served.eos)
    comparison.take(requests[0], references["0"], greedy)
    for drafter, rows in ((Drafter.AUTO, 3), (Drafter.SKIP, 2)):
        engine = Engine(served.network, Options(rows=rows, length=160), eos=served.eos, skip_set=SKIPPED)
        outcome = run(engine, [replace(one, drafter=drafter) for one in requests])
        for one in requests:
            comparison.take(one, references[one.id], picks_of(outcome.finished[one.id], served.eos))

    assert noise < 1e-3  # float32's own: the quantised layers add none
    comparison.check()


def test_reproducible_texts_do_not_depend_on_mates_or_drafts(served: Loaded, requests: list[Request]) -> None:
    exact = [replace(one, reproducible=True, max_tokens=6) for one in requests[:2]]
    options = Options(rows=2, length=64, prefill_tokens=32, width=4)

    together = run(Engine(served.network, options, eos=served.eos), [replace(o, drafter=Drafter.LOOKUP) for o in exact])

    for one in exact:
        alone = run(Engine(served.network, options, eos=served.eos), [replace(one, drafter=Drafter.PLAIN)])
        assert alone.tokens[one.id] == together.tokens[one.id]


def test_it_says_what_it_is(served: Loaded) -> None:
    assert served.dtype == "int8"
