"""Frames survive any cutting of the stream; requests and events survive the trip."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadRequest
from engine.request import (
    Admitted,
    Drafter,
    Event,
    Failed,
    Finished,
    FinishReason,
    Progress,
    Request,
    Sampling,
    Statistics,
    TokenLogprob,
)
from workers.errors import FrameError
from workers.wire.frames import Buffer, pack
from workers.wire.messages import (
    Hello,
    Pulse,
    event_frame,
    hello_frame,
    parse_event,
    parse_submit,
    pulse_frame,
    submit_frame,
)

JSON = st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(), st.lists(st.integers())), max_size=4)
COST = Statistics(5, 3, 2, 4, 1, Drafter.LOOKUP, 0.1, 0.2, 0.3)
LOGPROBS = (TokenLogprob(1, -0.1, ((1, -0.1), (7, -2.5))), TokenLogprob(2, -1e-9))
EVENTS = [
    Admitted("a"),
    Progress("a", 3, (1, 2)),
    Progress("a", 0, (1, 2), LOGPROBS),
    Finished("a", (1, 2), FinishReason.LENGTH, None, COST, LOGPROBS),
    Finished("a", (1, 2, 3), FinishReason.STOP, "\n", COST),
    Finished("a", (), FinishReason.CANCELLED, None, COST),
    Failed("a", "non_finite_logits", "NaN"),
]


@settings(deadline=None, derandomize=True)
@given(st.lists(JSON, max_size=4), st.integers(1, 40))
def test_frames_survive_any_cutting(objects: list[dict[str, object]], size: int) -> None:
    stream = b"".join(map(pack, objects))
    buffer = Buffer()

    read = [frame for at in range(0, len(stream), size) for frame in buffer.feed(stream[at : at + size])]

    assert read == objects


@pytest.mark.parametrize(
    "stream",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02no", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x02\xff\xff"],
    ids=["too long", "no JSON", "no object", "no UTF-8"],
)
def test_nonsense_is_refused(stream: bytes) -> None:
    with pytest.raises(FrameError):
        list(Buffer().feed(stream))


def test_a_request_survives_the_trip() -> None:
    request = Request(
        id="job_1/0/1/3/0",
        prompt=(1, 2),
        max_tokens=7,
        sampling=Sampling(
            temperature=0.5,
            top_k=4,
            top_p=0.9,
            seed=2**63 - 1,
            min_p=0.05,
            repetition_penalty=1.1,
            presence_penalty=-0.5,
            frequency_penalty=0.25,
            logit_bias=((3, -1.5), (9, 2.0)),
            min_tokens=2,
        ),
        stop=("\n\n",),
        stop_tokens=frozenset({5, 6}),
        drafter=Drafter.LOOKUP,
        reproducible=True,
        interactive=True,
        alone=True,
        logprobs=5,
        stream=True,
    )

    assert parse_submit(next(Buffer().feed(pack(submit_frame(request))))) == request


def test_a_drafter_of_a_later_release_is_the_fault_of_one_request() -> None:
    frame = submit_frame(Request("r", (1,), 1)) | {"drafter": "clairvoyant"}

    with pytest.raises(BadRequest, match="no drafter clairvoyant") as caught:
        parse_submit(frame)
    assert (caught.value.code, caught.value.parameter) == ("drafter_unavailable", "drafter")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_trip(event: Event) -> None:
    assert parse_event(next(Buffer().feed(pack(event_frame(event))))) == event


def test_when_progress_was_emitted_survives_the_trip() -> None:
    """Comparison leaves it out."""
    frame = event_frame(Progress("a", 3, (1, 2), emitted_at=12.5))

    told = [parse_event(one) for one in (frame, {name: frame[name] for name in frame if name != "emitted_at"})]

    assert [one.emitted_at for one in told if isinstance(one, Progress)] == [12.5, None]


def test_hello_and_pulse_survive_the_trip() -> None:
    hello = Hello(
        "/models/tiny", 2048, "float32", "cpu", "cpu", 16, 256, (0, 2), ("auto", "plain"), "no skipping", {"verify": {}}
    )
    pulse = Pulse(steps=3, rows=2, waiting=1, memory_used=5, memory_total=8)

    frames = [next(Buffer().feed(pack(frame))) for frame in (hello_frame(hello), pulse_frame(pulse))]

    assert [parse_event(frame) for frame in frames] == [hello, pulse]


@pytest.mark.parametrize("frame", [{}, {"type": "what"}, {"type": "admitted"}, {"type": "pulse", "steps": 1}])
def test_malformed_events_are_refused(frame: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        parse_event(frame)
