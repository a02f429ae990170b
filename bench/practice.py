"""The published way to find a skip set, on our own engine: a Gaussian process over all sub-layers, decoding for real.

Draft & Verify (arXiv 2309.08168, section 3.2): every evaluation decodes 8 prompts x 32 tokens with the candidate and
times it; 1000 evaluations. Its evaluations are kept in a file, so that a long run may be cut and continued.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from transformers import PreTrainedModel

from engine.cache import CacheShape, SlotCache
from engine.request import Drafter, Request
from engine.search.decode import Stopwatch
from engine.search.finalists import Contender
from engine.search.meter import Meter, Phase
from engine.search.simulate import Reach
from engine.search.steps import drain
from engine.skipset import SkipSet

PROMPTS, TOKENS, EVALUATIONS = 8, 32, 1000
REACH = Reach(12, 0.6, is_frozen=False)  # the paper's adaptive exit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One timed candidate: tokens per second, and what it cost."""

    bits: str
    speed: float
    device_s: float
    host_s: float


class Practice:
    """The published search on one network, continued from what ``log`` holds."""

    def __init__(
        self, network: PreTrainedModel, requests: Sequence[Request], eos: frozenset[int], log: Path, seed: int
    ) -> None:
        import optuna  # noqa: PLC0415  the extra ``search``; other benches do without
        from optuna.distributions import BaseDistribution, IntDistribution  # noqa: PLC0415

        layers = network.config.num_hidden_layers
        self._meter = Meter(network.device)
        length = max(len(request.prompt) for request in requests) + TOKENS
        cache = SlotCache(CacheShape.of(network, 1, length), network.dtype, network.device)
        self._time = Stopwatch(network, cache, 0, requests, eos, self._meter)
        self._log = log
        self._space: dict[str, BaseDistribution] = {f"x{index}": IntDistribution(0, 1) for index in range(2 * layers)}
        lines = log.read_text().splitlines() if log.exists() else []
        self.evaluations = [Evaluation(**json.loads(line)) for line in lines]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.GPSampler(seed=seed + len(self.evaluations), n_startup_trials=10)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        for one in self.evaluations:
            params = {name: int(bit) for name, bit in zip(self._space, one.bits, strict=True)}
            self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._space, value=one.speed))

    def step(self) -> Evaluation:
        """One evaluation."""
        began = perf_counter()
        trial = self._study.ask(self._space)
        bits = "".join(str(trial.params[name]) for name in self._space)
        proposed = perf_counter()
        before = self._meter.seconds[Phase.TIMING]
        speed = self.time(SkipSet.from_bits(bits))
        self._study.tell(trial, speed)
        device_s = self._meter.seconds[Phase.TIMING] - before
        evaluation = Evaluation(bits, speed, device_s, proposed - began)
        self.evaluations.append(evaluation)
        with self._log.open("a") as log:
            log.write(json.dumps({name: getattr(evaluation, name) for name in Evaluation.__slots__}) + "\n")
        return evaluation

    def time(self, skip_set: SkipSet) -> float:
        """Tokens per second of decoding the prompts with a set."""
        return drain(self._time(Contender(Drafter.SKIP, skip_set, REACH)))

    @property
    def device_s(self) -> float:
        return sum(one.device_s for one in self.evaluations)
