"""The command line between supervisor and engine process. Loads no torch, so that a stand-in engine can read it too."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options that the supervisor passes."""
    parser = argparse.ArgumentParser(prog="python -m workers.serve")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--revision", default="")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--costs", type=Path, required=True, help="step costs of an earlier start, if it is there")
    parser.add_argument("--log-level", default="info")
    return parser.parse_args(arguments)
