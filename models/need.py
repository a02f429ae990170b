"""Need: whether a model wants another search, for which device kind, and why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.catalog import ModelView
from models.fleet import LIVE_S


class Reason(StrEnum):
    """Why a search is needed, the most urgent first."""

    DRIFTED = "drifted"  # less is accepted than when the set became active
    NEW_REVISION = "new_revision"  # only other weights were searched
    NEW_DEVICE = "new_device"  # only other device kinds were searched
    NEVER_SEARCHED = "never_searched"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Need:
    """A search that is needed."""

    reason: Reason
    device_kind: str
    detail: str


# Device kinds that could search now: a ready worker that can skip at all.
KINDS: Final = text("""
SELECT DISTINCT device_kind FROM workers
WHERE model = :model AND status = 'ready' AND 'skip' = ANY(drafters)
  AND last_seen_at > statement_timestamp() - make_interval(secs => :live_s)
ORDER BY device_kind
""")

STALE: Final = text("""
SELECT id, stale_since, stale_evidence FROM skip_sets
WHERE model = :model AND revision IS NOT DISTINCT FROM :revision AND dtype = :dtype AND device_kind = :device_kind
  AND batch_class = :batch_class AND is_active AND stale_since IS NOT NULL
""")

# Settled searches of the model: of this very place, of its revision at all, of any.
SEARCHED: Final = text("""
SELECT max(settled_at) FILTER (
           WHERE is_same AND device_kind = :device_kind AND batch_class = :batch_class
       ) AS here,
       max(settled_at) FILTER (WHERE is_same) AS elsewhere, max(settled_at) AS ever
FROM (
    SELECT settled_at, device_kind, batch_class, revision IS NOT DISTINCT FROM :revision AND dtype = :dtype AS is_same
    FROM searches WHERE model = :model AND settled_at IS NOT NULL
) AS settled
""")


def searchable_kinds(session: Session, model: str) -> list[str]:
    """The device kinds of ready workers that can draft the model by skipping."""
    return list(session.execute(KINDS, {"model": model, "live_s": LIVE_S}).scalars())


def needed(
    session: Session, model: ModelView, device_kind: str, batch_class: str, *, max_age_days: int, now: datetime
) -> Need | None:
    """Why the place wants another search; None when what is known of it is good."""
    place = {"model": model.name, "revision": model.revision, "dtype": model.dtype}
    place |= {"device_kind": device_kind, "batch_class": batch_class}
    stale = session.execute(STALE, place).one_or_none()
    if stale is not None:
        return Need(
            Reason.DRIFTED, device_kind, f"acceptance of {stale.id} has dropped since {_day(stale.stale_since)}"
        )
    searched = session.execute(SEARCHED, place).one()
    if searched.here is None:
        return _first(device_kind, searched.elsewhere, searched.ever)
    if searched.here < now - timedelta(days=max_age_days):
        return Need(Reason.OLD, device_kind, f"last searched on {_day(searched.here)}")
    return None


def _first(device_kind: str, elsewhere: datetime | None, ever: datetime | None) -> Need:
    if elsewhere is not None:
        return Need(Reason.NEW_DEVICE, device_kind, f"searched for others than {device_kind} only")
    if ever is not None:
        return Need(Reason.NEW_REVISION, device_kind, f"other weights were searched on {_day(ever)}")
    return Need(Reason.NEVER_SEARCHED, device_kind, f"never searched on {device_kind}")


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"
