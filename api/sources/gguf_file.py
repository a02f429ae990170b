"""A GGUF file, its metadata read in a process of its own.

The `gguf` package loads numpy and the whole vocabulary, about as much memory as the rest of the service, and the file
may be hostile. So a child (`python -m api.sources.gguf_file PATH`) prints five facts as JSON and ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.errors import UnusableSource
from api.sources.facts import Facts

if TYPE_CHECKING:
    from gguf import GGUFReader

TIMEOUT_S: Final = 60.0
MAGIC: Final = b"GGUF"
# The causal language models that transformers 5.23 converts (its GGUF_CONFIG_MAPPING; encoders and mamba left out).
KNOWN: Final = frozenset({
    "bloom", "deci", "falcon", "gemma2", "gemma3", "gpt2", "gpt_oss", "lfm2", "llama", "minimax_m2", "mistral",
    "nemotron", "phi3", "qwen2", "qwen2moe", "qwen2_moe", "qwen3", "qwen3moe", "qwen3_moe", "stablelm", "starcoder2",
})  # fmt: skip


def inspect_file(path: Path) -> Facts:
    """Facts of a GGUF file; raises UnusableSource."""
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise UnusableSource("not a GGUF file")
    found = _read_in_child(path)
    architecture = found["architecture"]
    if architecture not in KNOWN:
        raise UnusableSource(f"not a causal language model that can be converted: architecture is {architecture}")
    if not found["context_length"] or not found["num_layers"]:
        raise UnusableSource("the GGUF file does not give a context length and a number of layers")
    return Facts(
        architecture=architecture,
        context_length=found["context_length"],
        num_layers=found["num_layers"],
        has_chat_template=found["has_chat_template"],
    )


def _read_in_child(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "api.sources.gguf_file", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise UnusableSource("the GGUF file cannot be read") from error
    return found


def read(path: str) -> dict[str, Any]:
    """The facts as plain values; any exception means that the file is broken."""
    from gguf import GGUFReader  # noqa: PLC0415  numpy stays out of the service's process

    reader = GGUFReader(path)
    architecture = str(_value(reader, "general.architecture"))
    return {
        "architecture": architecture,
        "context_length": int(_value(reader, f"{architecture}.context_length") or 0),
        "num_layers": int(_value(reader, f"{architecture}.block_count") or 0),
        "has_chat_template": bool(_value(reader, "tokenizer.chat_template")),
    }


def _value(reader: GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read(sys.argv[1])))
