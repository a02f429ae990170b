"""The task of the device's nodes: claim a shard, carry it through the engine, finish it or give it back."""

from collections.abc import Callable

import structlog
from celery import Task
from structlog.contextvars import bound_contextvars

from models.claim import Claim, claim
from models.errors import LeaseLost
from models.faults import Point, reach
from models.shard import ShardRef
from models.sharing import LEAD, pass_on, waiting_helpers
from models.states import Lane
from workers.app import app, settings
from workers.carrier import Carrier, Outcome
from workers.errors import ShardFailed
from workers.item import Item, workshop
from workers.ledger import Ledger
from workers.node import Node, attach
from workers.queues import SHARD_TASK, Origin
from workers.queues.origin import span
from workers.report import Report
from workers.search.shard import carry_search, is_elsewhere
from workers.stream import Teller
from workers.wire import Hello
from workers.wishes import Wishes

log = structlog.get_logger(__name__)

PATIENCE_S = 0.3  # that a search which is on its way out is waited for
UNREADABLE = "tokenizer_unavailable"

Carry = Callable[[Node, Hello, Claim, Ledger], Outcome]

attach(app, settings)


@app.task(bind=True, name=SHARD_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def generate_shard(self: Task, job_id: str, number: int) -> None:
    """Answer a doorbell. Late, doubled and stale ones find nothing to claim."""
    queue = str((self.request.delivery_info or {}).get("routing_key"))
    with bound_contextvars(job=job_id, shard=number):
        try:
            if queue.startswith("search."):
                _search(app.node, job_id, number)
            else:
                _answer(app.node, job_id, number)
        except Exception as error:
            # Celery logs what a task raises, and an error's message may quote an item: only its kind goes on.
            raise ShardFailed(type(error).__name__, job_id, number) from None


def _search(node: Node, job_id: str, number: int) -> None:
    """Lead a search that nobody leads, whichever doorbell it was; else help. One shard of it at a time on a device.

    Helpers that nobody came for end with the search that they were to help.
    """
    if not node.searching.acquire(timeout=PATIENCE_S if number == LEAD else 0):
        with node.database.session() as session:
            pass_on(session, ShardRef(job_id, number))
        return
    try:
        if is_elsewhere(node, job_id):
            return
        led = _answer(node, job_id, LEAD)
        if led is None and number != LEAD:
            _answer(node, job_id, number)
        elif led is Outcome.FINISH:
            with node.database.session() as session:
                left = waiting_helpers(session, job_id)
            for helper in left:
                _answer(node, job_id, helper)
    finally:
        node.searching.release()


def _answer(node: Node, job_id: str, number: int) -> Outcome | None:
    """Claim and carry a shard; what became of it, None where there was nothing to claim."""
    hello = node.engine()
    if hello is None:
        return None
    reach(Point.CLAIM_HEARD)
    with node.database.session() as session:
        lease_s, max_losses = node.settings.lease_s, node.settings.max_losses
        claimed = claim(session, job_id, number, node.worker_id, lease_s=lease_s, max_losses=max_losses)
    if claimed is None:
        return None
    reach(Point.CLAIM_COMMITTED)
    origin = Origin.stored(claimed.origin)
    ids: dict[str, str | int] = {"job": job_id, "number": number, "epoch": claimed.epoch}
    with bound_contextvars(shard=number, epoch=claimed.epoch, **origin.names), span("shard", origin, ids):
        node.bell.ring(claimed.model, claimed.lane)
        return _carry(node, hello, claimed)


def _carry(node: Node, hello: Hello, claimed: Claim) -> Outcome:
    report = Report(claimed)
    ledger = Ledger(node.database, claimed, report.tell_end)
    if claimed.model != node.model:
        log.error("a doorbell of another model", model=claimed.model)
        ledger.release(is_lost=False)
        return Outcome.RELEASE
    try:
        outcome = _carrying(node, hello, claimed)(node, hello, claimed, ledger)
        _settle(ledger, outcome)
        report.tell_outcome(outcome.value)
        if outcome is Outcome.ABANDON:
            report.tell_conflict()
        log.info("shard carried", items=len(claimed.items), outcome=outcome.value)
        return outcome
    except LeaseLost:
        report.tell_outcome(Outcome.ABANDON.value)
        report.tell_conflict()
        log.warning("lease lost; nothing written")
        return Outcome.ABANDON


def _carrying(node: Node, hello: Hello, claimed: Claim) -> Carry:
    """What carries the shard: nothing does on a node that cannot read the model's texts."""
    try:
        node.text(hello.folder)
    except Exception as error:  # whatever the reason, it is none of the items'
        log.error("the tokenizer cannot be loaded", folder=hello.folder, reason=type(error).__name__)
        return _lose
    return carry_search if claimed.lane is Lane.SEARCH else _carry_items


def _lose(node: Node, _: Hello, claimed: Claim, ledger: Ledger) -> Outcome:
    """Count a loss against every item, as if an engine had died under it; each has failed after so many.

    The node rests before it gives the shard back, or it would draw to itself what others can carry.
    """
    items = [Item(one) for one in claimed.items]
    for item in items:
        losses = item.claimed.attempts + 1
        if losses >= node.settings.max_losses:
            item.fail(UNREADABLE, f"the model's tokenizer cannot be loaded; the item was tried {losses} times")
    results = [item.result for item in items if item.result is not None]
    if items:
        ledger.note([item.index for item in items], results)
    if len(results) == len(items):
        return Outcome.FINISH
    node.rest(node.settings.lease_s / 2)
    return Outcome.LOST


def _carry_items(node: Node, hello: Hello, claimed: Claim, ledger: Ledger) -> Outcome:
    text = node.text(hello.folder)
    wishes = Wishes.of(claimed, hello.vocab_size)
    teller = Teller(claimed.job_id, wishes.stops, text, node.sink, wishes.min_tokens) if wishes.streams else None
    carrier = Carrier(claimed, wishes, node.link, ledger, text, lambda: node.stop_at, teller)
    node.heart.hold(claimed, carrier.hear)
    try:
        return carrier.run(workshop(claimed, text, hello.context_length))
    finally:
        node.heart.drop(claimed)


def _settle(ledger: Ledger, outcome: Outcome) -> None:
    if outcome is Outcome.FINISH:
        ledger.finish()
    elif outcome is not Outcome.ABANDON:
        ledger.release(is_lost=outcome is Outcome.LOST)
