"""What can go wrong on the device side, apart from what the registry and the engine raise.

WorkerError
├── ConfigurationError   the environment or the command line cannot be used
├── DeviceMissing        the machine has no such device
├── EngineLost           the engine process went away with requests in flight
├── FrameError           bytes on the socket that are no frame
├── ShardFailed          a task could not do its shard; the sweep gives it to another
└── TextError            an item that can never run; ``code`` says why
"""


class WorkerError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(WorkerError):
    """The environment or the command line cannot be used."""


class DeviceMissing(WorkerError):
    """The machine has no such device."""


class EngineLost(WorkerError):
    """The engine process went away with requests in flight."""


class FrameError(WorkerError):
    """Bytes on the socket that are no frame."""


class ShardFailed(WorkerError):
    """A task could not do its shard; the sweep gives it to another. Names the cause's kind, never its message."""

    def __init__(self, cause: str, job_id: str, number: int) -> None:
        super().__init__(f"{cause} while doing shard {number} of {job_id}")


class TextError(WorkerError):
    """An item that can never run. ``code`` is stable, the message is for people and holds none of the item's text."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code
