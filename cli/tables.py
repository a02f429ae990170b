"""How jobs, items and the registry's rows look as tables. Only for people; programs are given JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from cli.views import Item, Job, Json

COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "queued": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "expired": "magenta",
}


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A plain table; cells may hold markup."""
    built = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        built.add_column(column, overflow="fold")
    for row in rows:
        built.add_row(*row)
    return built


def jobs_table(jobs: Iterable[Job]) -> Table:
    """One line a job."""
    rows = (
        (
            job.id,
            str(job.body["kind"]),
            str(job.body["model"]),
            status(job.status),
            f"{job.num_done}/{job.num_items}" + (f" [red]{job.num_failed} failed[/]" if job.num_failed else ""),
            moment(job.body["created_at"]),
        )
        for job in jobs
    )
    return table(("job", "kind", "model", "status", "items", "created"), rows)


def job_table(job: Job) -> Table:
    """Everything about one job, a line a fact."""
    body, decoding = job.body, job.decoding
    if job.search is not None:
        return search_table(job)
    facts = {
        "job": job.id,
        "kind": body["kind"],
        "model": body["model"],
        "status": status(job.status),
        "items": ", ".join(f"{count} {name}" for name, count in body["counts"].items() if count),
        "queue": "" if job.is_over else f"{body['queue']['ahead']} ahead, {body['queue']['workers']} workers",
        "tokens": f"{body['usage']['prompt_tokens']:,} in, {body['usage']['completion_tokens']:,} out",
        "drafter": decoding.get("drafter"),
        "tokens/s": number(job.tokens_per_second or decoding.get("tokens_per_second"), 1),
        "tokens per verify": number(decoding.get("tokens_per_verify"), 2),
        "acceptance": percent(decoding.get("acceptance_rate")),
        "created": moment(body["created_at"]),
        "started": moment(body["started_at"]),
        "finished": moment(body["finished_at"]),
        "error": escape((body["error"] or {}).get("message", "")),
    }
    return facts_table(facts)


def search_table(job: Job) -> Table:
    """Everything about one search, a line a fact."""
    body, found = job.body, job.search or {}
    spent = found["device_seconds"]
    timing = spent.get("timing", 0.0)  # beside the budget
    trials, seconds = f"{found['num_trials']} of at most {found['max_trials']}", found["max_seconds"]
    facts = {
        "search": job.id,
        "model": f"{found['model']} on {found['device_kind']}, {found['dtype']}, batch class {found['batch_class']}",
        "status": status(job.status),
        "phase": "" if job.is_over else found["phase"],
        "trials": trials,
        "workers": f"at most {found['workers']}" if found["workers"] > 1 else "",
        "device seconds": number(sum(spent.values()) - timing, 1) + (f" of {seconds:g}" if seconds else ""),
        "timing finalists": f"{timing:.1f} s" if timing else "",
        "prompts": f"{found['num_prompts']} {found['calibration']}",
        "best estimate": f"{found['best_speed']:.2f} times plain" if found["best_speed"] else "",
        "outcome": found["outcome"],
        "skip set": f"{found['skip_set_id']}{', now active' if found['is_promoted'] else ''}"
        if found["skip_set_id"]
        else "",
        "not promoted": found["note"],
        "created": moment(body["created_at"]),
        "finished": moment(body["finished_at"]),
        "error": escape((body["error"] or {}).get("message", "")),
    }
    return facts_table(facts)


def facts_table(facts: Json) -> Table:
    """A line a fact; those that are empty are left out."""
    return table(("", ""), ((name, str(value)) for name, value in facts.items() if value not in ("", None)))


def items_table(items: Iterable[Item]) -> Table:
    """One line an item, its text cut short."""
    rows = (
        (
            str(item.body["index"]),
            escape(item.name),
            status(str(item.body["status"])),
            str(item.body["finish_reason"] or ""),
            str(item.completion_tokens or ""),
            escape(shorten(item.text, 70)),
        )
        for item in items
    )
    return table(("item", "name", "status", "finish", "tokens", "text"), rows)


def rows_table(rows: Iterable[Json], columns: Sequence[str]) -> Table:
    """The named fields of the API's rows, times shortened."""

    def cell(row: Json, column: str) -> str:
        value = row.get(column)
        if isinstance(value, list):
            return escape(", ".join(map(str, value)))
        if value is None:
            return ""
        return moment(value) if column == "at" or column.endswith("_at") else escape(str(value))

    return table(columns, ([cell(row, column) for column in columns] for row in rows))


def status(name: str) -> str:
    """A status in its colour."""
    return f"[{COLOURS.get(name, 'white')}]{name}[/]"


def moment(text: str | None) -> str:
    """An RFC 3339 time to the second, in UTC."""
    return f"{text[:10]} {text[11:19]}" if text else ""


def number(value: float | None, digits: int) -> str:
    """A measured number, or nothing."""
    return "" if value is None else f"{value:,.{digits}f}"


def percent(share: float | None) -> str:
    """A share of one, or nothing."""
    return "" if share is None else f"{share:.0%}"


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
