"""JSON lines on stderr, for our own events and for everything that libraries log. The API logs by it, too.

No prompt or output text is ever passed to a logger; exceptions are logged by type and place, not by message.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

import structlog

SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Each says at every message what the shards' own lines say better.
CHATTY = ("celery.app.trace", "celery.beat", "celery.worker.strategy")


def configure(level: str) -> None:
    """Send structlog and the standard library's loggers to stderr as JSON lines."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # What no line tells need not be found out for every record, as by the library's own advice.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def formatter() -> logging.Formatter:
    """One line of JSON a record; its own function because gunicorn's configuration calls it."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            place_exception,
            structlog.processors.JSONRenderer(),
        ],
    )


def place_exception(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Say where an exception and its causes came from and of what type they are. Messages may quote what was sent."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(reversed(list(_places(error))))
    return event


def _places(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield _place(error, error.__traceback__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _place(error: BaseException, trace: TracebackType | None) -> str:
    lines = "".join(traceback.format_tb(trace))
    return f"Traceback (most recent call last):\n{lines}{type(error).__module__}.{type(error).__qualname__}"
