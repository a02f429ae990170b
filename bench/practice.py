"""The published way to find a skip set, on our own engine: a Gaussian process over all sub-layers, decoding for real.

Draft & Verify (arXiv 2309.08168, section 3.2): every evaluation decodes 8 prompts x 32 tokens with the candidate and
times it; 1000 evaluations. Its evaluations are kept in a file, so that a long run may be cut and continued.

One departure: the process models the 200 best and the 200 latest evaluations when there are more. An exact one of 1000
takes 6 s of the host for each proposal; device seconds, which are compared, are the same.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from bench.ledger import counting, decoding_s
from bench.subjects import Subject
from engine.cache import CacheShape, SlotCache
from engine.request import Drafter, Request
from engine.search.costs import DeviceCosts
from engine.search.decode import Stopwatch
from engine.search.finalists import Contender
from engine.search.meter import Meter, Phase
from engine.search.simulate import Reach
from engine.search.steps import drain
from engine.skipset import SkipSet

if TYPE_CHECKING:
    from optuna import Study

PROMPTS, TOKENS, EVALUATIONS = 8, 32, 1000
_KEPT, _SLACK = 200, 20  # best and latest evaluations that are modelled, and how many more before it is trimmed
REACH = Reach(12, 0.6, is_frozen=False)  # the paper's adaptive exit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One timed candidate: tokens per second, and what it cost; ``priced_s`` by counted passes."""

    bits: str
    speed: float
    device_s: float
    host_s: float
    priced_s: float


class Practice:
    """The published search on one network, continued from what ``log`` holds."""

    def __init__(self, subject: Subject, costs: DeviceCosts, log: Path, seed: int) -> None:
        import optuna  # noqa: PLC0415  the extra ``search``; other benches do without
        from optuna.distributions import BaseDistribution, IntDistribution  # noqa: PLC0415

        requests = [Request(one.id, one.prompt, TOKENS, one.sampling) for one in subject.scored[:PROMPTS]]
        network = subject.network
        self._network, self._costs, self._meter = network, costs, Meter(network.device)
        length = max(len(request.prompt) for request in requests) + TOKENS
        cache = SlotCache(CacheShape.of(network, 1, length), network.dtype, network.device)
        self._time = Stopwatch(network, cache, 0, requests, subject.eos, self._meter)
        self._log = log
        names = [f"x{index}" for index in range(2 * subject.layers)]
        self._space: dict[str, BaseDistribution] = {name: IntDistribution(0, 1) for name in names}
        lines = log.read_text().splitlines() if log.exists() else []
        self.evaluations = [Evaluation(**json.loads(line)) for line in lines]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sampler = optuna.samplers.GPSampler(seed=seed + len(self.evaluations), n_startup_trials=10)
        self._study = self._open()

    def step(self) -> Evaluation:
        """One evaluation."""
        began = perf_counter()
        if len(self._study.trials) > 2 * _KEPT + _SLACK:
            self._study = self._open()
        trial = self._study.ask(self._space)
        bits = "".join(str(trial.params[name]) for name in self._space)
        proposed = perf_counter()
        before, skip_set = self._meter.seconds[Phase.TIMING], SkipSet.from_bits(bits)
        with counting(self._network) as counts:
            speed = drain(self._time(Contender(Drafter.SKIP, skip_set, REACH)))
        self._study.tell(trial, speed)
        device_s = self._meter.seconds[Phase.TIMING] - before
        priced_s = decoding_s(counts, skip_set, self._costs)
        evaluation = Evaluation(bits, speed, device_s, proposed - began, priced_s)
        self.evaluations.append(evaluation)
        with self._log.open("a") as log:
            log.write(json.dumps(asdict(evaluation)) + "\n")
        return evaluation

    def _open(self) -> "Study":
        """A study that holds what is modelled."""
        import optuna  # noqa: PLC0415  as above

        early, latest = self.evaluations[:-_KEPT], self.evaluations[-_KEPT:]
        best = sorted(early, key=lambda one: -one.speed)[:_KEPT]
        study = optuna.create_study(direction="maximize", sampler=self._sampler)
        for one in [*best, *latest]:
            params = {name: int(bit) for name, bit in zip(self._space, one.bits, strict=True)}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=self._space, value=one.speed))
        return study
