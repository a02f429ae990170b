"""Calibration: the prompts a search is judged by. Inline and built-in ones are written into its item.

Recent ones are only referred to: what a tenant erases is erased for searches too, and nothing of it lies elsewhere.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import CalibrationGone
from models.retention import IS_KEPT

Json = dict[str, Any]

MIN_PROMPTS: Final = 2  # one to score on, one to confirm with
MAX_PROMPTS: Final = 64
NUM_RECENT: Final = 24
RECENT_DAYS: Final = 14
MAX_TOKENS: Final = 64  # of each reference continuation
MAX_CHARACTERS: Final = 4000  # of a document
ASK: Final = "Summarise the following text in a few sentences.\n\n"

# Newest jobs first, a few items of each, so that no single job is all there is. Only what fits the context whole, with
# room for the continuation and for drafts behind it.
RECENT: Final = text(f"""
SELECT recent.job_id, recent.index FROM (
    SELECT jobs.id, jobs.kind FROM jobs JOIN tenants ON tenants.id = jobs.tenant_id AND tenants.allows_calibration
    WHERE jobs.model = :model AND jobs.kind IN ('generate', 'summarize') AND {IS_KEPT}
      AND jobs.created_at > statement_timestamp() - make_interval(days => :days)
    ORDER BY jobs.id DESC LIMIT 200
) AS newest CROSS JOIN LATERAL (
    SELECT job_id, index FROM items
    WHERE job_id = newest.id AND status = 'succeeded'
      AND (newest.kind = 'summarize' OR (usage ->> 'prompt_tokens')::int + 2 * :max_tokens
           < (SELECT context_length FROM models WHERE name = :model))
    ORDER BY index LIMIT 4
) AS recent
LIMIT :num
""")

# Of a document as many characters as are half a context, by the tokens that it came to when it was summarised.
LOOK_UP: Final = text(f"""
SELECT items.input, models.has_chat_template, least(
           :most, models.context_length / 2.0 * length(items.input ->> 'document')
               / greatest((items.usage ->> 'prompt_tokens')::int, 1)
       )::int AS num_characters
FROM unnest(CAST(:job_ids AS text[]), CAST(:indices AS int[])) WITH ORDINALITY AS wanted(job_id, index, place)
JOIN items USING (job_id, index) JOIN jobs ON jobs.id = items.job_id AND {IS_KEPT}
JOIN tenants ON tenants.id = jobs.tenant_id AND tenants.allows_calibration
JOIN models ON models.name = jobs.model
ORDER BY wanted.place
""")


@cache
def builtin_prompts() -> tuple[str, ...]:
    """Short texts and questions of our own, of the kinds that people ask of a model."""
    return tuple(json.loads(files("models").joinpath("prompts.json").read_text("utf-8")))


def builtin(has_chat_template: bool) -> list[Json]:
    """The built-in set as inputs: messages where the model has a template for them."""
    if has_chat_template:
        return [{"messages": [{"role": "user", "content": prompt}]} for prompt in builtin_prompts()]
    return [{"prompt": prompt} for prompt in builtin_prompts()]


def recent_items(session: Session, model: str) -> list[tuple[str, int]]:
    """Recent items of the model, as (job id, index), of tenants that allow it; may be few or none."""
    values = {"model": model, "days": RECENT_DAYS, "num": NUM_RECENT, "max_tokens": MAX_TOKENS}
    return [(job_id, index) for job_id, index in session.execute(RECENT, values)]


def prompts_of(session: Session, job_id: str, given: Json) -> tuple[Json, ...]:
    """The prompts of a search's item as {prompt} or {messages}.

    Raises CalibrationGone when some were erased, or their tenant allows it no more.
    """
    if "prompts" in given:
        return tuple(given["prompts"])
    wanted = given["items"]
    columns = {"job_ids": [job for job, _ in wanted], "indices": [index for _, index in wanted]}
    rows = session.execute(LOOK_UP, columns | {"most": MAX_CHARACTERS}).all()
    if len(rows) < len(wanted):
        raise CalibrationGone(job_id)
    return tuple(_prompt(row.input, row.num_characters, row.has_chat_template) for row in rows)


def _prompt(given: Json, num_characters: int, has_chat_template: bool) -> Json:
    """An item's input as a prompt; of a document that was summarised, its beginning."""
    if "document" not in given:
        return {name: given[name] for name in ("prompt", "messages") if name in given}
    asked = ASK + given["document"][:num_characters]
    return {"messages": [{"role": "user", "content": asked}]} if has_chat_template else {"prompt": asked}
