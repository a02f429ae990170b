"""The claim the service rests on: whatever drafts, shares the batch, comes or goes, the text is the full network's.

float64, so equality is strict.
"""

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import example, given, settings

from engine.loop import Engine, Options
from engine.request import Drafter, Exit, FinishReason, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import Outcome, expected, run
from tests.tools.networks import VOCABULARY, tiny

LENGTH = 88
EOS = frozenset({7})
TOKENS = st.integers(0, VOCABULARY - 1)
SHARED = tuple(range(3, 43))  # a prefix several requests may begin with
DRAFTERS = tuple(Drafter)


@dataclass(frozen=True)
class Scenario:
    """An engine, its requests, and when they come and are cancelled (rounds)."""

    layers: int
    options: Options
    skip_set: SkipSet
    requests: tuple[Request, ...]
    arrivals: dict[str, int]
    cancellations: dict[str, int]


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, ...]:
    """1 to 60 tokens: random, repetitive, or beginning like others."""
    kind = draw(st.sampled_from(("random", "repetitive", "shared")))
    if kind == "shared":
        most = draw(st.integers(1, len(SHARED)))
        return SHARED[:most] + tuple(draw(st.lists(TOKENS, max_size=20)))
    words = draw(st.lists(TOKENS, min_size=1, max_size=60 if kind == "random" else 6))
    times = 1 if kind == "random" else draw(st.integers(1, 60 // len(words)))
    return tuple(words * times)


@st.composite
def samplings(draw: st.DrawFn, most: int) -> Sampling:
    """Greedy or sampled; each warp and each processor on and off."""
    rarely = st.sampled_from((False, False, False, True))
    return Sampling(
        temperature=draw(st.sampled_from((0.0, 0.0, 0.3, 1.0, 1.7))),
        top_k=draw(st.sampled_from((0, 0, 1, 5, 40, VOCABULARY + 1))),
        top_p=draw(st.sampled_from((1.0, 1.0, 0.9, 0.5, 1e-9))),
        seed=draw(st.integers(0, 2**63 - 1)),
        min_p=draw(st.sampled_from((0.0, 0.0, 0.05))),
        repetition_penalty=1.3 if draw(rarely) else 1.0,
        presence_penalty=0.9 if draw(rarely) else 0.0,
        frequency_penalty=-0.4 if draw(rarely) else 0.0,
        logit_bias=((5, 2.0), (7, 4.0), (9, -100.0)) if draw(rarely) else (),
        min_tokens=min(most, draw(st.sampled_from((0, 0, 3, 12)))),
    )


@st.composite
def requests(draw: st.DrawFn, identity: str) -> Request:
    """Anything a client may ask; every fourth fills its slot to the last column."""
    prompt = draw(prompts())
    room = LENGTH - len(prompt)
    max_tokens = room if draw(st.integers(0, 3)) == 0 else draw(st.integers(1, min(24, room)))
    return Request(
        id=identity,
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=draw(samplings(max_tokens)),
        stop_tokens=draw(st.sampled_from((frozenset(), frozenset({11, 30})))),
        drafter=draw(st.sampled_from(DRAFTERS)),
        reproducible=draw(st.sampled_from((False, False, False, True))),
        logprobs=draw(st.sampled_from((None, None, 0, 3))),
        stream=draw(st.booleans()),
        interactive=draw(st.booleans()),
        alone=draw(st.sampled_from((False, False, False, False, True))),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A random engine under random load."""
    layers = draw(st.integers(2, 5))
    bits = draw(st.text("01", min_size=2 * layers, max_size=2 * layers).filter(lambda text: "1" in text))
    asked = tuple(draw(requests(str(number))) for number in range(draw(st.integers(1, 7))))
    rounds = st.integers(0, 25)
    some = st.sampled_from((False, False, True))
    return Scenario(
        layers=layers,
        options=Options(
            rows=draw(st.integers(1, 8)),
            length=LENGTH,
            prefill_tokens=draw(st.sampled_from((1, 7, 16, 64, 128))),
            width=draw(st.integers(1, 18)),
            padded_width=draw(st.integers(1, 7)),
            leave=draw(st.sampled_from(Exit)),
        ),
        skip_set=SkipSet.from_bits(bits),
        requests=asked,
        arrivals={request.id: draw(rounds) for request in asked},
        cancellations={request.id: draw(rounds) for request in asked if draw(some)},
    )


def near_the_end_beside_a_drafter() -> Scenario:
    """A plain row at the last columns of its slot while its mate drafts further than those."""
    prompt = tuple(range(60))
    return Scenario(
        layers=2,
        options=Options(rows=2, length=LENGTH, width=6),
        skip_set=SkipSet.of([0], []),
        requests=(
            Request("plain", prompt, LENGTH - len(prompt), drafter=Drafter.PLAIN),
            Request("skip", (1,), LENGTH - 1, drafter=Drafter.SKIP, interactive=True),
        ),
        arrivals={"plain": 0, "skip": 0},
        cancellations={},
    )


def streamed(outcome: Outcome, identity: str) -> tuple[int, ...]:
    """The tokens of a request's progress events, which must follow each other without a gap."""
    tokens: list[int] = []
    for event in outcome.progress.get(identity, []):
        assert event.start == len(tokens)
        tokens += event.tokens
    return tuple(tokens)


@settings(max_examples=60)
@example(near_the_end_beside_a_drafter())
@given(scenarios())
def test_every_text_is_the_full_networks(scenario: Scenario) -> None:
    network = tiny(scenario.layers, seed=scenario.layers)
    engine = Engine(network, scenario.options, eos=EOS, skip_set=scenario.skip_set)

    outcome = run(engine, scenario.requests, arrivals=scenario.arrivals, cancellations=scenario.cancellations)

    texts = expected(network, scenario.requests, EOS)
    assert not outcome.failed
    asked = {request.id: request for request in scenario.requests}
    for identity, finished in outcome.finished.items():
        text, request = texts[identity], asked[identity]
        if finished.finish_reason is FinishReason.CANCELLED:
            assert finished.tokens == text[: len(finished.tokens)]
        else:
            assert finished.tokens == text
            assert streamed(outcome, identity) == (text if request.stream else ())
            assert [one.token for one in finished.logprobs or ()] == list(text if request.logprobs is not None else ())
    cancelled = {one for one, when in scenario.cancellations.items() if when >= scenario.arrivals[one]}
    assert outcome.finished.keys() | cancelled == {request.id for request in scenario.requests}
