"""Requests per second of the service beside those of a bare Flask route of the same payload; long jobs and batches.

``python -m bench.service`` starts a stack without workers and the bare route under the same server configuration, both
on loopback, and asks them in turn. Clients are threads of this process with connections that are kept alive. Polls are
of one job that waits, which the API serves from a copy, and of jobs that go on, each client of its own: a stand-in for
workers ends items of them all the time.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any

from bench.asks import Ask, Cost, Service
from bench.batches import PROMPT, STEPS, batch
from bench.bulk import MODEL
from bench.report import RESULTS, Spread, save
from bench.stack import running
from bench.standin import recording

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = (1, 16, 64)
LARGE = [10_000, 50_000]
RUNNING = "poll running jobs"
MIN_ITEMS = 1000  # of a job that goes on


@dataclass(frozen=True, slots=True)
class Rate:
    """What some clients got in some seconds. Times in milliseconds; `news` is the share of answers that were not the
    client's last one.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    news: float


def hammer(port: int, asks: Sequence[Ask], seconds: float) -> Rate:
    """Let clients ask as fast as they are answered, each its own."""
    times: list[list[float]] = [[] for _ in asks]
    num_news = [0 for _ in asks]
    until = time.perf_counter() + seconds

    def client(number: int, ask: Ask) -> None:
        connection, last = HTTPConnection("127.0.0.1", port, timeout=60), b""
        while (began := time.perf_counter()) < until:
            connection.request(ask.method, ask.path, ask.body, dict(ask.headers))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{ask.method} {ask.path}: {answer.status}")
            times[number].append(time.perf_counter() - began)
            num_news[number] += body != last
            last = body
        connection.close()

    threads = [threading.Thread(target=client, args=both) for both in enumerate(asks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(one * 1000 for mine in times for one in mine)
    middle, late = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    return Rate(len(taken) / seconds, middle, late, sum(num_news) / len(taken))


@contextmanager
def bare(port: int, num_bytes: int) -> Iterator[None]:
    """The bare route under the service's own server configuration."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py")]
    process = subprocess.Popen(
        [*command, f"bench.bare:make_app({num_bytes})"],
        env={**os.environ, "SKIM_API_BIND": f"127.0.0.1:{port}", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def submission(num_items: int, prompt: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
    """A JSON Lines body, a megabyte or so at a time."""
    yield json.dumps({"kind": "generate", "model": MODEL, "parameters": parameters}).encode() + b"\n"
    for first in range(0, num_items, 1000):
        numbers = range(first, min(first + 1000, num_items))
        yield b"".join(json.dumps({"prompt": prompt.format(number=number)}).encode() + b"\n" for number in numbers)


def long_job(service: Service, num_items: int, prompt: str = PROMPT, **parameters: Any) -> Ask:
    """The submission of a job of so many items."""
    headers = {**service.headers, "Content-Type": "application/x-ndjson"}
    return Ask("POST", "/v1/jobs", headers, b"".join(submission(num_items, prompt, parameters)))


def job_cost(service: Service, num_items: int) -> Cost:
    """One submission."""
    ask = long_job(service, num_items)
    cost, job = service.cost(lambda: service.send(ask))
    service.send(Ask("POST", f"/v1/jobs/{job['id']}/cancel", service.headers))
    service.send(Ask("DELETE", f"/v1/jobs/{job['id']}", service.headers))
    return cost


@contextmanager
def going_on(service: Service, clients: int, arguments: argparse.Namespace, rates: list[float]) -> Iterator[list[Ask]]:
    """Jobs of which items end all the time, and a poll of each; afterwards `rates` has how many ended a second."""
    lasts_s = 2 * arguments.seconds  # two arms
    ask = long_job(service, max(MIN_ITEMS, int(2 * arguments.records * lasts_s / clients)))
    job_ids = [service.send(ask)["id"] for _ in range(clients)]
    with recording(service.database_url, arguments.records, job_ids) as recorded:
        yield [Ask("GET", f"/v1/jobs/{job_id}", service.headers) for job_id in job_ids]
    rates += recorded


def measure_rates(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """Every rate of the service and of the bare route in turn, either beside the same recording of items if any."""
    body = json.dumps({"kind": "generate", "model": MODEL, "inputs": [{"prompt": PROMPT}]}).encode()
    submit = Ask("POST", "/v1/jobs", service.headers, body)
    job = service.send(submit)
    poll = Ask("GET", f"/v1/jobs/{job['id']}", service.headers)
    recorded: list[float] = []
    works: dict[str, Callable[[int], AbstractContextManager[list[Ask]]]] = {
        "poll": lambda clients: nullcontext([poll] * clients),
        RUNNING: lambda clients: going_on(service, clients, arguments, recorded),
        "submit": lambda clients: nullcontext([submit] * clients),
    }
    rates: dict[str, dict[str, list[Rate]]] = {}
    with bare(arguments.port + 2, len(json.dumps(job))):
        for name, clients in product(works, CLIENTS):
            found = rates[f"{name}, {clients} clients"] = {"service": [], "bare": []}
            for _ in range(arguments.rounds):
                with works[name](clients) as asks:
                    found["bare"].append(hammer(arguments.port + 2, asks, arguments.seconds))
                    found["service"].append(hammer(service.port, asks, arguments.seconds))
    spreads = {name: {arm: _spread(many) for arm, many in arms.items()} for name, arms in rates.items()}
    return {"rates": spreads, "recorded_per_s": Spread.of(recorded)}


def measure(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """The rates, then long jobs, then long batches."""
    rates = measure_rates(arguments, service)
    jobs = {num: [job_cost(service, num) for _ in range(arguments.rounds)] for num in arguments.large}
    batches = {num: [batch(service, num) for _ in range(arguments.rounds)] for num in arguments.large}
    return {
        **rates,
        "large": {num: _spread(costs) for num, costs in jobs.items()},
        "batches": {
            num: {step: _spread([one[step] for one in many]) for step in STEPS} for num, many in batches.items()
        },
    }


def _spread(many: Sequence[Rate] | Sequence[Cost]) -> dict[str, Spread]:
    """Of each field of repeated measurements."""
    return {field: Spread.of([getattr(one, field) for one in many]) for field in type(many[0]).__slots__}


def table(results: dict[str, Any]) -> str:
    """All parts as Markdown."""
    lines = ["| | requests/s | of the bare route's | p50, ms | p99, ms | bare p50, ms |", "|---|---|---|---|---|---|"]
    for name, arms in results["rates"].items():
        ours, bare_one = arms["service"], arms["bare"]
        share = ours["requests_per_s"].median / bare_one["requests_per_s"].median
        lines.append(
            f"| {name} | {ours['requests_per_s']} | {share:.0%} | {ours['p50_ms']} | {ours['p99_ms']}"
            f" | {bare_one['p50_ms']} |"
        )
    news = [f"{arms['service']['news'].median:.0%}" for name, arms in results["rates"].items() if RUNNING in name]
    lines.append(
        f"\nWhile jobs ran, {results['recorded_per_s']} of their items ended a second in all; {', '.join(news)} of the"
        f" answers to {', '.join(map(str, CLIENTS))} clients were not the client's last one."
    )
    lines += ["", "| | seconds | API's memory at most, MiB |", "|---|---|---|"]
    lines += [f"| job of {num:,} items, submission | {_costs(found)} |" for num, found in results["large"].items()]
    for num, found in results["batches"].items():
        lines += [f"| batch of {num:,} lines, {step} | {_costs(found[name])} |" for name, step in STEPS.items()]
    return "\n".join(lines)


def _costs(found: Mapping[str, Spread]) -> str:
    return f"{found['seconds']} | {found['api_mib']}"


def plot(path: Path, results: dict[str, Any]) -> None:
    """Requests per second of both, by clients. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, panels = pyplot.subplots(1, 3, figsize=(11.0, 3.0), layout="constrained")
    for panel, name in zip(panels, ("poll", RUNNING, "submit"), strict=True):
        for shift, arm in ((-0.2, "bare"), (0.2, "service")):
            rates = [results["rates"][f"{name}, {clients} clients"][arm]["requests_per_s"] for clients in CLIENTS]
            middles = [rate.median for rate in rates]
            errors = [[rate.median - rate.low for rate in rates], [rate.high - rate.median for rate in rates]]
            panel.bar([place + shift for place in range(len(rates))], middles, 0.4, yerr=errors, label=arm)
        panel.set_xticks(range(len(CLIENTS)), [f"{clients} clients" for clients in CLIENTS])
        panel.set_title(name)
    panels[0].set_ylabel("requests/s")
    panels[-1].legend(frameon=False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--large", type=int, nargs="+", default=LARGE, help="items of the long jobs and batches")
    parser.add_argument("--records", type=float, default=100.0, help="items that end a second while jobs are polled")
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port, "--workers", "0") as stack:
        results = measure(arguments, Service(stack))
    print(table(results))
    print(save("service", results, table(results)))
    plot(RESULTS / "service.png", results)


if __name__ == "__main__":
    main()
