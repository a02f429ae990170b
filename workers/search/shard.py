"""The shard of a search: whether it belongs here, and carrying it."""

import structlog

from models.catalog import get_model
from models.claim import Claim
from models.errors import CalibrationGone, SearchNotFound
from models.searches import SearchView, find_search
from models.sharing import LEAD
from workers.carrier import Outcome
from workers.ledger import Ledger
from workers.node import Node
from workers.search.carrier import SearchCarrier
from workers.search.helper import HelperCarrier
from workers.search.logbook import Logbook
from workers.search.owner import Owner
from workers.settings import NodeSettings
from workers.wire import Hello

log = structlog.get_logger(__name__)


def is_elsewhere(node: Node, job_id: str) -> bool:
    """Whether the search is about other weights than this worker's, which another worker may have: do not claim it.

    Where the model itself has changed since, nobody has them: it is claimed, to be ended with an error.
    """
    with node.database.session() as session:
        try:
            view = find_search(session, job_id)
        except (SearchNotFound, CalibrationGone):
            return False
        model = get_model(session, view.model)
    has_changed = (model.revision, model.dtype) != (view.revision, view.dtype)
    if has_changed or _fits(view, node.place):
        return False
    log.warning(
        "a search of other weights is left to another worker; restart this one to serve the model as it is now",
        wanted=f"{view.revision} {view.dtype} {view.device_kind}",
        here=f"{node.place.revision} {node.place.dtype} {node.place.device_kind}",
    )
    return True


def carry_search(node: Node, hello: Hello, claimed: Claim, ledger: Ledger) -> Outcome:
    """Carry the search as far as it goes, or help whoever does.

    Raises:
        LeaseLost: the shard belongs to somebody else by now.
    """
    index = claimed.number  # an item is a shard
    if not claimed.items:
        return Outcome.FINISH
    if index != LEAD and (lead := ledger.find_lead()).is_over:
        Logbook.follow_item(ledger, index, lead)
        return Outcome.FINISH
    try:
        with node.database.session() as session:
            view = find_search(session, claimed.job_id)
    except CalibrationGone as error:
        Logbook.fail_item(ledger, index, "calibration_gone", str(error))
        return Outcome.FINISH
    if not _fits(view, node.place):
        said = f"{view.model} is not what it was when the search was asked for"
        Logbook.fail_item(ledger, index, "model_changed", said)
        return Outcome.FINISH
    carrier = (SearchCarrier if index == LEAD else HelperCarrier)(
        view,
        str(Owner.of(claimed)),
        node.link,
        Logbook(ledger, view, node.place.weights, index),
        node.text(hello.folder),
        hello.context_length,
        lambda: node.stop_at is not None,
    )
    node.heart.hold(claimed, carrier.hear)
    try:
        return carrier.run()
    finally:
        node.heart.drop(claimed)


def _fits(view: SearchView, place: NodeSettings) -> bool:
    return (view.revision, view.dtype, view.device_kind) == (place.revision, place.dtype, place.device_kind)
