"""The two ends of the socket, with a decoder that is told what to do."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from engine.errors import BadRequest
from engine.request import (
    Admitted,
    Drafter,
    Event,
    Failed,
    Finished,
    FinishReason,
    Progress,
    Request,
    Statistics,
    TokenLogprob,
)
from workers.errors import EngineLost
from workers.wire import Hello, Link, Server, frames

HELLO = Hello("/nowhere", 100, "float32", "cpu", "cpu", 4, 256, (0,))
PATIENCE_S = 5.0


class Breakdown(Exception):
    """What a decoder dies of."""


class Script:
    """Finishes a request after as many steps as it asks for tokens; token 13 in a prompt kills it after admission."""

    def __init__(self) -> None:
        self.num_steps = 0
        self.rows: dict[str, list[int]] = {}
        self.waiting: list[Request] = []
        self.requests: dict[str, Request] = {}
        self.is_wanted: Callable[[], bool] = lambda: False
        self.was_wanted = False

    @property
    def is_idle(self) -> bool:
        return not self.rows and not self.waiting

    def submit(self, request: Request) -> None:
        if request.max_tokens > 100:
            raise BadRequest("too long", code="context_length_exceeded")
        self.waiting.append(request)
        self.requests[request.id] = request

    def cancel(self, request_id: str) -> Sequence[Event]:
        self.waiting = [request for request in self.waiting if request.id != request_id]
        return [self._finish(request_id, FinishReason.CANCELLED)] if request_id in self.requests else []

    def admit(self) -> Sequence[Event]:
        fresh, self.waiting = self.waiting, []
        self.rows.update({request.id: [] for request in fresh})
        return [Admitted(request.id) for request in fresh]

    def step(self) -> Sequence[Event]:
        self.num_steps += 1
        time.sleep(0.005)
        self.was_wanted |= self.is_wanted()
        if any(13 in self.requests[name].prompt for name in self.rows):
            raise Breakdown
        told: list[Event] = []
        for name, tokens in self.rows.items():
            tokens.append(7)
            if self.requests[name].stream:
                told.append(Progress(name, len(tokens) - 1, (7,)))
        done = [name for name, tokens in self.rows.items() if len(tokens) >= self.requests[name].max_tokens]
        return [*told, *(self._finish(name, FinishReason.LENGTH) for name in done)]

    def _finish(self, name: str, reason: FinishReason) -> Finished:
        tokens = tuple(self.rows.pop(name, ()))
        wants = self.requests.pop(name).logprobs is not None
        cost = Statistics(1, len(tokens), len(tokens), 0, 0, Drafter.PLAIN, 0.0, 0.0, 0.0)
        logprobs = tuple(TokenLogprob(token, -0.5) for token in tokens) if wants else None
        return Finished(name, tokens, reason, None, cost, logprobs)


class Ends:
    """A server in a thread, restartable, and links to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.links: list[Link] = []
        self.start()

    def start(self) -> None:
        self.decoder = Script()
        self.server = Server(self.decoder, HELLO, self.path)
        self.decoder.is_wanted = self.server.is_wanted
        self.thread = threading.Thread(target=self._serve, args=(self.server,))
        self.thread.start()

    def _serve(self, server: Server) -> None:
        with suppress(Breakdown):
            server.run()

    def link(self) -> Link:
        link = Link(self.path, retry_s=0.01)
        self.links.append(link)
        assert link.wait(PATIENCE_S) == HELLO
        return link

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.server.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    pair = Ends(tmp_path / "engine.sock")
    yield pair
    pair.close()


class Inbox:
    """What was delivered."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Event | EngineLost] = SimpleQueue()
        self.put = self._queue.put

    def get(self) -> Event | EngineLost:
        return self._queue.get(timeout=PATIENCE_S)

    def is_empty(self) -> bool:
        try:
            self._queue.get_nowait()
        except Empty:
            return True
        return False


def test_every_request_gets_its_own_answer(ends: Ends) -> None:
    link = ends.link()
    inboxes = [Inbox() for _ in range(20)]
    for number, inbox in enumerate(inboxes):
        link.submit(Request(str(number), (1,), number + 1), inbox.put)

    for number, inbox in enumerate(inboxes):
        admitted, finished = inbox.get(), inbox.get()
        assert admitted == Admitted(str(number))
        assert isinstance(finished, Finished)
        assert (finished.id, len(finished.tokens)) == (str(number), number + 1)


def test_an_interactive_request_is_noticed_in_the_middle_of_a_round(ends: Ends) -> None:
    link, inbox, bulk = ends.link(), Inbox(), Inbox()
    link.submit(Request("bulk", (1,), 100), bulk.put)
    assert bulk.get() == Admitted("bulk")
    was_wanted = ends.decoder.was_wanted

    link.submit(Request("now", (1,), 1, interactive=True), inbox.put)

    assert inbox.get() == Admitted("now")
    assert isinstance(inbox.get(), Finished)
    assert (was_wanted, ends.decoder.was_wanted) == (False, True)


def test_two_clients_may_use_the_same_ids(ends: Ends) -> None:
    answers = []
    for link, num_tokens in ((ends.link(), 3), (ends.link(), 5)):
        inbox = Inbox()
        link.submit(Request("same", (1,), num_tokens), inbox.put)
        answers.append(inbox)

    finished = [(inbox.get(), inbox.get())[1] for inbox in answers]
    assert [len(event.tokens) for event in finished if isinstance(event, Finished)] == [3, 5]


def test_progress_comes_before_the_end_and_does_not_end_the_request(ends: Ends) -> None:
    link, inbox = ends.link(), Inbox()
    link.submit(Request("a", (1,), 3, logprobs=0, stream=True), inbox.put)

    admitted, *told, finished = (inbox.get() for _ in range(5))
    assert admitted == Admitted("a")
    assert told == [Progress("a", start, (7,)) for start in range(3)]
    assert isinstance(finished, Finished)
    assert finished.logprobs == (TokenLogprob(7, -0.5),) * 3
    assert ends.decoder.is_idle


def test_an_answer_that_fits_no_frame_fails_alone(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    link, long, fine = ends.link(), Inbox(), Inbox()
    monkeypatch.setattr(frames, "MAX_BYTES", 600)
    link.submit(Request("long", (1,), 60, logprobs=0), long.put)
    link.submit(Request("fine", (1,), 1), fine.put)

    assert (long.get(), fine.get()) == (Admitted("long"), Admitted("fine"))
    failed = long.get()
    assert isinstance(failed, Failed)
    assert failed.code == "answer_too_large"
    assert isinstance(fine.get(), Finished)


def test_what_the_engine_refuses_fails_alone(ends: Ends) -> None:
    link, refused, fine = ends.link(), Inbox(), Inbox()
    link.submit(Request("long", (1,), 101), refused.put)
    link.submit(Request("fine", (1,), 1), fine.put)

    assert refused.get() == Failed("long", "context_length_exceeded", "too long")
    assert fine.get() == Admitted("fine")


def test_a_cancelled_request_ends_between_rounds(ends: Ends) -> None:
    link, inbox = ends.link(), Inbox()
    link.submit(Request("a", (1,), 100), inbox.put)
    assert inbox.get() == Admitted("a")
    link.cancel("a")

    finished = inbox.get()
    assert isinstance(finished, Finished)
    assert finished.finish_reason is FinishReason.CANCELLED


def test_a_client_that_leaves_takes_its_requests_along(ends: Ends) -> None:
    leaver, stayer, inbox = ends.link(), ends.link(), Inbox()
    leaver.submit(Request("a", (1,), 100), Inbox().put)
    stayer.submit(Request("b", (1,), 30), inbox.put)
    assert inbox.get() == Admitted("b")
    leaver.close()

    assert isinstance(inbox.get(), Finished)
    assert ends.decoder.is_idle


def test_the_loss_comes_after_everything_that_was_said(ends: Ends) -> None:
    link, inbox = ends.link(), Inbox()
    link.submit(Request("killer", (13,), 5), inbox.put)

    assert inbox.get() == Admitted("killer")
    assert isinstance(inbox.get(), EngineLost)
    assert inbox.is_empty()
    ends.start()


def test_a_link_finds_the_engine_that_comes_after(ends: Ends) -> None:
    link, inbox = ends.link(), Inbox()
    link.submit(Request("killer", (13,), 5), inbox.put)
    inbox.get(), inbox.get()
    with pytest.raises(EngineLost):
        link.submit(Request("early", (1,), 1), inbox.put)
    ends.start()

    assert link.wait(PATIENCE_S) == HELLO
    link.submit(Request("later", (1,), 1), inbox.put)
    assert inbox.get() == Admitted("later")


def test_pulses_keep_an_idle_engine_from_looking_stalled(ends: Ends) -> None:
    link = ends.link()
    time.sleep(1.6)

    assert link.stalled_s() < 1.5


def test_nonsense_ends_only_its_own_connection(ends: Ends) -> None:
    link, inbox = ends.link(), Inbox()
    with socket.socket(socket.AF_UNIX) as intruder:
        intruder.connect(str(ends.path))
        intruder.sendall(b"\xff\xff\xff\xffnonsense")
        link.submit(Request("a", (1,), 3), inbox.put)
        assert inbox.get() == Admitted("a")
