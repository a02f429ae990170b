"""The engine on CUDA: every drafter's texts are the stock network's but for near ties, and drafting takes no memory.

Noise is measured in the same run, and plain decoding at another batch size is the control: drafting must not part from
the reference more often than a change of the batch alone does.
"""

from collections.abc import Iterator
from functools import cache

import pytest
import torch

from bench.arms import Ours, requests, run
from bench.equality import Judge, Verdict
from bench.memory import forget_peak, peak_bytes
from bench.peers import sequential
from bench.planted import Planted, plant, prompts_of
from bench.setting import twin
from bench.shapes import POINTS
from bench.weights import shape
from bench.workloads import Work
from engine.costs import StepCosts
from engine.loop import Engine, Options
from engine.request import Drafter
from engine.skipset import SkipSet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = "cuda"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
NETWORKS = {
    "tiny": (shape(4, 64, 128, 4, 2, 256), SkipSet.of([1, 2], [2]), 3.0),
    "demo-like": (shape(30, 576, 1536, 9, 3, 49152), SkipSet.starting(30), 1.5),
    "small": (POINTS["small"].config, POINTS["small"].skip_set, 1.5),
}
ROWS = 6


@pytest.fixture(autouse=True)
def freed() -> Iterator[None]:
    yield
    torch.cuda.empty_cache()


@cache
def planted(name: str, dtype: torch.dtype) -> Planted:
    config, skip_set, mixing = NETWORKS[name]
    return plant(config, skip_set, 0.95, mixing=mixing, dtype=dtype, device=DEVICE, tolerance=0.02)


def work_of(name: str, max_tokens: int = 48) -> Work:
    """Rows of different lengths, half of them repeating themselves, so that lookup has something to find."""
    prompts = prompts_of(NETWORKS[name][0], 2 * ROWS, 64, seed=5)
    cut = [prompt[: 20 + 3 * number] for number, prompt in enumerate(prompts)]
    return Work(tuple((*one, *one) if number % 2 else tuple(one) for number, one in enumerate(cut)), max_tokens)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_texts_are_the_stock_networks_but_for_near_ties(name: str, dtype: torch.dtype) -> None:
    here, work = planted(name, dtype), work_of(name)
    stock = twin(here.network)
    judge = Judge(stock, requests(work), work.eos)
    reference = sequential(stock)(work).texts

    ours = Ours(here.network, here.skip_set, StepCosts.assumed())
    control = [judge.judge(reference, ours.arms(batch)["plain"](work).texts) for batch in (1, 2, ROWS)]
    drafted = {
        f"{arm} at {batch}": judge.judge(reference, texts(work).texts)
        for batch in (1, ROWS)
        for arm, texts in ours.arms(batch).items()
        if arm != "plain"
    }

    assert all(verdict.beyond_noise == 0 for verdict in [*control, *drafted.values()]), drafted
    most = max(verdict.near_ties for verdict in control)
    assert all(verdict.near_ties <= allowed(most, verdict) for verdict in drafted.values()), (most, drafted)


def allowed(control: int, verdict: Verdict) -> int:
    """Near ties that the control, a change of the batch alone, makes plausible: twice as many and a few."""
    return 2 * control + 2 + verdict.tokens // 5_000


def test_drafts_are_accepted() -> None:
    here, work = planted("small", torch.bfloat16), work_of("small")
    written = Ours(here.network, here.skip_set, StepCosts.assumed()).arms(1)["skip"](work)

    assert written.acceptance is not None
    assert written.acceptance > 0.6


@pytest.mark.parametrize("drafter", [Drafter.SKIP, Drafter.LOOKUP, Drafter.CASCADE, Drafter.AUTO])
def test_drafting_takes_no_memory_but_the_logits_of_its_verifies(drafter: Drafter) -> None:
    here, work = planted("small", torch.bfloat16), work_of("small")

    plain, widest = peak_of(here, work, Drafter.PLAIN)
    drafting, wide = peak_of(here, work, drafter)

    vocabulary, width = here.network.config.vocab_size, max(widest, wide)
    copies = 4  # the logits, their float64 or boolean companions while picking, and activations of the same width
    assert drafting <= plain + copies * ROWS * width * vocabulary * 8


def peak_of(here: Planted, work: Work, drafter: Drafter) -> tuple[int, int]:
    """Bytes at the peak of an engine's life, and its widest verify."""
    torch.cuda.empty_cache()
    forget_peak(torch.device(DEVICE))
    skip_set = None if drafter is Drafter.PLAIN else here.skip_set
    engine = Engine(here.network, Options(rows=ROWS, length=512, width=6), skip_set=skip_set)
    written = run(engine, work, drafter)
    return peak_bytes(torch.device(DEVICE)), max(one.width for one in written.rounds)


def test_interactive_and_bulk_rows_of_a_full_batch_end() -> None:
    here, work = planted("tiny", torch.float16), work_of("tiny", 24)
    engine = Engine(here.network, Options(rows=3, length=256), skip_set=here.skip_set, is_measured=True)

    assert all(len(text) == 24 for text in run(engine, work, Drafter.AUTO).texts)
