"""Getting a model: hub id, local folder or GGUF file in; network on its device and tokenizer out.

Never runs code that comes with the weights, never reads pickled ones.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from engine.convert import convert
from engine.errors import LoadError
from engine.family import FAMILIES
from engine.packed import pack
from engine.quantised import quantise_layers
from engine.spread import devices_of, place

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
INT8 = "int8"  # of the linear layers' weights; all else as with ``auto``


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network on its device with its tokenizer.

    ``tokenizer_folder`` holds a ``tokenizer.json``, which processes without torch can read; ``eos`` are the token ids
    that end a sequence. ``dtype`` is a key of ``DTYPES``, or ``int8``.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    tokenizer_folder: Path
    eos: frozenset[int]
    dtype: str

    @property
    def decode(self) -> Callable[[Sequence[int]], str]:
        """Token ids to text, special tokens left out."""
        return lambda tokens: str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


def load(source: str, *, home: Path, revision: str | None = None, dtype: str = "auto", device: str = "cpu") -> Loaded:
    """Load a causal language model for inference.

    Args:
        source: hub id, folder with safetensors, or ``*.gguf`` file (converted once into ``home``)
        device: where it runs, or several with commas between them, on which its layers are spread
        dtype: a key of ``DTYPES``; ``auto``: float32 on a CPU, the weights' own elsewhere; or ``int8``: as ``auto``
            with linear layers quantised (``engine.quantised``), for the families of ``engine.family`` alone

    Raises: LoadError with the reason when any of it cannot be had.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    devices = devices_of(device)
    path = Path(source)
    if path.suffix == ".gguf":
        source = str(convert(path, home / "weights" / _digest(path)))
    try:
        network = AutoModelForCausalLM.from_pretrained(
            source, revision=revision, dtype=_dtype(dtype, devices[0]), use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        place(network, devices)
        network.eval()  # type: ignore[no-untyped-call]
        network.requires_grad_(False)
    except Exception as error:  # transformers, safetensors and torch raise many kinds; all mean the same to us
        raise LoadError(f"cannot load {source}: {error}") from error
    if _lay_out(network, dtype):
        _own_the_rest(network)
    named = INT8 if dtype == INT8 else str(network.dtype).removeprefix("torch.")
    return Loaded(network, tokenizer, _tokenizer_folder(source, tokenizer, home), _eos(network, tokenizer), named)


def _lay_out(network: PreTrainedModel, dtype: str) -> int:
    """Put layouts of ours in the place of linear layers; returns how many. Only where the family's code is known: some
    others read the weights of their linear layers (Mamba the head's type), which a layout of ours does not have.

    Raises: LoadError for int8 elsewhere.
    """
    kind = network.config.model_type
    if dtype == INT8:
        if kind not in FAMILIES:
            raise LoadError(f"dtype {INT8} is not to be had for networks of type {kind!r}; {', '.join(DTYPES)} are")
        return quantise_layers(network)
    return pack(network) if kind in FAMILIES else 0


def _own_the_rest(network: PreTrainedModel) -> None:
    """Copy the weights that no layout of ours replaced: as views of the file they would keep all of it mapped."""
    for parameter in network.parameters():
        parameter.data = parameter.data.clone()


def _dtype(name: str, device: torch.device) -> torch.dtype | str:
    if name in ("auto", INT8):
        return torch.float32 if device.type == "cpu" else "auto"
    if name not in DTYPES:
        raise LoadError(f"dtype {name!r} is none of auto, {', '.join(DTYPES)}, {INT8}")
    return DTYPES[name]


def _digest(path: Path) -> str:
    """A name for the converted form of a file that changes when the file does."""
    if not path.is_file():
        raise LoadError(f"{path} does not exist")
    about = path.stat()
    return hashlib.sha256(f"{path.resolve()}/{about.st_size}/{about.st_mtime_ns}".encode()).hexdigest()[:24]


def _tokenizer_folder(source: str, tokenizer: PreTrainedTokenizerBase, home: Path) -> Path:
    if (Path(source) / "tokenizer.json").exists():
        return Path(source)
    folder = home / "tokenizers" / hashlib.sha256(source.encode()).hexdigest()[:24]
    tokenizer.save_pretrained(folder)
    if not (folder / "tokenizer.json").exists():
        raise LoadError(f"{source} has no tokenizer that can be written as tokenizer.json")
    return folder


def _eos(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    settings = network.generation_config
    named = [tokenizer.eos_token_id, network.config.eos_token_id, settings.eos_token_id if settings else None]
    listed = [one for ids in named for one in (ids if isinstance(ids, list) else [ids])]
    return frozenset(one for one in listed if one is not None)
