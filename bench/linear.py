"""Matrix products of a small network's linear layers on the CPU: torch's own layer, the packed one and int8, in turn.

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
from engine.quantised import DigitLinear, quantise

SHAPES = {"attention": (576, 576), "mlp up": (1536, 576), "mlp down": (576, 1536), "head": (49152, 576)}  # [out, in]
COPIES = {"head": 2}

Layers = list[nn.Module]


def microseconds(layers: Layers, tokens: torch.Tensor) -> float:
    """Time of one product, averaged over the copies."""
    began = time.perf_counter()
    for layer in layers:
        layer(tokens)
    return (time.perf_counter() - began) / len(layers) * 1e6


def in_turn(kinds: list[Layers], tokens: torch.Tensor, rounds: int) -> list[list[float]]:
    """A B C A B C after one warm-up of each; the times of each kind."""
    for layers in kinds:
        microseconds(layers, tokens)
    lines = [[microseconds(layers, tokens) for layers in kinds] for _ in range(rounds)]
    return [list(times) for times in zip(*lines, strict=True)]


def ratio(first: list[float], second: list[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(first, second, strict=True)])


@torch.inference_mode()
def measure(rounds: int) -> list[dict[str, Any]]:
    rows = []
    for name, (outputs, inputs) in SHAPES.items():
        plain = [nn.Linear(inputs, outputs, bias=False) for _ in range(COPIES.get(name, 30))]
        packed: Layers = [PackedLinear(layer) for layer in plain]
        int8: Layers = [DigitLinear(*quantise(layer.weight)) for layer in plain]
        for count in (1, 2, 6, 8, 16, 48, 96, 256):
            a, b, c = in_turn([[*plain], packed, int8], torch.randn(count, inputs), rounds)
            times = {"plain": Spread.of(a), "packed": Spread.of(b), "int8": Spread.of(c)}
            rows.append({"layer": name, "tokens": count, **times, "ratio": ratio(a, b), "int8_ratio": ratio(b, c)})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| layer | tokens | torch, us | packed, us | int8, us | torch / packed | packed / int8 |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        times = " | ".join(f"{row[kind].median:.0f}" for kind in ("plain", "packed", "int8"))
        lines.append(f"| {row['layer']} | {row['tokens']} | {times} | {row['ratio']} | {row['int8_ratio']} |")
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
