"""Triggers: the database refuses illegal moves and any change of what has ended, whoever asks.

Deleting is allowed: retention is not a change of history.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from sqlalchemy import DDL, event

from models.states import ITEM_MOVES, JOB_MOVES, SHARD_MOVES
from models.tables.base import Base

# Frozen in a terminal row, by table. A terminal status may not change either: no move leaves it.
FROZEN: Final = {
    "jobs": ("counts", "usage", "decoding_stats", "error", "finished_at"),
    "shards": ("epoch", "tally"),
    "items": ("output", "finish_reason", "choices", "logprobs", "usage", "decoding", "error", "finished_at"),
}


State = TypeVar("State", bound=StrEnum)


def guard(table: str, moves: Mapping[State, frozenset[State]], frozen: tuple[str, ...]) -> tuple[str, str]:
    """The function and the trigger that keep the rows of a table to their moves. Violations are SQLSTATE 23514."""
    legal = "\n        OR ".join(
        f"(OLD.status = '{old}' AND NEW.status IN ({_literals(news)}))" for old, news in sorted(moves.items())
    )
    old_row, new_row = (", ".join(f"{row}.{column}" for column in frozen) for row in ("OLD", "NEW"))
    function = f"""
CREATE FUNCTION {table}_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IS DISTINCT FROM NEW.status AND NOT (
        {legal}
    ) THEN
        RAISE EXCEPTION '{table}: % may not become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status NOT IN ({_literals(moves)}) AND
        ({old_row})
        IS DISTINCT FROM ({new_row})
    THEN
        RAISE EXCEPTION '{table}: a row that is % never changes', OLD.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$"""
    trigger = f"""
CREATE TRIGGER {table}_guard BEFORE UPDATE ON {table} FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.status NOT IN ({_literals(moves)}))
EXECUTE FUNCTION {table}_guard()"""
    return function, trigger


def _literals(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


# A skip set is what was measured: only its activation and further measurements may change.
SKIP_SETS_GUARD: Final = (
    """
CREATE FUNCTION skip_sets_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'skip_sets: the sub-layers of a skip set never change' USING ERRCODE = 'check_violation';
END $$""",
    """
CREATE TRIGGER skip_sets_guard BEFORE UPDATE ON skip_sets FOR EACH ROW
WHEN ((OLD.id, OLD.revision, OLD.attention, OLD.mlp, OLD.device_kind, OLD.dtype, OLD.batch_class)
    IS DISTINCT FROM (NEW.id, NEW.revision, NEW.attention, NEW.mlp, NEW.device_kind, NEW.dtype, NEW.batch_class))
EXECUTE FUNCTION skip_sets_guard()""",
)

GUARDS: Final = (
    *guard("jobs", JOB_MOVES, FROZEN["jobs"]),
    *guard("shards", SHARD_MOVES, FROZEN["shards"]),
    *guard("items", ITEM_MOVES, FROZEN["items"]),
    *SKIP_SETS_GUARD,
)


for _statement in GUARDS:
    _ddl = DDL(_statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(Base.metadata, "after_create", _ddl)
