"""Matrix products of a small network's linear layers on the CPU: torch's own layer against the packed one, in turn.

``python -m bench.linear``. Several copies of each weight are used one after the other, as layers of a network are, so
that the weights come from memory and not from the processor's caches.
"""

import argparse
import time
from typing import Any

import torch
from torch import nn

from bench.report import Spread, save
from engine.packed import PackedLinear

SHAPES = {"attention": (576, 576), "mlp up": (1536, 576), "mlp down": (576, 1536), "head": (49152, 576)}  # [out, in]
COPIES = {"head": 2}

Layers = list[nn.Module]


def microseconds(layers: Layers, tokens: torch.Tensor) -> float:
    """Time of one product, averaged over the copies."""
    began = time.perf_counter()
    for layer in layers:
        layer(tokens)
    return (time.perf_counter() - began) / len(layers) * 1e6


def in_turn(plain: Layers, packed: Layers, tokens: torch.Tensor, rounds: int) -> tuple[list[float], list[float]]:
    """A B A B after one warm-up of each."""
    microseconds(plain, tokens), microseconds(packed, tokens)
    pairs = [(microseconds(plain, tokens), microseconds(packed, tokens)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


@torch.inference_mode()
def measure(rounds: int) -> list[dict[str, Any]]:
    rows = []
    for name, (outputs, inputs) in SHAPES.items():
        plain: Layers = [nn.Linear(inputs, outputs, bias=False) for _ in range(COPIES.get(name, 30))]
        packed: Layers = [PackedLinear(layer) for layer in plain if isinstance(layer, nn.Linear)]
        for count in (1, 2, 6, 16, 48, 96, 256):
            a, b = in_turn(plain, packed, torch.randn(count, inputs), rounds)
            ratio = Spread.of([x / y for x, y in zip(a, b, strict=True)])
            rows.append({"layer": name, "tokens": count, "plain": Spread.of(a), "packed": Spread.of(b), "ratio": ratio})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| layer | tokens | torch, us | packed, us | torch / packed |", "|---|---|---|---|---|"]
    for row in rows:
        plain, packed = row["plain"].median, row["packed"].median
        lines.append(f"| {row['layer']} | {row['tokens']} | {plain:.0f} | {packed:.0f} | {row['ratio']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = measure(arguments.rounds)
    print(table(rows))
    print(save("linear", {"rows": rows}, table(rows)))


if __name__ == "__main__":
    main()
