"""An engine process without a network, for fault tests: speaks the real protocol, repeats the prompt, fails on demand.

It is ready once the file `ECHO_GATE` exists. "Measured" step costs are a count: one more than those it was told.
Words in a prompt make it misbehave: POISON kills the process in the first pass that includes the row, HANG makes that
pass last for ever. A step takes `ECHO_STEP_S` seconds and gives every row one token: a run is as long as a test wants.
With `ECHO_NOISE` it keeps the engine's contract of sampling: at a temperature it draws from the prompt's tokens, by
seed and position alone if the request is reproducible, else by the shape of the pass too.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import BadRequest
from engine.request import (
    Admitted,
    Drafter,
    Event,
    Finished,
    FinishReason,
    Progress,
    Request,
    Statistics,
    TokenLogprob,
)
from tests.acceptance.workers.noise import pick
from workers.device.options import parse
from workers.logs import configure
from workers.text import Text
from workers.wire import Hello, Server

MEMORY = (3 << 20, 8 << 20)  # in use and in all, as far as anybody asks
DRAFTED, ACCEPTED = 3, 2  # for every token, as far as anybody counts
STEP_S = float(os.environ.get("ECHO_STEP_S", "0.01"))
IS_NOISY = bool(os.environ.get("ECHO_NOISE"))


@dataclass
class Row:
    """A request being repeated."""

    request: Request
    tokens: list[int] = field(default_factory=list)

    def take(self, num_rows: int) -> None:
        """Say one token more, in a pass of so many rows."""
        prompt, sampling = self.request.prompt, self.request.sampling
        keys = (sampling.seed,) if self.request.reproducible else (sampling.seed, num_rows)
        is_drawn = IS_NOISY and not sampling.is_greedy
        self.tokens.append(prompt[pick(len(prompt), len(self.tokens), *(keys if is_drawn else ()))])

    def progress(self) -> Progress:
        last = tuple(self.tokens[-1:])
        return Progress(self.request.id, len(self.tokens) - 1, last, self._logprobs(last))

    def finished(self, reason: FinishReason, stop: str | None = None) -> Finished:
        num_prompt, num_tokens = len(self.request.prompt), len(self.tokens)
        drafts = DRAFTED * num_tokens, ACCEPTED * num_tokens
        cost = Statistics(num_prompt, num_tokens, num_tokens, *drafts, Drafter.PLAIN, 0.0, 0.0, num_tokens * STEP_S)
        return Finished(self.request.id, tuple(self.tokens), reason, stop, cost, self._logprobs(self.tokens))

    def _logprobs(self, tokens: Sequence[int]) -> tuple[TokenLogprob, ...] | None:
        """The same for every token: its rivals are those before it in the vocabulary."""
        if self.request.logprobs is None:
            return None
        tops = [tuple((token - rank, -0.5 - rank) for rank in range(self.request.logprobs)) for token in tokens]
        return tuple(TokenLogprob(token, -0.5, top) for token, top in zip(tokens, tops, strict=True))


class Echo:
    """A decoder whose output is its prompt, over and over, or drawn from it."""

    def __init__(self, text: Text, rows: int, length: int) -> None:
        self._text = text
        self._num_rows = rows
        self._length = length
        self._rows: list[Row] = []
        self._waiting: list[Row] = []
        self.num_steps = 0

    @property
    def is_idle(self) -> bool:
        return not self._rows and not self._waiting

    def submit(self, request: Request) -> None:
        if len(request.prompt) + request.max_tokens > self._length:
            raise BadRequest("too long", code="context_length_exceeded")
        self._waiting.append(Row(request))

    def cancel(self, request_id: str) -> Sequence[Event]:
        for rows in (self._rows, self._waiting):
            for row in rows:
                if row.request.id == request_id:
                    rows.remove(row)
                    return [row.finished(FinishReason.CANCELLED)]
        return []

    def admit(self) -> Sequence[Event]:
        fresh = []
        while self._waiting and len(self._rows) < self._num_rows and not any(r.request.alone for r in self._rows):
            row = next((row for row in self._waiting if not row.request.alone), None)
            if row is None and self._rows:
                break
            row = row or self._waiting[0]
            self._waiting.remove(row)
            self._rows.append(row)
            fresh.append(Admitted(row.request.id))
        return fresh

    def step(self) -> Sequence[Event]:
        self.num_steps += 1
        for row in self._rows:
            self._suffer(row)
        time.sleep(STEP_S)
        events: list[Event] = []
        num_rows = len(self._rows)
        for row in list(self._rows):
            row.take(num_rows)
            if row.request.stream:
                events.append(row.progress())
            said = self._text.decode(row.tokens) if row.request.stop else ""
            stop = next((stop for stop in row.request.stop if said.endswith(stop)), None)
            if stop is not None or len(row.tokens) == row.request.max_tokens:
                self._rows.remove(row)
                events.append(row.finished(FinishReason.LENGTH if stop is None else FinishReason.STOP, stop))
        return events

    def _suffer(self, row: Row) -> None:
        if row.tokens:
            return
        text = self._text.decode(row.request.prompt)
        if "POISON" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "HANG" in text:
            time.sleep(3600)


def wait_for_gate() -> None:
    gate = os.environ.get("ECHO_GATE")
    while gate is not None and not Path(gate).exists():
        time.sleep(0.01)


def main() -> int:
    options = parse(sys.argv[1:])
    configure(options.log_level)
    known = json.loads(options.costs.read_text()) if options.costs.exists() else {"starts": 0}
    costs = {"starts": known["starts"] + 1}
    wait_for_gate()
    served = options.source, options.length, "float32", "cpu", "cpu", options.rows, 256, (0,), ("auto", "plain")
    hello = Hello(*served, note="an echo drafts nothing", costs=costs)
    server = Server(
        Echo(Text(Path(options.source)), options.rows, options.length), hello, options.socket, lambda: MEMORY
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    server.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
