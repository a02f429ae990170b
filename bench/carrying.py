"""What a worker's processes take while they carry a long job: no more than for a short one.

``python -m bench.carrying`` starts a stack of its own, hands in a bulk job of a few items and then one of 50,000, looks
at every process of the worker while each goes on, and stops the stack. The long job is called off when its time is up.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Final

from bench.asks import Ask, Service
from bench.report import RESULTS, save
from bench.samples import Probe
from bench.service import long_job
from bench.stack import Stack, running

ITEMS: Final = {"short": 128, "long": 50_000}
PARTS: Final = ("bulk node", "interactive node", "engine")
PROMPT: Final = "Tell me something about the number {number}."
EVERY_S: Final = 0.5

Look = dict[str, float]


def watch(service: Service, probe: Probe, num_items: int, seconds: float) -> list[Look]:
    """Hand a job in and look until it has ended, at most so long. Raises RuntimeError if nothing of it was done."""
    job_id = service.send(long_job(service, num_items, PROMPT, max_tokens=1))["id"]
    began = time.monotonic()
    looks: list[Look] = []
    is_over = False
    while not is_over:
        time.sleep(EVERY_S)
        job = service.send(Ask("GET", f"/v1/jobs/{job_id}", service.headers))
        values = probe.values(is_quiet=False)
        sizes = {f"{part}, {kind}": values[f"{part}, {kind}"] for part in PARTS for kind in ("RSS", "USS")}
        looks.append({"at_s": time.monotonic() - began, "ended": job["counts"]["succeeded"], **sizes})
        is_over = job["finished_at"] is not None or looks[-1]["at_s"] > seconds
    if job["finished_at"] is None:
        service.send(Ask("POST", f"/v1/jobs/{job_id}/cancel", service.headers))
    if not looks[-1]["ended"]:
        raise RuntimeError(f"nothing of {num_items} items was done in {seconds:g} s")
    return looks


def measure(arguments: argparse.Namespace, stack: Stack) -> dict[str, Any]:
    """The short job twice, so that what is loaded once is there, then the long one."""
    service, probe = Service(stack), Probe(stack)
    watch(service, probe, ITEMS["short"], arguments.seconds)
    looks = {name: watch(service, probe, num, arguments.seconds) for name, num in ITEMS.items()}
    probe.close()
    return {"looks": looks}


def table(results: dict[str, Any]) -> str:
    """The most that each process took, by job, and what it took first and last of the long one."""
    looks: dict[str, list[Look]] = results["looks"]
    jobs = [f"{num:,} items" for num in ITEMS.values()]
    lines = [f"| MiB | {' | '.join(f'most, {job}' for job in jobs)} | first look at the last | last look |"]
    lines.append("|---|---|---|---|---|")
    for name in list(looks["long"][0])[2:]:
        most = [max(look[name] for look in looks[job]) for job in ITEMS]
        numbers = (*most, looks["long"][0][name], looks["long"][-1][name])
        lines.append(f"| {name} | {' | '.join(f'{one:.1f}' for one in numbers)} |")
    done = [f"{many[-1]['ended']:.0f} in {many[-1]['at_s']:.0f} s ({len(many)} looks)" for many in looks.values()]
    lines.append(f"\nItems that had ended: {', '.join(done)}.")
    return "\n".join(lines)


def plot(path: Path, results: dict[str, Any]) -> None:
    """Memory of the nodes over the long job. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6.0, 3.0), layout="constrained")
    looks = results["looks"]["long"]
    for part in PARTS[:2]:
        axes.plot([look["ended"] for look in looks], [look[f"{part}, USS"] for look in looks], label=f"{part}, USS")
    axes.set_xlabel(f"items of {ITEMS['long']:,} that have ended")
    axes.set_ylabel("MiB")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90.0, help="at most for a job")
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port) as stack:
        results = measure(arguments, stack)
    print(table(results))
    print(save("carrying", results, table(results)))
    plot(RESULTS / "carrying.png", results)


if __name__ == "__main__":
    main()
