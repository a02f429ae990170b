"""What the frames of a search say.

node to engine   search (an order), stop_search, answer (of the notebook), skip_sets (what drafts where from now on)
engine to node   search_news, search_entry (for the notebook), search_end; `failed` as for a request
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.request import Request
from engine.search.trial import Source, Trial
from engine.skipset import SkipSet
from workers.errors import FrameError
from workers.wire.frames import Frame

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """A search to be run. `scored` and `held_out` are calibration requests.

    `max_seconds` are the device's, None for no limit; `spent` by phase before the search was interrupted. `trials` are
    known already; `can_propose` says whether a sampler stands behind the notebook. `costs` is what they were priced
    by, None where that is still to be measured. `is_shared` with helpers; `helps` is one of them.
    """

    id: str
    layers: int
    scored: tuple[Request, ...]
    held_out: tuple[Request, ...]
    batch_class: str
    max_trials: int
    max_seconds: float | None
    incumbent: SkipSet | None
    spent: Mapping[str, float]
    trials: tuple[Trial, ...]
    can_propose: bool
    costs: Json | None = None
    is_shared: bool = False
    helps: bool = False


@dataclass(frozen=True, slots=True)
class SearchNews:
    """How far a search is, about once a second."""

    id: str
    stage: str
    num_trials: int
    best_speed: float | None
    best_bits: str | None
    device_seconds: Json


@dataclass(frozen=True, slots=True)
class SearchEntry:
    """A line for the notebook: `do` is costs, claim, record or propose; of a shared search plan, ask or help too.

    Of a record, `device_seconds` are those until then.
    """

    id: str
    entry: Json


@dataclass(frozen=True, slots=True)
class SearchEnd:
    """What a search came to: the outcome, the set it speaks of, the measurements and the report."""

    id: str
    outcome: str
    finalist: Json | None
    measurements: Json
    report: Json


SearchEvent = SearchNews | SearchEntry | SearchEnd

_KINDS: dict[str, type[SearchEvent]] = {
    "search_news": SearchNews,
    "search_entry": SearchEntry,
    "search_end": SearchEnd,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def search_event_frame(event: SearchEvent) -> Frame:
    return {"type": _NAMES[type(event)], **asdict(event)}


def parse_search_event(kind: str, fields: Mapping[str, Any]) -> SearchEvent | None:
    """The event of that kind; None when it is no search's.

    Raises TypeError when a field is missing.
    """
    return None if kind not in _KINDS else _KINDS[kind](**fields)


def order_frame(order: SearchOrder, requests: Mapping[str, list[Frame]]) -> Frame:
    """`requests` are the frames of `scored` and `held_out`."""
    plain = replace(order, scored=(), held_out=(), trials=(), incumbent=None, spent={})
    return {
        "type": "search",
        **asdict(plain),
        **requests,
        "incumbent": None if order.incumbent is None else order.incumbent.bits(order.layers),
        "spent": dict(order.spent),
        "trials": [trial_json(trial, order.layers) for trial in order.trials],
    }


def parse_order(frame: Frame, requests: Mapping[str, tuple[Request, ...]]) -> SearchOrder:
    """The order of a frame whose `requests` were read already.

    Raises FrameError when a field is missing or of the wrong type.
    """
    fields = {name: value for name, value in frame.items() if name != "type"}
    try:
        bits, trials = fields["incumbent"], tuple(map(parse_trial, fields["trials"]))
        read = {"incumbent": None if bits is None else SkipSet.from_bits(bits), "trials": trials}
        return SearchOrder(**{**fields, **requests, **read})
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a search frame is malformed: {error!r}") from error


def trial_json(trial: Trial, layers: int) -> Json:
    plain = {name: getattr(trial, name) for name in Trial.__slots__ if name not in ("skip_set", "source")}
    return {"bits": trial.skip_set.bits(layers), "source": trial.source.value, **plain}


def parse_trial(value: Mapping[str, Any]) -> Trial:
    """Raises KeyError, TypeError or ValueError when it is none."""
    plain = {name: value[name] for name in Trial.__slots__ if name not in ("skip_set", "source")}
    return Trial(SkipSet.from_bits(value["bits"]), Source(value["source"]), **plain)
