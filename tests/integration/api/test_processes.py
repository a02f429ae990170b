"""Several processes of one API: what they count is one, wherever it is asked for; and every line they log is JSON."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests.integration.api.test_metrics import one, samples
from tests.tools.serving import environment, serving, wait_until_live

NUM_REQUESTS = 40
LABELS = {"method": "GET", "route": "/v1/jobs", "status": "200"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_processes_count_together_and_log_alike(database_url: str, secret: str, tmp_path: Path) -> None:
    env = environment(database_url, SKIM_API_WORKERS="2", SKIM_METRICS_OPEN="yes", SKIM_LOG_LEVEL="info")
    log = tmp_path / "log"
    with log.open("wb") as output, serving(output, env) as (url, process):
        wait_until_live(url)
        headers = {"Authorization": f"Bearer {secret}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}

        def ask(number: int) -> int:
            return httpx.get(f"{url}/v1/jobs", headers={**headers, "X-Request-Id": f"r{number}"}).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(NUM_REQUESTS))) == {200}
        psutil.Process(process.pid).children()[0].kill()  # its counters stay
        found = samples(httpx.get(f"{url}/metrics").raise_for_status().text)

    assert one(found, "skim_http_requests_total", **LABELS) == NUM_REQUESTS
    assert one(found, "skim_queue_items", model="tiny", lane="bulk") == 0
    assert not any("pid" in dict(labels) for _, labels in found)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = {line["request"]: line for line in lines if line["event"] == "request"}
    assert set(told) == {f"r{number}" for number in range(NUM_REQUESTS)}
    assert {line["trace"] for line in told.values()} == {TRACE}
