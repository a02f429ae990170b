"""What a worker says when it cannot start, and what its processes load."""

import os
import subprocess
import sys

import pytest

from tests.acceptance.workers.service import MODEL, Service
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


@pytest.mark.parametrize("module", ["workers.app", "workers.queues", "workers.device.__main__", "workers.node"])
def test_light_modules_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
