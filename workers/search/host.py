"""The search that an engine process runs beside its rows: at most one, a unit at a time.

Whatever it raises ends the search alone. What it says leaves as events; who asked for it is the server's business.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog
from transformers import PreTrainedModel

from engine.errors import BadRequest, EngineError, Unsupported
from engine.lineup import Active, BatchClass
from engine.loop import Engine
from engine.request import Failed
from engine.search.run import Run, Wish, spent_of, token_chunk
from engine.search.search import Budget, Calibration
from engine.shortage import is_shortage
from engine.skipset import SkipSet
from engine.stock import StockEngine
from workers.search.notebook import RemoteNotebook
from workers.search.prices import load_json, parse_load
from workers.search.report import end_of, seconds_of
from workers.wire.searches import Json, SearchEntry, SearchEvent, SearchNews, SearchOrder

log = structlog.get_logger(__name__)

UNIT_S = 0.12  # that units of many tokens are cut to
NEWS_S = 1.0

Told = SearchEvent | Failed


class SearchHost:
    """Searches on the network of an engine, and exchanges the skip sets that it drafts with."""

    def __init__(self, engine: Engine, network: PreTrainedModel, eos: frozenset[int]) -> None:
        self._engine, self._network, self._eos = engine, network, eos
        self._run: Run | None = None
        self._id = ""
        self._notebook: RemoteNotebook | None = None
        self._outbox: list[Told] = []
        self._said_at = 0.0
        self._is_priced = False
        self._known: dict[BatchClass, Active] = {}  # the last set of each class
        self.num_units = 0
        engine.relief.on_shortage = self._give_way

    @property
    def is_ready(self) -> bool:
        """Whether there is a unit to do now, or something to be said."""
        is_waiting = self._notebook is None or self._notebook.is_waiting
        return bool(self._outbox) or not is_waiting

    def start(self, order: SearchOrder) -> Sequence[Told]:
        """Begin a search; the work comes in units."""
        if self._run is not None:
            return [Failed(order.id, "search_running", "this device is searching already")]
        try:
            self._begin(order)
        except BadRequest as error:
            return [Failed(order.id, error.code, str(error))]
        except Unsupported as error:
            return [Failed(order.id, "search_unsupported", str(error))]
        except (RuntimeError, MemoryError, ValueError) as error:
            return [self._broken(order.id, error)]
        return []

    def stop(self, search_id: str) -> None:
        """Forget a search; nothing is said of it any more."""
        if self._run is not None and search_id == self._id:
            self._run = self._notebook = None
            self._outbox.clear()

    def answer(self, search_id: str, entry: Json) -> None:
        """What the notebook's keeper says."""
        if self._notebook is not None and search_id == self._id:
            self._notebook.answer(entry)

    def step(self) -> Sequence[Told]:
        """Do a unit, and say what is to be said."""
        if self._run is not None:
            self.num_units += 1
            try:
                self._advance(self._run)
            except Exception as error:  # it fails alone: rows decode on
                self._end(self._broken(self._id, error))
        told, self._outbox = self._outbox, []
        return told

    def _advance(self, run: Run) -> None:
        is_over = not run.step()
        if run.load is not None and not self._is_priced:
            self._is_priced = True
            self._enter({"do": "costs", "costs": load_json(run.load)})
        if is_over:
            self._outbox.append(self._news(run))
            self._end(end_of(self._id, run))
        elif time.monotonic() - self._said_at > NEWS_S:
            self._said_at = time.monotonic()
            self._outbox.append(self._news(run))

    def swap(self, classes: Mapping[str, Json | None]) -> None:
        """Draft with other sets: {batch class: {id, bits, share, acceptance}}, None where nothing beats plain decoding.

        Raises: BadRequest for a set that the network cannot leave out.
        """
        chosen = {BatchClass(name): self._active(BatchClass(name), value) for name, value in classes.items()}
        self._engine.swap({name: active for name, active in chosen.items() if active is not None})
        self._known |= {name: active for name, active in chosen.items() if active is not None}

    def _begin(self, order: SearchOrder) -> None:
        if isinstance(self._engine, StockEngine):
            raise Unsupported(self._engine.note or "this network drafts nothing")
        notebook = RemoteNotebook(
            order.layers, order.trials, self._enter, can_propose=order.can_propose, is_shared=order.is_shared
        )
        wish = Wish(
            Calibration(order.scored, order.held_out),
            BatchClass(order.batch_class),
            Budget(order.max_trials, order.max_seconds or float("inf")),
            order.incumbent,
            spent=spent_of(order.spent),
            load=None if order.costs is None else parse_load(order.costs),
            helps=order.helps,
        )
        options = self._engine.options
        self._run = Run(
            self._network,
            wish,
            notebook,
            length=options.length,
            rows=options.rows,
            eos=self._eos,
            chunk=token_chunk(self._engine.costs.verify, UNIT_S),
        )
        self._id, self._notebook, self._said_at = order.id, notebook, 0.0
        self._is_priced = order.costs is not None

    def _enter(self, entry: Json) -> None:
        if entry["do"] == "record" and self._run is not None:
            entry = {**entry, "device_seconds": self._run.meter.search_s}
        self._outbox.append(SearchEntry(self._id, entry))

    def _news(self, run: Run) -> SearchNews:
        best = run.best
        return SearchNews(
            self._id,
            run.stage.value,
            len(run.trials),
            None if best is None else best.speed,
            None if best is None else best.skip_set.bits(run.layers),
            seconds_of(run.meter.seconds),
        )

    def _give_way(self) -> bool:
        """Rows are short of memory: the search goes, with its slots."""
        if self._run is None:
            return False
        self._end(self._broken(self._id, MemoryError()))
        return True

    def _end(self, event: Told) -> None:
        self._outbox.append(event)
        self._run = self._notebook = None

    def _broken(self, search_id: str, error: BaseException) -> Failed:
        """What is said of a search that raised; messages of unknown errors may quote a prompt and are kept out."""
        if is_shortage(error):
            return Failed(search_id, "out_of_memory", "the device has not enough memory beside its rows for a search")
        if isinstance(error, BadRequest):
            return Failed(search_id, error.code, str(error))
        if isinstance(error, EngineError):
            return Failed(search_id, "search_failed", str(error))
        log.error("a search failed", reason=type(error).__name__, exc_info=error)
        return Failed(search_id, "search_failed", f"the search broke: {type(error).__name__}")

    def _active(self, kind: BatchClass, value: Json | None) -> Active | None:
        """Plain decoding keeps the last set known, for rows that ask for it."""
        if value is not None:
            skip_set = SkipSet.from_bits(value["bits"])
            return Active(skip_set, value["id"], value.get("share"), value.get("acceptance"))
        last = self._known.get(kind) or self._engine.start_set
        return None if last is None else replace(last, is_plain=True)
