"""A local folder as `save_pretrained` writes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from api.errors import UnusableSource
from api.sources.facts import Facts, facts_of

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
TEMPLATES: Final = ("chat_template.jinja", "chat_template.json")


def inspect_folder(folder: Path, roots: Sequence[Path]) -> Facts:
    """Facts of a folder with `config.json` and safetensors; raises UnusableSource."""
    config = read_json(folder / "config.json")
    if config is None:
        raise UnusableSource("the folder has no config.json")
    _check_weights(folder, roots)
    return facts_of(config, has_chat_template=_has_template(folder))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no file; raises UnusableSource for anything else."""
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UnusableSource(f"{path.name} is too large")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise UnusableSource(f"{path.name} cannot be read") from error
    if not isinstance(value, dict):
        raise UnusableSource(f"{path.name} is not a JSON object")
    return value


def _check_weights(folder: Path, roots: Sequence[Path]) -> None:
    """Safetensors must be there, and no link may lead out of the roots."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UnusableSource("the folder has no *.safetensors; other weight formats can run code and are not loaded")
    for path in weights:
        real = path.resolve()
        if not any(real.is_relative_to(root.resolve()) for root in roots):
            raise UnusableSource(f"{path.name} links out of the folders that models may come from")


def _has_template(folder: Path) -> bool:
    tokenizer = read_json(folder / "tokenizer_config.json") or {}
    return bool(tokenizer.get("chat_template")) or any((folder / name).is_file() for name in TEMPLATES)
