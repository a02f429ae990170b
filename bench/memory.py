"""Peak memory with and without drafting, on the same work, each arm in a process of its own.

The arms that name a drafter draft as many tokens as the served width takes; ``auto`` as many as pay. Two arms draw
their tokens at a temperature, which holds scores of every position in float64.

``python -m bench.memory --model FOLDER`` or ``python -m bench.memory --shape 7b --dtype bfloat16``: a network of that
shape whose layers hold distinct memory and the same numbers (one layer is drawn, the others are copies: text does not
matter here). Reads the process's high-water mark (Linux) on a CPU and ``max_memory_allocated`` on CUDA, both from when
the network stands.
"""

import argparse
import gc
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.utils import logging

from bench.arms import run, slots_for
from bench.planted import prompts_of
from bench.report import save
from bench.setting import dtype_of
from bench.shapes import POINTS, point
from bench.workloads import Work
from engine.load import load
from engine.loop import Engine, Options
from engine.packed import pack
from engine.request import Drafter, Exit
from engine.skipset import SkipSet

_DRAWN = "-drawn"
ARMS = {
    **{str(one): (one, 0.0) for one in (Drafter.PLAIN, Drafter.SKIP, Drafter.LOOKUP, Drafter.CASCADE, Drafter.AUTO)},
    **{f"{one}{_DRAWN}": (one, 1.0) for one in (Drafter.PLAIN, Drafter.CASCADE)},
}  # drafter and temperature
_PROMPT = 64
_WIDTH = Options().width  # the served one


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes at the peak, and of a verify's logits (in the network's dtype), which drafting cannot do without."""

    peak_bytes: int
    logits_bytes: int
    rounds: int


def measure(arguments: argparse.Namespace) -> Peak:
    """Decode in this process and read its peak. A plain arm gets no skip set, so that nothing of drafting is built."""
    drafter, temperature = ARMS[arguments.arm]
    network, skip_set = _network(arguments)
    forget_peak(network.device)
    options = Options(rows=slots_for(arguments.rows), length=512, width=_WIDTH, leave=Exit.FIXED)
    engine = Engine(network, options, skip_set=None if drafter is Drafter.PLAIN else skip_set)
    prompts = prompts_of(network.config, arguments.rows, _PROMPT // 2, seed=1)
    work = Work(tuple((*prompt, *prompt) for prompt in prompts), arguments.max_tokens, temperature=temperature)
    written = run(engine, work, drafter)
    widest = max(one.width for one in written.rounds)
    size = arguments.rows * widest * network.config.vocab_size * network.dtype.itemsize
    return Peak(peak_bytes(network.device), size, len(written.rounds))


def _network(arguments: argparse.Namespace) -> tuple[PreTrainedModel, SkipSet]:
    if arguments.shape is None:
        network = load(arguments.model, home=Path(gettempdir()), dtype=arguments.dtype, device=arguments.device).network
        return network, SkipSet.starting(network.config.num_hidden_layers)
    here = point(arguments.shape, arguments.layers)
    return stacked(here.config, dtype_of(arguments.dtype, arguments.device), arguments.device), here.skip_set


def stacked(config: Any, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
    """A network built layer by layer in its final place: no moment holds more than one layer beside it."""
    with torch.device("meta"):
        network = LlamaForCausalLM(config)
    network.to(dtype)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.requires_grad_(False)
    with torch.device(device):
        network.model.rotary_emb = LlamaRotaryEmbedding(config)
    first = _drawn(network.model.layers[0], device)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    for layer in network.model.layers[1:]:
        layer.to_empty(device=device)
        layer.load_state_dict(state)
        pack(layer)
    for module in (network.model.embed_tokens, network.model.norm, network.lm_head):
        _drawn(module, device)
    pack(network)
    network.eval()  # type: ignore[no-untyped-call]
    return network


def _drawn(module: nn.Module, device: str) -> nn.Module:
    module.to_empty(device=device)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 0.02)
        else:
            parameter.fill_(1.0)
    return module


def forget_peak(device: torch.device) -> None:
    """Let the high-water mark start from what is held now: building a network takes more than decoding with it.

    Raises: OSError on systems other than Linux.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def in_processes(given: list[str]) -> dict[str, Peak]:
    """Every arm in a fresh process, one after the other.

    Raises: CalledProcessError when one fails.
    """
    peaks = {}
    for arm in ARMS:
        command = [sys.executable, "-m", "bench.memory", *given, "--arm", arm]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        peaks[arm] = Peak(**json.loads(out.splitlines()[-1]))
        print(arm, peaks[arm], flush=True)
    return peaks


def table(peaks: dict[str, Peak]) -> str:
    """Every arm against plain decoding at its own temperature."""
    out = ["| arm | peak, MiB | over plain | of it verify logits, MiB | rounds |", "|---|---|---|---|---|"]
    for arm, peak in peaks.items():
        plain = peaks[f"plain{_DRAWN}" if arm.endswith(_DRAWN) else "plain"].peak_bytes
        mib, logits = peak.peak_bytes / 2**20, peak.logits_bytes / 2**20
        out.append(f"| {arm} | {mib:.0f} | {peak.peak_bytes / plain - 1:+.2%} | {logits:.1f} | {peak.rounds} |")
    return "\n".join([*out, "", "Graph pool 0: nothing is captured."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="folder with safetensors")
    which.add_argument("--shape", choices=list(POINTS))
    parser.add_argument("--layers", type=int, help="shrink the shape")
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--name", default="memory")
    parser.add_argument("--arm", choices=list(ARMS), help="measure this one here and print it as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if arguments.arm is not None:
        peak = measure(arguments)
        print(json.dumps({"peak_bytes": peak.peak_bytes, "logits_bytes": peak.logits_bytes, "rounds": peak.rounds}))
        return
    peaks = in_processes(sys.argv[1:])
    print(table(peaks), save(arguments.name, {"arms": peaks}, table(peaks), "memory"), sep="\n")


if __name__ == "__main__":
    main()
