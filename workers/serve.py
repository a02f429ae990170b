"""The engine process of one device: loads the model, then serves the socket. The only module that imports torch.

Started by `workers.device`, which chose the device and the threads in the environment before this process began.
"""

import argparse
import signal
import sys

import structlog
import torch

from engine.errors import EngineError
from engine.family import FAMILIES
from engine.load import Loaded, load
from engine.loop import Engine, Options
from engine.skipset import SkipSet
from workers.device.options import parse
from workers.exits import Exit
from workers.logs import configure
from workers.wire import Hello, Server

log = structlog.get_logger(__name__)


def main(arguments: list[str]) -> Exit:
    """Serve until told to stop."""
    options = parse(arguments)
    configure(options.log_level)
    torch.set_num_threads(options.threads)
    try:
        loaded = load(
            options.source,
            revision=options.revision or None,
            dtype=options.dtype,
            device=options.device,
            home=options.home,
        )
        engine = _engine(loaded, options)
    except EngineError as error:
        sys.stderr.write(f"skim engine: {error}\n")
        return Exit.CONFIG
    server = Server(engine, _hello(loaded, options), options.socket)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    log.info("engine ready", device=options.device, rows=options.rows, threads=options.threads)
    server.run()
    return Exit.OK


def _engine(loaded: Loaded, options: argparse.Namespace) -> Engine:
    return Engine(
        loaded.network,
        Options(rows=options.rows, length=options.length),
        eos=loaded.eos,
        decode=loaded.decode,
        skip_set=_skip_set(loaded),
        is_measured=True,
    )


def _skip_set(loaded: Loaded) -> SkipSet | None:
    """What `skip` drafts leave out until a search finds better; None for a network that cannot skip."""
    config = loaded.network.config
    return SkipSet.starting(config.num_hidden_layers) if config.model_type in FAMILIES else None


def _hello(loaded: Loaded, options: argparse.Namespace) -> Hello:
    return Hello(
        folder=str(loaded.tokenizer_folder),
        context_length=options.length,
        dtype=loaded.dtype,
        device=options.device,
        device_kind=options.device.partition(":")[0],
        rows=options.rows,
        vocab_size=loaded.network.config.vocab_size,
        eos=tuple(sorted(loaded.eos)),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
