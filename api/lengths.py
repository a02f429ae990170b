"""Prompts that cannot fit their model's context, found out before anything runs.

Only what is certain is refused: a lower bound of the tokens is counted, with the model's own tokenizer where its files
are on this machine, and the worker, which applies the chat template and counts exactly, has the last word. A text with
fewer bytes than there is room for fits in any case, so most texts are never looked at. Loads no torch.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.errors import TooLong
from models.catalog import ModelView

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST: Final = 2  # tokenizers kept: each is 30 to 200 MB
PIECE: Final = 32_768  # characters counted at a time: memory, and an early end for texts that are far too long
# What a cut may add to the count, and what a template that trims or joins may take from it.
SLACK: Final = 16
THOUGHTS: Final = re.compile(r".*[<\[]/[a-z:]*think(?:ing)?[>\]]", re.DOTALL | re.IGNORECASE)


class Lengths:
    """Counts texts. Tokenizers are loaded when a text is first in doubt; safe to share between threads."""

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Tokenizer | None] = OrderedDict()

    def check(
        self, model: ModelView, given: Mapping[str, Any], max_tokens: int, *, prefix: str = "", line: int | None = None
    ) -> None:
        """Make sure that an input as items have it (`prompt`, as text or token ids, or `messages`) may fit.

        Beside it there has to be room for `max_tokens`.

        Raises:
            TooLong: it certainly does not; names the field, and the line of a JSON Lines body.
        """
        field, said = _content(given)
        room = model.context_length - max_tokens
        if self._is_beyond(model, said, room):
            message = f"more than {room} tokens, with max_tokens {max_tokens} more than {model.name} has, which is"
            raise TooLong.of(f"{prefix}{field}", f"{message} {model.context_length}", line)

    def _is_beyond(self, model: ModelView, said: str | Sequence[int], room: int) -> bool:
        if not isinstance(said, str):
            return len(said) > room
        if len(said.encode("utf-8", "surrogatepass")) <= room:
            return False
        tokenizer = self._tokenizer(model)
        return tokenizer is not None and is_beyond(tokenizer, said, room)

    def _tokenizer(self, model: ModelView) -> Tokenizer | None:
        """None where its files are elsewhere; they may be here the next time."""
        with self._lock:
            if model.id in self._loaded:
                self._loaded.move_to_end(model.id)
                return self._loaded[model.id]
            path = tokenizer_path(model, self._home)
            if path is None:
                return None
            self._loaded[model.id] = load(path)
            if len(self._loaded) > MOST:
                self._loaded.popitem(last=False)
            return self._loaded[model.id]


def is_beyond(tokenizer: Tokenizer, text: str, room: int) -> bool:
    """Whether a text has certainly more than `room` tokens, special ones not counted."""
    num_tokens = 0
    for number, start in enumerate(range(0, len(text), PIECE), start=1):
        num_tokens += len(tokenizer.encode(text[start : start + PIECE], add_special_tokens=False).ids)
        if num_tokens - number * SLACK > room:
            return True
    return False


def load(path: Path) -> Tokenizer | None:
    """A tokenizer that cuts nothing; None for a file that is none."""
    # Heavy and rarely needed: imported by the first text in doubt.
    from tokenizers import Tokenizer  # noqa: PLC0415

    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception:  # the library raises nothing narrower; the worker will say what is wrong with the file
        return None
    loaded.no_padding()
    loaded.no_truncation()
    return loaded


def tokenizer_path(model: ModelView, home: Path | None) -> Path | None:
    """The model's `tokenizer.json`, where a worker of this machine would find it or has put it."""
    for folder in _folders(model, home):
        if (folder / "tokenizer.json").is_file():
            return folder / "tokenizer.json"
    return None


def _folders(model: ModelView, home: Path | None) -> list[Path]:
    source = Path(model.source)
    if not source.is_absolute():
        return _snapshots(model)
    if source.is_dir() or home is None:
        return [source]
    try:
        about, real = source.stat(), source.resolve()
    except OSError:
        return []
    # As the engine names the folder of a converted file.
    name = hashlib.sha256(f"{real}/{about.st_size}/{about.st_mtime_ns}".encode()).hexdigest()[:24]
    return [home / "weights" / name]


def _snapshots(model: ModelView) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - as above

    found = try_to_load_from_cache(model.source, "tokenizer.json", revision=model.revision)
    return [Path(found).parent] if isinstance(found, str) else []


def _content(given: Mapping[str, Any]) -> tuple[str, str | Sequence[int]]:
    """The field, and what of it certainly gets to the model: of a conversation all that was said."""
    if "messages" not in given:
        return "prompt", given.get("prompt", "")
    return "messages", "".join(_said(one["role"], one["content"]) for one in given["messages"])


def _said(role: str, content: str) -> str:
    """What templates leave of a message: they trim, and drop what an earlier answer thought before it spoke."""
    return (THOUGHTS.sub("", content, count=1) if role == "assistant" else content).strip()
