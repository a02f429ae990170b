"""Decoding, ours and others', side by side in one run.

``python -m bench.decoding compare --model FOLDER --documents FILE.jsonl``: every arm on every workload and batch size.
``python -m bench.decoding planted POINT``: a planted network against the bound S (``small`` on a CPU).
``python -m bench.decoding steps --model FOLDER``: pass costs by width, and the roofline.
``python -m bench.decoding latency --model FOLDER --documents FILE.jsonl``: times of interactive requests under load.

Results go to ``bench/results`` as JSON, Markdown and a plot.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers.utils import logging

from bench import parts
from bench.arms import OURS
from bench.setting import OPTIONAL, PEERS
from bench.shapes import POINTS
from bench.workloads import NAMES

DRAFTED_ON = NAMES[:3]


def chosen(among: Sequence[str]) -> Callable[[str], list[str]]:
    """A parser of names separated by commas."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = set(names) - set(among)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(among)}")
        return names

    return parse


def numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True)
    compare = _command(commands, "compare", parts.run_compare, rounds=5, max_tokens=64)
    compare.add_argument("--workloads", type=chosen(NAMES), default=list(DRAFTED_ON), help=", ".join(NAMES))
    everything = [*OURS, *PEERS, *OPTIONAL]
    compare.add_argument(
        "--arms",
        type=chosen(everything),
        default=[*OURS, *PEERS],
        help=f"of {', '.join(everything)}; default: ours, and those of transformers that need nothing else",
    )
    compare.add_argument("--temperature", type=float, default=0.0, help="above 0 with our own arms only")
    compare.add_argument("--llama-cpp", type=Path, metavar="GGUF", help="the file that the arms llama.cpp read")
    planted = _command(commands, "planted", parts.run_planted, rounds=5, max_tokens=96, batches=[1])
    planted.add_argument("point", choices=list(POINTS))
    planted.add_argument("--layers", type=int, help="shrink the shape and its skip set to so many layers")
    steps = _command(commands, "steps", parts.run_steps, rounds=9)
    steps.add_argument("--span", type=int, default=512, help="tokens that rows hold")
    latency = _command(commands, "latency", parts.run_latency, max_tokens=48, batches=[16])
    for command in (compare, steps, latency):
        command.add_argument("--model", type=Path, required=True, help="folder with safetensors")
        command.add_argument("--skip-set", metavar="BITS", help="2L bits; without it the set a model starts with")
    for command in (compare, latency):
        command.add_argument("--documents", type=Path, help="JSON Lines with a member `document`")
        command.add_argument("--words", type=int, default=250, help="of each document")
    steps.set_defaults(llama_cpp=None)
    latency.set_defaults(llama_cpp=None)
    return top


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    work: Callable[[argparse.Namespace], None],
    *,
    rounds: int = 1,
    max_tokens: int = 64,
    batches: Sequence[int] = (1, 4, 8, 16),
) -> argparse.ArgumentParser:
    command = commands.add_parser(name)
    command.set_defaults(work=work)
    command.add_argument("--batches", type=numbers, default=list(batches), metavar="1,4,...")
    command.add_argument("--items", type=int, default=0, help="0: twice the batch, at least 4")
    command.add_argument("--max-tokens", type=int, default=max_tokens)
    command.add_argument("--rounds", type=int, default=rounds)
    command.add_argument("--device", default="cpu")
    command.add_argument("--dtype", default="auto")
    command.add_argument("--threads", type=int, default=torch.get_num_threads())
    command.add_argument("--name", default="decoding", help="of the files in bench/results")
    return command


def main(given: Sequence[str] | None = None) -> None:
    top = parser()
    arguments = top.parse_args(given)
    if getattr(arguments, "temperature", 0.0) and not set(arguments.arms) <= set(OURS):
        top.error(f"--temperature above 0 needs --arms of {', '.join(OURS)}: others draw other texts")
    torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    arguments.work(arguments)


if __name__ == "__main__":
    main()
