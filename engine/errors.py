"""What can go wrong in decoding. No torch here.

EngineError
├── BadRequest          a request the engine cannot run; ``code`` and ``parameter`` name why
├── LoadError           weights, tokenizer or device that cannot be had
├── Unsupported         a family without the asked ability (drafting by skipping, say)
└── NonFinite           the network produced NaN or infinite logits for a row
"""


class EngineError(Exception):
    """Base of every error this package raises on purpose."""


class BadRequest(EngineError):
    """A request that can never run.

    ``code`` is a stable word for programs, ``parameter`` the field at fault.
    """

    def __init__(self, message: str, *, code: str = "bad_request", parameter: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.parameter = parameter


class LoadError(EngineError):
    """Weights, tokenizer or device that cannot be had."""


class Unsupported(EngineError):
    """The network's family lacks the asked ability."""


class NonFinite(EngineError):
    """The network produced NaN or infinite logits."""
