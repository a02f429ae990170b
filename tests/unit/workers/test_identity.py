"""Words that change with the weights and with the code."""

import os
from pathlib import Path

from workers.device.identity import engine_version, weights_of


def test_weights_at_the_hub_are_known_by_their_commit() -> None:
    words = {weights_of("someone/model", "a"), weights_of("someone/model", "b"), weights_of("someone/other", "a")}

    assert len(words) == 3
    assert weights_of("someone/model", "a") in words


def test_weights_in_a_folder_change_with_its_files(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"old")
    first = weights_of(str(tmp_path), None)
    assert weights_of(str(tmp_path), None) == first

    os.utime(weights, ns=(1, 1))
    second = weights_of(str(tmp_path), None)
    (tmp_path / "more.safetensors").write_bytes(b"more")

    assert len({first, second, weights_of(str(tmp_path), None), weights_of(str(weights), None)}) == 4


def test_the_engine_is_known_by_its_code_and_its_libraries() -> None:
    assert engine_version() == engine_version()
    assert "torch" in engine_version()
