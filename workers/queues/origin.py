"""Where work comes from: the ids of the request that made a job, kept with the job and told wherever it is worked on.

The trace context is W3C's (Trace Context, level 1): `traceparent` and `tracestate` as the client sent them. Spans are
OpenTelemetry's and made only where that is installed; without it nothing is imported and the ids still reach the logs.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final, Protocol, Self

PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32}-)(?!0{16})([0-9a-f]{16}-[0-9a-f]{2})(-.*)?")
STATE: Final = re.compile(r"[\x20-\x7e]{1,512}")
NAME: Final = "skim"

Attributes = Mapping[str, str | int]


class Headers(Protocol):
    """Those of a request, however its framework keeps them."""

    def get(self, name: str, default: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a request; all of it may be missing."""

    request: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    @classmethod
    def of(cls, request: str | None, headers: Headers) -> Self:
        """That of a request with these headers: of the span that is active now, else of what the client says.

        A `traceparent` that is none is left out, and its `tracestate` with it.
        """
        carried = _active() or headers
        parent = carried.get("traceparent", "").strip()
        found = PARENT.fullmatch(parent)
        if found is None or (parent.startswith("00") and found[3]):
            return cls(request)
        state = carried.get("tracestate", "").strip()
        return cls(request, f"00-{found[1]}{found[2]}", state if STATE.fullmatch(state) else None)

    @classmethod
    def stored(cls, fields: Mapping[str, Any]) -> Self:
        """From the column of a job, whoever wrote it."""
        known = {name: fields.get(name) for name in cls.__slots__}
        return cls(**{name: value if isinstance(value, str) else None for name, value in known.items()})

    @property
    def fields(self) -> dict[str, str]:
        """As stored."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def names(self) -> dict[str, str]:
        """As logs tell it: `request`, and `trace`, the id by which a tracing system finds it."""
        trace = {} if self.traceparent is None else {"trace": self.traceparent.split("-")[1]}
        return ({} if self.request is None else {"request": self.request}) | trace


@contextmanager
def span(name: str, origin: Origin, attributes: Attributes) -> Iterator[None]:
    """Do the body in a span that belongs to the request's trace."""
    if (trace := _opentelemetry()) is None:
        yield
        return
    from opentelemetry.propagate import extract  # noqa: PLC0415 - an optional package, and it is there

    told = {name: value for name, value in origin.fields.items() if name != "request"}
    with trace.get_tracer(NAME).start_as_current_span(
        name, context=extract(told), kind=trace.SpanKind.CONSUMER, attributes=_dotted(attributes)
    ):
        yield


def note_span(name: str, start_ns: int, end_ns: int, attributes: Attributes, *, is_good: bool = True) -> None:
    """Tell of something that is over already, as a part of the active span. Times in nanoseconds since 1970."""
    if (trace := _opentelemetry()) is None:
        return
    made = trace.get_tracer(NAME).start_span(name, start_time=start_ns, attributes=_dotted(attributes))
    if not is_good:
        made.set_status(trace.StatusCode.ERROR)
    made.end(end_ns)


def _active() -> dict[str, str]:
    """The headers of the active span; none where there is no such thing."""
    if (trace := _opentelemetry()) is None or not trace.get_current_span().get_span_context().is_valid:
        return {}
    from opentelemetry.propagate import inject  # noqa: PLC0415 - an optional package, and it is there

    carried: dict[str, str] = {}
    inject(carried)
    return carried


def _dotted(attributes: Attributes) -> dict[str, str | int]:
    return {f"{NAME}.{name}": value for name, value in attributes.items()}


@cache
def _opentelemetry() -> Any:
    """Its module of traces, or None; looked for once."""
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional package
    except ImportError:
        return None
    return trace
