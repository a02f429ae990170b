"""Drift: whether less of a skip set's drafts is accepted than when it became active, by more than the noise.

Finished jobs are added up look by look. The first items after an activation are the baseline; the latest are compared
with it. Rates are ratios of sums, and their errors those of a ratio over items, because the tokens of one item are
alike: sqrt(sum((accepted_i - rate * drafted_i)^2)) / sum(drafted_i) (Cochran, Sampling Techniques, section 6.4).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import hypot, sqrt
from typing import Any, Final, Self

from sqlalchemy import text
from sqlalchemy.orm import Session

LOOK_S: Final = 600.0  # between two looks
LAG_S: Final = 30.0  # a job that is being ended may carry an earlier time than one that has ended
FIRST_LOOK: Final = timedelta(days=1)  # how far back the very first look goes
LEAST_ITEMS: Final = 50
LEAST_DRAFTED: Final = 5000
LEAST_DROP: Final = 0.03  # of the rate: less costs less than a search
ERRORS: Final = 3.0  # standard errors of the difference that count as noise


@dataclass(frozen=True, slots=True)
class Sums:
    """What some items drafted by a skip set and had accepted."""

    num_items: int = 0
    drafted: int = 0
    accepted: int = 0
    drafted_squared: float = 0.0
    accepted_squared: float = 0.0
    drafted_accepted: float = 0.0

    def __add__(self, other: Self) -> "Sums":
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in Sums.__slots__})

    @property
    def is_enough(self) -> bool:
        """Whether a rate can be judged by these."""
        return self.num_items >= LEAST_ITEMS and self.drafted >= LEAST_DRAFTED

    @property
    def rate(self) -> float:
        """The share that was accepted."""
        return self.accepted / self.drafted

    @property
    def error(self) -> float:
        """Its standard error."""
        rate = self.rate
        squares = self.accepted_squared - 2 * rate * self.drafted_accepted + rate * rate * self.drafted_squared
        return sqrt(max(squares, 0.0)) / self.drafted


@dataclass(frozen=True, slots=True)
class Drift:
    """The evidence: the rate then and now, and how much of the difference could be noise."""

    before: float
    now: float
    noise: float
    num_before: int
    num_now: int

    @property
    def is_real(self) -> bool:
        """Whether the drop is more than noise and worth a search."""
        return self.before - self.now > max(self.noise, LEAST_DROP)


TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended('skim drift', 7))")

CLOCK: Final = text("SELECT statement_timestamp()")

LOOKED: Final = text("SELECT max(until) FROM acceptances")

# Items that skipping drafted for most; those of other drafters say nothing about a skip set.
COUNT: Final = text("""
INSERT INTO acceptances (skip_set_id, until, num_items, drafted, accepted, drafted_squared, accepted_squared,
                         drafted_accepted)
SELECT skip_set_id, :until, count(*), sum(drafted), sum(accepted), sum(drafted * drafted), sum(accepted * accepted),
       sum(drafted * accepted)
FROM (
    SELECT items.decoding ->> 'skip_set_id' AS skip_set_id, (items.decoding ->> 'drafted')::float8 AS drafted,
           (items.decoding ->> 'accepted')::float8 AS accepted
    FROM jobs JOIN items ON items.job_id = jobs.id
    WHERE jobs.finished_at > :since AND jobs.finished_at <= :until
      AND (jobs.decoding_stats ->> 'skip_set_id') IS NOT NULL
      AND items.decoding ->> 'drafter' = 'skip' AND (items.decoding ->> 'drafted')::int > 0
) AS drafts JOIN skip_sets ON skip_sets.id = skip_set_id
GROUP BY skip_set_id
""")

WATCHED: Final = text("SELECT id FROM skip_sets WHERE is_active AND stale_since IS NULL ORDER BY id")

# A look has an item at least, so the first and the last few hundred are enough of them.
LOOKS: Final = f"""
SELECT until, {", ".join(Sums.__slots__)} FROM acceptances JOIN skip_sets ON skip_sets.id = skip_set_id
WHERE skip_set_id = :id AND until > coalesce(watched_since, activated_at) ORDER BY until"""

SUMS: Final = text(f"({LOOKS} LIMIT 500) UNION ({LOOKS} DESC LIMIT 500) ORDER BY until")

MARK: Final = text("""
UPDATE skip_sets SET stale_since = :now, stale_evidence = CAST(:evidence AS jsonb)
WHERE id = :id AND is_active AND stale_since IS NULL
""")

# Of sets that nobody drafts with any more, looks are not needed for long; the others' first ones are their baseline.
FORGET: Final = text("""
DELETE FROM acceptances USING skip_sets
WHERE skip_sets.id = skip_set_id AND NOT is_active AND until < CAST(:now AS timestamptz) - interval '30 days'
""")


def watch(session: Session, *, now: datetime | None = None) -> list[str]:
    """Add up what was accepted since the last look and mark the active skip sets that drifted; their ids.

    Does nothing within `LOOK_S` of the last look that found anything, or while another one is at it.
    """
    if not session.execute(TRY_LOCK).scalar_one():
        return []
    moment: datetime = now or session.execute(CLOCK).scalar_one()
    until = moment - timedelta(seconds=LAG_S)
    looked = session.execute(LOOKED).scalar() or until - FIRST_LOOK
    if until - looked < timedelta(seconds=LOOK_S):
        return []
    session.execute(COUNT, {"since": looked, "until": until})
    session.execute(FORGET, {"now": moment})
    return [skip_set_id for skip_set_id in session.execute(WATCHED).scalars() if _judge(session, skip_set_id, moment)]


def drift_of(looks: Iterable[Sums]) -> Drift | None:
    """Compare the first looks with the last ones, none counted twice; None while there is too little of either."""
    rest = list(looks)
    before = _gather(rest, 0)
    after = _gather(rest, -1)
    if before is None or after is None:
        return None
    noise = ERRORS * hypot(before.error, after.error)
    return Drift(before.rate, after.rate, noise, before.num_items, after.num_items)


def _gather(looks: list[Sums], end: int) -> Sums | None:
    """Take looks from an end of the list until they are enough."""
    sums = Sums()
    while looks and not sums.is_enough:
        sums += looks.pop(end)
    return sums if sums.is_enough else None


def _judge(session: Session, skip_set_id: str, now: datetime) -> bool:
    looks = (Sums(*row[1:]) for row in session.execute(SUMS, {"id": skip_set_id}))
    drift = drift_of(looks)
    if drift is None or not drift.is_real:
        return False
    evidence: dict[str, Any] = {name: round(value, 4) for name, value in asdict(drift).items()}
    session.execute(MARK, {"id": skip_set_id, "now": now, "evidence": json.dumps(evidence)})
    return True
