"""What a worker says when it cannot start, and what its processes load."""

import os
import subprocess
import sys

import pytest

from tests.acceptance.workers.service import MODEL, Service, until
from workers.device.hardware import count_cuda


def run(service: Service, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.device", *arguments]
    return subprocess.run(command, env={**service.env, **env}, capture_output=True, text=True, timeout=60, check=False)


def test_a_device_that_does_not_exist_is_named(service: Service) -> None:
    name = f"cuda:{count_cuda()}"

    done = run(service, "--model", MODEL, "--device", name)

    assert done.returncode == 78
    assert f"device {name} does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_registered_is_named(service: Service) -> None:
    done = run(service, "--model", "nobody", "--device", "cpu")

    assert done.returncode == 78
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_cannot_be_loaded_end_the_worker(service: Service) -> None:
    # The folder holds a tokenizer and no weights.
    done = run(service, "--model", MODEL, "--device", "cpu")

    assert done.returncode == 78
    assert "cannot load" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_named(service: Service) -> None:
    done = run(service, "--model", MODEL, "--device", "cpu", SKIM_GRACE_S="soon")

    assert done.returncode == 78
    assert "SKIM_GRACE_S" in done.stderr


def test_a_worker_is_loading_until_its_engine_is_warm(service: Service) -> None:
    gate = service.folder / "gate"
    states = "SELECT status, drafters, note FROM workers"

    device = service.start_device(ECHO_GATE=str(gate))
    until(lambda: len(device.tree) == 2 and service.rows(states))
    assert service.rows(states) == [("loading", [], None)]
    assert len(device.tree) == 2  # the nodes wait, so nothing is claimed
    gate.touch()

    until(service.is_whole)
    assert service.rows(states) == [("ready", ["auto", "plain"], "an echo drafts nothing")]


def test_what_one_engine_measured_the_next_is_told(service: Service) -> None:
    def is_kept(number: int) -> bool:
        return service.rows("SELECT costs FROM step_costs") == [({"starts": number},)]

    first = service.start_device()
    until(lambda: is_kept(1))
    first.find("echo_engine").kill()
    until(lambda: is_kept(2))
    first.process.terminate()
    first.process.wait(10)

    service.start_device()
    until(lambda: is_kept(3))
    service.start_device("--threads", "7")
    until(lambda: len(service.rows("SELECT 1 FROM step_costs")) == 2)


@pytest.mark.parametrize("module", ["workers.app", "workers.queues", "workers.device.__main__", "workers.node"])
def test_light_modules_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
