"""What 8-bit weights change: how far the network's words move from float32's, and the memory of the process.

``python -m bench.quantised --model FOLDER --texts FILE.json``, with texts of ``bench.texts``: both networks read
them, and at every token of the output their predictions are compared.
"""

import argparse
import json
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from transformers import PreTrainedModel

from bench.report import save
from engine.load import load

DTYPES = ("float32", "int8")


def memory(model: Path, dtype: str) -> dict[str, float]:
    """Megabytes resident after loading and one short pass, and at most; to be called in a process of its own."""
    network = load(str(model), home=model.parent, dtype=dtype).network
    with torch.inference_mode():
        network(torch.tensor([[1, 2, 3]]))
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[field].split()[0]) / 1024 for name, field in (("resident", "VmRSS"), ("peak", "VmHWM"))}


def fresh_memory(model: Path, dtype: str) -> dict[str, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(memory, (model, dtype))


@torch.inference_mode()
def predictions(network: PreTrainedModel, text: dict[str, Any]) -> torch.Tensor:
    """Log-probabilities [output tokens, vocabulary], teacher-forced."""
    tokens = torch.tensor([[*text["prompt"], *text["output"]]])
    count = len(text["output"])
    logits: torch.Tensor = network(tokens, logits_to_keep=count + 1).logits[0, :count]
    return logits.log_softmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with safetensors")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10, help="summaries")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    texts = [text for text in json.loads(arguments.texts.read_text()) if text["workload"] == "summary"]
    full, small = (load(str(arguments.model), home=arguments.texts.parent, dtype=one).network for one in DTYPES)
    divergences, agreements = [], []
    for text in texts[: arguments.count]:
        p, q = predictions(full, text), predictions(small, text)
        divergences += (p.exp() * (p - q)).sum(-1).tolist()
        agreements += (p.argmax(-1) == q.argmax(-1)).float().tolist()
    results = {
        "tokens": len(agreements),
        "divergence": mean(divergences),
        "same_greedy_token": mean(agreements),
        "megabytes": {dtype: fresh_memory(arguments.model, dtype) for dtype in DTYPES},
    }
    print(json.dumps(results, indent=2))
    print(save("quantised", results, table(results)))


def table(results: dict[str, Any]) -> str:
    lines = ["| dtype | resident, MB | peak while loading, MB |", "|---|---|---|"]
    lines += [f"| {dtype} | {one['resident']:.0f} | {one['peak']:.0f} |" for dtype, one in results["megabytes"].items()]
    return "\n".join(lines) + (
        f"\n\nKL divergence from float32 {results['divergence']:.4f} nats a token, same greedy token"
        f" {results['same_greedy_token']:.3f}, n = {results['tokens']} tokens"
    )


if __name__ == "__main__":
    main()
