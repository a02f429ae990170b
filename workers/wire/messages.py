"""What the frames say: the engine's requests and events as JSON objects, and back.

node to engine   submit, cancel
engine to node   hello (first), admitted, finished, failed, pulse (about once a second)
"""

from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import BadRequest
from engine.request import (
    Admitted,
    Drafter,
    Event,
    Failed,
    Finished,
    FinishReason,
    Request,
    Sampling,
    Statistics,
)
from workers.errors import FrameError
from workers.wire.frames import Frame


@dataclass(frozen=True, slots=True)
class Hello:
    """What the engine serves. `folder` holds the tokenizer; `context_length` and `rows` are the engine's own."""

    folder: str
    context_length: int
    dtype: str
    device: str
    device_kind: str
    rows: int
    vocab_size: int
    eos: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Progress: rounds so far, requests with a row, requests without one yet."""

    steps: int
    rows: int
    waiting: int

    @property
    def is_idle(self) -> bool:
        return not self.rows and not self.waiting


def hello_frame(hello: Hello) -> Frame:
    return {"type": "hello", **asdict(hello), "eos": list(hello.eos)}


def pulse_frame(pulse: Pulse) -> Frame:
    return {"type": "pulse", **asdict(pulse)}


def cancel_frame(request_id: str) -> Frame:
    return {"type": "cancel", "id": request_id}


def submit_frame(request: Request) -> Frame:
    return {
        "type": "submit",
        "id": request.id,
        "prompt": list(request.prompt),
        "max_tokens": request.max_tokens,
        "sampling": asdict(request.sampling),
        "stop": list(request.stop),
        "stop_tokens": sorted(request.stop_tokens),
        "drafter": request.drafter.value,
        "reproducible": request.reproducible,
        "lane": "interactive" if request.interactive else "bulk",
        "alone": request.alone,
    }


def parse_submit(frame: Frame) -> Request:
    """The request of a submit frame.

    Raises:
        BadRequest: a value the engine does not take.
        FrameError: a field is missing or of the wrong type.
    """
    try:
        return Request(
            id=str(frame["id"]),
            prompt=tuple(frame["prompt"]),
            max_tokens=int(frame["max_tokens"]),
            sampling=_sampling(frame["sampling"]),
            stop=tuple(frame["stop"]),
            stop_tokens=frozenset(frame["stop_tokens"]),
            drafter=Drafter(frame["drafter"]),
            reproducible=bool(frame["reproducible"]),
            interactive=frame["lane"] == "interactive",
            alone=bool(frame["alone"]),
        )
    except BadRequest:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a submit frame is malformed: {error!r}") from error


def _sampling(fields: dict[str, Any]) -> Sampling:
    bias = tuple((int(token), float(added)) for token, added in fields["logit_bias"])
    return Sampling(**{**fields, "logit_bias": bias})


def event_frame(event: Event) -> Frame:
    match event:
        case Admitted():
            return {"type": "admitted", "id": event.id}
        case Finished():
            return {
                "type": "finished",
                "id": event.id,
                "tokens": list(event.tokens),
                "finish_reason": event.finish_reason.value,
                "stop": event.stop,
                "statistics": asdict(event.statistics),
            }
        case Failed():
            return {"type": "failed", "id": event.id, "error": {"code": event.code, "message": event.message}}


def parse_event(frame: Frame) -> Hello | Pulse | Event:
    """What the engine said.

    Raises:
        FrameError: an unknown type, or a field is missing or of the wrong type.
    """
    fields = {name: value for name, value in frame.items() if name != "type"}
    try:
        match frame["type"]:
            case "hello":
                return Hello(**{**fields, "eos": tuple(fields["eos"])})
            case "pulse":
                return Pulse(**fields)
            case "admitted":
                return Admitted(fields["id"])
            case "finished":
                return _finished(fields)
            case "failed":
                return Failed(fields["id"], fields["error"]["code"], fields["error"]["message"])
            case kind:
                raise FrameError(f"an unknown frame: {kind!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a frame is malformed: {error!r}") from error


def _finished(fields: dict[str, Any]) -> Finished:
    statistics = fields["statistics"]
    return Finished(
        id=fields["id"],
        tokens=tuple(fields["tokens"]),
        finish_reason=FinishReason(fields["finish_reason"]),
        stop=fields["stop"],
        statistics=Statistics(**{**statistics, "drafter": Drafter(statistics["drafter"])}),
    )
