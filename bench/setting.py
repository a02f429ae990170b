"""What a run has in hand: the network as the engine runs it, a stock one of the same weights, and the arms of both."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from bench.arms import Arm, Ours, requests
from bench.compare import Standard
from bench.counted import least
from bench.ctranslate import ctranslate
from bench.equality import Judge
from bench.llamacpp import KINDS, llamacpp, rewritten
from bench.peers import LOOKUP_TOKENS, continuous, padded, sequential, stock_texts
from bench.workloads import Work
from engine.costs import StepCosts
from engine.load import DTYPES, INT8, load
from engine.loop import Engine, Options
from engine.packed import pack
from engine.quantised import quantise_layers
from engine.skipset import SkipSet

PEERS = ("generate", "generate-lookup", "generate-padded")
OPTIONAL = ("generate-continuous", "ctranslate2", *KINDS)
_MEASURED = 3


@dataclass(frozen=True)
class Setting:
    """Networks and their arms. ``folder`` holds the weights that CTranslate2 converts into ``home``; ``gguf`` is what
    llama.cpp reads. ``is_quantised``: to 8 bits, the stock network as well.
    """

    network: PreTrainedModel
    stock: PreTrainedModel
    skip_set: SkipSet | None
    eos: frozenset[int]
    tokenizer: PreTrainedTokenizerBase | None = None
    folder: Path | None = None
    home: Path | None = None
    gguf: Path | None = None
    most_rows: int = 16
    is_quantised: bool = False

    @cached_property
    def costs(self) -> StepCosts:
        """Measured once for all engines of the run: the least of several times, as others only ever add time."""
        options = Options(rows=self.most_rows, length=1024)
        engines = (Engine(self.network, options, skip_set=self.skip_set, is_measured=True) for _ in range(_MEASURED))
        return least([engine.costs for engine in engines])

    @cached_property
    def ours(self) -> Ours:
        return Ours(self.network, self.skip_set, self.costs)

    @cached_property
    def _private(self) -> PreTrainedModel:
        """A stock network that continuous batching may change."""
        return stock_of(str(self.folder), self.stock.dtype, str(self.stock.device), is_quantised=self.is_quantised)

    def standard(self, work: Work) -> Standard:
        """What arms are held against on a piece of work: the stock network's texts and its noise, our step costs."""
        judge = Judge(self.stock, requests(work), work.eos)
        return Standard(judge, partial(stock_texts, self.stock, work), self.costs)

    def arms(self, batch: int, names: Collection[str]) -> dict[str, Arm]:
        """The named arms at a batch size, as far as this setting has them."""
        arms = self.ours.arms(batch, names)
        stock = self.stock
        if "generate" in names:
            arms["generate"] = sequential(stock)
        if "generate-lookup" in names:
            arms["generate-lookup"] = sequential(stock, prompt_lookup_num_tokens=LOOKUP_TOKENS)
        if "generate-padded" in names and batch > 1:
            arms["generate-padded"] = padded(stock, batch)
        if self.folder is not None and "generate-continuous" in names:
            arms["generate-continuous"] = continuous(self._private, batch)
        if self.folder is not None and self.home is not None and "ctranslate2" in names:
            threads = torch.get_num_threads()
            arms["ctranslate2"] = ctranslate(self.folder, batch, self.home, stock.device.type, threads)
        if self.gguf is not None and self.home is not None:
            for name in (one for one in KINDS if one in names):
                arms[name] = llamacpp(rewritten(self.gguf, name, self.home), torch.get_num_threads())
        return arms


def loaded_setting(
    folder: Path,
    home: Path,
    *,
    dtype: str = "auto",
    device: str = "cpu",
    skip_set: SkipSet | None = None,
    gguf: Path | None = None,
    most_rows: int = 16,
) -> Setting:
    """A model of a folder; without a skip set the one a model starts with."""
    ours = load(str(folder), home=home, dtype=dtype, device=device)
    is_quantised = dtype == INT8
    stock = stock_of(str(folder), ours.network.dtype, device, is_quantised=is_quantised)
    skip_set = skip_set or SkipSet.starting(ours.network.config.num_hidden_layers)
    return Setting(ours.network, stock, skip_set, ours.eos, ours.tokenizer, folder, home, gguf, most_rows, is_quantised)


def stock_of(folder: str, dtype: torch.dtype, device: str, *, is_quantised: bool = False) -> PreTrainedModel:
    """The network as transformers alone would load it; quantised, it is another one, and ours is held against that."""
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    stock: PreTrainedModel = network.to(device).eval()
    if is_quantised:
        quantise_layers(stock)
    return stock


def planted_setting(network: LlamaForCausalLM, skip_set: SkipSet, most_rows: int) -> Setting:
    """A planted network; the stock one shares its weights (but on a CPU, where ours are packed)."""
    stock = twin(network)
    pack(network)
    return Setting(network, stock, skip_set, frozenset(), most_rows=most_rows)


def twin(network: LlamaForCausalLM) -> LlamaForCausalLM:
    """A network with stock attention that shares the weights."""
    config = type(network.config)(**network.config.to_dict())
    with torch.device("meta"):
        other = LlamaForCausalLM(config)
    other.load_state_dict(network.state_dict(), assign=True)
    with torch.device(network.device):
        other.model.rotary_emb = LlamaRotaryEmbedding(config)
    other.eval()  # type: ignore[no-untyped-call]
    other.requires_grad_(False)
    return other


def dtype_of(name: str, device: str) -> torch.dtype:
    """A dtype by name; ``auto`` is float32 on a CPU and bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return DTYPES[name]
