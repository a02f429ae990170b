"""Requests per second of the service beside those of a bare Flask route of the same payload; long submissions.

``python -m bench.service`` starts a stack without workers and the bare route under the same server configuration, both
on loopback, and asks them in turn. Clients are threads of this process with connections that are kept alive.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from bench.report import RESULTS, Spread, save
from bench.stack import Stack, running

ROOT = Path(__file__).resolve().parents[1]
MODEL = "smollm2-135m-instruct"
CLIENTS = (1, 16, 64)
LARGE = (10_000, 50_000)
PROMPT = "Tell me something about the number {number}. " * 10  # about 400 characters


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is made over and over."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What some clients got in some seconds. Times in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def hammer(port: int, ask: Ask, clients: int, seconds: float) -> Rate:
    """Let so many clients ask as fast as they are answered."""
    times: list[list[float]] = [[] for _ in range(clients)]
    until = time.perf_counter() + seconds

    def client(mine: list[float]) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while (began := time.perf_counter()) < until:
            connection.request(ask.method, ask.path, ask.body, dict(ask.headers))
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{ask.method} {ask.path}: {answer.status}")
            mine.append(time.perf_counter() - began)
        connection.close()

    threads = [threading.Thread(target=client, args=(mine,)) for mine in times]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(one * 1000 for mine in times for one in mine)
    return Rate(len(taken) / seconds, taken[len(taken) // 2], taken[int(len(taken) * 0.99)])


class Service:
    """A stack of its own without workers, so that nothing but the API and the database is busy."""

    def __init__(self, stack: Stack) -> None:
        self.port = stack.port
        self.headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}

    def send(self, ask: Ask) -> Any:
        """One request; returns its JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(ask.method, ask.path, ask.body, dict(ask.headers))
        answer = connection.getresponse()
        body = json.loads(answer.read() or b"null")
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(str(body))
        return body

    @property
    def api(self) -> psutil.Process:
        """The process that serves requests: whoever listens at the port, and is nobody's parent."""
        listeners = {one.pid for one in psutil.net_connections("tcp") if one.laddr and one.laddr[1] == self.port}
        processes = (psutil.Process(pid) for pid in listeners if pid is not None)
        return next(one for one in processes if not one.children())


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


def submission(num_items: int) -> Iterator[bytes]:
    """A JSON Lines body, a megabyte or so at a time."""
    yield json.dumps({"kind": "generate", "model": MODEL}).encode() + b"\n"
    for first in range(0, num_items, 1000):
        numbers = range(first, min(first + 1000, num_items))
        yield b"".join(json.dumps({"prompt": PROMPT.format(number=number)}).encode() + b"\n" for number in numbers)


def submit_large(service: Service, num_items: int) -> tuple[float, float]:
    """Seconds for one submission, and the API's largest memory meanwhile in MiB."""
    api, peak, is_done = service.api, [0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.05):
            peak[0] = max(peak[0], api.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    body = b"".join(submission(num_items))
    began = time.perf_counter()
    job = service.send(Ask("POST", "/v1/jobs", {**service.headers, "Content-Type": "application/x-ndjson"}, body))
    took = time.perf_counter() - began
    is_done.set()
    watcher.join()
    service.send(Ask("POST", f"/v1/jobs/{job['id']}/cancel", service.headers))
    service.send(Ask("DELETE", f"/v1/jobs/{job['id']}", service.headers))
    return took, peak[0] / 2**20


def measure(arguments: argparse.Namespace, service: Service) -> dict[str, Any]:
    """Every rate of the service and of the bare route in turn, then the long submissions."""
    body = json.dumps({"kind": "generate", "model": MODEL, "inputs": [{"prompt": PROMPT}]}).encode()
    submit = Ask("POST", "/v1/jobs", service.headers, body)
    job = service.send(submit)
    poll = Ask("GET", f"/v1/jobs/{job['id']}", service.headers)
    rates: dict[str, dict[str, list[Rate]]] = {}
    with bare(arguments.port + 2, len(json.dumps(job))):
        for name, ask in (("poll", poll), ("submit", submit)):
            for clients in CLIENTS:
                found = rates.setdefault(f"{name}, {clients} clients", {"service": [], "bare": []})
                for _ in range(arguments.rounds):
                    found["bare"].append(hammer(arguments.port + 2, ask, clients, arguments.seconds))
                    found["service"].append(hammer(service.port, ask, clients, arguments.seconds))
    large = {num: [submit_large(service, num) for _ in range(arguments.rounds)] for num in LARGE}
    return {
        "rates": {
            name: {
                arm: {field: Spread.of([getattr(rate, field) for rate in many]) for field in Rate.__slots__}
                for arm, many in arms.items()
            }
            for name, arms in rates.items()
        },
        "large": {
            num: {"seconds": Spread.of([took for took, _ in runs]), "api_mib": Spread.of([mib for _, mib in runs])}
            for num, runs in large.items()
        },
    }


def table(results: dict[str, Any]) -> str:
    """Both parts as Markdown."""
    lines = ["| | requests/s | of the bare route's | p50, ms | p99, ms | bare p50, ms |", "|---|---|---|---|---|---|"]
    for name, arms in results["rates"].items():
        ours, bare_one = arms["service"], arms["bare"]
        share = ours["requests_per_s"].median / bare_one["requests_per_s"].median
        lines.append(
            f"| {name} | {ours['requests_per_s']} | {share:.0%} | {ours['p50_ms']} | {ours['p99_ms']}"
            f" | {bare_one['p50_ms']} |"
        )
    lines += ["", "| items of one submission | seconds | API's memory at most, MiB |", "|---|---|---|"]
    lines += [f"| {num:,} | {found['seconds']} | {found['api_mib']} |" for num, found in results["large"].items()]
    return "\n".join(lines)


def plot(path: Path, results: dict[str, Any]) -> None:
    """Requests per second of both, by clients. Needs the ``bench`` extras."""
    import matplotlib  # noqa: PLC0415  an optional dependency

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, panels = pyplot.subplots(1, 2, figsize=(8.0, 3.0), layout="constrained")
    for panel, name in zip(panels, ("poll", "submit"), strict=True):
        for shift, arm in ((-0.2, "bare"), (0.2, "service")):
            rates = [results["rates"][f"{name}, {clients} clients"][arm]["requests_per_s"] for clients in CLIENTS]
            middles = [rate.median for rate in rates]
            errors = [[rate.median - rate.low for rate in rates], [rate.high - rate.median for rate in rates]]
            panel.bar([place + shift for place in range(len(rates))], middles, 0.4, yerr=errors, label=arm)
        panel.set_xticks(range(len(CLIENTS)), [f"{clients} clients" for clients in CLIENTS])
        panel.set_title(name)
    panels[0].set_ylabel("requests/s")
    panels[1].legend(frameon=False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--port", type=int, default=8790)
    arguments = parser.parse_args()
    with running(arguments.port, "--workers", "0") as stack:
        results = measure(arguments, Service(stack))
    print(table(results))
    print(save("service", results, table(results)))
    plot(RESULTS / "service.png", results)


if __name__ == "__main__":
    main()
