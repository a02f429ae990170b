"""Keeps one engine process and two nodes running for one device, and stops them in the right order."""

import time

import structlog

from models.states import Lane
from workers.device.child import Child
from workers.device.figures import Figures
from workers.device.plan import Plan
from workers.device.presence import Presence, Status
from workers.device.sets import Sets
from workers.exits import Exit
from workers.wire import Hello, Link

log = structlog.get_logger(__name__)

TICK_S = 0.25
MARGIN_S = 4.0  # beyond the grace period, for what a node writes at its end


class Supervisor:
    """Runs on the main thread: children are tied to it."""

    def __init__(self, plan: Plan, presence: Presence) -> None:
        self._plan = plan
        self._presence = presence
        self._engine = Child("engine", plan.engine_command(), plan.engine_environment())
        self._nodes = [
            Child(f"{lane.value} node", plan.node_command(lane), plan.node_environment())
            for lane in (Lane.INTERACTIVE, Lane.BULK)
        ]
        self._link = Link(plan.socket)
        self._told: tuple[Hello | None, Sets] = (None, {})  # which engine drafts with what
        self._num_stops = 0

    def stop(self) -> None:
        """Stop in order; the second time, at once. Safe in a signal handler."""
        self._num_stops += 1

    def figures(self) -> Figures:
        """The device at this moment. May be called by any thread."""
        children = (self._engine, *self._nodes)
        return Figures(
            model=self._plan.model.name,
            device=self._plan.device.name,
            hello=self._link.hello,
            pulse=self._link.pulse,
            stalled_s=self._link.stalled_s(),
            restarts={child.name: max(0, child.num_starts - 1) for child in children},
        )

    def run(self) -> Exit:
        """Supervise until stopped, or until the engine says that it can never run."""
        try:
            while not self._num_stops:
                if self._engine.keep() == Exit.CONFIG:
                    log.error("the engine cannot start; see its message above")
                    return Exit.CONFIG
                self._watch()
                time.sleep(TICK_S)
            return Exit.OK
        finally:
            self._shut_down()

    def _watch(self) -> None:
        """Look after nodes once there is an engine, and after an engine that hangs."""
        hello = self._link.hello
        self._presence.update(Status.READY if hello else Status.LOADING, hello)
        if hello is not None and self._link.stalled_s() > self._plan.settings.stall_s:
            log.error("the engine makes no progress; killing it", stalled_s=self._plan.settings.stall_s)
            self._engine.kill()
            return
        if hello is not None:
            self._engine.trust()
            self._swap(hello)
        # Nodes start after the first engine is ready and stay when it is lost.
        for node in self._nodes:
            if hello is not None or node.was_started:
                node.keep()

    def _swap(self, hello: Hello) -> None:
        """Tell the engine which skip sets to draft with, when that has changed or the engine is a new one."""
        to_tell = hello, self._presence.sets
        if to_tell[0] is not self._told[0] or to_tell[1] != self._told[1]:
            self._link.swap(to_tell[1])
            self._told = to_tell

    def _shut_down(self) -> None:
        self._presence.update(Status.STOPPING, self._link.hello)
        self._end(self._nodes, self._plan.settings.grace_s + MARGIN_S)
        self._link.close()
        self._end([self._engine], MARGIN_S)

    def _end(self, children: list[Child], patience_s: float) -> None:
        give_up_at = time.monotonic() + patience_s
        for child in children:
            child.terminate()
        while any(child.is_running for child in children):
            if time.monotonic() > give_up_at or self._num_stops > 1:
                for child in children:
                    child.kill()
            time.sleep(TICK_S / 5)
