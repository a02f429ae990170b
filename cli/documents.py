"""Turns files, folders and standard input into the inputs of a job.

Text and Markdown files are one document each, named by their path; JSON Lines files hold one input a line, as the
API takes them. Faults name the file, and the line where there are lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from cli.errors import UsageError
from cli.views import Json

STDIN = "-"
TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown"})
LINES_SUFFIXES = frozenset({".jsonl", ".ndjson"})
MAX_NAME = 256  # characters of a custom_id
CONTENT = {"document": "summarize", "prompt": "generate", "messages": "generate"}


def read_inputs(sources: Iterable[str], kind: str | None, stdin: BinaryIO) -> tuple[str, list[Json]]:
    """The kind of job and its inputs. Without a `kind` it is what JSON Lines hold, else `summarize`.

    Raises:
        UsageError: a file is missing, empty, not UTF-8, or holds a line that is no input of this kind.
    """
    texts = list(_texts(sources, stdin))
    parsed = [(name, text, list(_lines(name, text)) if is_lines else None) for name, text, is_lines in texts]
    kind = kind or _kind_of(line for _, _, lines in parsed for _, line in lines or ())
    inputs: list[Json] = []
    for name, text, lines in parsed:
        if lines is None:
            inputs.append(_document(name, text, kind))
        else:
            inputs.extend(_checked(name, number, line, kind) for number, line in lines)
    _check_names(inputs)
    return kind, inputs


def _texts(sources: Iterable[str], stdin: BinaryIO) -> Iterator[tuple[str, str, bool]]:
    """Name, text and whether it is JSON Lines, of every file that the sources come to."""
    for source in sources:
        if source == STDIN:
            text = _decode("standard input", stdin.read())
            yield "stdin", text, _looks_like_lines(text)
            continue
        for path in _files(Path(source)):
            yield str(path), _decode(str(path), _read(path)), path.suffix.lower() in LINES_SUFFIXES


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]
    suffixes = TEXT_SUFFIXES | LINES_SUFFIXES
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise UsageError(f"{path}: no {', '.join(sorted(suffixes))} files in this folder")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _decode(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x})") from error
    if not text.strip():
        raise UsageError(f"{name}: nothing in it")
    return text


def _looks_like_lines(text: str) -> bool:
    """Standard input has no suffix: it is JSON Lines if its first line is a JSON object."""
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except ValueError:
        return False


def _lines(name: str, text: str) -> Iterator[tuple[int, Json]]:
    # Not splitlines: characters such as U+2028 may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{name}:{number}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise UsageError(f"{name}:{number}: not a JSON object")
        yield number, value


def _kind_of(lines: Iterable[Json]) -> str:
    for line in lines:
        for field, kind in CONTENT.items():
            if field in line:
                return kind
    return "summarize"


def _document(name: str, text: str, kind: str) -> Json:
    content = {"document": text} if kind == "summarize" else {"messages": [{"role": "user", "content": text}]}
    return {"custom_id": name[-MAX_NAME:], **content}


def _checked(name: str, number: int, line: Json, kind: str) -> Json:
    fields = [field for field, of in CONTENT.items() if of == kind]
    if not any(field in line for field in fields):
        raise UsageError(f"{name}:{number}: a {kind} input needs {' or '.join(fields)}")
    return line


def _check_names(inputs: list[Json]) -> None:
    seen: set[object] = set()
    for one in inputs:
        name = one.get("custom_id")
        if isinstance(name, str) and name in seen:
            raise UsageError(f"custom_id {name!r} comes twice")
        seen.add(name if isinstance(name, str) else id(one))
