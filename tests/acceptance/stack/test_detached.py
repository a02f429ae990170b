"""`skim up --detach`: the whole stack, on real parts, as a script meets it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from workers.queues import SHARD_TASK, SWEEP_TASK

pytestmark = [pytest.mark.demo, pytest.mark.timeout(900)]

PROCESSES = {"postgres", "redis", "api", "flower", "beat", "control", "worker-1"}
DOCUMENT = "The tide comes in twice a day because the Moon pulls at the sea. " * 8


@pytest.fixture(scope="module")
def stack(skim: Any) -> Iterator[Any]:
    """The command with its stack up."""
    done = skim("up", "--detach", *skim.ports)
    assert done.returncode == 0, done.stderr
    yield skim
    skim("down")


def test_status_names_addresses_and_processes(stack: Any) -> None:
    status = stack.json("status")

    assert list(status) == ["running", "api_url", "flower_url", "database_url", "redis_url", "processes"]
    assert status["running"] is True
    assert status["api_url"] == f"http://127.0.0.1:{stack.port}"
    assert status["flower_url"] == f"http://127.0.0.1:{stack.flower_port}"
    assert status["database_url"].startswith("postgresql+psycopg://")
    assert {one["name"] for one in status["processes"]} == PROCESSES
    assert all(one.keys() == {"name", "pid", "state"} for one in status["processes"])
    assert {one["state"] for one in status["processes"]} == {"running"}


def test_credentials_are_private_and_work(stack: Any) -> None:
    credentials: Path = stack.home.credentials
    key = json.loads(credentials.read_text())["api_key"]

    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    answer = httpx.get(f"http://127.0.0.1:{stack.port}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert [row["name"] for row in answer.json()["data"]] == ["smollm2-135m-instruct"]
    assert answer.json()["data"][0]["context_length"] == 2048


def test_second_up_finds_the_running_stack_at_once(stack: Any) -> None:
    before = stack.json("status")
    began = time.monotonic()
    done = stack("up", "--detach", *stack.ports)

    assert (done.returncode, "already running" in done.stderr) == (0, True)
    assert time.monotonic() - began < 5
    assert stack.json("status") == before


def test_documents_from_every_source_are_summarised(stack: Any, tmp_path: Path) -> None:
    (tmp_path / "tide.md").write_text(DOCUMENT)
    lines = "\n".join(json.dumps({"custom_id": f"line-{n}", "document": DOCUMENT}) for n in range(2))
    (tmp_path / "more.jsonl").write_text(lines)
    output = tmp_path / "results.jsonl"

    done = stack("submit", str(tmp_path), "--wait", "--max-tokens", "16", "--output", str(output), "--json")

    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["kind"], job["status"], job["counts"]["succeeded"]) == ("summarize", "succeeded", 3)
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one["custom_id"] for one in results] == ["line-0", "line-1", str(tmp_path / "tide.md")]
    assert all(one["output"] for one in results)
    assert [json.loads(line) for line in stack("results", job["id"]).stdout.splitlines()] == results
    assert job["id"] in {row["id"] for row in stack.json("jobs")["data"]}
    assert stack.json("show", job["id"])["id"] == job["id"]


def test_prompt_from_standard_input_is_answered(stack: Any) -> None:
    done = stack("submit", "-", "--kind", "generate", "--max-tokens", "8", "--wait", stdin="Say hello.")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_choice_is_printed(stack: Any) -> None:
    options = ["--drafter", "cascade", "--choices", "2", "--logprobs", "1", "--temperature", "0.9", "--top-p", "0.95"]
    options += ["--min-p", "0.01", "--repetition-penalty", "1.1", "--presence-penalty", "0.1", "--min-tokens", "2"]
    options += ["--frequency-penalty", "0.1", "--logit-bias", "0=-100", "--stop-token-id", "2", "--max-tokens", "4"]

    done = stack("submit", "-", "--kind", "generate", "--wait", *options, stdin="Say hello.")
    refused = stack("submit", "-", "--kind", "generate", "--logit-bias", "a=b", stdin="Say hello.")

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("stdin")] == ["stdin [0]", "stdin [1]"]
    assert (refused.returncode, "--logit-bias" in refused.stderr) == (2, True)


def test_cancelled_job_ends_with_its_own_code(stack: Any, tmp_path: Path) -> None:
    prompts = "\n".join(json.dumps({"prompt": f"Count to a million, from {n}:"}) for n in range(200))
    (tmp_path / "many.jsonl").write_text(prompts)
    job_id = stack("submit", str(tmp_path), "--max-tokens", "500").stdout.strip()

    cancelled = stack("cancel", job_id)

    assert cancelled.returncode == 0, cancelled.stderr
    assert stack("show", job_id, "--wait").returncode == 8


def test_what_failed_is_tried_again(stack: Any, tmp_path: Path) -> None:
    # The API does not count what an earlier answer thought, which templates mostly drop; this model's does not.
    thoughts = f"<think>{'far too long ' * 2000}</think>Indeed."
    said = [("user", "Is it?"), ("assistant", thoughts), ("user", "Was it?")]
    chat = {"messages": [{"role": role, "content": content} for role, content in said]}
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat))
    job_id = stack("submit", str(tmp_path)).stdout.strip()
    assert stack("show", job_id, "--wait").returncode == 8

    done = stack("retry", job_id, "--wait", "--json")

    retried = json.loads(done.stdout)
    assert done.returncode == 8  # it is no shorter than before
    assert (retried["retry_of"], retried["counts"]["failed"]) == (job_id, 1)
    assert stack("retry", "job_00000000000000000000000000").returncode == 7


def test_refusals_have_their_own_codes(stack: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(DOCUMENT)
    (tmp_path / "lines.jsonl").write_text('{"prompt": "a"}\n{"prompt": 7}\n')

    assert stack("show", "job_00000000000000000000000000").returncode == 7
    unknown = stack("submit", str(tmp_path / "a.md"), "--model", "unknown")
    assert unknown.returncode in (5, 7)
    assert "unknown" in unknown.stderr
    wrong = stack("submit", str(tmp_path / "lines.jsonl"))
    assert wrong.returncode == 5
    assert "prompt" in wrong.stderr


def test_keys_are_created_used_and_revoked(stack: Any) -> None:
    made = stack.json("keys", "create", "for-tests", "--scope", "jobs")
    url = f"http://127.0.0.1:{stack.port}/v1/jobs"
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert httpx.get(url, headers=headers).status_code == 200

    assert stack("keys", "revoke", made["id"]).returncode == 0

    assert httpx.get(url, headers=headers).status_code == 401
    assert made["secret"] not in stack("keys", "list", "--json").stdout


def test_flower_asks_for_its_password_and_takes_no_orders(stack: Any) -> None:
    url = f"http://127.0.0.1:{stack.flower_port}"
    login = ("skim", stack.home.flower_password.read_text().strip())

    assert httpx.get(f"{url}/api/workers").status_code == 401
    _until(lambda: httpx.get(f"{url}/workers", auth=login).status_code == 200, timeout_s=20)
    order = httpx.post(f"{url}/api/task/async-apply/control.sweep", auth=login, json={})
    assert order.status_code == 403


def test_flower_shows_work_and_not_the_sweeps(stack: Any) -> None:
    url, login = (
        f"http://127.0.0.1:{stack.flower_port}/api/tasks",
        ("skim", stack.home.flower_password.read_text().strip()),
    )

    def seen() -> set[str]:
        return {task["name"] for task in httpx.get(url, auth=login).raise_for_status().json().values()}

    done = stack("submit", "-", "--kind", "generate", "--max-tokens", "4", "--wait", stdin="Say hello.")

    assert done.returncode == 0
    _until(lambda: SHARD_TASK in seen(), timeout_s=20)
    time.sleep(5)  # two sweeps
    assert SWEEP_TASK not in seen()


def test_second_model_is_registered_and_served_while_the_stack_runs(stack: Any, tmp_path: Path) -> None:
    source = str(stack.home.models / "smollm2-135m-instruct")
    added = stack.json("models", "add", "second", "--source", source, "--context-length", "512")
    assert (added["name"], added["context_length"]) == ("second", 512)
    assert stack("models", "add", "second", "--source", source, "--context-length", "256").returncode == 5
    (tmp_path / "a.md").write_text(DOCUMENT)
    job_id = stack("submit", str(tmp_path), "--model", "second", "--max-tokens", "8").stdout.strip()

    command = stack.command("worker", "--model", "second", "--device", "cpu", "--name", "by-hand")
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=stack.environment, stdout=log, stderr=log)
    try:
        shown = stack("show", job_id, "--wait", "--json")
    finally:
        worker.terminate()
        worker.wait(timeout=60)

    assert shown.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert json.loads(shown.stdout)["model"] == "second"


@pytest.mark.parametrize("name", ["api", "redis", "worker-1"])
def test_killed_process_is_started_again_and_the_work_goes_on(stack: Any, tmp_path: Path, name: str) -> None:
    pid = stack.pid(name)
    os.kill(pid, signal.SIGKILL)

    _until(lambda: _is_back(stack, name, pid), timeout_s=30)
    (tmp_path / "a.md").write_text(DOCUMENT)
    done = stack("submit", str(tmp_path), "--wait", "--max-tokens", "8")

    assert done.returncode == 0, done.stderr
    listed = stack("status").stdout
    line = next(line for line in listed.splitlines() if line.startswith(name))
    assert line.split()[3] == "1", listed  # the column of restarts


def test_other_stack_on_the_same_ports_is_told_of_free_ones(stack: Any) -> None:
    other = type(stack)(stack.root.parent / "other", stack.port, stack.flower_port)

    done = other("up", "--detach", *other.ports)

    assert done.returncode == 3
    assert f"port {stack.port} is taken; free are" in done.stderr
    assert other.living() == []


def test_zz_down_stops_everything_and_says_when_there_is_nothing(stack: Any) -> None:
    assert stack.living()

    done = stack("down")

    assert done.returncode == 0, done.stderr
    order = [line.split()[1] for line in done.stderr.splitlines() if " stopped" in line]
    assert order.index("worker-1") < order.index("api") < order.index("redis") < order.index("postgres")
    assert stack.living() == []
    assert stack.json("status") == {
        "running": False,
        "api_url": None,
        "flower_url": None,
        "database_url": None,
        "redis_url": None,
        "processes": [],
    }
    assert stack("status").returncode == 3
    assert stack("down").returncode == 0


def _is_back(stack: Any, name: str, killed: int) -> bool:
    states = {one["name"]: one for one in stack.json("status")["processes"]}
    return bool(states[name]["state"] == "running" and states[name]["pid"] != killed)


def _until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
