"""`skim submit`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client
from cli.commands.results import print_results, save_results
from cli.documents import read_inputs
from cli.errors import UsageError
from cli.progress import check_outcome, watch
from cli.session import Session, session
from cli.stack.state import running_state
from cli.views import Job, Json


class Kind(StrEnum):
    """Kinds of job that take documents."""

    SUMMARIZE = "summarize"
    GENERATE = "generate"


class Style(StrEnum):
    """Styles of a summary."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    HEADLINE = "headline"


class Drafter(StrEnum):
    """What proposes tokens."""

    AUTO = "auto"
    PLAIN = "plain"
    SKIP = "skip"
    LOOKUP = "lookup"
    CASCADE = "cascade"


class Priority(StrEnum):
    """Lanes."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


def submit(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Text, Markdown or JSON Lines files, folders of them, or - for stdin."),
    ],
    kind: Annotated[Kind | None, typer.Option(help="Default: what JSON Lines hold, else summarize.")] = None,
    model: Annotated[str | None, typer.Option(help="Default: the stack's, or the only registered one.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end and print the results.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --wait: write the results to this file.")
    ] = None,
    style: Annotated[Style | None, typer.Option(help="Style of the summaries.")] = None,
    max_words: Annotated[int | None, typer.Option(help="Longest summary, in words.", min=1)] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest output, in tokens.", min=1)] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.", min=0)] = None,
    top_p: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    top_k: Annotated[int | None, typer.Option(help="0 is off.", min=0)] = None,
    min_p: Annotated[float | None, typer.Option(help="Share of the best token's probability.", min=0, max=1)] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="1 is off.", min=0, max=10)] = None,
    presence_penalty: Annotated[float | None, typer.Option(min=-2, max=2)] = None,
    frequency_penalty: Annotated[float | None, typer.Option(min=-2, max=2)] = None,
    logit_bias: Annotated[list[str] | None, typer.Option(help="TOKEN_ID=BIAS. May be repeated.")] = None,
    min_tokens: Annotated[int | None, typer.Option(help="Shortest output, in tokens.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Default: drawn, and shown with the job.", min=0)] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Stop at this text. May be repeated.")] = None,
    stop_token_id: Annotated[list[int] | None, typer.Option(help="Stop at this token. May be repeated.")] = None,
    n: Annotated[int | None, typer.Option("-n", "--choices", help="Outputs of each prompt.", min=1, max=16)] = None,
    logprobs: Annotated[
        int | None, typer.Option(help="Log-probabilities, with so many of the likeliest tokens.", min=0, max=20)
    ] = None,
    drafter: Annotated[Drafter | None, typer.Option(help="Changes the speed, never the text.")] = None,
    reproducible: Annotated[bool, typer.Option("--reproducible", help="Exact to the last bit.")] = False,
    priority: Annotated[Priority | None, typer.Option(help="Default: interactive for one input.")] = None,
    deadline: Annotated[int | None, typer.Option(help="Seconds until the job expires.", min=1)] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="NAME=VALUE. May be repeated.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Submit at most once under this key.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job as JSON.")] = False,
) -> None:
    """Submit documents or prompts as one job and print its id."""
    here = session(context)
    if output is not None and not wait:
        raise UsageError("--output needs --wait")
    asked, inputs = read_inputs(files, kind, sys.stdin.buffer)
    if asked != Kind.SUMMARIZE and (style is not None or max_words is not None):
        raise UsageError(f"--style and --max-words are for summarize jobs, not {asked}")
    parameters = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "logit_bias": _biases(logit_bias or []) or None,
        "min_tokens": min_tokens,
        "seed": seed,
        "stop": stop,
        "stop_token_ids": stop_token_id,
        "n": n,
        "logprobs": logprobs,
    }
    with here.client() as client:
        head = given(
            kind=asked,
            model=model or default_model(here, client),
            style=style,
            max_words=max_words,
            parameters=given(**parameters) or None,
            decoding=given(drafter=drafter, reproducible=reproducible or None) or None,
            priority=priority,
            deadline_s=deadline,
            metadata=_pairs("--metadata", "NAME=VALUE", metadata or []) or None,
        )
        with here.err.status(f"Submitting {len(inputs)} inputs"):
            job = client.submit(head, inputs, key=idempotency_key)
        if wait:
            here.err.print(f"[dim]job {job.id}[/]", highlight=False)
            job = watch(client, job.id, here.err)
        _report(here, client, job, output, has_waited=wait, as_json=as_json)
    if wait:
        check_outcome(job)


def given(**options: Any) -> Json:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def default_model(here: Session, client: Client) -> str:
    """The running stack's model, else the only one registered.

    Raises:
        UsageError: there are several, or none.
    """
    state = running_state(here.home)
    if state is not None and client.url == state.api_url:
        return state.model
    names = [str(row["name"]) for row in client.models()["data"]]
    if len(names) == 1:
        return names[0]
    raise UsageError(f"which --model? Registered are: {', '.join(names) or 'none (skim models add)'}")


def _report(here: Session, client: Client, job: Job, output: Path | None, *, has_waited: bool, as_json: bool) -> None:
    if output is not None:
        save_results(here, client, job.id, output)
    if as_json:
        here.print_json(job.body)
    elif not has_waited:
        here.out.print(job.id, highlight=False)
    elif output is None:
        print_results(here, client, job.id)


def _biases(texts: list[str]) -> dict[str, float]:
    try:
        return {token: float(bias) for token, bias in _pairs("--logit-bias", "TOKEN_ID=BIAS", texts).items()}
    except ValueError as error:
        raise UsageError(f"--logit-bias takes TOKEN_ID=BIAS: {error}") from error


def _pairs(option: str, form: str, texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} takes {form}, not {text!r}")
        pairs[name] = value
    return pairs
