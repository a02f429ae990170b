"""Exit statuses of the worker's processes, as scripts and service managers may rely on (numbers of sysexits.h)."""

from enum import IntEnum


class Exit(IntEnum):
    """Why a process ended."""

    OK = 0
    UNAVAILABLE = 69  # the registry does not answer
    CONFIG = 78  # no such device or model, or weights that cannot be loaded: starting again will not help
    INTERRUPTED = 130  # Ctrl-C before there was anything to stop
