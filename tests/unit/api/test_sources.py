"""Model sources: what can be served, what cannot, and that nothing outside the roots is looked at."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from api import sources
from api.errors import SourceUnreachable, UnusableSource
from api.sources import Facts
from api.sources.facts import facts_of

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 2048,
    "num_hidden_layers": 30,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def save(folder: Path, config: object = LLAMA, tokenizer: object = None) -> Path:
    """A folder such as `save_pretrained` writes, as far as an inspection looks."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"")
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def save_gguf(path: Path, architecture: str = "llama") -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(4096)
    writer.add_block_count(12)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refusal(source: object, root: Path, revision: str | None = None) -> UnusableSource:
    with pytest.raises(UnusableSource) as caught:
        sources.inspect(str(source), revision, (root,))
    return caught.value


def test_a_folder_tells_its_facts(root: Path) -> None:
    folder = save(root / "a", tokenizer={"chat_template": "{{ messages }}"})

    assert sources.inspect(str(folder), None, (root,)) == Facts("LlamaForCausalLM", 2048, 30, True)


def test_a_template_may_be_a_file_of_its_own(root: Path) -> None:
    folder = save(root / "a")
    (folder / "chat_template.jinja").write_text("{{ messages }}")

    assert sources.inspect(str(folder), None, (root,)).has_chat_template


def test_a_gguf_file_tells_its_facts_without_loading_numpy_here(root: Path) -> None:
    file = save_gguf(root / "m.gguf")
    before = set(sys.modules)

    assert sources.inspect(str(file), None, (root,)) == Facts("llama", 4096, 12, True)
    assert not {"torch", "transformers"} & (set(sys.modules) - before)


def test_an_unknown_gguf_architecture_is_refused(root: Path) -> None:
    assert "clip" in refusal(save_gguf(root / "m.gguf", "clip"), root).message


@pytest.mark.parametrize("content", [b"", b"ELF", b"GGUF", b"GGUF" + bytes(64)])
def test_a_broken_gguf_file_is_refused(root: Path, content: bytes) -> None:
    (root / "m.gguf").write_bytes(content)

    assert "GGUF" in refusal(root / "m.gguf", root).message


@pytest.mark.parametrize("place", ["/etc", "/etc/passwd", "/nowhere/at/all"])
def test_absent_and_forbidden_places_look_alike(root: Path, place: str) -> None:
    assert refusal(place, root).message == "no such folder or file below the folders that models may come from"


def test_links_do_not_lead_out(root: Path, tmp_path: Path) -> None:
    outside = save(tmp_path / "outside")
    (root / "link").symlink_to(outside)
    (root / "dots").mkdir()

    assert "no such folder" in refusal(root / "link", root).message
    assert "no such folder" in refusal(f"{root}/dots/../../outside", root).message


def test_weights_do_not_link_out(root: Path, tmp_path: Path) -> None:
    folder = save(root / "a")
    (tmp_path / "secret").write_bytes(b"")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "secret")

    assert "links out" in refusal(folder, root).message


def test_weights_that_can_run_code_are_refused(root: Path) -> None:
    folder = save(root / "a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert "no *.safetensors" in refusal(folder, root).message


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_broken_configuration_is_refused(root: Path, text: str) -> None:
    folder = save(root / "a")
    (folder / "config.json").write_text(text)

    assert "config.json" in refusal(folder, root).message


@pytest.mark.parametrize(
    "config",
    [
        {**LLAMA, "architectures": ["BertForMaskedLM"]},
        {**LLAMA, "architectures": None},
        {**LLAMA, "max_position_embeddings": None},
        {**LLAMA, "num_hidden_layers": "30"},
    ],
)
def test_what_is_no_causal_language_model_is_refused(root: Path, config: dict[str, Any]) -> None:
    refusal(save(root / "a", config), root)


def test_families_name_their_sizes_differently() -> None:
    config = {"architectures": ["GPT2LMHeadModel"], "n_positions": 1024, "n_layer": 12}

    assert facts_of(config, has_chat_template=False) == Facts("GPT2LMHeadModel", 1024, 12, False)


@pytest.mark.parametrize("source", ["../up", "a/b/c", "a b", "C:\\models", "~/m", "a/..", "http://h/a"])
def test_neither_hub_id_nor_path(root: Path, source: str) -> None:
    assert "neither a hub id" in refusal(source, root).message


def test_a_path_has_no_revision(root: Path) -> None:
    assert refusal(save(root / "a"), root, "main").faults[0].field == "revision"


def test_a_hub_that_does_not_answer_is_said_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(SourceUnreachable, match="the hub does not answer for nobody/nothing"):
        sources.inspect("nobody/nothing", None, (root,))
