"""Which kind of source it is, and whether a local one may be read at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from api.errors import UnusableSource
from api.sources.facts import Facts
from api.sources.folder import inspect_folder
from api.sources.gguf_file import inspect_file
from api.sources.hub import inspect_hub

HUB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def inspect(source: str, revision: str | None, roots: Sequence[Path]) -> Facts:
    """The facts of a source.

    Raises:
        UnusableSource: it does not exist, lies outside the roots, or cannot be served.
        SourceUnreachable: the hub does not answer.
    """
    if source.startswith("/"):
        return _inspect_local(Path(source), revision, roots)
    if ".." in source or not HUB_ID.fullmatch(source):
        raise UnusableSource("neither a hub id (owner/name) nor an absolute path")
    return inspect_hub(source, revision)


def _inspect_local(path: Path, revision: str | None, roots: Sequence[Path]) -> Facts:
    if revision is not None:
        raise UnusableSource("only a hub id has revisions", "revision")
    real = inside(path, roots)
    if real.is_dir():
        return inspect_folder(real, roots)
    if real.suffix.lower() == ".gguf":
        return inspect_file(real)
    raise UnusableSource("neither a folder nor a .gguf file")


def inside(path: Path, roots: Sequence[Path]) -> Path:
    """The path without links, if it exists below a root; the answer is the same for absent and forbidden ones."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # absent, a loop of links, an impossible name
        real = None
    if real is None or not any(real.is_relative_to(root.resolve()) for root in roots):
        raise UnusableSource("no such folder or file below the folders that models may come from")
    return real
