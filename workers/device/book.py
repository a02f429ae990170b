"""The book of step costs of one device: what the registry knows is laid out for the engine, what it measures is kept.

Costs save a start some seconds and nothing else, so whatever goes wrong here is logged and the engine measures.
"""

import json
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.costs import CostKey, find_costs, keep_costs
from models.database import Database
from workers.device.identity import engine_version, weights_of
from workers.device.plan import Plan

log = structlog.get_logger(__name__)

Json = dict[str, Any]


class CostBook:
    """What passes cost by this plan. The engine reads `plan.costs`, if it is there."""

    def __init__(self, plan: Plan) -> None:
        self._path = plan.costs
        self._key = CostKey(
            model=plan.model.name,
            weights=weights_of(plan.model.source, plan.model.revision),
            device_kind=plan.device.kind,
            device=plan.device.product,
            dtype=plan.model.dtype,
            threads=plan.num_threads,
            rows=plan.rows,
            engine=engine_version(),
        )

    def lay_out(self, database: Database) -> None:
        """Write down what is known, before the engine starts."""
        try:
            with database.session() as session:
                costs = find_costs(session, self._key)
        except SQLAlchemyError as error:
            log.warning("could not look up step costs", reason=type(error).__name__)
            return
        if costs is not None:
            self._path.write_text(json.dumps(costs))

    def keep(self, session: Session, costs: Json) -> None:
        """Keep what the engine has measured, for its own next start and for those of others like it."""
        self._path.write_text(json.dumps(costs))
        keep_costs(session, self._key, costs)
