"""What the frames say: the engine's requests and events as JSON objects, and back.

node to engine   submit, cancel; search, stop_search, answer, skip_sets
engine to node   hello (first), admitted, progress, finished, failed, pulse (about once a second); those of searches
"""

from collections.abc import Sequence
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
    Progress,
    Request,
    Sampling,
    Statistics,
    TokenLogprob,
)
from workers.errors import FrameError
from workers.wire.frames import Frame
from workers.wire.searches import SearchEvent, SearchOrder, order_frame, parse_order, parse_search_event


@dataclass(frozen=True, slots=True)
class Hello:
    """What the engine serves. `folder` holds the tokenizer; `context_length` and `rows` are the engine's own.

    `drafters` are those a request may ask for, `note` says why some are missing. `costs` are the step costs that this
    engine has measured, as `StepCosts.to_json` gives them; None where it was told them.
    """

    folder: str
    context_length: int
    dtype: str
    device: str
    device_kind: str
    rows: int
    vocab_size: int
    eos: tuple[int, ...]
    drafters: tuple[str, ...] = ()
    note: str | None = None
    costs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """Progress: rounds and units of searches so far, requests with a row, requests without one yet. Memory is in bytes,
    where it is known.
    """

    steps: int
    rows: int
    waiting: int
    memory_used: int | None = None
    memory_total: int | None = None

    @property
    def is_idle(self) -> bool:
        return not self.rows and not self.waiting


def hello_frame(hello: Hello) -> Frame:
    return {"type": "hello", **asdict(hello)}


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
        "logprobs": request.logprobs,
        "stream": request.stream,
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
            drafter=_drafter(str(frame["drafter"])),
            reproducible=bool(frame["reproducible"]),
            interactive=frame["lane"] == "interactive",
            alone=bool(frame["alone"]),
            logprobs=frame["logprobs"],
            stream=bool(frame["stream"]),
        )
    except BadRequest:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a submit frame is malformed: {error!r}") from error


def _drafter(name: str) -> Drafter:
    """By name. A node of a later release may know others: that is one request's fault, not the connection's."""
    try:
        return Drafter(name)
    except ValueError:
        known = ", ".join(Drafter)
        message = f"there is no drafter {name}, only {known}"
        raise BadRequest(message, code="drafter_unavailable", parameter="drafter") from None


def _sampling(fields: dict[str, Any]) -> Sampling:
    bias = tuple((int(token), float(added)) for token, added in fields["logit_bias"])
    return Sampling(**{**fields, "logit_bias": bias})


def search_frame(order: SearchOrder) -> Frame:
    requests = {name: [submit_frame(one) for one in getattr(order, name)] for name in ("scored", "held_out")}
    return order_frame(order, requests)


def parse_search(frame: Frame) -> SearchOrder:
    """The order of a search frame.

    Raises:
        BadRequest: a value the engine does not take.
        FrameError: a field is missing or of the wrong type.
    """
    try:
        return parse_order(frame, {name: tuple(map(parse_submit, frame[name])) for name in ("scored", "held_out")})
    except (KeyError, TypeError) as error:
        raise FrameError(f"a search frame is malformed: {error!r}") from error


def stop_search_frame(search_id: str) -> Frame:
    return {"type": "stop_search", "id": search_id}


def answer_frame(search_id: str, entry: dict[str, Any]) -> Frame:
    return {"type": "answer", "id": search_id, "entry": entry}


def skip_sets_frame(classes: dict[str, Any]) -> Frame:
    """`classes`: {batch class: {id, bits, share, acceptance}}, None where nothing beats plain decoding."""
    return {"type": "skip_sets", "classes": classes}


def event_frame(event: Event) -> Frame:
    match event:
        case Admitted():
            return {"type": "admitted", "id": event.id}
        case Progress():
            return {
                "type": "progress",
                "id": event.id,
                "start": event.start,
                "tokens": list(event.tokens),
                "logprobs": _listed(event.logprobs),
                "emitted_at": event.emitted_at,
            }
        case Finished():
            return {
                "type": "finished",
                "id": event.id,
                "tokens": list(event.tokens),
                "finish_reason": event.finish_reason.value,
                "stop": event.stop,
                "statistics": asdict(event.statistics),
                "logprobs": _listed(event.logprobs),
            }
        case Failed():
            return {"type": "failed", "id": event.id, "error": {"code": event.code, "message": event.message}}


def parse_event(frame: Frame) -> Hello | Pulse | Event | SearchEvent:
    """What the engine said.

    Raises:
        FrameError: an unknown type, or a field is missing or of the wrong type.
    """
    fields = {name: value for name, value in frame.items() if name != "type"}
    try:
        kind = frame["type"]
        event = _said(kind, fields) or parse_search_event(kind, fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a frame is malformed: {error!r}") from error
    if event is None:
        raise FrameError(f"an unknown frame: {kind!r}")
    return event


def _said(kind: str, fields: dict[str, Any]) -> Hello | Pulse | Event | None:  # noqa: PLR0911  one a kind
    match kind:
        case "hello":
            return Hello(**{**fields, "eos": tuple(fields["eos"]), "drafters": tuple(fields["drafters"])})
        case "pulse":
            return Pulse(**fields)
        case "admitted":
            return Admitted(fields["id"])
        case "progress":
            logprobs = _logprobs(fields["logprobs"])
            emitted_at = fields.get("emitted_at")  # engines of earlier releases do not say
            return Progress(fields["id"], fields["start"], tuple(fields["tokens"]), logprobs, emitted_at)
        case "finished":
            return _finished(fields)
        case "failed":
            return Failed(fields["id"], fields["error"]["code"], fields["error"]["message"])
    return None


def _finished(fields: dict[str, Any]) -> Finished:
    statistics = fields["statistics"]
    return Finished(
        id=fields["id"],
        tokens=tuple(fields["tokens"]),
        finish_reason=FinishReason(fields["finish_reason"]),
        stop=fields["stop"],
        statistics=Statistics(**{**statistics, "drafter": Drafter(statistics["drafter"])}),
        logprobs=_logprobs(fields["logprobs"]),
    )


def _listed(logprobs: Sequence[TokenLogprob] | None) -> list[Any] | None:
    """[token, log-probability, [[token, log-probability], ...]] a token: there may be many."""
    return None if logprobs is None else [[one.token, one.logprob, one.top] for one in logprobs]


def _logprobs(listed: list[Any] | None) -> tuple[TokenLogprob, ...] | None:
    if listed is None:
        return None
    return tuple(
        TokenLogprob(token, logprob, tuple((other, score) for other, score in top)) for token, logprob, top in listed
    )
