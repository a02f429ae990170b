"""The engine process of one device: loads the model, then serves the socket. The only module that imports torch.

Started by `workers.device`, which chose the device and the threads in the environment before this process began.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

import structlog
import torch

from engine.cache import CacheShape
from engine.costs import StepCosts
from engine.errors import BadRequest, EngineError, Unsupported
from engine.family import FAMILIES, longest
from engine.load import Loaded, load
from engine.loop import Engine, Options
from engine.memory import free_memory
from engine.request import Drafter
from engine.skipset import SkipSet
from engine.stock import StockEngine, engine_for
from workers.device.options import parse
from workers.errors import ConfigurationError
from workers.exits import Exit
from workers.logs import configure
from workers.rows import RowNeed, rows_that_fit
from workers.wire import Hello, Server

log = structlog.get_logger(__name__)

_SCORE_BYTES = 8  # logits are warped in float64


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
        skip_set = _skip_set(loaded)
        known = known_costs(options.costs, can_skip=skip_set is not None)
        engine = _engine(loaded, options, skip_set, known)
    except (EngineError, ConfigurationError) as error:
        sys.stderr.write(f"skim engine: {error}\n")
        return Exit.CONFIG
    server = Server(engine, _hello(loaded, engine, options, is_measured=known is None), options.socket)
    engine.urgency.is_wanted = server.is_wanted
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    if engine.note:
        log.warning("engine drafts nothing", reason=engine.note)
    log.info(
        "engine ready",
        device=options.device,
        rows=engine.options.rows,
        threads=options.threads,
        costs="measured" if known is None else "known",
    )
    server.run()
    return Exit.OK


def _engine(loaded: Loaded, options: argparse.Namespace, skip_set: SkipSet | None, known: StepCosts | None) -> Engine:
    return engine_for(
        loaded.network,
        Options(rows=_rows(loaded, options), length=options.length),
        eos=loaded.eos,
        decode=loaded.decode,
        skip_set=skip_set,
        costs=known,
        is_measured=True,
    )


def _rows(loaded: Loaded, options: argparse.Namespace) -> int:
    """As many rows as were asked for, or as fit the memory that the network leaves.

    Raises:
        ConfigurationError: none fits.
    """
    network = loaded.network
    free = free_memory(network)
    try:
        shape = CacheShape.of(network, options.rows, longest(network, options.length))
    except Unsupported:  # it keeps no slots, and decodes one row at a time
        return int(options.rows)
    if free is None:
        return int(options.rows)
    logits = Options().width * network.config.get_text_config().vocab_size
    need = RowNeed(shape.elements_per_slot * network.dtype.itemsize, logits * (network.dtype.itemsize + _SCORE_BYTES))
    rows = rows_that_fit(options.rows, free, need)
    if rows < options.rows:
        log.warning("fewer rows fit the memory than were asked for", rows=rows, asked=options.rows, free_bytes=free)
    return rows


def known_costs(path: Path, *, can_skip: bool) -> StepCosts | None:
    """What passes cost when somebody measured them; None where nobody did or the file is of no use."""
    try:
        costs = StepCosts.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, BadRequest) as error:
        log.warning("step costs cannot be read; measuring them", reason=str(error))
        return None
    if can_skip and costs.draft is None:
        log.warning("step costs say nothing of skipping; measuring them")
        return None
    return costs


def _skip_set(loaded: Loaded) -> SkipSet | None:
    """What `skip` drafts leave out until a search finds better; None for a network that cannot skip."""
    config = loaded.network.config
    return SkipSet.starting(config.num_hidden_layers) if config.model_type in FAMILIES else None


def _hello(loaded: Loaded, engine: Engine, options: argparse.Namespace, *, is_measured: bool) -> Hello:
    config = loaded.network.config
    note = engine.note
    if note is None and Drafter.SKIP not in engine.drafters:
        note = f"no drafting by skipping: nobody has checked that it is exact for {config.model_type}"
    return Hello(
        folder=str(loaded.tokenizer_folder),
        context_length=engine.options.length,
        dtype=loaded.dtype,
        device=options.device,
        device_kind=loaded.network.device.type,
        rows=engine.options.rows,
        vocab_size=config.get_text_config().vocab_size,
        eos=tuple(sorted(loaded.eos)),
        drafters=tuple(one.value for one in engine.drafters),
        note=note,
        costs=engine.costs.to_json() if is_measured and not isinstance(engine, StockEngine) else None,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
