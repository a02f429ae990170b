"""The parts of ``bench.decoding``: each takes the parsed command line, measures, prints and saves."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir

from bench import claims, compare, latency, operating, roofline, steps
from bench.plots import plot
from bench.report import RESULTS, device, save
from bench.setting import Setting, dtype_of, loaded_setting
from bench.shapes import point
from bench.workloads import Sources
from engine.loop import Engine, Options
from engine.skipset import SkipSet

MODULE = "decoding"


def items_for(batch: int, asked: int) -> int:
    """Twice the batch, and no fewer than four, unless a number was asked for."""
    return asked or max(4, 2 * batch)


def run_compare(arguments: argparse.Namespace) -> None:
    setting = _setting(arguments)
    sources = _sources(setting, arguments)
    lines: list[compare.Line] = []
    noise: dict[str, float] = {}
    for workload in arguments.workloads:
        for batch in arguments.batches:
            work = sources.work(workload, items_for(batch, arguments.items), arguments.max_tokens)
            work = replace(work, temperature=arguments.temperature)
            standard, arms = setting.standard(work), setting.arms(batch, arguments.arms)
            lines += compare.compare(workload, batch, work, arms, standard, arguments.rounds)
            noise[f"{workload} at {batch}"] = standard.judge.noise
            print(compare.table(lines[-len(arms) :]), flush=True)
            _keep(arguments, setting, lines, noise)


def _keep(arguments: argparse.Namespace, setting: Setting, lines: list[compare.Line], noise: dict[str, float]) -> None:
    """Save after every piece of work: a run that is cut short leaves what it has."""
    held = list(claims.claims(lines))
    results = {"lines": lines, "claims": held, "noise": noise}
    text = compare.table(lines) + "\n\n" + claims.table(held)
    save(arguments.name, {**results, "costs": setting.costs.to_json(), "skip_set": _bits(setting)}, text, MODULE)
    plot(RESULTS / f"{arguments.name}.png", f"{arguments.name}, {device()}", lines)


def run_planted(arguments: argparse.Namespace) -> None:
    outcome = operating.operate(
        point(arguments.point, arguments.layers),
        arguments.batches,
        items=arguments.items or 4,
        max_tokens=arguments.max_tokens,
        rounds=arguments.rounds,
        dtype=dtype_of(arguments.dtype, arguments.device),
        device=arguments.device,
    )
    text = operating.table(outcome) + "\n\n" + compare.table(outcome.lines)
    name = f"{arguments.name}-{arguments.point}"
    print(text, save(name, {"outcome": outcome}, text, MODULE), sep="\n")
    bounds = {one.batch: best.speedup for one, best in zip(outcome.steps, outcome.bounds, strict=True)}
    plot(RESULTS / f"{name}.png", f"planted {arguments.point}, dashed: the bound S, {device()}", outcome.lines, bounds)


def run_steps(arguments: argparse.Namespace) -> None:
    setting = _setting(arguments)
    limits = roofline.device_limits(setting.stock.device, setting.stock.dtype)
    found = [
        steps.measure(setting.network, setting.skip_set, batch, arguments.span, arguments.rounds)
        for batch in arguments.batches
    ]
    roofs = [roofline.roofline(setting.stock, limits, one) for one in found]
    text = _steps_table(found, roofs)
    name = f"{arguments.name}-steps"
    print(text, save(name, {"limits": limits, "steps": found, "roofline": roofs}, text, MODULE), sep="\n")


def _steps_table(found: Sequence[steps.Steps], roofs: Sequence[roofline.Roofline]) -> str:
    out = ["| batch | plain step, ms | draft / plain | width 6 / 1 | width 16 / 1 | floor, ms | floor / step |"]
    out.append("|" + "---|" * 7)
    for one, roof in zip(found, roofs, strict=True):
        wide = f"{one.over_plain[6]} | {one.over_plain[16]}"
        floor = f"{1e3 * roof.floor_s:.1f} | {roof.share:.2f}"
        out.append(f"| {one.batch} | {1e3 * one.plain_s:.1f} | {one.draft_over_plain} | {wide} | {floor} |")
    return "\n".join(out)


def run_latency(arguments: argparse.Namespace) -> None:
    setting = _setting(arguments)
    sources = _sources(setting, arguments)
    rows = max(arguments.batches)
    options = Options(rows=rows, length=1024)
    engine = Engine(setting.network, options, eos=setting.eos, skip_set=setting.skip_set, costs=setting.costs)
    bulk = sources.work("summaries", 2 * rows, arguments.max_tokens)
    seen = latency.measure(engine, bulk, sources.work("free", arguments.items or 16, arguments.max_tokens))
    print(seen.table(), save(f"{arguments.name}-latency", {"rows": rows, "seen": seen}, seen.table(), MODULE), sep="\n")


def _setting(arguments: argparse.Namespace) -> Setting:
    return loaded_setting(
        arguments.model,
        Path(gettempdir()),
        dtype=arguments.dtype,
        device=arguments.device,
        skip_set=SkipSet.from_bits(arguments.skip_set) if arguments.skip_set else None,
        gguf=arguments.llama_cpp,
        most_rows=max(arguments.batches),
    )


def _sources(setting: Setting, arguments: argparse.Namespace) -> Sources:
    if setting.tokenizer is None:
        raise ValueError("workloads need a tokenizer")
    return Sources(setting.tokenizer, setting.eos, arguments.documents, arguments.words)


def _bits(setting: Setting) -> str | None:
    return setting.skip_set.bits(setting.network.config.num_hidden_layers) if setting.skip_set else None
