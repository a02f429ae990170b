"""GGUF to safetensors, once: afterwards a model loads in a second and its tokenizer needs no torch.

``python -m engine.convert SOURCE.gguf FOLDER``
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from engine.errors import EngineError, LoadError


def convert(source: Path, folder: Path) -> Path:
    """Write the GGUF file's network (float32) and tokenizer to ``folder``; nothing to do where that was done.

    The folder appears whole or not at all.

    Raises: LoadError when the file is missing or not a GGUF of a causal language model.
    """
    if (folder / "config.json").exists():
        return folder
    if not source.is_file():
        raise LoadError(f"{source} does not exist")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".converting-") as name:
        made = Path(name) / folder.name
        _write(source, made)
        made.chmod(0o755)
        for file in made.iterdir():
            file.chmod(0o644)
        try:
            made.rename(folder)
        except OSError:  # somebody else was quicker, which is as good
            if not (folder / "config.json").exists():
                raise
    return folder


def _write(source: Path, folder: Path) -> None:
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        network = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    except Exception as error:  # transformers raises many kinds; all mean the same to us
        raise LoadError(f"{source} is not a GGUF of a causal language model: {error}") from error
    _unquantised(network).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _unquantised(network: PreTrainedModel) -> PreTrainedModel:
    """The same network without the mark of its GGUF quantisation, which forbids saving."""
    settings = {key: value for key, value in network.config.to_dict().items() if key != "quantization_config"}
    with torch.device("meta"):
        twin = type(network)(type(network.config)(**settings))
    twin.load_state_dict(network.state_dict(), assign=True)
    twin.tie_weights()
    twin.generation_config = network.generation_config
    return twin


def main() -> int:
    """Run from the command line; 0 when the folder is there, 1 with a message when not, 2 for wrong arguments."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m engine.convert SOURCE.gguf FOLDER\n")
        return 2
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
