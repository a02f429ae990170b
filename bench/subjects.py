"""What searches are compared on: networks with a planted optimum, or real ones, and three sets of prompts."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from transformers import PreTrainedModel

from bench.bulk import encode, read_documents
from bench.decoys import Decoys
from bench.planted import plant, prompts_of
from bench.weights import shape
from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.load import load
from engine.request import Request
from engine.search.costs import Load
from engine.search.meter import Meter
from engine.search.objective import Objective, best_plan
from engine.search.reference import References
from engine.search.steps import drain
from engine.skipset import SkipSet

MOST = 6  # drafts that are weighed


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and prompts: to score on, for finalists, to judge every method by."""

    name: str
    network: PreTrainedModel
    scored: Sequence[Request]
    held_out: Sequence[Request]
    judged: Sequence[Request]
    eos: frozenset[int] = frozenset()
    planted: SkipSet | None = None

    @property
    def layers(self) -> int:
        return int(self.network.config.num_hidden_layers)


def planted_subject(
    layers: int, hidden: int, tokens: int, seed: int, attention_share: float = 0.45, mlp_share: float = 0.25
) -> Subject:
    """A planted network: a skip set of these shares of the attentions and MLPs, cancelling pairs and a redundant one.

    The fewer sub-layers matter, the more each does: in deep networks with few planted a set beyond the planted one is
    faster still.
    """
    dice, middle = Random(seed), range(1, layers - 1)
    mlps = dice.sample(middle, 6 if layers >= 12 else 4)
    pairs = list(zip(mlps[::2], mlps[1::2], strict=True))
    decoys = Decoys(tuple(pairs[:-1]), (pairs[-1],))
    attention = dice.sample(middle, round(attention_share * layers))
    mlp = dice.sample([layer for layer in middle if layer not in mlps], round(mlp_share * layers))
    skip_set = SkipSet.of(attention, mlp)
    config = shape(layers, hidden, 2 * hidden, 4, 2, 512)
    network = plant(config, skip_set, 0.93, seed=seed, decoys=decoys).network
    prompts = prompts_of(config, 40, 16, seed + 100)
    requests = [Request(str(index), tuple(prompt), tokens) for index, prompt in enumerate(prompts)]
    best = SkipSet.of(attention, [*mlp, *mlps[:-1]])  # one of the redundant pair stays
    return Subject(f"planted-{layers}-{seed}", network, requests[:16], requests[16:24], requests[24:], planted=best)


def real_subject(folder: str, documents: Path, tokens: int) -> Subject:
    """A real network on the service's summarising prompts of about 200 words."""
    with tempfile.TemporaryDirectory() as home:
        loaded = load(folder, home=Path(home))
        prompts = encode(loaded.tokenizer, read_documents(documents, 20, 150))
    requests = [Request(str(index), tuple(prompt), tokens) for index, prompt in enumerate(prompts)]
    adopt(loaded.network)
    config, parts = loaded.network.config, (requests[:8], requests[8:12], requests[12:])
    return Subject(f"{config.model_type} of {config.num_hidden_layers} layers", loaded.network, *parts, loaded.eos)


def references_of(subject: Subject, requests: Sequence[Request], meter: Meter) -> References:
    """Slots for the references of these requests, nothing written yet."""
    network = subject.network
    length = max(len(request.prompt) + 2 * request.max_tokens for request in requests)
    cache = SlotCache(CacheShape.of(network, len(requests), length), network.dtype, network.device)
    return References(network, cache, range(len(requests)), subject.eos, meter)


class Judge:
    """True speeds: exact tables on prompts that no search saw, and this device's costs; the best fixed draft length, or
    adaptive exit with one of ``thresholds``.
    """

    def __init__(self, subject: Subject, costs: Load, thresholds: Sequence[float] = ()) -> None:
        meter = Meter(subject.network.device)
        self.load, self._thresholds = costs, thresholds
        self._references = references_of(subject, subject.judged, meter)
        self._objective = Objective(subject.network, self._references, costs, MOST, meter)
        self._texts = drain(self._references.write(subject.judged))
        self._known: dict[SkipSet, float] = {}

    def speed(self, skip_set: SkipSet) -> float:
        """Over plain decoding, which is what a search means that ends with no set."""
        if not skip_set:
            return 1.0
        if skip_set not in self._known:
            tables = drain(self._objective.tables(skip_set, self._texts))
            self._known[skip_set] = best_plan(tables, skip_set, self._objective.load, self._thresholds).speed
        return self._known[skip_set]
