"""Step costs: what passes cost on a device, kept so that the next start there need not measure them again.

The key is everything that costs depend on; whatever of it changes, nothing is found and the engine measures anew.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CostKey:
    """Whose costs they are.

    `weights` and `engine` are digests that change with the weights and with the code, `device` is the product's name
    (of `device_kind` cpu or cuda), `dtype` what the model was registered with; `rows` are decoded together at most.
    """

    model: str
    weights: str
    device_kind: str
    device: str
    dtype: str
    threads: int
    rows: int
    engine: str


_IS_KEY: Final = " AND ".join(f"{name} = :{name}" for name in CostKey.__slots__)
_COLUMNS: Final = ", ".join(CostKey.__slots__)
_VALUES: Final = ", ".join(f":{name}" for name in CostKey.__slots__)

FIND: Final = text(f"SELECT costs FROM step_costs WHERE {_IS_KEY}")

# A model that is not registered any more has no costs to keep.
KEEP: Final = text(f"""
INSERT INTO step_costs ({_COLUMNS}, costs)
SELECT {_VALUES}, CAST(:costs AS jsonb) FROM models WHERE name = :model
ON CONFLICT ({_COLUMNS}) DO UPDATE SET costs = excluded.costs, measured_at = statement_timestamp()
""")


def find_costs(session: Session, key: CostKey) -> Json | None:
    """The costs last measured there, as the engine told them; None where nobody has measured."""
    found = session.execute(FIND, asdict(key)).scalar()
    return found if isinstance(found, dict) else None


def keep_costs(session: Session, key: CostKey, costs: Json) -> None:
    """Keep costs in place of those measured before."""
    session.execute(KEEP, asdict(key) | {"costs": json.dumps(costs)})
