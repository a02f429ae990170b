"""Which requests an engine can run at all. Knows the engine's sizes, not its state."""

from dataclasses import dataclass

from engine.errors import BadRequest
from engine.request import Drafter, Request


@dataclass(frozen=True, slots=True)
class Limits:
    """What one engine has: tokens of context, size of the vocabulary, a skip set to draft with, a tokenizer.

    ``only_plain`` says why it drafts nothing; None for an engine that drafts.
    """

    length: int
    vocabulary: int
    can_skip: bool
    can_decode: bool
    only_plain: str | None = None

    @property
    def drafters(self) -> tuple[Drafter, ...]:
        """What a request may ask for."""
        if self.only_plain is not None:
            return (Drafter.AUTO, Drafter.PLAIN)
        return tuple(one for one in Drafter if self.can_skip or one not in (Drafter.SKIP, Drafter.CASCADE))

    def check(self, request: Request) -> None:
        """Raises BadRequest, naming the field, for a request that could never run."""
        self._check_tokens(request)
        if request.drafter not in self.drafters:
            reason = f": {self.only_plain}" if self.only_plain else ""
            raise BadRequest(
                f"drafter {request.drafter} is not available here; there are {', '.join(self.drafters)}{reason}",
                code="drafter_unavailable",
                parameter="drafter",
            )
        if request.stop and not self.can_decode:
            raise BadRequest("stop strings need a tokenizer", parameter="stop")

    def _check_tokens(self, request: Request) -> None:
        if len(request.prompt) + request.max_tokens > self.length:
            raise BadRequest(
                f"{len(request.prompt)} prompt tokens and max_tokens {request.max_tokens} exceed"
                f" the context of {self.length}",
                code="context_length_exceeded",
                parameter="max_tokens",
            )
        named = {
            "prompt": request.prompt,
            "logit_bias": [token for token, _ in request.sampling.logit_bias],
            "stop_tokens": request.stop_tokens,
        }
        for parameter, tokens in named.items():
            if any(not 0 <= token < self.vocabulary for token in tokens):
                raise BadRequest(
                    f"the network knows tokens 0 to {self.vocabulary - 1} only",
                    code="token_out_of_range",
                    parameter=parameter,
                )
