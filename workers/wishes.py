"""What a job's parameters ask of the engine: from the row's JSON to requests, one a pass of an item.

Rows are as the API wrote them, or as an older release did: what is missing is off.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.request import Drafter, Request, Sampling
from engine.seeds import derive
from models.claim import Claim
from models.states import JobKind, Lane
from workers.errors import TextError
from workers.work import Pass

# Fields of the job's parameters that the engine knows by the same name; each has a default there.
_SAME = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")


def own_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """What an item's input says of its parameters, all of which may differ from the job's."""
    return dict(given.get("parameters") or {})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What all passes of a claim have in common. `vocabulary` counts the tokens that the network knows."""

    parameters: Mapping[str, Any]
    drafter: str
    is_reproducible: bool
    is_interactive: bool
    streams: bool
    vocabulary: int

    @classmethod
    def of(cls, claim: Claim, vocabulary: int) -> "Wishes":
        return cls(
            parameters=claim.parameters,
            drafter=claim.decoding.get("drafter", Drafter.AUTO),
            is_reproducible=bool(claim.decoding.get("reproducible", False)),
            is_interactive=claim.lane is Lane.INTERACTIVE,
            streams=claim.kind is JobKind.GENERATE and bool(claim.options.get("stream", False)),
            vocabulary=vocabulary,
        )

    def with_own(self, own: Mapping[str, Any]) -> "Wishes":
        """The same with the parameters that one item brings."""
        return replace(self, parameters={**self.parameters, **own}) if own else self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        stop = self.parameters.get("stop") or ()
        return (stop,) if isinstance(stop, str) else tuple(stop)

    @property
    def min_tokens(self) -> int:
        """Before so many the text cannot end."""
        return int(self.parameters.get("min_tokens") or 0)

    def request(self, request_id: str, item_index: int, one: Pass, *, alone: bool) -> Request:
        """The request of one pass of an item.

        Raises:
            TextError: a token id that the network does not know; the message names the field.
            BadRequest: a value the engine does not take.
            ValueError: a drafter that this release does not know.
        """
        self._check_tokens()
        return Request(
            id=request_id,
            prompt=one.prompt,
            max_tokens=one.max_tokens,
            sampling=self._sampling(item_index, one),
            stop=self.stops,
            stop_tokens=frozenset(self._stop_tokens),
            drafter=Drafter(self.drafter),
            reproducible=self.is_reproducible,
            interactive=self.is_interactive,
            alone=alone,
            logprobs=self.parameters.get("logprobs"),
            stream=self.streams,
        )

    def _sampling(self, item_index: int, one: Pass) -> Sampling:
        values = self.parameters
        return Sampling(
            **{name: values[name] for name in _SAME if name in values},
            seed=derive(values.get("seed", 0), item_index, one.number, one.choice),
            logit_bias=tuple((token, float(bias)) for token, bias in self._bias.items()),
            # A part of a long document has less room than the whole summary, which the client's number is about.
            min_tokens=min(self.min_tokens, one.max_tokens),
        )

    @property
    def _stop_tokens(self) -> list[int]:
        return list(self.parameters.get("stop_token_ids") or ())

    @property
    def _bias(self) -> dict[int, float]:
        return {int(token): bias for token, bias in (self.parameters.get("logit_bias") or {}).items()}

    def _check_tokens(self) -> None:
        for name, tokens in (("logit_bias", self._bias), ("stop_token_ids", self._stop_tokens)):
            for token in tokens:
                if not 0 <= token < self.vocabulary:
                    raise TextError(
                        f"{name}: there is no token {token}, the model knows 0 to {self.vocabulary - 1}",
                        code="token_out_of_range",
                    )
