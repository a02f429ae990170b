"""Every error the service answers with on purpose, each with its HTTP status.

ApiError
├── BadSetting              500  an environment variable that cannot be used (at start only)
├── Malformed               400  a body that is not UTF-8 JSON or JSON Lines
├── InvalidFields           400  fields that break the schema or a rule across fields
│   └── TooLong             400  a prompt that cannot fit the model's context
├── UnusableSource          400  a model source that does not exist or cannot be served
├── UnusableFile            400  a file that is not for this
├── NotCancellable          400  a batch that has ended
├── Unanswerable            400  a prompt that can never be answered, found out by the worker
├── Unauthorized            401  no key, a wrong one or one that has run out
├── Forbidden               403  a key without the scope
├── NotFound                404
│   ├── UnknownModel        404  a job for a model nobody registered
│   └── UnknownFile         404  a batch over a file that is not there
├── TooSlow                 408  a body that stopped arriving
├── ClientGone              408  a client that hung up while it waited
├── NotFinished             409  results of a job that still runs
├── BeingChecked            409  a repeated request for a batch that may still come to nothing
├── Superseded              409  somebody cancelled the job that a request waited for
├── TooLarge                413  a body over the limit
├── WrongMediaType          415  a body that is neither JSON nor JSON Lines
├── GenerationFailed        500  an answer that could not be made, for a fault of ours
├── SourceUnreachable       502  a hub that does not answer
├── Busy                    503  no room or no database just now
└── TimedOut                504  an answer that did not come in time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: the field's path, and the line (from 1) of a JSON Lines body."""

    field: str | None
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class ApiError(Exception):
    """Base: a status, a stable code for programs, and what is wrong field by field."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    is_final: ClassVar[bool] = False  # asking again changes nothing, though the status suggests it might

    def __init__(self, message: str, faults: Sequence[Fault] = (), retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s


class BadSetting(ApiError):
    """An environment variable that is missing or cannot be used; the process does not start."""

    code = "bad_setting"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name


class Malformed(ApiError):
    """A body that cannot be read at all."""

    status = 400
    code = "malformed_body"

    def __init__(self, message: str, line: int | None = None) -> None:
        fault = Fault(None, message, line)
        super().__init__(str(fault), (fault,))


class InvalidFields(ApiError):
    """Fields that break the schema, or a rule that spans several; every fault names its field."""

    status = 400
    code = "invalid_field"

    def __init__(self, faults: Sequence[Fault]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}", faults)

    @classmethod
    def of(cls, field: str, message: str, line: int | None = None) -> InvalidFields:
        """One fault."""
        return cls((Fault(field, message, line),))


class TooLong(InvalidFields):
    """A prompt that cannot fit the model's context, whatever the worker would make of it."""

    code = "context_length_exceeded"


class UnusableSource(ApiError):
    """A model source that does not exist, is no causal language model, or has no safe weights."""

    status = 400
    code = "unusable_source"

    def __init__(self, message: str, field: str = "source") -> None:
        super().__init__(message, (Fault(field, message),))


class UnusableFile(ApiError):
    """A file of another purpose than the one it is used for."""

    status = 400
    code = "unusable_file"

    def __init__(self, message: str) -> None:
        super().__init__(message, (Fault("input_file_id", message),))


class NotCancellable(ApiError):
    """A batch that has ended; 400 as OpenAI answers, not the 409 of jobs."""

    status = 400
    code = "batch_not_cancellable"


class Unanswerable(ApiError):
    """A prompt that can never be answered; the code is the item's."""

    status = 400
    code = "unanswerable"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unauthorized(ApiError):
    """No key, a key nobody issued, or one that expired or was revoked."""

    status = 401
    code = "invalid_api_key"


class Forbidden(ApiError):
    """A good key without the scope that the route needs."""

    status = 403
    code = "insufficient_scope"


class NotFound(ApiError):
    """Nothing of this name belongs to the caller."""

    status = 404
    code = "not_found"


class UnknownModel(NotFound):
    """A job for a model that is not registered."""

    code = "model_not_found"

    def __init__(self, name: str) -> None:
        message = f"the model {name!r} is not registered"
        super().__init__(message, (Fault("model", message),))


class UnknownFile(NotFound):
    """A batch over a file that was never uploaded, or is gone."""

    code = "file_not_found"

    def __init__(self, name: str) -> None:
        message = f"no such file: {name}"
        super().__init__(message, (Fault("input_file_id", message),))


class TooSlow(ApiError):
    """The client stopped sending its body."""

    status = 408
    code = "request_timeout"


class ClientGone(ApiError):
    """The client hung up while it waited; nobody reads this."""

    status = 408
    code = "client_gone"


class NotFinished(ApiError):
    """The whole results of a job exist once it has finished."""

    status = 409
    code = "job_not_finished"


class BeingChecked(ApiError):
    """The batch that the first request with this key made may still come to nothing. Clients repeat this."""

    status = 409
    code = "batch_being_checked"


class Superseded(ApiError):
    """The job that a request waited for was cancelled by somebody else."""

    status = 409
    code = "cancelled"
    is_final = True


class TooLarge(ApiError):
    """A body over the limit."""

    status = 413
    code = "body_too_large"


class WrongMediaType(ApiError):
    """A body of another media type than the route takes."""

    status = 415
    code = "unsupported_media_type"


class GenerationFailed(ApiError):
    """The answer could not be made. Final: a prompt that kills engines must not be sent again and again."""

    status = 500
    code = "generation_failed"
    is_final = True


class SourceUnreachable(ApiError):
    """The hub does not answer, so nobody can say whether the source is good."""

    status = 502
    code = "source_unreachable"


class Busy(ApiError):
    """The service cannot do this just now; `retry_after_s` says when to ask again."""

    status = 503
    code = "unavailable"


class TimedOut(ApiError):
    """The answer did not come in time; the work on it was stopped."""

    status = 504
    code = "deadline_exceeded"
    is_final = True
