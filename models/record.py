"""Record: what a holder writes about its items, fenced by the epoch in the very statement that writes.

One round trip for all there is to say, notification included: this is written item by item.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import LeaseLost
from models.notify import CHANNEL, Change, announce
from models.shard import HELD, ShardRef
from models.states import TERMINAL_ITEM, ItemStatus

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How an item ended: `status` is terminal.

    `usage` is {prompt_tokens, completion_tokens}; `decoding` holds at least {drafter, skip_set_id, verifies, drafted,
    accepted}; `error` is {code, message}, None unless it failed. `output` is that of the first choice; `choices` are
    {index, output, finish_reason, logprobs} of all, None where there is only one. `logprobs` is {content}, in the form
    of OpenAI's chat completions, None unless asked for.
    """

    index: int
    status: ItemStatus
    output: str | None
    finish_reason: str | None
    usage: Json | None
    decoding: Json | None
    error: Json | None
    choices: list[Json] | None = None
    logprobs: Json | None = None


BEGINS: Final = "(items.status = 'queued' AND items.index = ANY(CAST(:admitted AS int[])))"

# Every item is written once, whether it begins here, ends or both; safe to repeat, as what runs already is not counted
# twice. Answers with the items that are terminal now: those written here and those that were before.
RECORD: Final = text(f"""
WITH {HELD},
results AS (
    SELECT * FROM jsonb_to_recordset(CAST(:results AS jsonb)) AS result(
        index int, status text, output text, finish_reason text, usage jsonb, decoding jsonb, error jsonb,
        choices jsonb, logprobs jsonb
    )
),
written AS (
    UPDATE items
    SET status = results.status, output = results.output, finish_reason = results.finish_reason,
        usage = results.usage, decoding = results.decoding, error = results.error,
        choices = results.choices, logprobs = results.logprobs, finished_at = statement_timestamp(),
        attempts = attempts + {BEGINS}::int,
        started_at = CASE WHEN {BEGINS} THEN coalesce(started_at, statement_timestamp()) ELSE started_at END
    FROM held, results
    WHERE items.job_id = held.job_id AND items.index BETWEEN held.first AND held.last
      AND items.index = results.index AND items.status IN ('queued', 'running')
    RETURNING items.index
),
admitted AS (
    UPDATE items
    SET status = 'running', attempts = attempts + 1, started_at = coalesce(started_at, statement_timestamp())
    FROM held
    WHERE items.job_id = held.job_id AND items.index BETWEEN held.first AND held.last AND {BEGINS}
      AND NOT EXISTS (SELECT FROM results WHERE results.index = items.index)
    RETURNING items.index
)
SELECT EXISTS (SELECT FROM held) AS is_held, ARRAY(SELECT index FROM written) AS written, ARRAY(
    SELECT items.index FROM held JOIN items USING (job_id) JOIN results ON results.index = items.index
    WHERE items.index BETWEEN held.first AND held.last AND items.status NOT IN ('queued', 'running')
) AS ended_before, CASE WHEN EXISTS (SELECT FROM written) OR EXISTS (SELECT FROM admitted)
    THEN pg_notify(:channel, :news) END AS notified
""")


def record(
    session: Session, ref: ShardRef, epoch: int, results: Sequence[ItemResult], *, admitted: Sequence[int] = ()
) -> frozenset[int]:
    """Write which items entered an engine (they are `running` and have one attempt more) and how items ended.

    Returns the indices of `results` that are terminal now, whoever wrote them. Safe to repeat.

    Raises:
        LeaseLost: the shard is not held at `epoch` any more; nothing was written.
    """
    if open_status := next((result.status for result in results if result.status not in TERMINAL_ITEM), None):
        raise ValueError(f"a result cannot be {open_status}")
    news = ref.job_id + Change.PROGRESS
    held = {"job_id": ref.job_id, "number": ref.number, "epoch": epoch, "channel": CHANNEL, "news": news}
    values = held | {"results": _dump(results), "admitted": list(admitted)}
    row = session.execute(RECORD, values).one()
    announce(session, news)
    if not row.is_held:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    return frozenset(row.written) | frozenset(row.ended_before)


def _dump(results: Sequence[ItemResult]) -> str:
    """As JSON. PostgreSQL has no NUL in text and a model may well write one: it becomes U+FFFD."""
    return json.dumps([_storable(asdict(result)) for result in results])


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        case dict():
            return {name: _storable(part) for name, part in value.items()}
        case list() | tuple():
            return [_storable(part) for part in value]
    return value
