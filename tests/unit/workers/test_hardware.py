"""Finding a device and pinning a process to it."""

import pytest

from workers.device.hardware import Device, count_cuda
from workers.errors import DeviceMissing


def test_the_cpu_is_always_there_and_hides_every_gpu() -> None:
    environment = Device.find("cpu").environment(threads=3, env={"CUDA_VISIBLE_DEVICES": "4"})

    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["GOMP_SPINCOUNT"] == "10000"


@pytest.mark.parametrize("form", ["{}", "{},cuda:9", "cuda:0,{}"])
def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr("workers.device.hardware.count_cuda", lambda: 1)

    with pytest.raises(DeviceMissing, match=r"cuda:1 does not exist: this machine shows 1 CUDA device$"):
        Device.find(form.format("cuda:1"))


def test_a_machine_without_gpus_says_so() -> None:
    name = f"cuda:{count_cuda()}"

    with pytest.raises(DeviceMissing, match=f"{name} does not exist"):
        Device.find(name)


def test_a_model_may_be_spread_over_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.device.hardware.count_cuda", lambda: 4)

    device = Device.find("cuda:3, cuda:1")

    assert (device.name, device.kind, device.inner_name) == ("cuda:3,cuda:1", "cuda", "cuda:0,cuda:1")
    assert device.environment(1, {})["CUDA_VISIBLE_DEVICES"] == "3,1"
    assert device.environment(1, {"CUDA_VISIBLE_DEVICES": "7,6,5,GPU-4"})["CUDA_VISIBLE_DEVICES"] == "GPU-4,6"


def test_a_gpu_named_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.device.hardware.count_cuda", lambda: 4)

    with pytest.raises(DeviceMissing, match="cuda:1 is named twice in 'cuda:1,cuda:0,cuda:1'"):
        Device.find("cuda:1,cuda:0,cuda:1")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1000", "CPU", "", "cuda:0,", "cpu,cuda:0", "cuda,cuda:1"]
)
def test_a_name_that_means_no_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceMissing, match="no such device"):
        Device.find(name)


@pytest.mark.parametrize(
    ("index", "visible", "pinned"),
    [(0, None, "0"), (1, None, "1"), (0, "5,3", "5"), (1, "5,3", "3"), (0, "GPU-7", "GPU-7")],
)
def test_an_index_counts_the_devices_one_may_see(index: int, visible: str | None, pinned: str) -> None:
    env = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert Device(f"cuda:{index}", (index,)).environment(1, env)["CUDA_VISIBLE_DEVICES"] == pinned


@pytest.mark.gpu
@pytest.mark.skipif(count_cuda() == 0, reason="no CUDA device here")
def test_the_first_gpu_is_found() -> None:
    assert Device.find("cuda:0") == Device.find("cuda") == Device("cuda:0", (0,))
